use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, Weighter};
use serde::de::DeserializeOwned;

use super::{Signer, VerifiedToken, Verifier, VerifyError};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// A [`Verifier`] that remembers the tokens that it accepted, for services that see the same token many times.
///
/// A token is found only when it is the same to the last byte, and what is remembered is given only
/// - while the clock says so: from the moment it was verified until its `exp`, the verifier's maximum age, and
///   [`MAX_TOKEN_CACHE_AGE`] at most; the clock is read for each;
/// - while the key that verified it is still the one that its issuer's keys have under that name, and those keys
///   are fresh enough to be trusted.
///
/// Everything else is verified anew. Refusals are never remembered. Between these moments nothing takes an
/// accepted token back, as without this cache; a host that keeps a list of revoked tokens asks it for each.
///
/// # Security
/// It holds bearer tokens in memory until they are dropped, when they are zeroed: whoever can read this process's
/// memory finds those of the last minutes instead of those of this moment. That is why it is a type of its own.
/// What is looked up by a hash is compared as a whole, so that a collision costs time and nothing else.
///
/// Its configuration is the verifier's, which does not change; another verifier has another cache. Cheap to
/// clone: clones share what is remembered.
#[derive(Clone)]
pub struct CachedVerifier<C> {
    verifier: Verifier,
    tokens: Arc<Cache<Remembered, Arc<Accepted<C>>, Weights>>,
}

/// How much a [`CachedVerifier`] may remember: both bounds hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCacheSize {
    entries: NonZeroUsize,
    bytes: NonZeroUsize,
}

impl TokenCacheSize {
    /// At most so many tokens, and so many bytes, where a token counts as twice its length and 512 bytes for what
    /// is kept beside it; claims that are larger than their token are not seen.
    #[must_use]
    pub const fn new(entries: NonZeroUsize, bytes: NonZeroUsize) -> Self {
        Self { entries, bytes }
    }
}

impl<C> CachedVerifier<C> {
    /// What verifies.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

impl<C: DeserializeOwned> CachedVerifier<C> {
    /// Remembers what `verifier` accepts.
    #[must_use]
    pub fn new(verifier: Verifier, size: TokenCacheSize) -> Self {
        let (entries, bytes) = (size.entries.get(), size.bytes.get());
        let weights = Weights { least: (bytes / entries).max(1) as u64 };
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let tokens = Cache::with(entries, bytes as u64, weights, hasher, lifecycle);
        Self { verifier, tokens: Arc::new(tokens) }
    }

    /// [`Verifier::verify`], unless the token is remembered.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken<C>>, VerifyError> {
        let now = self.verifier.clock.now()?;
        if let Some(remembered) = self.remembered(token, now) {
            return Ok(remembered);
        }
        match self.verify_anew(token, now) {
            Err(refused) => {
                self.verifier.refresh_for(token, refused).await?;
                self.verify_anew(token, self.verifier.clock.now()?)
            }
            verified => verified,
        }
    }

    /// [`Verifier::verify_with_known_keys`], unless the token is remembered.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify_with_known_keys(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken<C>>, VerifyError> {
        self.remembered(token, now).map_or_else(|| self.verify_anew(token, now), Ok)
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.tokens.clear();
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn remembered(&self, token: &str, now: Timestamp) -> Option<Arc<VerifiedToken<C>>> {
        let accepted = self.tokens.get(token)?;
        // a clock that was set back is before `from`
        let in_time = accepted.from <= now && now < accepted.until;
        if in_time && accepted.signer.is_trusted(now) {
            return Some(Arc::clone(&accepted.token));
        }
        self.tokens.remove(token);
        None
    }

    fn verify_anew(&self, token: &str, now: Timestamp) -> Result<Arc<VerifiedToken<C>>, VerifyError> {
        let (verified, signer) = self.verifier.verify_noting_signer(token, now)?;
        let until = self.verifier.good_until(&verified).min(now.plus(MAX_TOKEN_CACHE_AGE));
        let verified = Arc::new(verified);
        let accepted = Accepted { token: Arc::clone(&verified), from: now, until, signer };
        self.tokens.insert(Remembered(Secret::from(token)), Arc::new(accepted));
        Ok(verified)
    }
}

impl<C> fmt::Debug for CachedVerifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedVerifier").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

struct Accepted<C> {
    token: Arc<VerifiedToken<C>>,
    from: Timestamp,
    until: Timestamp,
    signer: Signer,
}

/// A token as a key: what it is looked up by is the same text.
struct Remembered(Secret);

impl Hash for Remembered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.expose().as_str().hash(state);
    }
}

impl PartialEq for Remembered {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }
}

impl Eq for Remembered {}

impl Equivalent<Remembered> for str {
    fn equivalent(&self, key: &Remembered) -> bool {
        self == key.0.expose()
    }
}

/// No entry weighs less than its share of the bytes, so that there are never more than the most entries.
#[derive(Clone)]
struct Weights {
    least: u64,
}

impl<C> Weighter<Remembered, Arc<Accepted<C>>> for Weights {
    fn weight(&self, key: &Remembered, _: &Arc<Accepted<C>>) -> u64 {
        ((2 * key.0.expose().len() + BESIDE) as u64).max(self.least)
    }
}

/// For how long an accepted token is remembered at most: five minutes.
pub const MAX_TOKEN_CACHE_AGE: Duration = Duration::from_secs(300);

/// What an entry takes beside its token and claims, rounded up.
const BESIDE: usize = 512;
