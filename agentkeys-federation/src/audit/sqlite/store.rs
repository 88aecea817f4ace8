use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Statement};

use super::AuditStoreError;
use super::arrivals::Arrivals;
use super::head::{HeadFile, check_private, create_private};
use crate::audit::AuditError;
use crate::audit::chain::{ChainError, ChainHead, ChainWalk, Place};
use crate::audit::ids::{Ids, Kind, MAX_ID_ROWS};
use crate::audit::queue::{APPEND_TIMEOUT, Told};
use crate::audit::row::AUDIT_COLUMNS;

/// The database and the head, in the hands of the one who writes.
#[derive(Debug)]
pub(super) struct Store {
    database: Connection,
    file: HeadFile,
    head: ChainHead,
    ids: Ids,
    in_doubt: bool,
    /// The first row that is in SQLite's log alone.
    logged: u64,
}

impl Store {
    pub(super) fn create(path: &Path, file: HeadFile) -> Result<Self, AuditStoreError> {
        create_private(path)?;
        let database = Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        database.execute_batch("PRAGMA page_size = 8192")?;
        configure(&database)?;
        let identity = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};");
        database.execute_batch(&format!("BEGIN IMMEDIATE; {TABLE}; {}; {identity} COMMIT;", view()))?;
        // the names of both files are durable as well
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(AuditStoreError::Io)?;
        Ok(Self { database, file, head: ChainHead::EMPTY, ids: Ids::default(), in_doubt: false, logged: 0 })
    }

    pub(super) fn open(path: &Path, file: HeadFile, known: ChainHead) -> Result<Self, AuditStoreError> {
        check_private(&File::open(path).map_err(AuditStoreError::Io)?)?;
        let database = Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        configure(&database)?;
        check_schema(&database)?;
        let stored: Option<Vec<u8>> = database
            .query_row("SELECT hash FROM audit_rows WHERE seq = ?1", [integer(known.count())], |row| {
                row.get(0)
            })
            .optional()?;
        match stored {
            Some(hash) if hash == known.hash() => {}
            None if known == ChainHead::EMPTY => {}
            Some(_) => return Err(ChainError::Head.into()),
            None => {
                let found: i64 =
                    database.query_row("SELECT count(*) FROM audit_rows", [], |row| row.get(0))?;
                let found = u64::try_from(found).unwrap_or_default();
                return Err(ChainError::Missing { found, expected: known.count() }.into());
            }
        }
        let sql = "SELECT seq, row, hash FROM audit_rows WHERE seq > ?1 ORDER BY seq";
        let mut walk = ChainWalk::from(known, known);
        walk_along(&mut database.prepare(sql)?, [integer(known.count())], &mut walk)?;
        let head = walk.finish()?;
        let ids = read_ids(&database)?;
        let mut store = Self { head, ids, database, file, in_doubt: false, logged: 0 };
        store.file.write(&store.head).and_then(|()| store.file.sync()).map_err(AuditStoreError::Io)?;
        Ok(store)
    }

    pub(super) const fn head(&self) -> ChainHead {
        self.head
    }

    /// Whether an error left it unknown what is on the disk.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Makes events durable in one transaction; an answer for each.
    pub(super) fn write(&mut self, mut arrivals: Arrivals<'_>) -> Vec<(Told, Result<(), AuditError>)> {
        let mut told = Vec::new();
        match self.transaction(&mut arrivals, &mut told) {
            Ok(answers) => told.into_iter().zip(answers).collect(),
            Err(error) => {
                let error: Arc<dyn Error + Send + Sync> = Arc::from(error);
                told.extend(arrivals.into_rest().map(|append| append.told));
                let failed = |told| (told, Err(AuditError::Storage(Arc::clone(&error))));
                told.into_iter().map(failed).collect()
            }
        }
    }

    fn transaction(
        &mut self,
        arrivals: &mut Arrivals<'_>,
        told: &mut Vec<Told>,
    ) -> Result<Vec<Result<(), AuditError>>, Box<dyn Error + Send + Sync>> {
        self.execute("BEGIN IMMEDIATE")?;
        let mut head = self.head;
        let answers = match insert(&self.database, &mut self.ids, arrivals, &mut head, told) {
            Ok(answers) => answers,
            Err(error) => {
                self.ids.take_back(self.head.count());
                self.in_doubt = self.execute("ROLLBACK").is_err();
                return Err(error.into());
            }
        };
        let committed = self.execute("COMMIT");
        let shown = committed.map_err(Into::into).and_then(|_| self.file.write(&head).map_err(Into::into));
        if shown.is_ok() {
            self.head = head;
        } else {
            self.in_doubt = true;
        }
        shown.map(|()| answers)
    }

    /// To be called when nothing waits: brings the rows from SQLite's log into the database, once there are
    /// many. SQLite does it by itself, while others wait, where that never happens.
    pub(super) fn rest(&mut self) {
        if self.head.count().saturating_sub(self.logged) >= MANY {
            // where it fails the rows are as durable as before, and the next commit says what is wrong
            let _ = self.database.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            self.logged = self.head.count();
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<usize> {
        self.database.prepare_cached(sql)?.execute([])
    }

    pub(super) fn close(self) -> Result<ChainHead, AuditError> {
        self.file.sync().map_err(AuditError::storage)?;
        self.database.close().map_err(|(_, error)| AuditError::storage(error))?;
        Ok(self.head)
    }
}

/// A row after `head` for each that comes, and an answer.
fn insert(
    database: &Connection,
    ids: &mut Ids,
    arrivals: &mut Arrivals<'_>,
    head: &mut ChainHead,
    told: &mut Vec<Told>,
) -> rusqlite::Result<Vec<Result<(), AuditError>>> {
    let mut insert = database.prepare_cached(INSERT)?;
    let (mut answers, mut place) = (Vec::new(), Place::default());
    for append in arrivals {
        told.push(append.told);
        // an event that is refused leaves the others alone
        let checked = ids.check(&append.id, append.kind);
        if checked.is_ok() {
            *head = put(&mut insert, &append.text, head, &mut place)?;
            ids.put(append.id, append.kind, head.count());
        }
        answers.push(checked);
    }
    Ok(answers)
}

/// The row after `head`, whose values but for its number are spelled in `values`.
fn put(
    insert: &mut Statement<'_>,
    values: &[u8],
    head: &ChainHead,
    place: &mut Place,
) -> rusqlite::Result<ChainHead> {
    let head = place.after(head, values);
    insert.raw_bind_parameter(1, integer(head.count()))?;
    insert.raw_bind_parameter(2, ToSqlOutput::Borrowed(ValueRef::Text(place.text())))?;
    insert.raw_bind_parameter(3, head.hash())?;
    insert.raw_execute()?;
    Ok(head)
}

/// The ids of the rows that there are.
fn read_ids(database: &Connection) -> Result<Ids, AuditStoreError> {
    let mut ids = Ids::default();
    let mut rows = database.prepare(LAST)?;
    let mut rows = rows.query([MAX_ID_ROWS])?;
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)?.unsigned_abs();
        let id = row.get_ref(1)?.as_str().ok().and_then(|id| id.parse().ok());
        let kind = row.get_ref(2)?.as_str().ok().and_then(Kind::parse);
        let (Some(id), Some(kind)) = (id, kind) else {
            return Err(ChainError::Row(seq).into());
        };
        ids.put(id, kind, seq);
    }
    Ok(ids)
}

pub(super) fn verify(path: &Path, known: &ChainHead) -> Result<ChainHead, AuditStoreError> {
    let database = Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(APPEND_TIMEOUT)?;
    check_schema(&database)?;
    let mut walk = ChainWalk::new(*known);
    walk_along(&mut database.prepare("SELECT seq, row, hash FROM audit_rows ORDER BY seq")?, [], &mut walk)?;
    Ok(walk.finish()?)
}

/// Hashes rows as they lie in the database's pages: nothing of them is copied or parsed.
fn walk_along(
    rows: &mut Statement<'_>,
    parameters: impl rusqlite::Params,
    walk: &mut ChainWalk,
) -> Result<(), AuditStoreError> {
    let mut rows = rows.query(parameters)?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let (text, hash) = (row.get_ref(1)?.as_str(), row.get_ref(2)?.as_blob());
        walk.text(seq, text.unwrap_or_default().as_bytes(), hash.unwrap_or_default())?;
    }
    Ok(())
}

fn configure(database: &Connection) -> Result<(), AuditStoreError> {
    database.busy_timeout(BUSY)?;
    let mode: String = database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    database.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 16000; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
    )?;
    let full: i64 = database.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if mode == "wal" && full == 2 { Ok(()) } else { Err(AuditStoreError::Schema) }
}

fn check_schema(database: &Connection) -> Result<(), AuditStoreError> {
    let application: i64 = database.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i64 = database.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if (application, version) == (APPLICATION, VERSION) { Ok(()) } else { Err(AuditStoreError::Schema) }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Only somebody who breaks the rules writes beside us; a reader that recovers the log after a crash is
/// waited for.
const BUSY: Duration = Duration::from_millis(500);

/// `AgAu`: how `file` and SQLite's own tools know the log.
const APPLICATION: i64 = 0x4167_4175;

const VERSION: i64 = 2;

/// About as many rows as SQLite would leave in its log.
const MANY: u64 = 4096;

/// In the order in which they were written.
const LAST: &str =
    "SELECT seq, id, event FROM audit WHERE seq > (SELECT max(seq) FROM audit_rows) - ?1 ORDER BY seq";

const INSERT: &str = "INSERT INTO audit_rows (seq, row, hash) VALUES (?1, ?2, ?3)";

/// A row is written as the text that is hashed; the view has a column for each value. What a row may be is
/// decided by types where it is made, and kept by the chain: columns, checks and an index of the ids would
/// take several times as long to write as the text.
const TABLE: &str = "CREATE TABLE audit_rows (
    seq INTEGER PRIMARY KEY,
    row TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT";

/// `requested_role` is for readers of older logs and follows from the others (W55).
fn view() -> String {
    let column = |(at, name): (usize, &&str)| format!("row ->> {at} AS {name}");
    let columns: Vec<_> = AUDIT_COLUMNS.iter().enumerate().skip(1).map(column).collect();
    format!(
        "CREATE VIEW audit AS SELECT *, CASE path \
         WHEN 'oidc_jwt+sts' THEN 'data-role-via-jwt' \
         WHEN 'oidc_jwt+sts+assume_role' THEN 'data-role-via-jwt' \
         WHEN 'oidc_jwt' THEN 'oidc_jwt' ELSE role_arn END AS requested_role \
         FROM (SELECT seq, {}, hash FROM audit_rows)",
        columns.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use agentkeys_core::Timestamp;
    use agentkeys_core::testing::SeededRandom;

    use super::*;
    use crate::audit::queue::{Append, Queue};
    use crate::audit::sqlite::arrivals::Last;
    use crate::audit::{AuditCode, AuditEvent, AuditId, Refusal};

    #[test]
    fn w56_rows_that_were_taken_back_may_come_again() {
        let folder = std::env::temp_dir().join(format!("agentkeys-store-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("audit.db");
        let mut store = Store::create(&path, HeadFile::create(&folder.join("head")).unwrap()).unwrap();
        let (random, queue) = (SeededRandom::new(7), Queue::new(9));
        let refusals: [Refusal; 2] = std::array::from_fn(|_| {
            let id = AuditId::generate(&*random).unwrap();
            Refusal::new(id, Timestamp::from_unix(1), AuditCode::new("denied").unwrap())
        });
        let mut write = || {
            let answered = refusals.each_ref().map(|refusal| {
                let (append, answered) = Append::new(&AuditEvent::Refusal(refusal));
                queue.push(append).unwrap();
                answered
            });
            let answers = store.write(queue.arrivals(&Last::NONE, || ()).unwrap());
            drop(answered);
            answers.into_iter().map(|(_, answer)| answer).collect::<Vec<_>>()
        };
        // the first row of the transaction has a place, the second has none
        let rude = Connection::open(&path).unwrap();
        rude.execute_batch("INSERT INTO audit_rows VALUES (2, '', x'')").unwrap();
        assert!(matches!(write()[..], [Err(AuditError::Storage(_)), Err(AuditError::Storage(_))]));
        rude.execute_batch("DELETE FROM audit_rows").unwrap();
        assert!(matches!(write()[..], [Ok(()), Ok(())]));
        assert!(matches!(write()[..], [Err(AuditError::Doubled), Err(AuditError::Doubled)]));
        assert_eq!(store.head().count(), 2);
        drop((rude, store));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
