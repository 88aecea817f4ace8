use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{
    AttestError, AttestedIdentity, Attestors, ClockError, ErrorKind, Evidence, RandomError, SessionError,
    Sessions, Token,
};

mod cloud;
mod tenant;

pub use tenant::{CredentialRequest, Tenant, TenantError, TenantPolicy};

use crate::audit::{AuditCode, AuditError, AuditId, AuditSink, Intent, MintPath, Refusal};
use crate::aws::{BaseCredentials, RoleSession, SessionBroker, SourceIdentityError};
use crate::cloud::CloudRole;
use crate::credentials::AwsCredentials;
use crate::exchanger::ExchangeError;
use crate::source::{CredentialCache, SourceError};

/// The whole way from evidence to credentials: the tenant's policy, the token, the row before the exchange,
/// the exchange, the check of its answer, the row after it, and only then the credentials.
///
/// Deny by default: a tenant without a policy and a class without a role are refused. Every refusal is in the
/// audit log; one that cannot be written there is [`BrokerError::Audit`].
///
/// Cloning gives another handle to the same broker.
///
/// ```
/// # use std::num::NonZeroUsize;
/// # use std::sync::Arc;
/// # use agentkeys_core::{Attestors, Evidence, HttpClient, Minter};
/// # use agentkeys_federation::{
/// #     AuditSink, AwsExchanger, Broker, CredentialCache, DataClass, Tenant, TenantPolicy,
/// # };
/// # async fn example(
/// #     attestors: Attestors, minter: Minter, http: Arc<dyn HttpClient>, audit: Arc<dyn AuditSink>,
/// #     evidence: Evidence,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let exchanger = Arc::new(AwsExchanger::new("us-east-1".parse()?, http));
/// let cache = CredentialCache::new(minter, exchanger, NonZeroUsize::new(10_000).unwrap());
/// let acme = TenantPolicy::new()
///     .with_role(DataClass::Memory, "arn:aws:iam::123456789012:role/acme-memory-role".parse()?)
///     .attributed();
/// let broker = Broker::new(attestors, cache, audit)
///     .with_tenant(Tenant::new("spiffe://example.org".parse()?, "acme".parse()?), acme)?;
///
/// let identity = broker.attest(&evidence).await?;
/// let credentials = broker.credentials(&identity, DataClass::Memory).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Broker {
    attestors: Attestors,
    sessions: Option<Sessions>,
    tenants: tenant::Tenants,
    cache: CredentialCache,
}

impl Broker {
    /// A broker without tenants, which refuses everybody. What `cache` obtains is written into `audit` from
    /// now on; it begins empty.
    #[must_use]
    pub fn new(attestors: Attestors, cache: CredentialCache, audit: Arc<dyn AuditSink>) -> Self {
        let cache = cache.with_audit(audit);
        Self { attestors, sessions: None, tenants: tenant::Tenants::default(), cache }
    }

    /// With a tenant's policy.
    ///
    /// # Errors
    /// [`TenantError`] where it does not go with those that are there.
    pub fn with_tenant(mut self, tenant: Tenant, policy: TenantPolicy) -> Result<Self, TenantError> {
        self.tenants.add(tenant, policy)?;
        Ok(self)
    }

    /// With sessions that agents show after they were attested once.
    #[must_use]
    pub fn with_sessions(mut self, sessions: Sessions) -> Self {
        self.sessions = Some(sessions);
        self
    }

    /// Appraises evidence.
    ///
    /// # Errors
    /// [`BrokerError::Attest`].
    pub async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, BrokerError> {
        match self.attestors.attest(evidence).await {
            Ok(identity) => Ok(identity),
            Err(error) => Err(self.refused(error.into(), |refusal| refusal).await),
        }
    }

    /// The identity of a session that was issued before.
    ///
    /// # Errors
    /// [`BrokerError::Session`], [`BrokerError::NoSessions`].
    pub async fn resume(&self, session: &str) -> Result<AttestedIdentity, BrokerError> {
        let verified = match &self.sessions {
            Some(sessions) => sessions.verify(session).await.map_err(BrokerError::from),
            None => Err(BrokerError::NoSessions),
        };
        match verified {
            Ok(identity) => Ok(identity),
            Err(error) => Err(self.refused(error, |refusal| refusal).await),
        }
    }

    /// Credentials for `identity`, exchanged now or kept from before; what is kept was written into the audit
    /// log when it was exchanged.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn credentials(
        &self,
        identity: &AttestedIdentity,
        request: impl Into<CredentialRequest>,
    ) -> Result<AwsCredentials, BrokerError> {
        let request = request.into();
        let key = request.key(identity);
        // under this key there is nothing but what this policy allowed
        if let Some(kept) = self.cache.kept(&key, identity) {
            return Ok(kept);
        }
        let session = self.session(identity, &request, MintPath::OidcJwtSts).await?;
        match self.cache.credentials_under(key, identity, &session).await {
            Ok(credentials) => Ok(credentials),
            Err(error) => {
                Err(self.without(error, identity, session.role().clone(), MintPath::OidcJwtSts).await)
            }
        }
    }

    /// The token alone, for a caller that exchanges it: a new one each time (R63).
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn token(
        &self,
        identity: &AttestedIdentity,
        request: impl Into<CredentialRequest>,
    ) -> Result<Token, BrokerError> {
        let session = self.session(identity, &request.into(), MintPath::OidcJwt).await?;
        match self.cache.obtain().release(identity, &session).await {
            Ok(token) => Ok(token),
            Err(error) => Err(self.without(error, identity, session.role().clone(), MintPath::OidcJwt).await),
        }
    }

    /// The other way of attribution: a session of the tenant's session role with the source identity
    /// `agent+<tenant>+<agent>`, started by `sessions` and signed with `base`: what
    /// [`Broker::credentials`] gave for this identity, or credentials of the host's own (R98). A new one each
    /// time.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn assume(
        &self,
        identity: &AttestedIdentity,
        sessions: &SessionBroker,
        base: &BaseCredentials,
    ) -> Result<AwsCredentials, BrokerError> {
        let path = Intent::path_of(base);
        let obtain = self.cache.obtain();
        let id = AuditId::generate(&*obtain.random)?;
        let about = |refusal: Refusal| refusal.with_identity(identity).with_path(path);
        let session = match self.tenants.attributed_session(identity, id) {
            Ok(session) => session,
            Err(error) => return Err(self.refused(error, about).await),
        };
        match obtain.assume(identity, sessions, base, &session).await {
            Ok(credentials) => Ok(credentials),
            Err(error) => Err(self.without(error, identity, session.role().clone(), path).await),
        }
    }

    /// Drops the credentials that are kept for this identity and request, after the
    /// [`crate::RevocationCheck`] began to refuse them ([`CredentialCache::forget`]).
    pub fn forget(&self, identity: &AttestedIdentity, request: impl Into<CredentialRequest>) {
        self.cache.forget(&request.into().key(identity));
    }

    async fn session(
        &self,
        identity: &AttestedIdentity,
        request: &CredentialRequest,
        path: MintPath,
    ) -> Result<RoleSession, BrokerError> {
        match self.tenants.session(identity, request) {
            Ok(session) => Ok(session),
            Err(error) => {
                Err(self.refused(error, |refusal| refusal.with_identity(identity).with_path(path)).await)
            }
        }
    }

    async fn without(
        &self,
        error: SourceError,
        identity: &AttestedIdentity,
        role: impl Into<CloudRole>,
        path: MintPath,
    ) -> BrokerError {
        // an exchange that failed has its two rows, and where there is no log nothing can be written into it
        if matches!(error, SourceError::Exchange(_) | SourceError::Assume(_) | SourceError::Audit(_)) {
            return error.into();
        }
        let about = |refusal: Refusal| refusal.with_identity(identity).with_path(path).with_role(role);
        self.refused(error.into(), about).await
    }

    /// The refusal, once it is written down.
    async fn refused(&self, error: BrokerError, about: impl FnOnce(Refusal) -> Refusal) -> BrokerError {
        match self.write_down(&error, about).await {
            Ok(()) => error,
            Err(unwritten) => unwritten,
        }
    }

    async fn write_down(
        &self,
        error: &BrokerError,
        about: impl FnOnce(Refusal) -> Refusal,
    ) -> Result<(), BrokerError> {
        let obtain = self.cache.obtain();
        let id = AuditId::generate(&*obtain.random)?;
        let refusal = about(Refusal::new(id, obtain.clock.now()?, AuditCode::of(error.code())));
        Ok(obtain.refusal(&refusal).await?)
    }
}

/// Why a broker gives nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The evidence.
    #[error("the evidence is refused")]
    Attest(#[from] AttestError),
    /// The tenant is attributed, and this agent cannot be (R109).
    #[error("the agent cannot be attributed")]
    Attribution(#[from] SourceIdentityError),
    /// A refusal that could not be written down.
    #[error("the audit log takes no row")]
    Audit(#[from] AuditError),
    /// The tenant has no role for this class of data.
    #[error("the tenant has no role for this class of data")]
    ClassNotAllowed,
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The tenant has no session role.
    #[error("the tenant has no session role")]
    NoSessionRole,
    /// This broker has no sessions.
    #[error("this broker has no sessions")]
    NoSessions,
    /// No name for a row of the audit log.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The session.
    #[error("the session is refused")]
    Session(#[from] SessionError),
    /// The credentials.
    #[error("there are no credentials")]
    Source(#[from] SourceError),
    /// No policy for this tenant.
    #[error("the tenant is not known here")]
    UnknownTenant,
}

impl BrokerError {
    /// What an embedder must know.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Attest(error) => error.kind(),
            Self::Audit(error) => error.kind(),
            Self::Clock(error) => error.kind(),
            Self::Random(error) => error.kind(),
            Self::Session(error) => error.kind(),
            Self::Source(error) => error.kind(),
            Self::ClassNotAllowed | Self::NoSessionRole | Self::UnknownTenant => ErrorKind::Denied,
            Self::Attribution(_) | Self::NoSessions => ErrorKind::Misconfigured,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Attest(error) => error.retry_after(),
            Self::Audit(error) => error.retry_after(),
            Self::Session(error) => error.retry_after(),
            Self::Source(error) => error.retry_after(),
            _ => self.kind().is_retryable().then_some(Duration::from_secs(1)),
        }
    }

    /// A stable code for logs and metrics; the audit log has the same.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Attest(error) => error.code(),
            Self::Attribution(_) => "attribution_impossible",
            Self::Audit(error) => error.code(),
            Self::ClassNotAllowed => "class_not_allowed",
            Self::Clock(_) => "clock",
            Self::NoSessionRole => "session_role_none",
            Self::NoSessions => "session_not_served",
            Self::Random(_) => "random",
            Self::Session(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::UnknownTenant => "tenant_unknown",
        }
    }

    /// The name in a host's answer: [`crate::ExchangeError::wire_name`] for every failed exchange (R65),
    /// otherwise the code.
    #[must_use]
    pub fn wire_name(&self) -> &'static str {
        match self {
            Self::Source(error) => error.of_sts().map_or_else(|| error.code(), ExchangeError::wire_name),
            error => error.code(),
        }
    }

    /// The HTTP status that goes with [`BrokerError::wire_name`].
    #[must_use]
    pub fn wire_status(&self) -> u16 {
        match self {
            Self::Source(error) => {
                error.of_sts().map_or_else(|| error.kind().http_status(), ExchangeError::wire_status)
            }
            error => error.kind().http_status(),
        }
    }
}
