//! Google Cloud's workload identity federation: RFC 8693 token exchange, then a service account's token.

use std::sync::Arc;

use agentkeys_core::{
    AttestedIdentity, Clock, HttpClient, HttpRequest, MintRequest, Random, Secret, Timestamp, Token,
    TokenLifetime,
};
use async_trait::async_trait;

mod answer;
mod credentials;
mod names;

pub use credentials::GcpAccessToken;
pub use names::{GcpError, GcpProvider, GcpScope, GcpServiceAccount, MAX_GCP_SUBJECT};

use crate::audit::MintPath;
use crate::aws::SessionDuration;
use crate::broker::TenantPolicy;
use crate::cloud::{Caller, CloudRole, Federated, post_form, post_json};
use crate::data_class::DataClass;
use crate::exchanger::{ExchangeError, Exchanger};
use crate::source::SourceError;

/// What is wanted of Google Cloud for an agent: the service account, the provider of a workload identity pool
/// that vouches for our tokens there, the scopes, how long.
///
/// The token's audience is the provider itself, which is what a provider without allowed audiences asks for,
/// so it is good at this provider alone. The provider maps `google.subject` to `assertion.sub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpSession {
    account: GcpServiceAccount,
    provider: GcpProvider,
    scopes: Vec<GcpScope>,
    duration: SessionDuration,
    token_lifetime: TokenLifetime,
}

impl GcpSession {
    /// A token of `account` for `scope`, for [`SessionDuration::MIN`].
    #[must_use]
    pub fn new(account: GcpServiceAccount, provider: GcpProvider, scope: GcpScope) -> Self {
        let (duration, token_lifetime) = (SessionDuration::MIN, TokenLifetime::DEFAULT);
        Self { account, provider, scopes: vec![scope], duration, token_lifetime }
    }

    /// With one more scope.
    #[must_use]
    pub fn with_scope(mut self, scope: GcpScope) -> Self {
        self.scopes.push(scope);
        self
    }

    /// With another duration. More than [`SessionDuration::MAX_CHAINED`], an hour, needs the organization policy
    /// `iam.allowServiceAccountCredentialLifetimeExtension`.
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

    /// The service account.
    #[must_use]
    pub const fn account(&self) -> &GcpServiceAccount {
        &self.account
    }

    /// What to mint: a token for the provider.
    ///
    /// # Errors
    /// [`GcpError::Subject`] for an identity whose subject Google Cloud would refuse.
    pub fn mint_request(&self, identity: &AttestedIdentity) -> Result<MintRequest, GcpError> {
        if identity.subject().as_str().len() > MAX_GCP_SUBJECT {
            return Err(GcpError::Subject);
        }
        Ok(MintRequest::new(self.provider.audience().clone()).with_lifetime(self.token_lifetime))
    }
}

impl Federated for GcpSession {
    type Credentials = GcpAccessToken;
    const PATH: MintPath = MintPath::OidcJwtGcp;
    const NAMED: bool = false;

    fn request(&self, identity: &AttestedIdentity) -> Result<MintRequest, SourceError> {
        self.mint_request(identity).map_err(|_| SourceError::Subject)
    }

    fn cloud_role(&self) -> CloudRole {
        CloudRole::Gcp(self.account.clone())
    }

    fn lasts(&self) -> SessionDuration {
        self.duration
    }

    fn told(credentials: &GcpAccessToken) -> (Timestamp, Option<&str>) {
        (credentials.expires_at(), None)
    }

    fn allowed(policy: &TenantPolicy, class: DataClass) -> Option<&Self> {
        policy.gcp(class)
    }
}

/// The exchange at `sts.googleapis.com` (RFC 8693), without an `Authorization` header, and
/// `generateAccessToken` with the federated token that it gives.
/// <https://docs.cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>,
/// <https://docs.cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
///
/// The federated token has the one scope that the second call needs, and is given to nobody: how long it lives
/// is Google's choice, and what it opens is not bound to our scopes.
///
/// Tries and times are those of [`crate::AwsExchanger`], for both calls together.
#[derive(Clone, Debug)]
pub struct GcpExchanger {
    caller: Caller,
    sts_url: String,
    credentials_url: String,
}

impl GcpExchanger {
    /// Exchanges over `http`.
    #[must_use]
    pub fn new(http: Arc<dyn HttpClient>) -> Self {
        Self::with_endpoints(http, "https://sts.googleapis.com/", "https://iamcredentials.googleapis.com/")
    }

    /// The same at other addresses, each with a slash at its end: regional ones, stand-ins for tests.
    #[must_use]
    pub fn with_endpoints(http: Arc<dyn HttpClient>, sts: &str, credentials: &str) -> Self {
        Self { caller: Caller::new(http), sts_url: sts.to_owned(), credentials_url: credentials.to_owned() }
    }

    /// With another clock, to check ends by.
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

    fn federation(&self, token: &Token, target: &GcpSession) -> HttpRequest {
        let fields = [
            ("audience", target.provider.as_str()),
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", ACCESS_TOKEN),
            ("scope", IAM_SCOPE),
            ("subject_token", token.expose()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        post_form(&format!("{}v1/token", self.sts_url), &fields)
    }

    fn impersonation(&self, federated: &Secret, target: &GcpSession) -> HttpRequest {
        let (base, account) = (&self.credentials_url, &target.account);
        let url = format!("{base}v1/projects/-/serviceAccounts/{account}:generateAccessToken");
        let scopes: Vec<_> = target.scopes.iter().map(GcpScope::as_str).collect();
        let body = serde_json::json!({
            "lifetime": format!("{}s", target.duration.as_secs()),
            "scope": scopes,
        });
        post_json(&url, &body).with_header("authorization", format!("Bearer {}", federated.expose()))
    }
}

#[async_trait]
impl Exchanger for GcpExchanger {
    type Target = GcpSession;
    type Credentials = GcpAccessToken;

    async fn exchange(&self, token: &Token, target: &GcpSession) -> Result<GcpAccessToken, ExchangeError> {
        let sent = self.caller.sendable(token, target.provider.audience())?;
        if sent.sub.len() > MAX_GCP_SUBJECT {
            return Err(ExchangeError::TokenInvalid);
        }
        let asked = || async {
            let federated = self.caller.send(self.federation(token, target)).await?;
            let federated = answer::federated(&federated)?;
            let answer = self.caller.send(self.impersonation(&federated, target)).await?;
            answer::access_token(&answer)
        };
        self.caller.ask(asked).await?.check(target.duration, self.caller.now()?)
    }
}

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What the federated token may be used for.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
