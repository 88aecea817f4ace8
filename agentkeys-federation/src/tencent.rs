//! `AssumeRoleWithWebIdentity` of Tencent Cloud's STS.

use std::sync::Arc;

use agentkeys_core::{
    AttestedIdentity, Clock, HttpClient, HttpRequest, MintRequest, Random, Timestamp, Token, TokenLifetime,
};
use async_trait::async_trait;

mod answer;
mod credentials;
mod identity_key;
mod names;

pub use credentials::TencentCredentials;
pub use identity_key::TencentIdentityKey;
pub use names::{TencentError, TencentProviderName, TencentRegion, TencentRoleArn};

use crate::audit::{AuditId, MintPath};
use crate::aws::SessionDuration;
use crate::broker::TenantPolicy;
use crate::cloud::{Caller, ClientId, CloudRole, Federated, post_json};
use crate::data_class::DataClass;
use crate::exchanger::{ExchangeError, Exchanger};
use crate::source::SourceError;

/// What is wanted of Tencent Cloud for an agent: the CAM role, the OIDC provider that vouches for our tokens
/// there, the client ID that they are for, how long.
///
/// Tencent Cloud reads no session tags: all agents who may become the role can do the same with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TencentSession {
    role: TencentRoleArn,
    provider: TencentProviderName,
    client_id: ClientId,
    duration: SessionDuration,
    token_lifetime: TokenLifetime,
}

impl TencentSession {
    /// A session of `role`, for [`SessionDuration::MIN`]: Tencent Cloud's own default of two hours is never
    /// left to it.
    #[must_use]
    pub const fn new(role: TencentRoleArn, provider: TencentProviderName, client_id: ClientId) -> Self {
        let (duration, token_lifetime) = (SessionDuration::MIN, TokenLifetime::DEFAULT);
        Self { role, provider, client_id, duration, token_lifetime }
    }

    /// With another duration.
    #[must_use]
    pub const fn with_duration(mut self, duration: SessionDuration) -> Self {
        self.duration = duration;
        self
    }

    /// With a token of another lifetime: how long it can be exchanged.
    #[must_use]
    pub const fn with_token_lifetime(mut self, lifetime: TokenLifetime) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> &TencentRoleArn {
        &self.role
    }

    /// What to mint: a token for the client ID.
    #[must_use]
    pub fn mint_request(&self) -> MintRequest {
        MintRequest::new(self.client_id.audience().clone()).with_lifetime(self.token_lifetime)
    }
}

impl Federated for TencentSession {
    type Credentials = TencentCredentials;
    const PATH: MintPath = MintPath::OidcJwtTencent;
    const NAMED: bool = true;

    fn request(&self, _identity: &AttestedIdentity) -> Result<MintRequest, SourceError> {
        Ok(self.mint_request())
    }

    fn cloud_role(&self) -> CloudRole {
        CloudRole::Tencent(self.role.clone())
    }

    fn lasts(&self) -> SessionDuration {
        self.duration
    }

    fn told(credentials: &TencentCredentials) -> (Timestamp, Option<&str>) {
        (credentials.expires_at(), Some(credentials.secret_id()))
    }

    fn allowed(policy: &TenantPolicy, class: DataClass) -> Option<&Self> {
        policy.tencent(class)
    }
}

/// `AssumeRoleWithWebIdentity`, with `Authorization: SKIP` where a signature would stand.
/// <https://cloud.tencent.com/document/product/1312/73070>
///
/// The session's name is `ak-` and the token's `jti`. The answer names neither the role nor the session: that
/// it is for what was asked rests on TLS alone.
///
/// Tries and times are those of [`crate::AwsExchanger`]. Tencent Cloud takes 20 of these calls a second.
#[derive(Clone, Debug)]
pub struct TencentExchanger {
    caller: Caller,
    region: TencentRegion,
    url: String,
}

impl TencentExchanger {
    /// Exchanges in `region`, over `http`.
    #[must_use]
    pub fn new(region: TencentRegion, http: Arc<dyn HttpClient>) -> Self {
        Self::with_endpoint(region, http, "https://sts.tencentcloudapi.com/")
    }

    /// The same at another address: that of the international site, of a private network, a stand-in for tests.
    #[must_use]
    pub fn with_endpoint(region: TencentRegion, http: Arc<dyn HttpClient>, url: &str) -> Self {
        Self { caller: Caller::new(http), region, url: url.to_owned() }
    }

    /// With another clock, to date requests by and to check ends by.
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
        target: &TencentSession,
    ) -> Result<HttpRequest, ExchangeError> {
        let body = serde_json::json!({
            "DurationSeconds": target.duration.as_secs(),
            "ProviderId": target.provider.as_str(),
            "RoleArn": target.role.as_str(),
            "RoleSessionName": name.as_str(),
            "WebIdentityToken": token.expose(),
        });
        let at = self.caller.now()?.as_unix().to_string();
        Ok(post_json(&self.url, &body)
            // not a signature: the word that says that there is none
            .with_header("authorization", "SKIP")
            .with_header("x-tc-action", "AssumeRoleWithWebIdentity")
            .with_header("x-tc-region", self.region.as_str())
            .with_header("x-tc-timestamp", at)
            .with_header("x-tc-version", "2018-08-13"))
    }
}

#[async_trait]
impl Exchanger for TencentExchanger {
    type Target = TencentSession;
    type Credentials = TencentCredentials;

    async fn exchange(
        &self,
        token: &Token,
        target: &TencentSession,
    ) -> Result<TencentCredentials, ExchangeError> {
        self.caller.sendable(token, target.client_id.audience())?;
        let name = AuditId::of_token(token);
        let asked = || async {
            let answer = self.caller.send(self.request(token, &name, target)?).await?;
            answer::read(&answer)
        };
        let started = self.caller.ask(asked).await?;
        started.check(target.duration, self.caller.now()?)
    }
}
