use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::ErrorKind;
use async_trait::async_trait;

mod chain;
mod event;
mod fan_out;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod ids;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod queue;
mod row;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use chain::{ChainError, ChainHead, ChainWalk, verify_chain};
pub use event::{
    Attribution, AuditCode, AuditEvent, AuditId, AuditTextError, Intent, MintPath, Outcome, OutcomeKind,
    Refusal,
};
pub use fan_out::{FanOut, FanOutError};
pub use memory::MemoryAudit;
#[cfg(feature = "postgres")]
pub use postgres::{
    ChainName, ChainNameError, MAX_CHAINS, PostgresAudit, PostgresAuditError, PostgresFault, PostgresLogin,
    PostgresLoginError,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use queue::{APPEND_TIMEOUT, MAX_QUEUE};
pub use row::{AUDIT_COLUMNS, AuditRow, AuditValue};
#[cfg(feature = "sqlite")]
pub use sqlite::{AuditStoreError, SqliteAudit};

/// Keeps the record of what was minted and exchanged, for whom, and how it ended (R87).
///
/// A host calls [`AuditSink::intent`] before the STS, [`AuditSink::outcome`] before it lets go of the
/// credentials, and [`AuditSink::refusal`] for what never came so far (W56).
///
/// # Contract
/// `append` answers `Ok` when the event will survive a crash of the process and a loss of power, and not
/// before. It answers within a bound of its own and never waits for ever. Of one id it takes one intent, one
/// refusal and, after the intent, one outcome. Rows are only ever added.
///
/// # Security
/// An `Ok` for what is not durable lets credentials out that nobody can trace. An error for what became
/// durable after all costs one mint: the row tells of credentials that were never let go.
///
/// # Errors
/// [`AuditError`]. Whoever gets one lets nothing go.
#[async_trait]
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Makes an event durable.
    async fn append(&self, event: &AuditEvent<'_>) -> Result<(), AuditError>;

    /// Makes known what is about to be done. Without the receipt there is no outcome.
    async fn intent(&self, intent: &Intent) -> Result<Receipt, AuditError> {
        self.append(&AuditEvent::Intent(intent)).await?;
        Ok(Receipt(intent.id().clone()))
    }

    /// Makes known how it ended. It takes the receipt, so that nothing ends twice.
    async fn outcome(&self, receipt: Receipt, outcome: Outcome) -> Result<(), AuditError> {
        self.append(&AuditEvent::Outcome(&receipt.0, &outcome)).await
    }

    /// Makes known what was refused before there was an intent.
    async fn refusal(&self, refusal: &Refusal) -> Result<(), AuditError> {
        self.append(&AuditEvent::Refusal(refusal)).await
    }
}

/// Proof that an intent is durable. There is no other way to one than [`AuditSink::intent`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an intent has an outcome"]
pub struct Receipt(AuditId);

impl Receipt {
    /// The intent's id.
    #[must_use]
    pub const fn id(&self) -> &AuditId {
        &self.0
    }
}

/// Why an event is not durable.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The sink was closed, or closed itself after an error that left it in doubt.
    #[error("the audit sink is closed")]
    Closed,
    /// There is such an event of this id already.
    #[error("the audit id was used before")]
    Doubled,
    /// There is no room.
    #[error("the audit sink is full")]
    Full,
    /// An outcome without its intent.
    #[error("there is no intent of this audit id")]
    NoIntent,
    /// It took too long.
    #[error("the audit sink does not answer in time")]
    Slow,
    /// Where the rows are kept.
    #[error("the audit sink's storage fails")]
    Storage(#[source] Arc<dyn Error + Send + Sync>),
}

impl AuditError {
    /// For a sink of the host's own. `source` must not show a token.
    #[must_use]
    pub fn storage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Storage(source.into().into())
    }

    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed | Self::Full | Self::Slow | Self::Storage(_) => ErrorKind::Unavailable,
            Self::Doubled | Self::NoIntent => ErrorKind::Misconfigured,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.kind().is_retryable().then_some(Duration::from_secs(1))
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Closed => "audit_closed",
            Self::Doubled => "audit_doubled",
            Self::Full => "audit_full",
            Self::NoIntent => "audit_no_intent",
            Self::Slow => "audit_slow",
            Self::Storage(_) => "audit_storage",
        }
    }
}
