//! The audit log in SQLite: durable, chained across restarts, and nobody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkeys_core::ErrorKind;
use agentkeys_federation::{
    AUDIT_COLUMNS, AttributedSession, Attribution, AuditError, AuditId, AuditRow, AuditSink, AuditStoreError,
    AuditValue, AwsCredentials, BaseCredentials, ChainError, ChainHead, Intent, Outcome, SourceIdentity,
    SqliteAudit,
};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::audit::{Mints, exchanged, memory, one_of_each};
use crate::support::{NOW, World};

/// A folder of this test alone, on the disk that the build is on.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("audit-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("audit.db")
    }

    fn head(&self) -> PathBuf {
        self.0.join("audit.db.head")
    }

    fn known(&self) -> ChainHead {
        fs::read_to_string(self.head()).unwrap().trim_end().parse().unwrap()
    }

    fn sql(&self, sql: &str) {
        let database = Connection::open(self.log()).unwrap();
        database.execute_batch(sql).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn write(audit: &SqliteAudit, mint: &Mints, mints: usize) {
    for _ in 0..mints {
        let receipt = audit.intent(&mint.intent()).await.unwrap();
        audit.outcome(receipt, mint.issued()).await.unwrap();
        audit.refusal(&mint.refusal()).await.unwrap();
    }
}

/// A closed log of nine rows.
async fn written(name: &str) -> (Folder, ChainHead) {
    let folder = Folder::new(name);
    let audit = SqliteAudit::create(folder.log()).unwrap();
    write(&audit, &Mints::new(7), 3).await;
    let head = audit.head();
    assert_eq!((audit.close().await.unwrap(), head.count()), (head, 9));
    (folder, head)
}

#[tokio::test]
async fn r87_a_log_goes_on_where_it_was_left() {
    let (folder, first) = written("goes-on").await;
    assert_eq!(folder.known(), first);
    let audit = SqliteAudit::open(folder.log()).unwrap();
    assert_eq!(audit.head(), first);
    write(&audit, &Mints::new(1000), 2).await;
    // while it is open, whoever may read the file may check it
    let second = audit.head();
    assert_eq!(SqliteAudit::verify(folder.log(), &first).unwrap(), second);
    assert_eq!((second.count(), folder.known()), (15, second), "told of, so in the head file");
    assert_eq!(audit.close().await.unwrap(), second);
    assert_eq!(SqliteAudit::verify(folder.log(), &second).unwrap(), second);
    assert_eq!(SqliteAudit::verify(folder.log(), &ChainHead::EMPTY).unwrap(), second);
}

#[tokio::test]
async fn w56_of_one_id_there_is_one_intent_and_then_one_outcome_in_sqlite() {
    let folder = Folder::new("one-of-each");
    let audit = SqliteAudit::create(folder.log()).unwrap();
    one_of_each(&audit, &Mints::new(7)).await;
    let head = audit.close().await.unwrap();
    assert_eq!((head.count(), SqliteAudit::verify(folder.log(), &head).unwrap()), (3, head));
}

#[tokio::test]
async fn w56_an_event_that_is_refused_leaves_the_others_of_its_batch_alone() {
    let folder = Folder::new("batch");
    let audit = Arc::new(SqliteAudit::create(folder.log()).unwrap());
    let mint = Mints::new(7);
    let doubled = mint.intent();
    let _receipt = audit.intent(&doubled).await.unwrap();
    let mut tasks = Vec::new();
    for at in 0..64 {
        let (audit, intent) = (audit.clone(), if at % 4 == 0 { doubled.clone() } else { mint.intent() });
        tasks.push(tokio::spawn(async move { audit.intent(&intent).await }));
    }
    for (at, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap();
        assert_eq!(matches!(answer, Err(AuditError::Doubled)), at % 4 == 0, "{at}");
        assert_eq!(answer.is_ok(), at % 4 != 0, "{at}");
    }
    let head = Arc::into_inner(audit).unwrap().close().await.unwrap();
    assert_eq!((head.count(), SqliteAudit::verify(folder.log(), &head).unwrap()), (49, head));
}

/// The text and hash of a row that nobody wrote.
const FORGED: &str = "'[10,1,\"ak-AAAAAAAAAAAAAAAAAAAAAA\",\"refusal\"]', zeroblob(32)";

/// Where a value is in a row's text.
fn column(name: &str) -> String {
    format!("$[{}]", AUDIT_COLUMNS.iter().position(|column| *column == name).unwrap())
}

#[tokio::test]
async fn r87_the_table_of_manipulations_of_the_database() {
    let cut = ChainError::Missing { found: 8, expected: 9 };
    let edit = |value: &str, seq: u64| {
        format!("UPDATE audit_rows SET row = json_set(row, {value}) WHERE seq = {seq}")
    };
    let (tenant, agent, code) = (column("tenant"), column("agent"), column("code"));
    let cases: [(&str, String, ChainError); 19] = [
        ("last row", "DELETE FROM audit_rows WHERE seq = 9".into(), cut),
        ("all rows", "DELETE FROM audit_rows".into(), ChainError::Missing { found: 0, expected: 9 }),
        ("first row", "DELETE FROM audit_rows WHERE seq = 1".into(), ChainError::Row(1)),
        ("a row between", "DELETE FROM audit_rows WHERE seq = 5".into(), ChainError::Row(5)),
        (
            "hidden",
            "DELETE FROM audit_rows WHERE seq = 5; UPDATE audit_rows SET seq = seq - 1 WHERE seq > 5".into(),
            ChainError::Row(5),
        ),
        ("edited", edit(&format!("'{agent}', 'red'"), 4), ChainError::Row(4)),
        ("emptied", edit(&format!("'{tenant}', NULL"), 4), ChainError::Row(4)),
        ("filled", edit("'$[11]', ''", 4), ChainError::Row(4)),
        ("number", edit("'$[1]', 1", 2), ChainError::Row(2)),
        ("last edited", edit(&format!("'{code}', 'x'"), 9), ChainError::Row(9)),
        ("a space", "UPDATE audit_rows SET row = row || ' ' WHERE seq = 6".into(), ChainError::Row(6)),
        ("no text", "UPDATE audit_rows SET row = '' WHERE seq = 6".into(), ChainError::Row(6)),
        ("its number", edit("'$[0]', 7", 6), ChainError::Row(6)),
        ("one value more", edit("'$[#]', 7", 6), ChainError::Row(6)),
        ("hash", "UPDATE audit_rows SET hash = zeroblob(32) WHERE seq = 3".into(), ChainError::Row(3)),
        ("no hash", "UPDATE audit_rows SET hash = zeroblob(0) WHERE seq = 3".into(), ChainError::Row(3)),
        (
            "swapped",
            "UPDATE audit_rows SET seq = 100 WHERE seq = 2; UPDATE audit_rows SET seq = 2 WHERE seq = 3; \
             UPDATE audit_rows SET seq = 3 WHERE seq = 100"
                .into(),
            ChainError::Row(2),
        ),
        ("before the first", format!("INSERT INTO audit_rows VALUES (0, {FORGED})"), ChainError::Row(1)),
        ("after the last", format!("INSERT INTO audit_rows VALUES (10, {FORGED})"), ChainError::Row(10)),
    ];
    let (good, head) = written("manipulated").await;
    for (what, sql, expected) in cases {
        let folder = Folder::new("manipulated-copy");
        fs::copy(good.log(), folder.log()).unwrap();
        fs::copy(good.head(), folder.head()).unwrap();
        folder.sql(&sql);
        let error = SqliteAudit::verify(folder.log(), &head).unwrap_err();
        assert!(matches!(error, AuditStoreError::Chain(found) if found == expected), "{what}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        // opening hashes the end alone, and reads the ids of the last rows
        let end = ["last row", "all rows", "hidden", "after the last", "no text"].contains(&what);
        assert_eq!(SqliteAudit::open(folder.log()).is_err(), end, "{what}");
    }
}

#[tokio::test]
async fn r87_a_cut_log_and_a_foreign_one_do_not_open() {
    let (folder, _) = written("cut").await;
    folder.sql("DELETE FROM audit_rows WHERE seq > 6");
    let error = SqliteAudit::open(folder.log()).unwrap_err();
    let cut = ChainError::Missing { found: 6, expected: 9 };
    assert!(matches!(error, AuditStoreError::Chain(found) if found == cut), "{error:?}");

    let (folder, _) = written("foreign").await;
    let other = Folder::new("foreign-other");
    let audit = SqliteAudit::create(other.log()).unwrap();
    write(&audit, &Mints::new(5000), 4).await;
    audit.close().await.unwrap();
    fs::copy(other.log(), folder.log()).unwrap();
    let error = SqliteAudit::open(folder.log()).unwrap_err();
    assert!(matches!(error, AuditStoreError::Chain(ChainError::Head)), "{error:?}");
}

#[tokio::test]
async fn a_head_that_is_behind_is_brought_up_to_rows_that_follow_it() {
    let (folder, head) = written("behind").await;
    let audit = SqliteAudit::open(folder.log()).unwrap();
    let old = fs::read(folder.head()).unwrap();
    write(&audit, &Mints::new(900), 1).await;
    let new = audit.close().await.unwrap();
    // as after a loss of power
    fs::write(folder.head(), &old).unwrap();
    assert_eq!(folder.known(), head);
    let audit = SqliteAudit::open(folder.log()).unwrap();
    assert_eq!((audit.head(), folder.known()), (new, new));
    drop(audit.close().await);
    // and rows that do not follow are not taken
    fs::write(folder.head(), &old).unwrap();
    folder.sql("UPDATE audit_rows SET row = json_set(row, '$[4]', 'x') WHERE seq = 12");
    let error = SqliteAudit::open(folder.log()).unwrap_err();
    assert!(matches!(error, AuditStoreError::Chain(ChainError::Row(12))), "{error:?}");
}

#[tokio::test]
async fn a_head_file_that_is_not_as_written_is_refused() {
    let (folder, _) = written("head-file").await;
    let good = fs::read(folder.head()).unwrap();
    let flipped = |at: usize, to: u8| {
        let mut bad = good.clone();
        bad[at] = to;
        bad
    };
    let long = [&good[..], b"\n"].concat();
    let short = [&good[..126], b"\n"].concat();
    for bad in [
        Vec::new(),
        good[..100].to_vec(),
        long,
        short,
        flipped(0, b'x'),
        flipped(20, b'G'),
        flipped(127, b' '),
    ] {
        fs::write(folder.head(), &bad).unwrap();
        let error = SqliteAudit::open(folder.log()).unwrap_err();
        assert!(matches!(error, AuditStoreError::Chain(ChainError::HeadText)), "{error:?}");
    }
}

#[tokio::test]
async fn no_log_is_begun_anew_in_silence() {
    let (folder, _) = written("anew").await;
    assert!(matches!(SqliteAudit::create(folder.log()), Err(AuditStoreError::Io(_))));
    fs::rename(folder.head(), folder.0.join("elsewhere")).unwrap();
    assert!(matches!(SqliteAudit::open(folder.log()), Err(AuditStoreError::Io(_))));
    assert!(matches!(SqliteAudit::create(folder.log()), Err(AuditStoreError::Io(_))), "half a log");
    let _ = fs::remove_file(folder.head());
    fs::rename(folder.0.join("elsewhere"), folder.head()).unwrap();
    fs::rename(folder.log(), folder.0.join("elsewhere")).unwrap();
    assert!(matches!(SqliteAudit::open(folder.log()), Err(AuditStoreError::Io(_))));
    assert!(!folder.log().exists() && SqliteAudit::create(folder.log()).is_err());
    assert!(matches!(
        SqliteAudit::verify(folder.log(), &ChainHead::EMPTY),
        Err(AuditStoreError::Database(_))
    ));
    let nowhere = folder.0.join("no-such-folder/audit.db");
    assert!(matches!(SqliteAudit::create(nowhere), Err(AuditStoreError::Io(_))));
}

#[tokio::test]
async fn another_database_is_not_a_log() {
    let (folder, head) = written("schema").await;
    for sql in ["PRAGMA user_version = 1", "PRAGMA user_version = 2; PRAGMA application_id = 1"] {
        folder.sql(sql);
        assert!(matches!(SqliteAudit::open(folder.log()), Err(AuditStoreError::Schema)), "{sql}");
        assert!(matches!(SqliteAudit::verify(folder.log(), &head), Err(AuditStoreError::Schema)), "{sql}");
    }
}

#[tokio::test]
async fn only_one_writes() {
    let folder = Folder::new("locked");
    let audit = SqliteAudit::create(folder.log()).unwrap();
    assert!(matches!(SqliteAudit::open(folder.log()), Err(AuditStoreError::Locked)));
    audit.close().await.unwrap();
    SqliteAudit::open(folder.log()).unwrap();
}

#[tokio::test]
async fn the_files_are_their_owners_alone() {
    let folder = Folder::new("mode");
    let audit = SqliteAudit::create(folder.log()).unwrap();
    write(&audit, &Mints::new(7), 1).await;
    let files: Vec<_> = fs::read_dir(&folder.0).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 3, "database, its log, head");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
    audit.close().await.unwrap();
    for (path, mode) in [(folder.log(), 0o640), (folder.head(), 0o604)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(SqliteAudit::open(folder.log()), Err(AuditStoreError::Mode)), "{}", path.display());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    SqliteAudit::open(folder.log()).unwrap();
}

#[tokio::test]
async fn w56_a_database_that_fails_is_unavailable_and_nothing_is_said_to_be_durable() {
    let folder = Folder::new("fails");
    let audit = SqliteAudit::create(folder.log()).unwrap();
    let mint = Mints::new(7);
    let receipt = audit.intent(&mint.intent()).await.unwrap();
    let before = audit.head();
    let rude = Connection::open(folder.log()).unwrap();
    rude.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = audit.outcome(receipt, mint.issued()).await.unwrap_err();
    assert!(matches!(error, AuditError::Storage(_)) && error.kind() == ErrorKind::Unavailable, "{error:?}");
    assert_eq!((audit.head(), folder.known()), (before, before));
    rude.execute_batch("ROLLBACK").unwrap();
    // nothing was left in doubt, so it goes on
    write(&audit, &mint, 1).await;
    // rows that somebody else writes make ours fail, and they are found
    rude.execute_batch(&format!("INSERT INTO audit_rows VALUES (5, {FORGED})")).unwrap();
    let error = audit.intent(&mint.intent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    drop(rude);
    drop(audit.close().await);
    assert!(matches!(SqliteAudit::open(folder.log()), Err(AuditStoreError::Chain(ChainError::Row(5)))));
}

#[tokio::test]
async fn the_view_has_a_column_for_each_value() {
    let folder = Folder::new("view");
    let (audit, memory, mint) = (SqliteAudit::create(folder.log()).unwrap(), memory(10), Mints::new(7));
    let (intent, refusal) = (mint.intent(), mint.refusal());
    for audit in [&audit as &dyn AuditSink, &*memory] {
        let receipt = audit.intent(&intent).await.unwrap();
        audit.outcome(receipt, Outcome::issued(NOW, NOW)).await.unwrap();
        audit.refusal(&refusal).await.unwrap();
    }
    audit.close().await.unwrap();
    let database = Connection::open(folder.log()).unwrap();
    let sql = format!("SELECT {}, hash FROM audit ORDER BY seq", AUDIT_COLUMNS.join(", "));
    let mut rows = database.prepare(&sql).unwrap();
    let rows = rows.query_map([], |row| {
        let value = |at: usize| match row.get_ref(at).unwrap() {
            ValueRef::Null => AuditValue::Null,
            ValueRef::Integer(number) => AuditValue::Integer(number),
            ValueRef::Text(text) => AuditValue::Text(String::from_utf8(text.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        };
        Ok(AuditRow::stored(std::array::from_fn(value), row.get(AUDIT_COLUMNS.len())?))
    });
    let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, memory.rows().0);
}

#[tokio::test]
async fn w56_ids_are_known_after_a_restart() {
    let folder = Folder::new("restart");
    let (audit, mint) = (SqliteAudit::create(folder.log()).unwrap(), Mints::new(7));
    let (doubled, refused) = (mint.intent(), mint.refusal());
    let open = audit.intent(&mint.intent()).await.unwrap();
    let _receipt = audit.intent(&doubled).await.unwrap();
    audit.refusal(&refused).await.unwrap();
    audit.close().await.unwrap();
    let audit = SqliteAudit::open(folder.log()).unwrap();
    assert!(matches!(audit.intent(&doubled).await, Err(AuditError::Doubled)));
    assert!(matches!(audit.refusal(&refused).await, Err(AuditError::Doubled)));
    audit.outcome(open, mint.issued()).await.unwrap();
    assert_eq!(audit.close().await.unwrap().count(), 4);
}

#[tokio::test]
async fn r66_w55_older_readers_find_requested_role() {
    let folder = Folder::new("requested-role");
    let audit = SqliteAudit::create(folder.log()).unwrap();
    let (world, mint) = (World::new(), Mints::new(7));
    let token = world.token().await;
    let id = AuditId::of_token(&token);
    let source = SourceIdentity::agent("acme", "7").unwrap();
    let session = AttributedSession::new(world.session.role().clone(), mint.id(), source);
    let base = AwsCredentials::new("ASIABASE", "MARKED-secret".into(), "MARKED-session".into(), NOW);
    for intent in [
        Intent::exchange(id, NOW, &world.identity, &token, &world.session),
        Intent::release(mint.id(), NOW, &world.identity, &token, Attribution::Unattributed),
        mint.intent(),
        Intent::assume(NOW, &world.identity, &session, &BaseCredentials::exchanged(base)),
    ] {
        let _receipt = audit.intent(&intent).await.unwrap();
    }
    audit.close().await.unwrap();
    let database = Connection::open(folder.log()).unwrap();
    let mut rows = database.prepare("SELECT path, requested_role, role_arn FROM audit ORDER BY seq").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(String, String, Option<String>)> = rows.map(Result::unwrap).collect();
    let role = world.session.role().to_string();
    let row =
        |path: &str, requested: &str, role: Option<&String>| (path.into(), requested.into(), role.cloned());
    assert_eq!(
        rows,
        [
            row("oidc_jwt+sts", "data-role-via-jwt", Some(&role)),
            row("oidc_jwt", "oidc_jwt", None),
            row("legacy_assume_role", &role, Some(&role)),
            row("oidc_jwt+sts+assume_role", "data-role-via-jwt", Some(&role)),
        ]
    );
}

#[tokio::test]
async fn l29_no_token_or_credential_is_in_the_audit_database() {
    let (folder, world) = (Folder::new("leaks"), World::new());
    let audit = SqliteAudit::create(folder.log()).unwrap();
    let mut shown = String::new();
    exchanged(&audit, &world, &mut shown).await;
    let token = world.token().await;
    let header = token.expose().split('.').next().unwrap();
    let mut written = Vec::new();
    for file in fs::read_dir(&folder.0).unwrap() {
        written.extend(fs::read(file.unwrap().path()).unwrap());
    }
    let written = String::from_utf8_lossy(&written);
    assert!(written.contains(token.kid()));
    for secret in ["MARKED", header] {
        assert!(!written.contains(secret) && !shown.contains(secret), "a secret is shown");
    }
    audit.close().await.unwrap();
}
