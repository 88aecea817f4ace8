use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use agentkeys_core::ErrorKind;
use async_trait::async_trait;

use super::chain::{ChainError, ChainHead};
use super::event::AuditEvent;
use super::queue::{MAX_QUEUE, Queue};
use super::{AuditError, AuditSink};

mod arrivals;
mod head;
mod store;
mod writer;

use head::HeadFile;
use store::Store;

/// Rows in an SQLite database of this process, in write-ahead mode with `synchronous = FULL`.
///
/// A row is written as the text that is hashed, a JSON array ([`AuditRow::text`](super::AuditRow::text)), to
/// the table `audit_rows`; the view `audit` has a column for each value.
///
/// One thread writes. Events that arrive while it waits for the disk share the next transaction and its one
/// `fsync`. At most [`MAX_QUEUE`] wait; one more is [`AuditError::Full`], and after
/// [`APPEND_TIMEOUT`](super::APPEND_TIMEOUT) a
/// caller gets [`AuditError::Slow`]. After an error of a commit, where nobody knows what is on the disk, it is
/// closed until the host opens it anew.
///
/// Beside the database, in a file of the same name and `.head`, is the chain's head. It is written after each
/// commit and before anybody is told of it, so that rows that are cut off are found after a crash of the
/// process. After a loss of power it may be up to 1024 rows behind, never ahead; export
/// [`SqliteAudit::head`] to somewhere else to rely on neither. While it is open the head file is locked, so
/// that no second process writes; the database may be read by anybody who may read the file. Both files are
/// the owner's alone (mode 0600).
///
/// That an id has one row of each kind is kept for the last 16,384 ids that had an intent and for as many that
/// had a refusal; an outcome whose intent lies further back is [`AuditError::NoIntent`], and its credentials
/// stay here. Ids are 128 random bits: one that comes again later is the host's own mistake.
///
/// It must be used on a tokio runtime with time.
#[derive(Debug)]
pub struct SqliteAudit {
    queue: Arc<Queue<Condvar>>,
    head: Arc<Mutex<ChainHead>>,
}

impl SqliteAudit {
    /// Makes a log with no rows. It blocks.
    ///
    /// # Errors
    /// [`AuditStoreError`], also where there is a log or the half of one: none is ever begun anew in silence.
    pub fn create(database: impl AsRef<Path>) -> Result<Self, AuditStoreError> {
        let database = database.as_ref();
        let head = HeadFile::create(&head_path(database))?;
        Self::start(Store::create(database, head)?)
    }

    /// Opens a log that was created before, and goes on with its chain. It blocks.
    ///
    /// Of the rows only those after the head in the file are read; [`SqliteAudit::verify`] reads all.
    ///
    /// # Errors
    /// [`AuditStoreError`], also where a file is missing, may be read by others, or the rows are not the
    /// head's.
    pub fn open(database: impl AsRef<Path>) -> Result<Self, AuditStoreError> {
        let database = database.as_ref();
        let (head, known) = HeadFile::open(&head_path(database))?;
        Self::start(Store::open(database, head, known)?)
    }

    fn start(store: Store) -> Result<Self, AuditStoreError> {
        let queue = Arc::new(Queue::new(MAX_QUEUE));
        let waiting = Arc::clone(&queue);
        let head = Arc::new(Mutex::new(store.head()));
        let shown = Arc::clone(&head);
        std::thread::Builder::new()
            .name("agentkeys-audit".to_owned())
            .spawn(move || writer::run(store, &waiting, &shown))
            .map_err(AuditStoreError::Io)?;
        Ok(Self { queue, head })
    }

    /// Reads all rows of the log in `database` once, from the first, and checks that they are those that
    /// `known` stands for, and that whatever was written since follows them. Answers the head of all. It
    /// blocks, and may run beside an open log.
    ///
    /// # Errors
    /// [`AuditStoreError`].
    pub fn verify(database: impl AsRef<Path>, known: &ChainHead) -> Result<ChainHead, AuditStoreError> {
        store::verify(database.as_ref(), known)
    }

    /// The head of what is durable, to be kept elsewhere.
    #[must_use]
    pub fn head(&self) -> ChainHead {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was appended before, and closes both files.
    ///
    /// # Errors
    /// [`AuditError`]; it is closed in any case.
    pub async fn close(self) -> Result<ChainHead, AuditError> {
        self.queue.close().await
    }
}

impl Drop for SqliteAudit {
    fn drop(&mut self) {
        self.queue.leave();
    }
}

#[async_trait]
impl AuditSink for SqliteAudit {
    async fn append(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        self.queue.append(event).await
    }
}

/// Why a log cannot be opened or is not what it must be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditStoreError {
    /// The rows are not those of the head.
    #[error("the audit log was tampered with")]
    Chain(#[from] ChainError),
    /// The database.
    #[error("the audit database cannot be used")]
    Database(#[from] rusqlite::Error),
    /// A file.
    #[error("an audit file cannot be used")]
    Io(#[source] std::io::Error),
    /// Another process writes this log.
    #[error("the audit log is open elsewhere")]
    Locked,
    /// Others than the owner may read or write a file.
    #[error("an audit file is open to others than its owner")]
    Mode,
    /// It is a database of another version or program.
    #[error("the database is not an audit log of this version")]
    Schema,
}

impl AuditStoreError {
    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Misconfigured
    }
}

fn head_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".head");
    path.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentkeys_core::testing::SeededRandom;
    use agentkeys_core::{ErrorKind, Timestamp};

    use super::*;
    use crate::audit::{APPEND_TIMEOUT, AuditCode, AuditId, Refusal};

    fn refusal() -> Refusal {
        let id = AuditId::generate(&*SeededRandom::new(7)).unwrap();
        Refusal::new(id, Timestamp::from_unix(1_800_000_000), AuditCode::new("denied").unwrap())
    }

    /// A log that nobody writes.
    fn stalled(room: usize) -> SqliteAudit {
        SqliteAudit { queue: Arc::new(Queue::new(room)), head: Arc::new(Mutex::new(ChainHead::EMPTY)) }
    }

    #[tokio::test(start_paused = true)]
    async fn w56_a_slow_disk_is_unavailable_after_a_while() {
        let audit = stalled(1);
        let begun = tokio::time::Instant::now();
        let error = audit.refusal(&refusal()).await.unwrap_err();
        assert!(matches!(error, AuditError::Slow) && error.kind() == ErrorKind::Unavailable);
        assert!(begun.elapsed() >= APPEND_TIMEOUT && begun.elapsed() < APPEND_TIMEOUT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn w56_a_full_queue_is_unavailable_at_once() {
        let audit = stalled(1);
        assert!(matches!(audit.refusal(&refusal()).await, Err(AuditError::Slow)));
        let begun = tokio::time::Instant::now();
        let error = audit.refusal(&refusal()).await.unwrap_err();
        assert!(matches!(error, AuditError::Full) && error.kind() == ErrorKind::Unavailable);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn w56_a_writer_that_is_gone_is_unavailable() {
        let audit = stalled(1);
        let event = refusal();
        let (answer, _) = tokio::join!(audit.refusal(&event), async { drop(audit.queue.end()) });
        assert!(matches!(answer, Err(AuditError::Closed)));
        let error = audit.refusal(&refusal()).await.unwrap_err();
        assert!(matches!(error, AuditError::Closed) && error.kind() == ErrorKind::Unavailable);
        assert!(matches!(audit.close().await, Err(AuditError::Closed)));
    }
}
