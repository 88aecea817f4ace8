//! `AssumeRoleWithOIDC` of Alibaba Cloud's STS.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{
    AttestedIdentity, Clock, HttpClient, HttpRequest, MintRequest, Random, Timestamp, Token, TokenLifetime,
};
use async_trait::async_trait;

mod answer;
mod credentials;
mod names;

pub use credentials::AlibabaCredentials;
pub use names::{AlibabaError, AlibabaProviderArn, AlibabaRoleArn, AlibabaSts};

use crate::audit::{AuditId, MintPath};
use crate::aws::SessionDuration;
use crate::broker::TenantPolicy;
use crate::cloud::{Caller, ClientId, CloudRole, Federated, form, post_form, written};
use crate::data_class::DataClass;
use crate::exchanger::{CLOCK_TOLERANCE, ExchangeError, Exchanger};
use crate::source::SourceError;

/// What is wanted of Alibaba Cloud for an agent: the RAM role, the OIDC provider that vouches for our tokens
/// there, the client ID that they are for, how long.
///
/// Alibaba Cloud reads no session tags: all agents who may become the role can do the same with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlibabaSession {
    role: AlibabaRoleArn,
    provider: AlibabaProviderArn,
    client_id: ClientId,
    duration: SessionDuration,
    token_lifetime: TokenLifetime,
}

impl AlibabaSession {
    /// A session of `role`, for [`SessionDuration::MIN`].
    #[must_use]
    pub const fn new(role: AlibabaRoleArn, provider: AlibabaProviderArn, client_id: ClientId) -> Self {
        let (duration, token_lifetime) = (SessionDuration::MIN, TokenLifetime::DEFAULT);
        Self { role, provider, client_id, duration, token_lifetime }
    }

    /// With another duration. The role's `MaxSessionDuration` may allow less than [`SessionDuration::MAX`].
    #[must_use]
    pub const fn with_duration(mut self, duration: SessionDuration) -> Self {
        self.duration = duration;
        self
    }

    /// With a token of another lifetime. It is exchanged for [`ALIBABA_TOKEN_AGE`] at most.
    #[must_use]
    pub const fn with_token_lifetime(mut self, lifetime: TokenLifetime) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> &AlibabaRoleArn {
        &self.role
    }

    /// What to mint: a token for the client ID.
    #[must_use]
    pub fn mint_request(&self) -> MintRequest {
        MintRequest::new(self.client_id.audience().clone()).with_lifetime(self.token_lifetime)
    }
}

impl Federated for AlibabaSession {
    type Credentials = AlibabaCredentials;
    const PATH: MintPath = MintPath::OidcJwtAlibaba;
    const NAMED: bool = true;

    fn request(&self, _identity: &AttestedIdentity) -> Result<MintRequest, SourceError> {
        Ok(self.mint_request())
    }

    fn cloud_role(&self) -> CloudRole {
        CloudRole::Alibaba(self.role.clone())
    }

    fn lasts(&self) -> SessionDuration {
        self.duration
    }

    fn told(credentials: &AlibabaCredentials) -> (Timestamp, Option<&str>) {
        (credentials.expires_at(), Some(credentials.access_key_id()))
    }

    fn allowed(policy: &TenantPolicy, class: DataClass) -> Option<&Self> {
        policy.alibaba(class)
    }
}

/// `AssumeRoleWithOIDC`, unsigned, with no credentials to sign with.
/// <https://www.alibabacloud.com/help/en/ram/api-assumerolewithoidc>
///
/// The session's name is `ak-` and the token's `jti`, so ActionTrail joins to the audit row. The token is in the
/// body and not in the URL. A token of more than [`ALIBABA_TOKEN_AGE`] is not sent, whatever its expiry:
/// [`ExchangeError::TokenExpired`], mint again.
///
/// Tries and times are those of [`crate::AwsExchanger`].
#[derive(Clone, Debug)]
pub struct AlibabaExchanger {
    caller: Caller,
    url: String,
}

impl AlibabaExchanger {
    /// Exchanges at this STS, over `http`.
    #[must_use]
    pub fn new(sts: &AlibabaSts, http: Arc<dyn HttpClient>) -> Self {
        Self::with_endpoint(http, &format!("https://{}/", sts.host()))
    }

    /// The same at another address: a stand-in for tests.
    #[must_use]
    pub fn with_endpoint(http: Arc<dyn HttpClient>, url: &str) -> Self {
        Self { caller: Caller::new(http), url: url.to_owned() }
    }

    /// With another clock, to date requests by and to check ages and ends by.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.caller.clock = clock;
        self
    }

    /// With another source of the jitter between tries.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.caller.random = random;
        self
    }

    fn request(
        &self,
        token: &Token,
        name: &AuditId,
        target: &AlibabaSession,
    ) -> Result<HttpRequest, ExchangeError> {
        let at = written(self.caller.now()?)?;
        let query = form(&[
            ("Action", "AssumeRoleWithOIDC"),
            ("Format", "JSON"),
            ("Timestamp", &at),
            ("Version", "2015-04-01"),
        ]);
        let duration = target.duration.as_secs().to_string();
        let fields = [
            ("DurationSeconds", duration.as_str()),
            ("OIDCProviderArn", target.provider.as_str()),
            ("OIDCToken", token.expose()),
            ("RoleArn", target.role.as_str()),
            ("RoleSessionName", name.as_str()),
        ];
        Ok(post_form(&format!("{}?{query}", self.url), &fields))
    }
}

#[async_trait]
impl Exchanger for AlibabaExchanger {
    type Target = AlibabaSession;
    type Credentials = AlibabaCredentials;

    async fn exchange(
        &self,
        token: &Token,
        target: &AlibabaSession,
    ) -> Result<AlibabaCredentials, ExchangeError> {
        let sent = self.caller.sendable(token, target.client_id.audience())?;
        if self.caller.now()?.since(Timestamp::from_unix(sent.iat)) > ALIBABA_TOKEN_AGE {
            return Err(ExchangeError::TokenExpired);
        }
        let name = AuditId::of_token(token);
        let asked = || async {
            let answer = self.caller.send(self.request(token, &name, target)?).await?;
            answer::read(&answer)
        };
        let started = self.caller.ask(asked).await?;
        started.check(&sent, target, &name, self.caller.now()?)
    }
}

/// How old a token may be that is sent to Alibaba Cloud, counted from its `iat`: 55 minutes.
///
/// A provider refuses tokens that were issued longer ago than its `IssuanceLimitTime`, which is an hour at
/// least, by a clock that may be five minutes before ours.
/// <https://www.alibabacloud.com/help/en/ros/developer-reference/aliyun-ram-oidcprovider>
pub const ALIBABA_TOKEN_AGE: Duration = LEAST_ISSUANCE_LIMIT.saturating_sub(CLOCK_TOLERANCE);

const LEAST_ISSUANCE_LIMIT: Duration = Duration::from_secs(3600);
