use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::chain::ChainHead;
use super::event::{AuditEvent, AuditId};
use super::row::AuditRow;
use super::{AuditError, AuditSink};

/// Rows in this process's memory: for tests and demonstrations. They do not survive the process, so what
/// it makes known is not durable. When it is full nothing more is minted.
#[derive(Debug)]
pub struct MemoryAudit {
    capacity: NonZeroUsize,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    rows: Vec<AuditRow>,
    used: HashSet<(AuditId, &'static str)>,
    head: ChainHead,
}

impl MemoryAudit {
    /// Room for `capacity` rows.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        let kept = Kept { rows: Vec::new(), used: HashSet::new(), head: ChainHead::EMPTY };
        Self { capacity, kept: Mutex::new(kept) }
    }

    /// All rows, in the order of their numbers, and their head.
    #[must_use]
    pub fn rows(&self) -> (Vec<AuditRow>, ChainHead) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.rows.clone(), kept.head)
    }
}

#[async_trait]
impl AuditSink for MemoryAudit {
    async fn append(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.rows.len() >= self.capacity.get() {
            return Err(AuditError::Full);
        }
        if matches!(event, AuditEvent::Outcome(id, _) if !kept.used.contains(&((*id).clone(), INTENT))) {
            return Err(AuditError::NoIntent);
        }
        if !kept.used.insert((event.id().clone(), event.label())) {
            return Err(AuditError::Doubled);
        }
        let row = AuditRow::after(&kept.head, event);
        kept.head = row.head();
        kept.rows.push(row);
        Ok(())
    }
}

pub(super) const INTENT: &str = "intent";
