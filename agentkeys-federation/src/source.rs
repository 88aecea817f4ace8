use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, Clock, ClockError, ErrorKind, MintError, Minter, SystemClock};
use tokio::sync::Mutex;

use crate::aws::RoleSession;
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

/// Credentials of one role session for one identity: minted for, exchanged, kept until shortly before
/// their end. Concurrent callers share one exchange.
///
/// It serves nothing past the identity's `not_after`, not even credentials that would still work: attest
/// again and build another.
#[derive(Clone, Debug)]
pub struct CredentialSource(Arc<Source>);

#[derive(Debug)]
struct Source {
    minter: Minter,
    exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
    identity: AttestedIdentity,
    session: RoleSession,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<AwsCredentials>>,
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
        Self::with_clock(minter, exchanger, identity, session, Arc::new(SystemClock::new()))
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(
        minter: Minter,
        exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
        identity: AttestedIdentity,
        session: RoleSession,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Source { minter, exchanger, identity, session, clock, kept: Mutex::new(None) }))
    }

    /// Credentials with more than [`REFRESH_MARGIN`] left.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn credentials(&self) -> Result<AwsCredentials, SourceError> {
        let source = &*self.0;
        let mut kept = source.kept.lock().await;
        let now = source.clock.now()?;
        if !source.identity.is_current(now) {
            *kept = None;
            return Err(SourceError::Mint(MintError::Expired));
        }
        if let Some(credentials) = &*kept
            && now.plus(REFRESH_MARGIN) < credentials.expires_at()
        {
            return Ok(credentials.clone());
        }
        let token = source.minter.mint(&source.identity, source.session.mint_request()?).await?;
        let credentials = source.exchanger.exchange(&token, &source.session).await?;
        *kept = Some(credentials.clone());
        Ok(credentials)
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The exchange.
    #[error("the token was not exchanged")]
    Exchange(#[from] ExchangeError),
    /// The token.
    #[error("no token was minted")]
    Mint(#[from] MintError),
}

impl SourceError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Clock(error) => error.kind(),
            Self::Exchange(error) => error.kind(),
            Self::Mint(error) => error.kind(),
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Clock(_) => None,
            Self::Exchange(error) => error.retry_after(),
            Self::Mint(error) => error.retry_after(),
        }
    }
}

/// Credentials are renewed when less than this is left: AWS SDKs renew within the last five minutes.
pub const REFRESH_MARGIN: Duration = Duration::from_secs(300);
