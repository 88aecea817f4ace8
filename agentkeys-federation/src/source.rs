use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, Clock, ClockError, ErrorKind, MintError, Minter, Random};

use crate::audit::{AuditError, AuditSink};
use crate::aws::{AssumeError, RoleSession};
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

mod cache;
mod key;
mod obtain;
mod revocation;
mod slot;

pub use cache::CredentialCache;
pub(crate) use key::KeyParts;
pub use key::SessionKey;
pub(crate) use obtain::Obtain;
pub use revocation::{RevocationCheck, RevocationError};
use slot::Slot;
pub use slot::{MIN_LEFT, REFRESH_MARGIN, REFUSED_FOR};

/// Credentials of one role session for one identity: minted for, exchanged, kept, renewed.
///
/// Kept credentials are read without a lock. Concurrent callers share one exchange, and none of them takes
/// it away by giving up. It serves nothing past the identity's `not_after`, not even credentials that would
/// still work: attest again and build another. For many identities there is [`CredentialCache`], which keeps
/// the same rules.
#[derive(Clone, Debug)]
pub struct CredentialSource(Arc<Source>);

#[derive(Clone, Debug)]
struct Source {
    obtain: Arc<Obtain>,
    identity: AttestedIdentity,
    session: RoleSession,
    slot: Arc<Slot>,
}

impl CredentialSource {
    /// A source of `session` for `identity`.
    #[must_use]
    pub fn new(
        minter: Minter,
        exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
        identity: AttestedIdentity,
        session: RoleSession,
    ) -> Self {
        let obtain = Arc::new(Obtain::new(minter, exchanger));
        Self(Arc::new(Source { obtain, identity, session, slot: Arc::default() }))
    }

    /// An empty source with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.rebuilt(|obtain| obtain.clock = clock)
    }

    /// An empty source with another source of jitter.
    #[must_use]
    pub fn with_random(self, random: Arc<dyn Random>) -> Self {
        self.rebuilt(|obtain| obtain.random = random)
    }

    /// An empty source that asks `check` before every exchange.
    #[must_use]
    pub fn with_revocation(self, check: Arc<dyn RevocationCheck>) -> Self {
        self.rebuilt(|obtain| obtain.revocation = Some(check))
    }

    /// An empty source that writes each exchange into `audit`, before it and after it, and serves nothing whose
    /// rows are not durable (W56).
    #[must_use]
    pub fn with_audit(self, audit: Arc<dyn AuditSink>) -> Self {
        self.rebuilt(|obtain| obtain.audit = Some(audit))
    }

    /// Credentials with more than [`MIN_LEFT`] left. From [`REFRESH_MARGIN`] before their end on they are
    /// renewed in the background while the old ones are served.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn credentials(&self) -> Result<AwsCredentials, SourceError> {
        let source = &*self.0;
        source.slot.credentials(&source.obtain, &source.identity, &source.session).await
    }

    fn rebuilt(self, change: impl FnOnce(&mut Obtain)) -> Self {
        let mut source = Arc::unwrap_or_clone(self.0);
        change(Arc::make_mut(&mut source.obtain));
        source.slot = Arc::default();
        Self(Arc::new(source))
    }
}

/// Why there are no credentials. All who waited for one exchange get the same.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The assumption of a session role.
    #[error("the session role was not assumed")]
    Assume(#[from] AssumeError),
    /// A row of the audit log.
    #[error("the audit log takes no row")]
    Audit(#[from] AuditError),
    /// The cache is full of exchanges that are under way.
    #[error("too many exchanges are under way")]
    Busy,
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The exchange.
    #[error("the token was not exchanged")]
    Exchange(#[from] ExchangeError),
    /// The identity is past its `not_after`: attest again.
    #[error("the identity has expired: attest again")]
    IdentityExpired,
    /// The exchange ended without an outcome.
    #[error("the exchange was broken off")]
    Interrupted,
    /// The token.
    #[error("no token was minted")]
    Mint(#[source] Arc<MintError>),
    /// Called outside of a tokio runtime.
    #[error("there is no tokio runtime to exchange in")]
    NoRuntime,
    /// The [`RevocationCheck`].
    #[error("the identity gets no credentials")]
    Revocation(#[from] RevocationError),
    /// The identity's subject is longer than this cloud takes.
    #[error("the cloud takes no subject of this length")]
    Subject,
    /// No outcome in time.
    #[error("no credentials could be had in time")]
    Timeout,
}

impl SourceError {
    /// What an embedder must know.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Assume(error) => error.kind(),
            Self::Audit(error) => error.kind(),
            Self::Busy | Self::Interrupted | Self::Timeout => ErrorKind::Unavailable,
            Self::Clock(error) => error.kind(),
            Self::Exchange(error) => error.kind(),
            Self::IdentityExpired => ErrorKind::Invalid,
            Self::Mint(error) => error.kind(),
            Self::NoRuntime | Self::Subject => ErrorKind::Misconfigured,
            Self::Revocation(error) => error.kind(),
        }
    }

    /// What the STS refused with, or how its answer does not fit.
    pub(crate) const fn of_sts(&self) -> Option<ExchangeError> {
        match self {
            Self::Exchange(error) | Self::Assume(AssumeError::Sts(error)) => Some(*error),
            _ => None,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Assume(error) => error.retry_after(),
            Self::Audit(error) => error.retry_after(),
            Self::Exchange(error) => error.retry_after(),
            Self::Mint(error) => error.retry_after(),
            _ => self.kind().is_retryable().then_some(Duration::from_secs(1)),
        }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Assume(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Busy => "source_busy",
            Self::Clock(_) => "source_clock",
            Self::Exchange(error) => error.code(),
            Self::IdentityExpired => "source_identity_expired",
            Self::Interrupted => "source_interrupted",
            Self::Mint(error) => error.code(),
            Self::NoRuntime => "source_no_runtime",
            Self::Revocation(RevocationError::Revoked) => "source_revoked",
            Self::Revocation(RevocationError::Unavailable) => "source_revocation_unavailable",
            Self::Subject => "source_subject",
            Self::Timeout => "source_timeout",
        }
    }
}

impl From<MintError> for SourceError {
    fn from(error: MintError) -> Self {
        match error {
            MintError::Expired => Self::IdentityExpired,
            error => Self::Mint(Arc::new(error)),
        }
    }
}
