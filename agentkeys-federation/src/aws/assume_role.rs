use std::sync::Arc;

use agentkeys_core::{AttestedIdentity, Clock, HttpClient, Random};

mod base;
mod error;
mod refusal;
mod session;

pub use base::BaseCredentials;
pub use error::AssumeError;
pub use session::AttributedSession;

use super::role::Region;
use super::sts::{Asked, Started, Sts};
use crate::credentials::AwsCredentials;
use crate::exchanger::ExchangeError;

/// `sts:AssumeRole` with a source identity, through aws-sdk-sts: starts a session of a tenant's role
/// ([`crate::SessionRole`]) that CloudTrail attributes on every call (R98).
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
///
/// The call is signed with [`BaseCredentials`] that the caller passes, and with nothing else: there are no
/// ambient ones (W70). It carries no tags of its own; the transitive tags of the base session go along by
/// themselves, which needs [`crate::SessionRole::for_tagged_caller`].
///
/// A session of plain IRSA or of EKS Pod Identity carries no source identity, and nothing in its
/// configuration can add one (R106): the SDK or EKS starts it. It can be attributed in two ways, from a token
/// with the claim ([`crate::RoleSession::with_source_identity`]) or from here, with the pod's credentials as
/// the base. Attribution does not contain: a workload that can still reach its first credentials can act
/// unattributed with them (W75).
///
/// Tries and times are those of [`crate::AwsExchanger`].
#[derive(Clone, Debug)]
pub struct SessionBroker(Sts);

impl SessionBroker {
    /// Assumes roles at the STS of `region`, over `http`.
    #[must_use]
    pub fn new(region: Region, http: Arc<dyn HttpClient>) -> Self {
        Self(Sts::new(region, http, None))
    }

    /// The same at another address: a VPC endpoint, a stand-in for tests.
    #[must_use]
    pub fn with_endpoint(region: Region, http: Arc<dyn HttpClient>, url: &str) -> Self {
        Self(Sts::new(region, http, Some(url)))
    }

    /// With another clock, to sign by and to check the identity and the answer's expiry by.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// With another source of the jitter between tries.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.0.random = random;
        self
    }

    /// Starts `session` for `identity`, signed with `base`.
    ///
    /// The identity must be current before and after. What the STS is bound to refuse, it is not asked:
    /// expired base credentials, a chained session of more than an hour, another source identity than the
    /// base session's own (R102).
    ///
    /// # Security
    /// That this source identity is this identity's is the caller's to know: the STS sees the base
    /// credentials and not who was attested. The role's trust policy is the second line, and holds a tenant
    /// to its own ([`crate::SourceIdentityPattern::tenant`]).
    ///
    /// # Errors
    /// [`AssumeError`]; never the credentials or the STS's own text.
    pub async fn assume(
        &self,
        identity: &AttestedIdentity,
        base: &BaseCredentials,
        session: &AttributedSession,
    ) -> Result<AwsCredentials, AssumeError> {
        let now = self.0.now()?;
        if !identity.is_current(now) {
            return Err(AssumeError::IdentityExpired);
        }
        if !base.is_current(now) {
            return Err(ExchangeError::BaseExpired.into());
        }
        if session.duration() > base.longest() {
            return Err(AssumeError::Duration);
        }
        if base.source_identity().is_some_and(|fixed| fixed.as_str() != session.source_identity().as_str()) {
            return Err(AssumeError::SourceIdentityFixed);
        }
        let name = session.name();
        let send = || {
            self.0
                .client
                .assume_role()
                .role_arn(session.role().as_str())
                .role_session_name(name.as_str())
                .source_identity(session.source_identity().as_str())
                .duration_seconds(session.duration().as_secs().cast_signed())
                .customize()
                .config_override(self.0.signing(base.to_sdk()))
                .send()
        };
        let answer = self.0.ask(refusal::of_code, send).await?;
        let now = self.0.now()?;
        if !identity.is_current(now) {
            return Err(AssumeError::IdentityEnded);
        }
        let asked = Asked {
            role: session.role(),
            name: &name,
            source_identity: Some(session.source_identity()),
            duration: session.duration(),
        };
        Ok(Started::from(answer).check(&asked, now)?)
    }
}
