//! The server's clock: the machine's, plus what a test added to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;

/// Decides when sessions and tokens end. A test sets it forward instead of sleeping.
///
/// The dates of SigV4 signatures are compared with the machine's own clock, since the clients that sign know nothing
/// of this one.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Sets the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.ahead_ms.fetch_add(by, Ordering::SeqCst);
    }

    /// The time as this server sees it.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        let ahead = time::Duration::milliseconds(self.ahead_ms.load(Ordering::SeqCst));
        machine_now().saturating_add(ahead)
    }
}

/// The time as the machine sees it.
pub(crate) fn machine_now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Drops the fraction of a second, as AWS does in every timestamp that it sends.
pub(crate) fn whole_seconds(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}

/// RFC 3339 in UTC with whole seconds: `2026-01-02T03:04:05Z`.
pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    whole_seconds(at).format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_time() {
        let clock = Clock::default();
        let before = clock.now();
        clock.clone().advance(Duration::from_secs(3600));
        assert!(clock.now() - before >= time::Duration::hours(1));
    }
}
