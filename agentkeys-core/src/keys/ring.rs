use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::jose::{JwkError, KeyId, KeySet, PublicJwk, encode_segment, sha256};
use crate::random::Random;
use crate::secret::Secret;
use crate::signer::{LocalSigner, TokenSigner};

mod document;
mod error;
#[cfg(unix)]
mod file;

pub use document::{MAX_KEY_FILE_BYTES, MAX_RING_KEYS};
pub use error::KeyRingError;

/// The keys of one purpose: the one that signs, the next one, and those whose tokens are still out.
///
/// All of them are published (W42): the signing key first, because some consumers try only that. The
/// purpose is part of the type, so a session key cannot be handed to the OIDC minter (R42, W43).
///
/// A ring never changes: [`KeyRing::stage`], [`KeyRing::promote`] and [`KeyRing::prune`] answer the ring
/// that follows, at a time that they are told. On Unix a ring lives in a file: [`KeyRing::create`],
/// [`KeyRing::load`] and [`KeyRing::update`].
pub struct KeyRing<P: Purpose> {
    active: Arc<dyn TokenSigner>,
    /// The active key first, then the next one, then the retired ones.
    keys: Vec<RingKey>,
    purpose: PhantomData<fn() -> P>,
}

impl<P: Purpose> KeyRing<P> {
    /// A ring whose active key is `signer`'s.
    #[must_use]
    pub fn new(signer: Arc<dyn TokenSigner>) -> Self {
        let key = RingKey::new(KeyState::Active, signer.public_jwk().clone());
        Self { active: signer, keys: vec![key], purpose: PhantomData }
    }

    /// With a key that is published already, for long enough, and signs nothing yet.
    #[must_use]
    pub fn with_next(mut self, signer: Arc<dyn TokenSigner>) -> Self {
        self.keys.retain(|key| key.state != KeyState::Next);
        let mut key = RingKey::new(KeyState::Next, signer.public_jwk().clone());
        key.signer = Some(signer);
        self.keys.insert(1, key);
        self
    }

    /// With a key that signs no more and stays published until somebody takes it out.
    #[must_use]
    pub fn with_retired(mut self, key: PublicJwk) -> Self {
        let mut key = RingKey::new(KeyState::Retired, key);
        key.retire_at = Some(Timestamp::from_unix(u64::MAX));
        self.keys.push(key);
        self
    }

    /// A ring of one new key: an explicit act, which no loading ever does (R44).
    ///
    /// # Errors
    /// [`KeyRingError::Sign`] without random bytes.
    pub fn generate(random: &dyn Random, now: Timestamp) -> Result<Self, KeyRingError> {
        let (signer, pem) = LocalSigner::generate(random)?;
        let mut ring = Self::new(Arc::new(signer));
        for key in &mut ring.keys {
            key.published_at = now;
            key.pem = Some(pem.clone());
        }
        Ok(ring)
    }

    /// The ring with a new key that is published from `now` on and does not sign yet.
    ///
    /// # Errors
    /// [`KeyRingError::NextExists`]; [`KeyRingError::TooManyKeys`]; [`KeyRingError::Sign`] without random
    /// bytes.
    pub fn stage(&self, random: &dyn Random, now: Timestamp) -> Result<Self, KeyRingError> {
        if self.next().is_some() {
            return Err(KeyRingError::NextExists);
        }
        if self.keys.len() >= MAX_RING_KEYS {
            return Err(KeyRingError::TooManyKeys);
        }
        let (signer, pem) = LocalSigner::generate(random)?;
        let mut ring = self.clone().with_next(Arc::new(signer));
        for key in ring.keys.iter_mut().filter(|key| key.state == KeyState::Next) {
            key.published_at = now;
            key.pem = Some(pem.clone());
        }
        Ok(ring)
    }

    /// The ring whose next key signs. The one that signed until now stays published, without its private
    /// half, until the last token that it signed has ended everywhere.
    ///
    /// # Errors
    /// [`KeyRingError::NoNext`]; [`KeyRingError::TooEarly`] where a consumer may still hold a JWKS without
    /// the next key.
    pub fn promote(&self, now: Timestamp, times: RotationTimes) -> Result<Self, KeyRingError> {
        let next = self.next().ok_or(KeyRingError::NoNext)?;
        let signer = next.signer.clone().ok_or(KeyRingError::NoNext)?;
        let ready_at = next.published_at.plus(times.lead);
        if now < ready_at {
            return Err(KeyRingError::TooEarly { retry_after: ready_at.since(now) });
        }
        let mut ring = self.clone();
        for key in &mut ring.keys {
            match key.state {
                KeyState::Next => (key.state, key.signer) = (KeyState::Active, None),
                KeyState::Active => {
                    (key.state, key.pem) = (KeyState::Retired, None);
                    key.retire_at = Some(now.plus(times.overlap));
                }
                KeyState::Retired => {}
            }
        }
        ring.keys.sort_by_key(|key| key.state);
        ring.active = signer;
        Ok(ring)
    }

    /// The ring without the retired keys whose time has come.
    #[must_use]
    pub fn prune(&self, now: Timestamp) -> Self {
        let mut ring = self.clone();
        ring.keys.retain(|key| key.retire_at.is_none_or(|end| now < end));
        ring
    }

    /// With the certificate chain (DER, the key's own first) of a key, for consumers that read nothing
    /// but `x5c`; it is published and not kept in the key file.
    ///
    /// # Errors
    /// [`KeyRingError::Kid`] where the ring has no such key; [`KeyRingError::Jwk`] where the first
    /// certificate is not of this key.
    pub fn with_x5c(mut self, kid: &KeyId, chain: &[&[u8]]) -> Result<Self, KeyRingError> {
        let key = self.keys.iter_mut().find(|key| key.kid() == kid).ok_or(KeyRingError::Kid)?;
        key.public = key.public.clone().with_x5c(chain)?;
        Ok(self)
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> &dyn TokenSigner {
        &*self.active
    }

    /// All keys: the active one first, then the next, then the retired ones.
    #[must_use]
    pub fn keys(&self) -> &[RingKey] {
        &self.keys
    }

    /// What is published: the active key first.
    #[must_use]
    pub fn jwks(&self) -> JwksDocument<'_> {
        JwksDocument { keys: self.keys.iter().map(|key| &key.public).collect() }
    }

    /// The JWKS as an HTTP answer that consumers may keep for the `max_age` of `times`.
    ///
    /// # Errors
    /// [`KeyRingError::Malformed`] never in practice: public keys are JSON.
    pub fn publish(&self, times: RotationTimes) -> Result<PublishedJwks, KeyRingError> {
        let body = serde_json::to_vec(&self.jwks()).map_err(|_| KeyRingError::Malformed)?;
        let etag = format!("\"{}\"", encode_segment(sha256(&body)));
        let cache_control = format!("public, max-age={}", times.max_age.as_secs());
        Ok(PublishedJwks { body, etag, cache_control })
    }

    /// The same keys, ready to verify.
    ///
    /// # Errors
    /// [`JwkError`] where a signer's public key is not a point of the curve.
    pub fn key_set(&self) -> Result<KeySet, JwkError> {
        let keys: Result<Vec<_>, _> = self.keys.iter().map(|key| key.public.to_jwk()).collect();
        Ok(KeySet::new(keys?))
    }

    /// Refuses a key that stands in both rings: one key has one purpose (W43).
    ///
    /// # Errors
    /// [`KeyRingError::SharedKey`].
    pub fn ensure_apart_from<Q: Purpose>(&self, other: &KeyRing<Q>) -> Result<(), KeyRingError> {
        // a kid is a thumbprint, so the same key has the same name
        let shared = |key: &RingKey| other.keys.iter().any(|theirs| theirs.kid() == key.kid());
        if self.keys.iter().any(shared) { Err(KeyRingError::SharedKey) } else { Ok(()) }
    }

    fn next(&self) -> Option<&RingKey> {
        self.keys.iter().find(|key| key.state == KeyState::Next)
    }
}

impl<P: Purpose> Clone for KeyRing<P> {
    fn clone(&self) -> Self {
        Self { active: Arc::clone(&self.active), keys: self.keys.clone(), purpose: PhantomData }
    }
}

impl<P: Purpose> fmt::Debug for KeyRing<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("purpose", &P::NAME)
            .field("active", &self.active)
            .field("keys", &self.keys)
            .finish()
    }
}

/// One key of a ring and where it stands.
#[derive(Clone)]
pub struct RingKey {
    state: KeyState,
    public: PublicJwk,
    /// The next key's; the active one's is the ring's.
    signer: Option<Arc<dyn TokenSigner>>,
    /// What the key file says, where the key came from one or goes to one.
    pem: Option<Secret>,
    published_at: Timestamp,
    retire_at: Option<Timestamp>,
}

impl RingKey {
    fn new(state: KeyState, public: PublicJwk) -> Self {
        let published_at = Timestamp::from_unix(0);
        Self { state, public, signer: None, pem: None, published_at, retire_at: None }
    }

    /// Its name: the RFC 7638 thumbprint.
    #[must_use]
    pub const fn kid(&self) -> &KeyId {
        self.public.kid()
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> KeyState {
        self.state
    }

    /// Since when it is published; the epoch where that was not told.
    #[must_use]
    pub const fn published_at(&self) -> Timestamp {
        self.published_at
    }

    /// When it need no longer be published; only a retired key has that.
    #[must_use]
    pub const fn retire_at(&self) -> Option<Timestamp> {
        self.retire_at
    }
}

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingKey")
            .field("kid", self.kid())
            .field("state", &self.state)
            .field("published_at", &self.published_at)
            .field("retire_at", &self.retire_at)
            .finish_non_exhaustive()
    }
}

/// Where a key of a ring stands, in the order in which keys are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyState {
    /// It signs.
    Active,
    /// It is published and will sign.
    Next,
    /// It signed, and its tokens are still out.
    Retired,
}

/// The times of a rotation: how long a JWKS may be kept, how long before it signs a key is published, and
/// how long after it has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationTimes {
    max_age: Duration,
    lead: Duration,
    overlap: Duration,
}

impl RotationTimes {
    /// Consumers may keep the JWKS for `max_age`; a key is published for so long before it signs, and for
    /// [`RotationTimes::MIN_OVERLAP`] after.
    #[must_use]
    pub const fn new(max_age: Duration) -> Self {
        // whole seconds, as all of them are told
        let max_age = Duration::from_secs(max_age.as_secs());
        Self { max_age, lead: max_age, overlap: Self::MIN_OVERLAP }
    }

    /// The longest life of a token, an hour, and the widest clock tolerance known, five minutes.
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
    pub const MIN_OVERLAP: Duration = Duration::from_secs(3600 + 300);

    /// A longer lead: for consumers that keep a JWKS longer than they are told. Never below `max_age`.
    #[must_use]
    pub fn with_lead(mut self, lead: Duration) -> Self {
        self.lead = lead.max(self.max_age);
        self
    }

    /// A longer overlap: for replicas that go on signing with the old key for a while. Never below
    /// [`RotationTimes::MIN_OVERLAP`].
    #[must_use]
    pub fn with_overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap.max(Self::MIN_OVERLAP);
        self
    }
}

/// A JWK Set to publish. Serialise it as the body of `/.well-known/jwks.json`.
#[derive(Debug, Serialize)]
pub struct JwksDocument<'k> {
    keys: Vec<&'k PublicJwk>,
}

/// The JWKS as an HTTP answer: body and caching headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedJwks {
    body: Vec<u8>,
    etag: String,
    cache_control: String,
}

impl PublishedJwks {
    /// The body, `application/json`.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The value of `ETag`: a strong one, changed by any change of the body.
    #[must_use]
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The value of `Cache-Control`.
    #[must_use]
    pub fn cache_control(&self) -> &str {
        &self.cache_control
    }
}

/// What a key may sign. Sealed: there are two.
pub trait Purpose: sealed::Sealed + 'static {
    /// The purpose's name in key files.
    const NAME: &'static str;
}

/// Tokens for a cloud's STS, verified against our published keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum Oidc {}

/// Session tokens, verified by ourselves alone.
#[derive(Debug)]
#[non_exhaustive]
pub enum Session {}

impl Purpose for Oidc {
    const NAME: &'static str = "oidc";
}

impl Purpose for Session {
    const NAME: &'static str = "session";
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Oidc {}
    impl Sealed for super::Session {}
}
