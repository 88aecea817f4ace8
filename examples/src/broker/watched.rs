use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use agentkeys_core::{Clock, Timestamp};
use agentkeys_federation::{AuditError, AuditEvent, AuditSink};
use async_trait::async_trait;

use super::metrics::Metrics;

/// An audit log, and whether it takes rows: a broker whose log is closed lets nothing go until it is opened
/// anew, and whoever sends requests should know.
#[derive(Debug)]
pub(crate) struct WatchedAudit {
    sink: Arc<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    closed: AtomicBool,
    failed_at: AtomicU64,
}

impl WatchedAudit {
    pub(crate) fn new(sink: Arc<dyn AuditSink>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (closed, failed_at) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { sink, clock, metrics, closed, failed_at }
    }

    /// Whether the next row is likely to be taken: it is not closed, and nothing failed just now.
    pub(crate) fn takes_rows(&self, now: Timestamp) -> bool {
        let failed = Timestamp::from_unix(self.failed_at.load(Ordering::Relaxed));
        !self.closed.load(Ordering::Relaxed) && now.since(failed) >= FAILED_FOR
    }
}

#[async_trait]
impl AuditSink for WatchedAudit {
    async fn append(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let appended = self.sink.append(event).await;
        if let Err(error) = &appended {
            self.closed.fetch_or(matches!(error, AuditError::Closed), Ordering::Relaxed);
            // without a clock the broker is not ready anyway
            if let Ok(now) = self.clock.now() {
                self.failed_at.store(now.as_unix(), Ordering::Relaxed);
            }
        }
        self.metrics.appended(appended.as_ref().map_or_else(AuditError::code, |()| "ok"));
        appended
    }
}

/// How long one failure keeps the broker from being ready.
const FAILED_FOR: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use agentkeys_core::SystemRandom;
    use agentkeys_core::testing::ManualClock;
    use agentkeys_federation::{AuditCode, AuditId, Refusal};

    use super::*;

    /// Answers what it is told to.
    #[derive(Debug)]
    struct Told(Mutex<Option<AuditError>>);

    #[async_trait]
    impl AuditSink for Told {
        async fn append(&self, _: &AuditEvent) -> Result<(), AuditError> {
            self.0.lock().unwrap().clone().map_or(Ok(()), Err)
        }
    }

    /// After this answer: whether it takes rows now, after a while, and when a row was taken again.
    async fn after(error: AuditError) -> [bool; 3] {
        let clock = ManualClock::new(Timestamp::from_unix(1_800_000_000));
        let told = Arc::new(Told(Mutex::new(None)));
        let watched = WatchedAudit::new(told.clone(), clock.clone(), Arc::new(Metrics::new().unwrap()));
        let row = async || {
            let id = AuditId::generate(&SystemRandom::new()).unwrap();
            let code = AuditCode::new("denied").unwrap();
            let _answer = watched.refusal(&Refusal::new(id, clock.now().unwrap(), code)).await;
            watched.takes_rows(clock.now().unwrap())
        };
        assert!(row().await);
        *told.0.lock().unwrap() = Some(error);
        let now = row().await;
        clock.advance(FAILED_FOR);
        let later = watched.takes_rows(clock.now().unwrap());
        *told.0.lock().unwrap() = None;
        [now, later, row().await]
    }

    #[tokio::test]
    async fn w63_a_broker_whose_audit_log_failed_just_now_is_not_ready() {
        assert_eq!(after(AuditError::Full).await, [false, true, true]);
    }

    #[tokio::test]
    async fn w63_a_broker_whose_audit_log_is_closed_is_not_ready() {
        assert_eq!(after(AuditError::Closed).await, [false, false, false]);
    }
}
