use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{Held, KeyError, KeySnapshot, KeySource, RefreshReason};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::discovery::{MAX_DISCOVERY_BYTES, ProviderMetadata};
use crate::http::{HttpClient, HttpRequest};
use crate::issuer::Issuer;
use crate::jose::{KeySet, MAX_KEY_SET_BYTES};

/// One issuer's published keys, fetched when needed and kept.
///
/// Readers borrow an immutable snapshot and never wait. Past the soft age the old set is served while
/// one refresh runs in the background; past the hard age reading fails as `Unavailable` (L28). A key that
/// is not in the set causes at most one fetch per cooldown, whether it succeeds or not (W16). Cloning
/// gives another handle to the same cache.
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
        Self(Arc::new(Cache {
            issuer,
            http,
            clock,
            ages,
            current: ArcSwapOption::empty(),
            last_try: AtomicU64::new(0),
            tries: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            refreshing: AtomicBool::new(false),
            flight: Arc::default(),
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
}

#[async_trait]
impl KeySource for JwksCache {
    fn read(&self, now: Timestamp) -> Result<KeySnapshot<'_>, KeyError> {
        let guard = self.0.current.load();
        let stale = KeyError::Stale { retry_after: self.0.ages.cooldown };
        let age = apart(now, guard.as_ref().ok_or(stale.clone())?.at);
        if age >= self.0.ages.hard {
            return Err(stale);
        }
        if age >= self.0.ages.soft {
            self.refresh_in_background(now);
        }
        Ok(KeySnapshot(Held::Guarded(guard)))
    }

    async fn refresh(&self, reason: RefreshReason) -> Result<(), KeyError> {
        let cache = &self.0;
        let seen = cache.tries.load(Ordering::Acquire);
        // one flight: whoever waits here shares the outcome of the one before
        let flight = Arc::clone(&cache.flight).lock_owned().await;
        let now = cache.clock.now()?;
        let since = apart(now, Timestamp::from_unix(cache.last_try.load(Ordering::Acquire)));
        if since < cache.ages.cooldown || cache.tries.load(Ordering::Acquire) != seen {
            let current = cache.current.load();
            let fresh = current.as_ref().is_some_and(|fetched| apart(now, fetched.at) < cache.ages.hard);
            // while the issuer is down nobody can tell that it has no such key
            let told = reason == RefreshReason::Stale || !cache.failing.load(Ordering::Acquire);
            let retry_after = cache.ages.cooldown.saturating_sub(since);
            return if fresh && told { Ok(()) } else { Err(KeyError::Stale { retry_after }) };
        }
        // failures count as tries, so a broken issuer is not hammered
        cache.last_try.store(now.as_unix(), Ordering::Release);
        let cache = Arc::clone(cache);
        let fly = async move {
            let _flight = flight;
            let fetched = cache.fetch().await;
            cache.failing.store(fetched.is_err(), Ordering::Release);
            let fetched = fetched.map(|keys| cache.current.store(Some(Arc::new(Fetched { keys, at: now }))));
            cache.tries.fetch_add(1, Ordering::AcqRel);
            fetched
        };
        match tokio::runtime::Handle::try_current() {
            // in a task of its own: a caller that goes away must not take everybody's fetch with it
            Ok(runtime) => {
                let retry_after = self.0.ages.cooldown;
                runtime.spawn(fly).await.unwrap_or(Err(KeyError::Stale { retry_after }))
            }
            Err(_) => fly.await,
        }
    }
}

impl JwksCache {
    fn refresh_in_background(&self, now: Timestamp) {
        let last_try = Timestamp::from_unix(self.0.last_try.load(Ordering::Acquire));
        if apart(now, last_try) < self.0.ages.cooldown || self.0.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.0.refreshing.store(false, Ordering::Release);
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

/// How old a set may be.
#[derive(Clone, Copy, Debug)]
pub struct CacheAges {
    soft: Duration,
    hard: Duration,
    cooldown: Duration,
}

impl CacheAges {
    /// From `soft` on a refresh runs in the background; from `hard` on the set is of no use. At least
    /// `cooldown` lies between two tries. Each is at least the one before it in the order cooldown, soft,
    /// hard: a smaller value is raised. A cooldown is a second at least.
    #[must_use]
    pub fn new(soft: Duration, hard: Duration, cooldown: Duration) -> Self {
        let cooldown = cooldown.max(Duration::from_secs(1));
        let soft = soft.max(cooldown);
        Self { soft, hard: hard.max(soft), cooldown }
    }
}

impl Default for CacheAges {
    /// 10 minutes, 24 hours, 10 seconds.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self::new(seconds(600), seconds(86_400), seconds(10))
    }
}

#[derive(Debug)]
struct Cache {
    issuer: Issuer,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    ages: CacheAges,
    current: ArcSwapOption<Fetched>,
    last_try: AtomicU64,
    /// How many tries have ended: who waited while it rose shares that try.
    tries: AtomicU64,
    /// Whether the last try failed.
    failing: AtomicBool,
    refreshing: AtomicBool,
    flight: Arc<Mutex<()>>,
}

impl Cache {
    async fn fetch(&self) -> Result<KeySet, KeyError> {
        let metadata = self.get(self.issuer.discovery_url(), MAX_DISCOVERY_BYTES).await?;
        let metadata = ProviderMetadata::parse(&metadata, &self.issuer).map_err(KeyError::Discovery)?;
        let keys = self.get(metadata.jwks_uri().to_owned(), MAX_KEY_SET_BYTES).await?;
        KeySet::parse(&keys).map_err(KeyError::KeySet)
    }

    async fn get(&self, url: String, max_body: usize) -> Result<Vec<u8>, KeyError> {
        let request = HttpRequest::get(url, max_body).with_header("accept", "application/json");
        let answer = self.http.send(request).await.map_err(|error| KeyError::Http(Arc::new(error)))?;
        if answer.status == 200 { Ok(answer.body) } else { Err(KeyError::Status(answer.status)) }
    }
}

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    at: Timestamp,
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
