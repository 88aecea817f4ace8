use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws_sts::AwsStsSource;
use agentkeys_core::{
    Clock, ClockError, ErrorKind, Evidence, EvidenceSource, Random, SourceError, SystemClock, SystemRandom,
    Timestamp,
};
use agentkeys_federation::{AwsCredentials, DataClass, MIN_LEFT, REFRESH_MARGIN};
use tokio::sync::{Notify, watch};

use super::client::{BrokerClient, BrokerError, BrokerSession};

/// Keeps one class's credentials fresh: gathers evidence, attests at the broker, gets credentials, and begins again
/// before they end.
///
/// One task does so ([`Keeper::run`]), so that never more than one attempt is under way. While the broker does not
/// answer, what is still good is served; who is refused has nothing any more. Cheap to clone.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    client: BrokerClient,
    prover: Prover,
    class: DataClass,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    notice: Box<dyn Fn(&str) + Send + Sync>,
    state: watch::Sender<State>,
    wanted: Notify,
}

#[derive(Clone, Debug, Default)]
struct State {
    held: Option<AwsCredentials>,
    /// Why the last attempt failed, and until when there is no other.
    failed: Option<(KeeperError, Timestamp)>,
}

/// What gathers the evidence.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Prover {
    /// A source that needs nothing of the broker.
    Source(Arc<dyn EvidenceSource>),
    /// One that signs the broker's challenge.
    Challenged(AwsStsSource),
}

impl Prover {
    async fn evidence(&self, client: &BrokerClient) -> Result<Evidence, KeeperError> {
        match self {
            Self::Source(source) => Ok(source.fetch().await?),
            Self::Challenged(source) => {
                let challenge = client.challenge().await?;
                Ok(source.fetch_with_challenge(&challenge).await?)
            }
        }
    }
}

impl Keeper {
    /// Keeps credentials of `class`; `notice` gets a line for the log each time that something changes.
    #[must_use]
    pub fn new(
        client: BrokerClient,
        prover: Prover,
        class: DataClass,
        notice: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        let (state, wanted, notice) = (watch::Sender::default(), Notify::new(), Box::new(notice));
        Self(Arc::new(Inner { client, prover, class, clock, random, notice, state, wanted }))
    }

    /// With another clock and another source of jitter.
    #[must_use]
    pub fn with_clock_and_random(self, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Self(Arc::new(Inner { clock, random, ..inner })),
            Err(shared) => Self(shared),
        }
    }

    /// Credentials with more than [`MIN_LEFT`] left: at once where there are some, otherwise as soon as the attempt
    /// that is under way ends, and no later than in [`PATIENCE`].
    ///
    /// # Errors
    /// [`KeeperError`]: what the last attempt failed with, until the next begins.
    pub async fn credentials(&self) -> Result<AwsCredentials, KeeperError> {
        let mut state = self.0.state.subscribe();
        let first = self.0.look(&state.borrow_and_update().clone())?;
        if let Some(found) = first {
            return found;
        }
        self.0.wanted.notify_one();
        let landed = async {
            while state.changed().await.is_ok() {
                let seen = state.borrow_and_update().clone();
                if let Some(found) = self.0.look(&seen)? {
                    return found;
                }
            }
            pending().await
        };
        tokio::time::timeout(PATIENCE, landed).await.unwrap_or(Err(KeeperError::Pending))
    }

    /// The same, but waits for as long as trying again may help, and for `most` at most.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn first_credentials(&self, most: Duration) -> Result<AwsCredentials, KeeperError> {
        let mut deadline = pin!(tokio::time::sleep(most));
        loop {
            let refused = match self.credentials().await {
                Err(refused) if refused.kind().is_retryable() => refused,
                outcome => return outcome,
            };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
                () = &mut deadline => return Err(refused),
            }
        }
    }

    /// One attempt, for who needs credentials once.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn obtain_once(&self) -> Result<AwsCredentials, KeeperError> {
        self.0.obtain(&mut None).await
    }

    /// Keeps them fresh until it is dropped.
    pub async fn run(self) {
        let (mut session, mut failures) = (None, 0);
        loop {
            let outcome = self.0.obtain(&mut session).await;
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            match self.0.land(outcome, failures) {
                Next::Renewal(after) => {
                    let mut due = pin!(tokio::time::sleep(after));
                    loop {
                        tokio::select! {
                            () = &mut due => break,
                            // the clock may run ahead of the timer: the machine slept
                            () = self.0.wanted.notified() => if !self.0.has_good() { break },
                        }
                    }
                }
                Next::Retry(after) => tokio::time::sleep(after).await,
            }
        }
    }
}

enum Next {
    Renewal(Duration),
    Retry(Duration),
}

impl Inner {
    /// What a state has for a caller now; nothing where he must wait.
    fn look(&self, state: &State) -> Result<Option<Result<AwsCredentials, KeeperError>>, KeeperError> {
        let now = self.clock.now()?;
        if let Some(held) = state.held.as_ref().filter(|held| is_good(held, now)) {
            return Ok(Some(Ok(held.clone())));
        }
        let standing = state.failed.as_ref().filter(|(_, until)| now < *until);
        Ok(standing.map(|(error, _)| Err(error.clone())))
    }

    fn has_good(&self) -> bool {
        matches!(self.look(&self.state.borrow()), Ok(Some(Ok(_))))
    }

    async fn obtain(&self, session: &mut Option<BrokerSession>) -> Result<AwsCredentials, KeeperError> {
        let now = self.clock.now()?;
        if let Some(kept) = session.as_ref().filter(|kept| now.plus(SESSION_LEFT) < kept.expires_at()) {
            match self.client.credentials(kept, self.class).await {
                // over before its time: the broker's key is another one
                Err(refused) if refused.kind() == ErrorKind::Invalid => {}
                outcome => return self.checked(outcome?),
            }
        }
        *session = None;
        let evidence = self.prover.evidence(&self.client).await?;
        let attested = session.insert(self.client.attest(&evidence).await?);
        let credentials = self.client.credentials(attested, self.class).await?;
        self.checked(credentials)
    }

    fn checked(&self, credentials: AwsCredentials) -> Result<AwsCredentials, KeeperError> {
        let good = is_good(&credentials, self.clock.now()?);
        if good { Ok(credentials) } else { Err(KeeperError::Over) }
    }

    fn land(&self, outcome: Result<AwsCredentials, KeeperError>, failures: u32) -> Next {
        let now = self.clock.now().unwrap_or(Timestamp::from_unix(0));
        match outcome {
            Ok(credentials) => {
                let left = credentials.expires_at().since(now);
                let early = REFRESH_MARGIN + self.random.jittered(SPREAD);
                let after = left.saturating_sub(early).max(left / 2).max(MIN_WAIT);
                let until = credentials.expires_at().as_unix();
                (self.notice)(&format!("credentials {} until {until}", credentials.access_key_id()));
                self.state.send_replace(State { held: Some(credentials), failed: None });
                Next::Renewal(after)
            }
            Err(error) => {
                let after = self.back_off(&error, failures);
                (self.notice)(&format!("{error} [{}]; again in {} s", error.code(), after.as_secs()));
                let kept = error.kind() == ErrorKind::Unavailable;
                self.state.send_modify(|state| {
                    state.held = state.held.take().filter(|_| kept);
                    state.failed = Some((error, now.plus(after)));
                });
                Next::Retry(after)
            }
        }
    }

    fn back_off(&self, error: &KeeperError, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX);
        let span = if error.kind().is_retryable() {
            MIN_WAIT.saturating_mul(doubled).min(MAX_BACK_OFF)
        } else {
            MAX_BACK_OFF
        };
        self.random.jittered(span).max(error.retry_after().unwrap_or_default())
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("client", &self.0.client)
            .field("class", &self.0.class)
            .field("state", &*self.0.state.borrow())
            .finish_non_exhaustive()
    }
}

fn is_good(credentials: &AwsCredentials, now: Timestamp) -> bool {
    now.plus(MIN_LEFT) < credentials.expires_at()
}

/// Why there are no credentials.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The evidence.
    #[error("there is no evidence: {0}")]
    Evidence(Arc<SourceError>),
    /// What the broker gave is over, or will be at once.
    #[error("the broker's credentials are over already")]
    Over,
    /// None yet.
    #[error("there are no credentials yet")]
    Pending,
}

impl From<SourceError> for KeeperError {
    fn from(error: SourceError) -> Self {
        Self::Evidence(Arc::new(error))
    }
}

impl KeeperError {
    /// What an embedder must know.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Broker(error) => error.kind(),
            Self::Clock(error) => error.kind(),
            Self::Evidence(error) => error.kind(),
            Self::Over | Self::Pending => ErrorKind::Unavailable,
        }
    }

    /// How long to wait before the next try, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Broker(error) => error.retry_after(),
            Self::Evidence(error) => error.retry_after(),
            Self::Clock(_) | Self::Over | Self::Pending => None,
        }
    }

    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Broker(error) => error.code(),
            Self::Clock(_) => "clock",
            Self::Evidence(_) => "evidence_unavailable",
            Self::Over => "credentials_over",
            Self::Pending => "credentials_pending",
        }
    }
}

/// How long a caller waits for an attempt that is under way: AWS's SDKs wait for two seconds.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// The longest time between two attempts.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// The shortest time between two attempts.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// By how much sidecars that began together are pulled apart.
const SPREAD: Duration = Duration::from_secs(60);
/// A session that ends sooner is not used any more.
const SESSION_LEFT: Duration = Duration::from_secs(10);
