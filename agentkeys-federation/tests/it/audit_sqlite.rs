//! The audit log in SQLite: durable, chained across restarts, and nobody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkeys_core::ErrorKind;
use agentkeys_federation::{
    AttributedSession, Attribution, AuditError, AuditId, AuditSink as _, AuditStoreError, AwsCredentials,
    BaseCredentials, ChainError, ChainHead, Intent, SourceIdentity, SqliteAudit,
};
use rusqlite::Connection;

use crate::audit::{Mints, exchanged, one_of_each};
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
        database.execute_batch(&format!("PRAGMA ignore_check_constraints = ON; {sql}")).unwrap();
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

#[tokio::test]
async fn r87_the_table_of_manipulations_of_the_database() {
    let cut = ChainError::Missing { found: 8, expected: 9 };
    let cases: [(&str, &str, ChainError); 15] = [
        ("last row", "DELETE FROM audit WHERE seq = 9", cut),
        ("all rows", "DELETE FROM audit", ChainError::Missing { found: 0, expected: 9 }),
        ("first row", "DELETE FROM audit WHERE seq = 1", ChainError::Row(1)),
        ("a row between", "DELETE FROM audit WHERE seq = 5", ChainError::Row(5)),
        (
            "hidden",
            "DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = seq - 1 WHERE seq > 5",
            ChainError::Row(5),
        ),
        ("edited", "UPDATE audit SET agent = 'red' WHERE seq = 4", ChainError::Row(4)),
        ("emptied", "UPDATE audit SET tenant = NULL WHERE seq = 4", ChainError::Row(4)),
        ("filled", "UPDATE audit SET jti = '' WHERE seq = 4", ChainError::Row(4)),
        ("number", "UPDATE audit SET at = at + 1 WHERE seq = 2", ChainError::Row(2)),
        ("last edited", "UPDATE audit SET code = 'x' WHERE seq = 9", ChainError::Row(9)),
        ("hash", "UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", ChainError::Row(3)),
        ("no hash", "UPDATE audit SET hash = zeroblob(0) WHERE seq = 3", ChainError::Row(3)),
        (
            "swapped",
            "UPDATE audit SET seq = 100 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; \
             UPDATE audit SET seq = 3 WHERE seq = 100",
            ChainError::Row(2),
        ),
        (
            "before the first",
            "INSERT INTO audit (seq, at, id, event, code, hash) \
             VALUES (0, 1, 'ak-AAAAAAAAAAAAAAAAAAAAAA', 'refusal', 'x', zeroblob(32))",
            ChainError::Row(1),
        ),
        (
            "after the last",
            "INSERT INTO audit (seq, at, id, event, code, hash) \
             VALUES (10, 1, 'ak-AAAAAAAAAAAAAAAAAAAAAA', 'refusal', 'x', zeroblob(32))",
            ChainError::Row(10),
        ),
    ];
    let (good, head) = written("manipulated").await;
    for (what, sql, expected) in cases {
        let folder = Folder::new("manipulated-copy");
        fs::copy(good.log(), folder.log()).unwrap();
        fs::copy(good.head(), folder.head()).unwrap();
        folder.sql(sql);
        let error = SqliteAudit::verify(folder.log(), &head).unwrap_err();
        assert!(matches!(error, AuditStoreError::Chain(found) if found == expected), "{what}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        // opening reads the end alone
        let end = ["last row", "all rows", "hidden", "after the last"].contains(&what);
        assert_eq!(SqliteAudit::open(folder.log()).is_err(), end, "{what}");
    }
}

#[tokio::test]
async fn r87_a_cut_log_and_a_foreign_one_do_not_open() {
    let (folder, _) = written("cut").await;
    folder.sql("DELETE FROM audit WHERE seq > 6");
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
    folder.sql("UPDATE audit SET code = 'x' WHERE seq = 12");
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
    for sql in ["PRAGMA user_version = 2", "PRAGMA user_version = 1; PRAGMA application_id = 1"] {
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
    rude.execute_batch(
        "INSERT INTO audit (seq, at, id, event, code, hash) \
         VALUES (5, 1, 'ak-AAAAAAAAAAAAAAAAAAAAAA', 'refusal', 'x', zeroblob(32))",
    )
    .unwrap();
    let error = audit.intent(&mint.intent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    drop(rude);
    drop(audit.close().await);
    assert!(matches!(SqliteAudit::open(folder.log()), Err(AuditStoreError::Chain(ChainError::Row(5)))));
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
