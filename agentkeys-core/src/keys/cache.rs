use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;

use super::{Held, KeyError, KeySnapshot, KeySource, RefreshReason};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::discovery::{JwksUri, MAX_DISCOVERY_BYTES, ProviderMetadata};
use crate::http::{HttpClient, HttpRequest, HttpResponse};
use crate::issuer::Issuer;
use crate::jose::{KeySet, MAX_KEY_SET_BYTES};
use crate::random::{Random, SystemRandom};

mod ages;
mod health;
mod unknown;

pub use ages::{CacheAges, MAX_BACK_OFF, MAX_SOFT_AGE, MIN_SOFT_AGE};
pub use health::CacheHealth;
use health::{Counters, count};
use unknown::UnknownKids;

/// One issuer's published keys, fetched when needed and kept.
///
/// Readers borrow an immutable snapshot: no lock, no allocation, no waiting. Past the soft age the old set
/// is served while one refresh runs in the background; past the hard age reading fails as `Unavailable`
/// (L28). A key that is not in the set, or does not fit a signature, causes at most one fetch per cooldown,
/// whether it succeeds or not (W16); failures in a row stretch that to a jittered back-off of at most
/// [`MAX_BACK_OFF`]. All who wait share one fetch, and none of them takes it away by giving up.
///
/// The issuer's `Cache-Control` sets the soft age within [`MIN_SOFT_AGE`] and [`MAX_SOFT_AGE`]; its `ETag`
/// is sent back, and a 304 renews the kept set. Cloning gives another handle to the same cache.
#[derive(Clone, Debug)]
pub struct JwksCache(Arc<Cache>);

impl JwksCache {
    /// The keys that `issuer` publishes, found through its discovery document. Fetches nothing yet (W18).
    #[must_use]
    pub fn discover(issuer: Issuer, http: Arc<dyn HttpClient>) -> Self {
        Self::with_settings(issuer, http, Arc::new(SystemClock::new()), CacheAges::default())
    }

    /// The same with another clock and other ages.
    #[must_use]
    pub fn with_settings(
        issuer: Issuer,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        ages: CacheAges,
    ) -> Self {
        let random = Arc::new(SystemRandom::new());
        Self::empty(Origin { issuer, jwks_uri: None, http, clock, random, ages })
    }

    /// An empty cache of the keys at `jwks_uri`, on whatever host that is: no discovery document is asked.
    #[must_use]
    pub fn with_jwks_uri(self, jwks_uri: JwksUri) -> Self {
        Self::empty(Origin { jwks_uri: Some(jwks_uri), ..self.0.origin.clone() })
    }

    /// An empty cache whose back-off draws its jitter from `random`.
    #[must_use]
    pub fn with_random(self, random: Arc<dyn Random>) -> Self {
        Self::empty(Origin { random, ..self.0.origin.clone() })
    }

    fn empty(origin: Origin) -> Self {
        Self(Arc::new(Cache {
            origin,
            current: ArcSwapOption::empty(),
            last_try: AtomicU64::new(0),
            wait: AtomicU64::new(0),
            tries: AtomicU64::new(0),
            failing: AtomicU32::new(0),
            refreshing: AtomicBool::new(false),
            flight: Arc::default(),
            unknown: UnknownKids::default(),
            last_outcome: Mutex::default(),
            counters: Counters::default(),
        }))
    }

    /// Fetches now, so that the first verification need not wait. A failure is only reported: the next
    /// reader tries again (W18).
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn prefetch(&self) -> Result<(), KeyError> {
        self.refresh(RefreshReason::Stale).await
    }

    /// How this cache does at `now`.
    #[must_use]
    pub fn health(&self, now: Timestamp) -> CacheHealth {
        let cache = &self.0;
        let (current, counters) = (cache.current.load(), &cache.counters);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last_try = cache.last_try();
        CacheHealth {
            age: current.as_ref().map(|fetched| apart(now, fetched.at)),
            last_outcome: cache.last_outcome.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            next_try: (read(&counters.refreshes) > 0).then(|| last_try.plus(cache.wait())),
            keys: current.as_ref().map_or(0, |fetched| fetched.keys.keys().len()),
            contradicted_keys: current.as_ref().map_or(0, |fetched| fetched.keys.contradicted()),
            refreshes: read(&counters.refreshes),
            failures: read(&counters.failures),
            unknown_kids: read(&counters.unknown_kids),
            throttled: read(&counters.throttled),
        }
    }

    fn refresh_in_background(&self, now: Timestamp) {
        let refreshing = &self.0.refreshing;
        let resting = refreshing.load(Ordering::Acquire) || !self.0.rest(now).is_zero();
        if resting || refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            refreshing.store(false, Ordering::Release);
            return;
        };
        let cache = self.clone();
        runtime.spawn(async move {
            let done = Landing(&cache.0.refreshing);
            // a failure is met again by the reader that finds the set too old
            let _unused = cache.refresh(RefreshReason::Stale).await;
            drop(done);
        });
    }
}

#[async_trait]
impl KeySource for JwksCache {
    fn read(&self, now: Timestamp) -> Result<KeySnapshot<'_>, KeyError> {
        let guard = self.0.current.load();
        let Some(fetched) = guard.as_ref() else { return Err(self.0.stale(now)) };
        let age = apart(now, fetched.at);
        if age >= self.0.origin.ages.hard {
            return Err(self.0.stale(now));
        }
        if age >= fetched.soft {
            self.refresh_in_background(now);
        }
        Ok(KeySnapshot(Held::Guarded(guard)))
    }

    async fn refresh(&self, reason: RefreshReason) -> Result<(), KeyError> {
        let cache = &self.0;
        let seen = cache.tries.load(Ordering::Acquire);
        if let RefreshReason::UnknownKey(kid) = &reason {
            count(&cache.counters.unknown_kids);
            let now = cache.origin.clock.now()?;
            if kid.as_ref().is_some_and(|kid| cache.unknown.contains(kid, now)) {
                return Ok(());
            }
        }
        // one flight: whoever waits here shares the outcome of the one before
        let flight = Arc::clone(&cache.flight).lock_owned().await;
        let now = cache.origin.clock.now()?;
        let shared = cache.tries.load(Ordering::Acquire) != seen;
        if !shared && cache.rest(now).is_zero() {
            cache.fly(now, flight).await?;
            cache.remember(&reason, now);
            return Ok(());
        }
        drop(flight);
        let failing = cache.failing.load(Ordering::Acquire) > 0;
        if shared && !failing {
            cache.remember(&reason, now);
        } else if !shared {
            count(&cache.counters.throttled);
        }
        let fresh =
            cache.current.load().as_ref().is_some_and(|set| apart(now, set.at) < cache.origin.ages.hard);
        match reason {
            RefreshReason::Stale if fresh => Ok(()),
            // while the issuer is down nobody can tell that it has no such key
            RefreshReason::UnknownKey(_) if fresh && !failing => Ok(()),
            RefreshReason::WrongSignature if shared && !failing => Ok(()),
            RefreshReason::WrongSignature => Err(KeyError::Unchanged),
            RefreshReason::Stale | RefreshReason::UnknownKey(_) => Err(cache.stale(now)),
        }
    }
}

#[derive(Debug)]
struct Cache {
    origin: Origin,
    current: ArcSwapOption<Fetched>,
    /// Seconds since the epoch; zero before the first try.
    last_try: AtomicU64,
    /// How long after `last_try` the issuer is left alone, in milliseconds.
    wait: AtomicU64,
    /// How many tries have ended: who waited while it rose shares that try.
    tries: AtomicU64,
    /// How many tries failed since one succeeded.
    failing: AtomicU32,
    refreshing: AtomicBool,
    flight: Flight,
    unknown: UnknownKids,
    last_outcome: Mutex<Option<Result<(), KeyError>>>,
    counters: Counters,
}

type Flight = Arc<tokio::sync::Mutex<()>>;

impl Cache {
    /// Fetches and keeps what was fetched. In a task of its own: a caller that goes away must not take
    /// everybody's fetch with it.
    async fn fly(
        self: &Arc<Self>,
        now: Timestamp,
        flight: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<(), KeyError> {
        count(&self.counters.refreshes);
        // failures count as tries, so a broken issuer is not hammered
        self.leave_alone_for(self.origin.ages.cooldown);
        self.last_try.store(now.as_unix(), Ordering::Release);
        let cache = Arc::clone(self);
        let fly = async move {
            let _flight = flight;
            let kept = cache.current.load_full();
            let fetched = cache.origin.fetch(kept.as_deref(), now).await;
            let outcome = fetched.map(|fetched| cache.current.store(Some(Arc::new(fetched))));
            cache.land(outcome.clone());
            outcome
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn(fly).await.unwrap_or_else(|_| Err(self.stale(now))),
            Err(_) => fly.await,
        }
    }

    fn land(&self, outcome: Result<(), KeyError>) {
        if outcome.is_ok() {
            self.failing.store(0, Ordering::Release);
        } else {
            count(&self.counters.failures);
            let failures = self.failing.load(Ordering::Acquire).saturating_add(1);
            self.failing.store(failures, Ordering::Release);
            self.leave_alone_for(self.origin.ages.back_off(failures, &*self.origin.random));
        }
        *self.last_outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.tries.fetch_add(1, Ordering::AcqRel);
    }

    /// Keeps in mind that the set which was just fetched has no such key.
    fn remember(&self, reason: &RefreshReason, now: Timestamp) {
        let RefreshReason::UnknownKey(Some(kid)) = reason else { return };
        let known = self.current.load().as_ref().is_some_and(|set| set.keys.by_kid(kid.as_str()).is_some());
        if !known {
            let until = now.plus(self.origin.ages.cooldown.saturating_mul(UNKNOWN_FOR));
            self.unknown.insert(kid.clone(), now, until);
        }
    }

    fn leave_alone_for(&self, wait: Duration) {
        self.wait.store(wait.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Release);
    }

    fn last_try(&self) -> Timestamp {
        Timestamp::from_unix(self.last_try.load(Ordering::Acquire))
    }

    fn wait(&self) -> Duration {
        Duration::from_millis(self.wait.load(Ordering::Acquire))
    }

    /// How much longer the issuer is left alone.
    fn rest(&self, now: Timestamp) -> Duration {
        self.wait().saturating_sub(apart(now, self.last_try()))
    }

    fn stale(&self, now: Timestamp) -> KeyError {
        KeyError::Stale { retry_after: self.rest(now).max(Duration::from_secs(1)) }
    }
}

/// Whose keys they are and how they are had.
#[derive(Clone, Debug)]
struct Origin {
    issuer: Issuer,
    jwks_uri: Option<JwksUri>,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    ages: CacheAges,
}

impl Origin {
    async fn fetch(&self, kept: Option<&Fetched>, now: Timestamp) -> Result<Fetched, KeyError> {
        let url = match &self.jwks_uri {
            Some(configured) => configured.as_str().to_owned(),
            None => self.discover().await?,
        };
        // a tag says nothing about another address
        let kept = kept.filter(|kept| kept.url == url);
        let etag = kept.and_then(|kept| kept.etag.as_deref());
        let mut request = HttpRequest::get(url.clone(), MAX_KEY_SET_BYTES);
        if let Some(etag) = etag {
            request = request.with_header("if-none-match", etag);
        }
        let answer = self.send(request).await?;
        let soft = self.ages.soft_of(&answer);
        match (answer.status, kept) {
            (200, _) => {
                let keys = KeySet::parse(&answer.body).map_err(KeyError::KeySet)?;
                let keys = match kept {
                    Some(kept) => keys.keeping_tables_of(&kept.keys),
                    None => keys,
                };
                let printable = |tag: &&str| tag.bytes().all(|byte| (0x20..0x7f).contains(&byte));
                let etag = answer.header("etag").filter(|tag| tag.len() <= MAX_ETAG).filter(printable);
                Ok(Fetched { keys, at: now, soft, etag: etag.map(str::to_owned), url })
            }
            // https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5
            (304, Some(kept)) if etag.is_some() => Ok(Fetched { at: now, soft, ..kept.clone() }),
            (status, _) => Err(KeyError::Status(status)),
        }
    }

    async fn discover(&self) -> Result<String, KeyError> {
        let answer = self.send(HttpRequest::get(self.issuer.discovery_url(), MAX_DISCOVERY_BYTES)).await?;
        if answer.status != 200 {
            return Err(KeyError::Status(answer.status));
        }
        let metadata = ProviderMetadata::parse(&answer.body, &self.issuer).map_err(KeyError::Discovery)?;
        Ok(metadata.jwks_uri().to_owned())
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, KeyError> {
        let request = request.with_header("accept", "application/json");
        self.http.send(request).await.map_err(|error| KeyError::Http(Arc::new(error)))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// When the issuer was asked for it, or last said that it still stands.
    at: Timestamp,
    soft: Duration,
    etag: Option<String>,
    url: String,
}

/// How far two moments lie apart, either way: a clock that ran ahead and was set back must not keep a set
/// fresh, nor refreshes shut off, until that time comes.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

/// Clears the flag when the background refresh ends, however it ends.
struct Landing<'f>(&'f AtomicBool);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// For how many cooldowns a kid that the issuer does not have causes no other fetch.
const UNKNOWN_FOR: u32 = 6;

/// The longest entity tag that is kept, in bytes.
const MAX_ETAG: usize = 256;
