use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use agentkeys_core::{ErrorKind, SystemRandom};
use async_trait::async_trait;
use tokio::sync::Notify;

use super::chain::{ChainError, ChainHead};
use super::event::AuditEvent;
use super::queue::{MAX_QUEUE, Queue};
use super::{AuditError, AuditSink};

mod anchor;
mod arrivals;
mod fault;
mod login;
mod name;
mod schema;
mod session;
mod verify;
mod writer;

pub use login::{PostgresLogin, PostgresLoginError};
pub use name::{ChainName, ChainNameError};

use fault::Fault;
use session::Door;
use writer::{Rows as _, Writer};

/// Rows in a PostgreSQL database that several replicas share: each writes a chain of its own.
///
/// A row is written as the text that is hashed, a JSON array ([`AuditRow::text`](super::AuditRow::text)), to
/// the table `agentkeys_audit.audit_rows`; the view `agentkeys_audit.audit` has a column for each value.
///
/// One task writes, over one connection. Events that arrive while it waits for a commit share the next
/// transaction: one statement, one round trip. At most [`MAX_QUEUE`] wait; one more is [`AuditError::Full`],
/// and after [`APPEND_TIMEOUT`](super::APPEND_TIMEOUT) a caller gets [`AuditError::Slow`].
///
/// When a connection is lost during a commit, nobody knows whether its rows are there. Whoever waits for them
/// gets an error; the next connection reads the end of the chain and goes on from it, whichever it is. Where
/// the end is neither, the chain was changed by somebody else: nothing more is written, and every event is
/// [`AuditError::Closed`] until the host opens it anew. While there is no connection every event is refused at
/// once, and another connection is tried after 0.1 to 3 s.
///
/// Each replica has a chain with a name of its own, that stays when it is started again. The connection that
/// writes a chain holds a lock of the server, and writes nothing once it lost that: the lock ends with the
/// connection, a statement that comes over another one writes nothing, and two rows cannot have one place.
///
/// An id has one row of each kind within a chain, for as many ids as `SqliteAudit` keeps: the
/// last 16,384 that had an intent and as many that had a refusal. An outcome goes to the chain of its intent.
///
/// # Security
/// The chain is not signed: whoever may change the table can write all of it anew. So every chain also records
/// the last rows of the others, in rows that are hashed like all others: at most a second after they were
/// written where there is traffic. [`PostgresAudit::verify`] compares them. What is found by that, without
/// anything kept elsewhere: a row that is changed, taken out, put in or moved; the end of a chain that was cut
/// off or written anew, or the whole of it, up to the last row that another chain knows of; a chain that was
/// given another's name. What is not found: rows less than a second old at the end, the end of the only chain,
/// and all chains set back together to one moment in the past, or written anew together from there. Against
/// these keep the heads elsewhere, where the database's administrator cannot write, and give them to
/// [`PostgresAudit::verify`]. A replica that runs finds more: it remembers the heads that it saw, and closes
/// when one of them is gone.
///
/// A replica needs `SELECT` and `INSERT` and nothing else. Somebody who has its login can add rows, and so stop
/// replicas, but not change what is there.
///
/// `synchronous_commit` is set for the session, whatever the server's default is; a server with `fsync = off` is
/// refused, and a commit with a warning is none. After a fail-over to a standby that had not everything, the
/// chain's end is gone, and the log closes.
///
/// It must be used on a tokio runtime with time.
#[derive(Debug)]
pub struct PostgresAudit {
    queue: Arc<Queue<Notify>>,
    head: Arc<Mutex<ChainHead>>,
    chain: ChainName,
}

impl PostgresAudit {
    /// Makes the tables, or brings those of an older version to this one. It needs the right to create a
    /// schema; replicas do not.
    ///
    /// # Errors
    /// [`PostgresAuditError`].
    pub async fn migrate(login: &PostgresLogin) -> Result<(), PostgresAuditError> {
        schema::migrate(login).await
    }

    /// Begins the chain of this name, with a row that says so, and opens it.
    ///
    /// # Errors
    /// [`PostgresAuditError`], also where there is such a chain: none is ever begun anew in silence.
    pub async fn create(login: &PostgresLogin, chain: &ChainName) -> Result<Self, PostgresAuditError> {
        let mut door = Door::new(login, chain);
        let session = door.enter().await?;
        session.begin().await?;
        Self::start(door, session).await
    }

    /// Opens a chain that was created before, and goes on with it.
    ///
    /// Of the rows only the last ones are read and checked; [`PostgresAudit::verify`] reads all.
    ///
    /// # Errors
    /// [`PostgresAuditError`], also where another process writes this chain.
    pub async fn open(login: &PostgresLogin, chain: &ChainName) -> Result<Self, PostgresAuditError> {
        let mut door = Door::new(login, chain);
        let session = door.enter().await?;
        Self::start(door, session).await
    }

    async fn start(door: Door, session: session::PostgresSession) -> Result<Self, PostgresAuditError> {
        let tail = session.tail().await?;
        let queue = Arc::new(Queue::new(MAX_QUEUE));
        let shown = Arc::new(Mutex::new(tail.head));
        let chain = door.chain().clone();
        let writer = Writer::new(door, chain.clone(), session, tail, Arc::new(SystemRandom::new()));
        tokio::spawn(writer.run(Arc::clone(&queue), Arc::clone(&shown)));
        Ok(Self { queue, head: shown, chain })
    }

    /// Reads all rows of all chains once, in one snapshot, and checks that each chain is whole, that it has
    /// every row that another one recorded, and that it is the one that `known` stands for, where a head of it
    /// is known. Answers the head of each. It may run beside open logs and needs `SELECT` alone.
    ///
    /// # Errors
    /// [`PostgresAuditError`].
    pub async fn verify(
        login: &PostgresLogin,
        known: &BTreeMap<ChainName, ChainHead>,
    ) -> Result<BTreeMap<ChainName, ChainHead>, PostgresAuditError> {
        verify::verify(login, known).await
    }

    /// The name of the chain.
    #[must_use]
    pub const fn chain(&self) -> &ChainName {
        &self.chain
    }

    /// The head of what is durable, to be kept elsewhere.
    #[must_use]
    pub fn head(&self) -> ChainHead {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was appended before, and closes the connection.
    ///
    /// # Errors
    /// [`AuditError`]; it is closed in any case.
    pub async fn close(self) -> Result<ChainHead, AuditError> {
        self.queue.close().await
    }
}

impl Drop for PostgresAudit {
    fn drop(&mut self) {
        self.queue.leave();
    }
}

#[async_trait]
impl AuditSink for PostgresAudit {
    async fn append(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        self.queue.append(event).await
    }
}

/// Why a log cannot be opened or is not what it must be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresAuditError {
    /// One chain recorded a row of another that is not there.
    #[error("chain {by} recorded a row of chain {of} that is not there")]
    Anchor {
        /// The chain that recorded it.
        by: ChainName,
        /// The chain that does not have it.
        of: ChainName,
    },
    /// The rows are not those of the head.
    #[error("chain {0} was tampered with")]
    Chain(ChainName, #[source] ChainError),
    /// The server, or the way to it.
    #[error("the audit database cannot be used")]
    Database(#[source] PostgresFault),
    /// There is a chain of this name.
    #[error("there is a chain of this name")]
    Exists,
    /// Another process writes this chain.
    #[error("the chain is open elsewhere")]
    Locked,
    /// Rows stand under a name that no chain of ours has.
    #[error("there are rows of a chain that nobody created")]
    Name,
    /// There is no such chain.
    #[error("there is no chain of this name")]
    NoChain,
    /// The server does not keep what was committed, or not as it was written.
    #[error("the server's settings do not keep rows: fsync must be on and the encoding UTF8")]
    Settings,
    /// It is a database of another version, or without our tables.
    #[error("the database is not an audit log of this version")]
    Schema,
    /// There are more than [`MAX_CHAINS`] chains.
    #[error("there are more than {MAX_CHAINS} chains")]
    TooMany,
}

impl PostgresAuditError {
    /// [`ErrorKind::Unavailable`] where another try may do, [`ErrorKind::Misconfigured`] otherwise.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(_) | Self::Locked => ErrorKind::Unavailable,
            _ => ErrorKind::Misconfigured,
        }
    }
}

impl From<Fault> for PostgresAuditError {
    fn from(fault: Fault) -> Self {
        Self::Database(PostgresFault(fault))
    }
}

impl From<tokio_postgres::Error> for PostgresAuditError {
    fn from(error: tokio_postgres::Error) -> Self {
        Fault::from(error).into()
    }
}

/// What went wrong between us and the server: a code, and nothing of what was sent or answered.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(transparent)]
pub struct PostgresFault(Fault);

/// So many chains there may be in one database.
pub const MAX_CHAINS: usize = 1024;
