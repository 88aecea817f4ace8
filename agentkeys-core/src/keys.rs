use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{ClockError, Timestamp};
use crate::error::ErrorKind;
use crate::http::HttpError;
use crate::jose::{KeyId, KeySet, KeySetError};

mod cache;
mod ring;

pub use cache::{CacheAges, CacheHealth, JwksCache, MAX_BACK_OFF, MAX_SOFT_AGE, MIN_SOFT_AGE};
pub use ring::{
    JwksDocument, KeyRing, KeyRingError, KeyState, MAX_KEY_FILE_BYTES, MAX_RING_KEYS, Oidc, PublishedJwks,
    Purpose, RingKey, RotationTimes, Session,
};

/// One issuer's keys, as they are now.
///
/// # Contract
/// [`KeySource::read`] never blocks, waits or fetches: it borrows what is there. [`KeySource::refresh`]
/// may fetch, keeps its own limits on how often it does, and lets concurrent callers share one fetch.
/// A source belongs to one issuer and is never merged with another's (L16).
///
/// # Security
/// Every key in the snapshot can sign as the issuer. Keys come from configuration or from the issuer's
/// own https address, never from anything that a token says (L10). A snapshot too old to trust is an
/// error, not an answer (L28).
///
/// # Errors
/// [`KeyError`]: `Unavailable` where no set is fresh enough, so that nobody is told that a good token is
/// bad because its issuer is down.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync {
    /// Borrows the current set.
    fn read(&self, now: Timestamp) -> Result<KeySnapshot<'_>, KeyError>;

    /// Tries to get a newer set, because `reason`. Whether anything changed is seen by reading again;
    /// [`KeyError::Unchanged`] spares the reader of a [`RefreshReason::WrongSignature`] that.
    async fn refresh(&self, reason: RefreshReason) -> Result<(), KeyError>;
}

/// Why a reader asks for a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshReason {
    /// There is no set yet, or it is too old.
    Stale,
    /// A well-formed token names this key, or needs one without naming it, and the set does not have it.
    UnknownKey(Option<KeyId>),
    /// The set's key does not fit the signature of a well-formed token: forged, or the issuer has put
    /// another key under the same name, as AWS may under `RSA_0`.
    WrongSignature,
}

/// A borrowed, immutable key set.
#[derive(Debug)]
pub struct KeySnapshot<'s>(Held<'s>);

#[derive(Debug)]
enum Held<'s> {
    Borrowed(&'s KeySet),
    Shared(Arc<KeySet>),
    Guarded(arc_swap::Guard<Option<Arc<cache::Fetched>>>),
}

impl<'s> KeySnapshot<'s> {
    /// A set that the source holds for as long as itself.
    #[must_use]
    pub const fn borrowed(keys: &'s KeySet) -> Self {
        Self(Held::Borrowed(keys))
    }

    /// A set that the source may replace while this one is still read.
    #[must_use]
    pub const fn shared(keys: Arc<KeySet>) -> Self {
        Self(Held::Shared(keys))
    }
}

impl Deref for KeySnapshot<'_> {
    type Target = KeySet;

    fn deref(&self) -> &KeySet {
        static NONE: std::sync::LazyLock<KeySet> = std::sync::LazyLock::new(KeySet::default);
        match &self.0 {
            Held::Borrowed(keys) => keys,
            Held::Shared(keys) => keys,
            Held::Guarded(guard) => guard.as_ref().map_or(&*NONE, |fetched| &fetched.keys),
        }
    }
}

/// Keys that the host configured: never fetched, never refreshed.
#[derive(Clone, Debug)]
pub struct StaticKeys(KeySet);

impl StaticKeys {
    /// These keys.
    #[must_use]
    pub const fn new(keys: KeySet) -> Self {
        Self(keys)
    }
}

#[async_trait]
impl KeySource for StaticKeys {
    fn read(&self, _now: Timestamp) -> Result<KeySnapshot<'_>, KeyError> {
        Ok(KeySnapshot::borrowed(&self.0))
    }

    async fn refresh(&self, reason: RefreshReason) -> Result<(), KeyError> {
        if reason == RefreshReason::WrongSignature { Err(KeyError::Unchanged) } else { Ok(()) }
    }
}

/// Why an issuer's keys cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The discovery document is not one, or speaks for another issuer.
    #[error("the issuer's discovery document is refused: {0}")]
    Discovery(&'static str),
    /// The issuer could not be reached.
    #[error("the issuer's keys cannot be fetched")]
    Http(#[source] Arc<HttpError>),
    /// The key set is refused as a whole.
    #[error("the issuer's key set is refused")]
    KeySet(#[source] KeySetError),
    /// The issuer answered with a status that is not 200.
    #[error("the issuer answered with status {0}")]
    Status(u16),
    /// There is no set, or the last one is too old to be trusted.
    #[error("no key set of the issuer is fresh enough")]
    Stale {
        /// How long to wait before the next try.
        retry_after: Duration,
    },
    /// The source has no newer set and will not look for one now.
    #[error("the issuer's keys are still the same")]
    Unchanged,
}

impl KeyError {
    /// What an embedder must know. All but the clock and the host's own HTTP settings may mend
    /// themselves on the issuer's side, so they are [`ErrorKind::Unavailable`]; none says that the token
    /// is bad.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Clock(error) => error.kind(),
            Self::Http(error) => error.kind(),
            Self::Discovery(_) | Self::KeySet(_) | Self::Stale { .. } | Self::Status(_) | Self::Unchanged => {
                ErrorKind::Unavailable
            }
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Stale { retry_after } => Some(*retry_after),
            _ => self.kind().is_retryable().then_some(Duration::from_secs(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn static_keys_spare_a_forgery_its_second_check() {
        let keys = StaticKeys::new(KeySet::default());
        assert!(matches!(keys.refresh(RefreshReason::WrongSignature).await, Err(KeyError::Unchanged)));
        assert!(keys.refresh(RefreshReason::UnknownKey(None)).await.is_ok());
    }
}
