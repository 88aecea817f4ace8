use std::sync::Arc;

use agentkeys_core::{Clock, HttpClient, Random, Token};
use async_trait::async_trait;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityOutput;

mod answer;
mod minio;
mod refusal;

pub use minio::MinioExchanger;

use super::role::{Region, RoleSession, RoleSessionName};
use super::sts::Sts;
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

/// `sts:AssumeRoleWithWebIdentity` through aws-sdk-sts: unsigned, with no credentials to sign with.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
///
/// The session's name is `ak-` and the token's `jti`, so CloudTrail joins to the audit row.
///
/// What may mend itself is tried again ([`ExchangeError::tries`]), after a wait that is drawn at random
/// between half and all of 200 ms, then of 400 ms; of 1 s and 2 s where the STS asks to slow down. All of it
/// together takes 20 seconds at most, and then the STS is [`ExchangeError::Unavailable`].
#[derive(Clone, Debug)]
pub struct AwsExchanger(Sts);

impl AwsExchanger {
    /// Exchanges at the STS of `region`, over `http`.
    #[must_use]
    pub fn new(region: Region, http: Arc<dyn HttpClient>) -> Self {
        Self(Sts::new(region, http, None))
    }

    /// The same at another address: a VPC endpoint, an S3-compatible server's STS, a stand-in for tests.
    #[must_use]
    pub fn with_endpoint(region: Region, http: Arc<dyn HttpClient>, url: &str) -> Self {
        Self(Sts::new(region, http, Some(url)))
    }

    /// With another clock, to check the answer's expiry by.
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
}

#[async_trait]
impl Exchanger for AwsExchanger {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        let name = RoleSessionName::of_token(token);
        let answer = ask(&self.0, token, target, &name, refusal::of_code).await?;
        let now = self.0.now().map_err(|_| ExchangeError::Unavailable)?;
        answer::check(answer, token, target, &name, now)
    }
}

async fn ask(
    sts: &Sts,
    token: &Token,
    target: &RoleSession,
    name: &RoleSessionName,
    of_code: fn(&str) -> Option<ExchangeError>,
) -> Result<AssumeRoleWithWebIdentityOutput, ExchangeError> {
    let send = || {
        sts.client
            .assume_role_with_web_identity()
            .role_arn(target.role().as_str())
            .role_session_name(name.as_str())
            .web_identity_token(token.expose())
            .duration_seconds(target.duration().as_secs().cast_signed())
            .send()
    };
    sts.ask(of_code, send).await
}
