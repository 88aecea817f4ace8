use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::keys::KeyError;

/// What an operator wants to know of a [`super::JwksCache`]. The counters begin at zero with the cache and
/// only rise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheHealth {
    /// How old the kept set is; none where there is no set yet. From the hard age on it serves nobody.
    pub age: Option<Duration>,
    /// How the last try ended; none where none has ended yet.
    pub last_outcome: Option<Result<(), KeyError>>,
    /// From when on the issuer may be asked again; none where it was never asked.
    pub next_try: Option<Timestamp>,
    /// How many keys of the kept set can be used.
    pub keys: usize,
    /// How many keys of the kept set were dropped because their kid means two different keys.
    pub contradicted_keys: usize,
    /// How often the issuer was asked.
    pub refreshes: u64,
    /// How often that failed.
    pub failures: u64,
    /// How often somebody asked for a key that the set does not have.
    pub unknown_kids: u64,
    /// How often a refresh was wanted and the cooldown or the back-off forbade it.
    pub throttled: u64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) refreshes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) unknown_kids: AtomicU64,
    pub(super) throttled: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
