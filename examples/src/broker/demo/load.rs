//! The demonstration in two processes, so that the broker's own memory can be measured.

use std::path::Path;

use agentkeys_attest::aws_sts::AwsStsSource;
use agentkeys_core::jose::KeyTables;
use agentkeys_core::{Evidence, Issuer};
use agentkeys_local_aws::{LocalAws, State};

use super::{LOOPBACK, app, documents, evidence, green, make, open_audit, put_roles, stack_names};
use crate::Failure;
use crate::broker::start::{Running, alone, bind};
use crate::demo::{ACCOUNT, REGION};
use crate::stack::install;

/// An STS whose pods attest to a broker in another process.
#[derive(Debug)]
pub struct LoadAws(LocalAws);

impl LoadAws {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn start() -> Result<Self, Failure> {
        let aws = LocalAws::start(State::new(ACCOUNT.parse()?, REGION.parse()?)).await?;
        put_roles(&aws)?;
        Ok(Self(aws))
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.0.endpoint()
    }

    /// The issuer of its pods' tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.0.outbound_issuer()
    }

    /// A new token of an agent's pod.
    ///
    /// # Errors
    /// Where the STS gives none.
    pub async fn evidence(&self, agent: &str) -> Result<Evidence, Failure> {
        evidence(&self.0, agent).await
    }

    /// What signs requests for agent green, who is a role and no pod.
    ///
    /// # Errors
    /// Never: the role is there.
    pub fn green(&self) -> Result<AwsStsSource, Failure> {
        green(&self.0)
    }

    /// Lets in whom this issuer's tokens are about, as an administrator would.
    ///
    /// # Errors
    /// Where it is no issuer on loopback.
    pub fn trust(&self, issuer: &str) -> Result<(), Failure> {
        let issuer = Issuer::loopback_http_for_tests(issuer)?;
        install(&self.0, &issuer, &documents(&issuer, &stack_names()?)?)
    }
}

/// Starts the demonstration's broker, with tables for its session keys, for the pods of the STS at `endpoint`.
///
/// # Errors
/// Where a port, randomness or a file cannot be had.
pub async fn start_beside(folder: &Path, endpoint: &str, issuer: &str) -> Result<Running, Failure> {
    make(folder)?;
    let (public, operator) = (bind(LOOPBACK.parse()?).await?, bind(LOOPBACK.parse()?).await?);
    let own = Issuer::loopback_http_for_tests(&format!("http://{}", public.local_addr()?))?;
    let audit = open_audit(&folder.join("audit.db"))?;
    let (app, _) =
        app(folder, own, &stack_names()?, (endpoint, issuer), audit.sink(), alone()?, KeyTables::on())?;
    Running::listen(app, audit, None, public, operator)
}
