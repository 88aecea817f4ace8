use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Statement, params_from_iter};

use super::head::{HeadFile, check_private, create_private};
use super::{APPEND_TIMEOUT, AuditStoreError};
use crate::audit::AuditError;
use crate::audit::chain::{Cell, ChainError, ChainHead, ChainWalk};
use crate::audit::event::AuditEvent;
use crate::audit::row::{AUDIT_COLUMNS, AuditRow, AuditValue};

/// The database and the head, in the hands of the one who writes.
#[derive(Debug)]
pub(super) struct Store {
    database: Connection,
    file: HeadFile,
    head: ChainHead,
    in_doubt: bool,
}

impl Store {
    pub(super) fn create(path: &Path, file: HeadFile) -> Result<Self, AuditStoreError> {
        create_private(path)?;
        let database = Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        configure(&database)?;
        let identity = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};");
        database.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {identity} COMMIT;"))?;
        // the names of both files are durable as well
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(AuditStoreError::Io)?;
        Ok(Self { database, file, head: ChainHead::EMPTY, in_doubt: false })
    }

    pub(super) fn open(path: &Path, file: HeadFile, known: ChainHead) -> Result<Self, AuditStoreError> {
        check_private(&File::open(path).map_err(AuditStoreError::Io)?)?;
        let database = Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        configure(&database)?;
        check_schema(&database)?;
        let stored: Option<Vec<u8>> = database
            .query_row("SELECT hash FROM audit WHERE seq = ?1", [integer(known.count())], |row| row.get(0))
            .optional()?;
        match stored {
            Some(hash) if hash == known.hash() => {}
            None if known == ChainHead::EMPTY => {}
            Some(_) => return Err(ChainError::Head.into()),
            None => {
                let found: i64 = database.query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?;
                let found = u64::try_from(found).unwrap_or_default();
                return Err(ChainError::Missing { found, expected: known.count() }.into());
            }
        }
        let sql = format!("SELECT {}, hash FROM audit WHERE seq > ?1 ORDER BY seq", AUDIT_COLUMNS.join(", "));
        let mut walk = ChainWalk::from(known, known);
        walk_along(&mut database.prepare(&sql)?, [integer(known.count())], &mut walk)?;
        let mut store = Self { head: walk.finish()?, database, file, in_doubt: false };
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
    pub(super) fn write<'e>(
        &mut self,
        events: impl ExactSizeIterator<Item = &'e AuditEvent>,
    ) -> Vec<Result<(), AuditError>> {
        let count = events.len();
        if count == 0 {
            return Vec::new();
        }
        self.transaction(events).unwrap_or_else(|error| {
            let error: Arc<dyn Error + Send + Sync> = Arc::from(error);
            (0..count).map(|_| Err(AuditError::Storage(Arc::clone(&error)))).collect()
        })
    }

    fn transaction<'e>(
        &mut self,
        events: impl Iterator<Item = &'e AuditEvent>,
    ) -> Result<Vec<Result<(), AuditError>>, Box<dyn Error + Send + Sync>> {
        self.database.execute_batch("BEGIN IMMEDIATE")?;
        let mut head = self.head;
        let mut answers = Vec::new();
        for event in events {
            match insert(&self.database, &head, event) {
                Ok(Ok(row)) => {
                    head = row.head();
                    answers.push(Ok(()));
                }
                Ok(Err(error)) => answers.push(Err(error)),
                Err(error) => {
                    self.in_doubt = self.database.execute_batch("ROLLBACK").is_err();
                    return Err(error.into());
                }
            }
        }
        let committed = self.database.execute_batch("COMMIT");
        let told = committed.map_err(Into::into).and_then(|()| self.file.write(&head).map_err(Into::into));
        if told.is_ok() {
            self.head = head;
        } else {
            self.in_doubt = true;
        }
        told.map(|()| answers)
    }

    pub(super) fn close(self) -> Result<ChainHead, AuditError> {
        self.file.sync().map_err(AuditError::storage)?;
        self.database.close().map_err(|(_, error)| AuditError::storage(error))?;
        Ok(self.head)
    }
}

/// One row after `head`; the inner error is this event's own and leaves the others alone.
fn insert(
    database: &Connection,
    head: &ChainHead,
    event: &AuditEvent,
) -> rusqlite::Result<Result<AuditRow, AuditError>> {
    if let AuditEvent::Outcome(id, _) = event {
        let mut intent = database.prepare_cached("SELECT 1 FROM audit WHERE id = ?1 AND event = 'intent'")?;
        if !intent.exists([id.as_str()])? {
            return Ok(Err(AuditError::NoIntent));
        }
    }
    let row = AuditRow::after(head, event);
    let hash: &dyn ToSql = row.hash();
    let values = row.values().iter().map(|value| value as &dyn ToSql).chain([hash]);
    match database.prepare_cached(INSERT)?.execute(params_from_iter(values)) {
        Ok(_) => Ok(Ok(row)),
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.extended_code == SQLITE_CONSTRAINT_UNIQUE => {
            Ok(Err(AuditError::Doubled))
        }
        Err(error) => Err(error),
    }
}

impl ToSql for AuditValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

pub(super) fn verify(path: &Path, known: &ChainHead) -> Result<ChainHead, AuditStoreError> {
    let database = Connection::open_with_flags(path, FLAGS | OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(APPEND_TIMEOUT)?;
    check_schema(&database)?;
    let sql = format!("SELECT {}, hash FROM audit ORDER BY seq", AUDIT_COLUMNS.join(", "));
    let mut walk = ChainWalk::new(*known);
    walk_along(&mut database.prepare(&sql)?, [], &mut walk)?;
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
        let cells = (0..AUDIT_COLUMNS.len()).map(|at| match row.get_ref(at) {
            Ok(ValueRef::Null) => Cell::Null,
            Ok(ValueRef::Integer(number)) => Cell::Integer(number),
            Ok(ValueRef::Text(text)) => Cell::Text(text),
            Ok(ValueRef::Real(_) | ValueRef::Blob(_)) | Err(_) => Cell::Foreign,
        });
        let hash = row.get_ref(AUDIT_COLUMNS.len())?.as_blob().unwrap_or_default();
        walk.cells(cells, hash)?;
    }
    Ok(())
}

fn configure(database: &Connection) -> Result<(), AuditStoreError> {
    database.busy_timeout(BUSY)?;
    let mode: String = database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    database.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
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

const VERSION: i64 = 1;

/// The values of [`AUDIT_COLUMNS`], and the hash.
const INSERT: &str = "INSERT INTO audit (seq, at, id, event, path, subject, agent, tenant, instance, \
    evidence_kind, assurance, jti, kid, token_expires_at, role_arn, session_name, session_seconds, \
    attribution, source_identity, source_identity_preimage, outcome, expires_at, access_key_id, code, hash) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
    ?22, ?23, ?24, ?25)";

/// `requested_role` is for readers of older logs and follows from the others (W55).
const SCHEMA: &str = "
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    at INTEGER NOT NULL CHECK (at >= 0),
    id TEXT NOT NULL CHECK (length(id) = 25 AND id GLOB 'ak-*'),
    event TEXT NOT NULL CHECK (event IN ('intent', 'outcome', 'refusal')),
    path TEXT CHECK (path IN ('oidc_jwt', 'oidc_jwt+sts', 'oidc_jwt+sts+assume_role', 'legacy_assume_role')),
    requested_role TEXT GENERATED ALWAYS AS (
        CASE path WHEN 'oidc_jwt+sts' THEN 'data-role-via-jwt'
        WHEN 'oidc_jwt+sts+assume_role' THEN 'data-role-via-jwt' WHEN 'oidc_jwt' THEN 'oidc_jwt'
        ELSE role_arn END) VIRTUAL,
    subject TEXT,
    agent TEXT,
    tenant TEXT,
    instance TEXT,
    evidence_kind TEXT,
    assurance TEXT CHECK (assurance IN ('platform-attested', 'self-asserted')),
    jti TEXT,
    kid TEXT,
    token_expires_at INTEGER CHECK (token_expires_at >= 0),
    role_arn TEXT,
    session_name TEXT CHECK (length(session_name) BETWEEN 2 AND 64),
    session_seconds INTEGER CHECK (session_seconds BETWEEN 900 AND 43200),
    attribution TEXT CHECK (attribution IN ('unattributed', 'source_identity')),
    source_identity TEXT CHECK (length(source_identity) BETWEEN 2 AND 64),
    source_identity_preimage TEXT,
    outcome TEXT CHECK (outcome IN ('issued', 'refused', 'failed', 'withheld')),
    expires_at INTEGER CHECK (expires_at >= 0),
    access_key_id TEXT,
    code TEXT,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    CHECK ((event = 'outcome') = (outcome IS NOT NULL)),
    CHECK ((event = 'intent') = (attribution IS NOT NULL)),
    CHECK (event <> 'intent' OR (path IS NOT NULL AND subject IS NOT NULL)),
    CHECK (event <> 'refusal' OR code IS NOT NULL),
    CHECK ((attribution IS 'source_identity') = (source_identity IS NOT NULL)),
    CHECK (outcome IS NULL OR (outcome = 'issued') = (expires_at IS NOT NULL AND code IS NULL)),
    UNIQUE (id, event)
) STRICT;
";
