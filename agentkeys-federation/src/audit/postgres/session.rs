use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentkeys_core::jose::sha256;
use futures_util::TryStreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Statement};

use super::anchor::{Anchor, Heads, Last};
use super::writer::{Batch, Rows, Session, Tail};
use super::{ChainName, Fault, MAX_CHAINS, PostgresAuditError, PostgresLogin, schema};
use crate::audit::AuditId;
use crate::audit::chain::{ChainError, ChainHead, ChainWalk, Place};
use crate::audit::ids::{Ids, Kind, MAX_ID_ROWS};

/// A connection, and the task that speaks for it.
pub(super) struct Connected {
    pub(super) client: Client,
    task: Task,
    /// The server said something that it need not say where all is well.
    warned: Arc<AtomicBool>,
}

/// It ends with the connection.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn connect(login: &PostgresLogin) -> Result<Connected, Fault> {
    let connected = async {
        match &login.tls {
            None => login.config.connect(NoTls).await.map(|(client, way)| speak(client, way)),
            Some(tls) => login.config.connect(tls.clone()).await.map(|(client, way)| speak(client, way)),
        }
    };
    timeout(CONNECT_TIMEOUT, connected).await.map_err(|_| Fault::Slow)?.map_err(Fault::from)
}

fn speak<S, T>(client: Client, mut way: Connection<S, T>) -> Connected
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let warned = Arc::new(AtomicBool::new(false));
    let warns = Arc::clone(&warned);
    let task = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| way.poll_message(context)).await {
            if let AsyncMessage::Notice(_) = message {
                warns.store(true, Ordering::Release);
            }
        }
    });
    Connected { client, task: Task(task), warned }
}

/// The way to a chain for the one who writes it.
pub(super) struct Door {
    login: PostgresLogin,
    chain: ChainName,
    /// The backend that had the lock the last time, if it is gone or not.
    before: Option<Backend>,
}

/// A process of the server: a number that comes again, and when it began.
#[derive(Clone, Debug)]
struct Backend {
    pid: i32,
    began: String,
}

impl Door {
    pub(super) fn new(login: &PostgresLogin, chain: &ChainName) -> Self {
        let mut login = login.clone();
        // of several hosts not one that is a standby
        login.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Self { login, chain: chain.clone(), before: None }
    }

    pub(super) const fn chain(&self) -> &ChainName {
        &self.chain
    }

    async fn knock(&mut self) -> Result<PostgresSession, PostgresAuditError> {
        let connected = connect(&self.login).await?;
        let client = &connected.client;
        client.batch_execute(SETTINGS).await?;
        schema::check(client).await?;
        let row = client.query_one(CHECK, &[]).await?;
        let (settings, pid, began) = (row.get::<_, bool>(0), row.get(1), row.get(2));
        if !settings {
            return Err(PostgresAuditError::Settings);
        }
        if let Some(before) = &self.before {
            client.execute(END, &[&before.pid, &before.began]).await?;
        }
        let key = lock_key(&self.chain);
        let mut tries = 0;
        while !client.query_one(LOCK, &[&key]).await?.get::<_, bool>(0) {
            tries += 1;
            if tries > LOCK_TRIES {
                return Err(PostgresAuditError::Locked);
            }
            sleep(LOCK_PAUSE).await;
        }
        self.before = Some(Backend { pid, began });
        let (insert, heads) = (client.prepare(INSERT).await?, client.prepare(HEADS).await?);
        Ok(PostgresSession { connected, chain: self.chain.clone(), pid, insert, heads })
    }
}

impl Rows for Door {
    type Session = PostgresSession;

    async fn enter(&mut self) -> Result<PostgresSession, PostgresAuditError> {
        timeout(ENTER_TIMEOUT, self.knock()).await.unwrap_or(Err(Fault::Slow.into()))
    }
}

/// A connection that holds the lock of a chain.
pub(super) struct PostgresSession {
    connected: Connected,
    chain: ChainName,
    pid: i32,
    insert: Statement,
    heads: Statement,
}

impl PostgresSession {
    /// The first row of the chain.
    pub(super) async fn begin(&self) -> Result<(), PostgresAuditError> {
        let heads = self.heads().await?;
        if heads.contains_key(&self.chain) {
            return Err(PostgresAuditError::Exists);
        }
        if heads.len() >= MAX_CHAINS {
            return Err(PostgresAuditError::TooMany);
        }
        let heads = heads.into_iter().map(|(name, last)| (name, last.head)).collect();
        let anchor = Anchor { chain: self.chain.clone(), events: 0, heads };
        let mut place = Place::default();
        let head = place.after(&ChainHead::EMPTY, &anchor.spell());
        let text = String::from_utf8_lossy(place.text());
        let parameters: [&(dyn ToSql + Sync); 3] = [&self.chain.as_str(), &text, &head.hash().as_slice()];
        match self.connected.client.execute(FIRST, &parameters).await.map_err(Fault::from) {
            Ok(_) => Ok(()),
            Err(Fault::UNIQUE) => Err(PostgresAuditError::Exists),
            Err(fault) => Err(fault.into()),
        }
    }

    /// The end of the chain, as far as the ids of its rows are kept.
    pub(super) async fn tail(&self) -> Result<Tail, PostgresAuditError> {
        let broken = |error| PostgresAuditError::Chain(self.chain.clone(), error);
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.chain.as_str(), &MAX_ID_ROWS];
        let rows = self.connected.client.query_raw(TAIL, parameters).await?;
        let mut rows = std::pin::pin!(rows);
        let mut walk: Option<ChainWalk> = None;
        let (mut ids, mut events, mut head, mut first) = (Ids::default(), 0, ChainHead::EMPTY, 0);
        while let Some(row) = rows.try_next().await? {
            let (seq, text, hash) = stored(&row)?;
            let count = u64::try_from(seq).unwrap_or_default();
            let base = match (&walk, <[u8; 32]>::try_from(hash)) {
                // the row before those that are kept
                (None, Ok(hash)) if count > 1 => Some(ChainHead::at(count, hash)),
                _ => None,
            };
            if let Some(base) = base {
                (walk, head, first) = (Some(ChainWalk::from(base, base)), base, base.count());
                events = Last::of(base, text).events;
                continue;
            }
            let walk = walk.get_or_insert_with(|| ChainWalk::new(ChainHead::EMPTY));
            walk.text(seq, text.as_bytes(), hash).map_err(broken)?;
            head = walk.finish().map_err(broken)?;
            if Anchor::read(text).map_err(|_| broken(ChainError::Row(count)))?.is_none() {
                let (id, kind) = id_of(text).ok_or_else(|| broken(ChainError::Row(count)))?;
                ids.put(id, kind, count);
                events = count;
            }
        }
        // a chain that is not so long begins with its first row
        if first > 0 && head.count().checked_sub(first) != u64::try_from(MAX_ID_ROWS).ok() {
            return Err(broken(ChainError::Row(first)));
        }
        if walk.is_none() { Err(PostgresAuditError::NoChain) } else { Ok(Tail { head, events, ids }) }
    }
}

impl Session for PostgresSession {
    async fn heads(&self) -> Result<Heads, PostgresAuditError> {
        let rows = self.connected.client.query(&self.heads, &[]).await?;
        if rows.len() > MAX_CHAINS {
            return Err(PostgresAuditError::TooMany);
        }
        let mut heads = Heads::new();
        for row in rows {
            let name = row.try_get::<_, &str>(0)?.parse().map_err(|_| PostgresAuditError::Name)?;
            let (seq, hash): (i64, &[u8]) = (row.try_get(1)?, row.try_get(2)?);
            let hash = hash.try_into().map_err(|_| Fault::Answer)?;
            let head = ChainHead::at(u64::try_from(seq).unwrap_or_default(), hash);
            let text = row.try_get::<_, Option<&str>>(3)?.unwrap_or_default();
            heads.insert(name, Last::of(head, text));
        }
        Ok(heads)
    }

    async fn insert(&self, before: &ChainHead, batch: &Batch) -> Result<(), Fault> {
        let seq = i64::try_from(before.count()).unwrap_or(i64::MAX);
        let hashes: Vec<&[u8]> = batch.hashes.iter().map(|hash| hash.as_slice()).collect();
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &self.chain.as_str(),
            &batch.seqs,
            &batch.texts,
            &hashes,
            &self.pid,
            &seq,
            &before.hash().as_slice(),
        ];
        self.connected.warned.store(false, Ordering::Release);
        let rows = self.connected.client.execute(&self.insert, &parameters).await?;
        if self.connected.warned.load(Ordering::Acquire) {
            return Err(Fault::Warned);
        }
        if rows == batch.seqs.len() as u64 { Ok(()) } else { Err(Fault::Moved) }
    }

    async fn lost(&mut self) {
        // whichever way it ends
        let _ = (&mut self.connected.task.0).await;
    }

    async fn close(self) {
        let Connected { client, mut task, .. } = self.connected;
        // that says good-bye
        drop(client);
        let _ = timeout(CLOSE_TIMEOUT, &mut task.0).await;
    }
}

/// A row's number, text and hash. A text that is too long is none, and so not what was written.
pub(super) fn stored(row: &Row) -> Result<(i64, &str, &[u8]), Fault> {
    Ok((row.try_get(0)?, row.try_get::<_, Option<&str>>(1)?.unwrap_or_default(), row.try_get(2)?))
}

/// Of which id and kind the row of an event is.
fn id_of(text: &str) -> Option<(AuditId, Kind)> {
    let mut values = text.split(',').skip(2).map(|value| value.trim_matches('"'));
    Some((values.next()?.parse().ok()?, Kind::parse(values.next()?)?))
}

/// The number of a chain's lock.
fn lock_key(chain: &ChainName) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = sha256(format!("agentkeys/audit-chain\0{chain}").as_bytes());
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection, its settings and the lock.
const ENTER_TIMEOUT: Duration = Duration::from_secs(5);

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Two seconds together: a process that was killed just now may have the lock for a moment more.
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Whatever server, database, role and connection string say. A client that is gone without a word is noticed
/// after half a minute, and its lock with it.
/// <https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT>
const SETTINGS: &str = "
    SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false);
    SET search_path = pg_catalog;
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET client_min_messages = warning;
    SET jit = off;
    SET lock_timeout = '3s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = 25000";

const CHECK: &str = "
    SELECT current_setting('synchronous_commit') IN ('on', 'remote_apply')
        AND current_setting('fsync') = 'on' AND current_setting('server_encoding') = 'UTF8',
        pid, backend_start::text
    FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// Ends the connection that we had before, if the server does not know yet that it is lost.
const END: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";

const LOCK: &str = "SELECT pg_try_advisory_lock($1)";

const FIRST: &str = "INSERT INTO agentkeys_audit.audit_rows (chain, seq, row, hash) VALUES ($1, 1, $2, $3)";

/// It writes where the row before is the one that we know, and over the connection that has the lock. It is a
/// transaction of its own, and the answer to it comes after its commit.
const INSERT: &str = "
    INSERT INTO agentkeys_audit.audit_rows (chain, seq, row, hash)
    SELECT $1, n.seq, n.row, n.hash FROM unnest($2::bigint[], $3::text[], $4::bytea[]) AS n (seq, row, hash)
    WHERE pg_backend_pid() = $5 AND EXISTS (
        SELECT FROM agentkeys_audit.audit_rows b WHERE b.chain = $1 AND b.seq = $6 AND b.hash = $7)";

/// Goes from chain to chain along the key.
const HEADS: &str = "
    WITH RECURSIVE names (chain, n) AS (
        (SELECT chain, 1 FROM agentkeys_audit.audit_rows ORDER BY chain LIMIT 1)
        UNION ALL
        SELECT (SELECT r.chain FROM agentkeys_audit.audit_rows r WHERE r.chain > names.chain ORDER BY r.chain LIMIT 1),
            n + 1
        FROM names WHERE names.chain IS NOT NULL AND n <= 1024)
    SELECT names.chain, l.seq, l.hash, l.row
    FROM names, LATERAL (
        SELECT r.seq, r.hash, CASE WHEN octet_length(r.row) <= 262144 THEN r.row END AS row
        FROM agentkeys_audit.audit_rows r WHERE r.chain = names.chain ORDER BY r.seq DESC LIMIT 1) l
    WHERE names.chain IS NOT NULL";

/// The last rows, and one before them.
const TAIL: &str = "
    SELECT r.seq, CASE WHEN octet_length(r.row) <= 262144 THEN r.row END, r.hash
    FROM agentkeys_audit.audit_rows r
    WHERE r.chain = $1 AND r.seq >= (SELECT max(m.seq) FROM agentkeys_audit.audit_rows m WHERE m.chain = $1) - $2
    ORDER BY r.seq";
