use std::sync::Arc;

use agentkeys_core::{Clock, HttpClient, Random, Token};
use async_trait::async_trait;

use super::{answer, ask, refusal};
use crate::aws::role::{Region, RoleSession, RoleSessionName};
use crate::aws::sts::Sts;
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

/// `AssumeRoleWithWebIdentity` at MinIO, which does not look at the role that is asked for: a claim of the token
/// names the policy. Let that be the claim which pins the token to its role
/// (`MINIO_IDENTITY_OPENID_CLAIM_NAME=https://aws.amazon.com/roles`), and give each policy its role's ARN for a name.
/// <https://github.com/minio/minio/blob/master/docs/sts/web-identity.md>
///
/// Its answer names neither role nor session. So the token must name this role and no other before it is sent,
/// and the answer must be for the token's subject; the rest is as [`crate::AwsExchanger`] does it.
///
/// A session with a source identity is [`ExchangeError::Refused`]: MinIO would drop it. What else MinIO does not
/// check is for whoever sets it up; the project's page of limits says what that is.
#[derive(Clone, Debug)]
pub struct MinioExchanger(Sts);

impl MinioExchanger {
    /// Exchanges at the server at `url`, whose region this is.
    #[must_use]
    pub fn new(region: Region, http: Arc<dyn HttpClient>, url: &str) -> Self {
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
impl Exchanger for MinioExchanger {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        if target.source_identity().is_some() {
            return Err(ExchangeError::Refused);
        }
        if !answer::is_for(token, target.role()) {
            return Err(ExchangeError::TokenInvalid);
        }
        let name = RoleSessionName::of_token(token);
        let answer = ask(&self.0, token, target, &name, of_code).await?;
        let now = self.0.now().map_err(|_| ExchangeError::Unavailable)?;
        answer::check_subject(answer, token, target, &name, now)
    }
}

/// MinIO says this of every token that it does not take, an expired one included.
fn of_code(code: &str) -> Option<ExchangeError> {
    if code == "InvalidParameterValue" { Some(ExchangeError::TokenInvalid) } else { refusal::of_code(code) }
}
