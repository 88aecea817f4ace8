//! The audit log: how fast rows become durable, and how fast a log is checked.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkeys_benches::{Outcome, median};
use agentkeys_core::{Assurance, AttestedIdentity, EvidenceKind, SystemRandom, Timestamp};
use agentkeys_federation::{
    Attribution, AuditEvent, AuditId, AuditRow, AuditSink as _, ChainHead, Intent, SessionDuration,
    SourceIdentity, SqliteAudit,
};
use rusqlite::Connection;

/// 2027-01-15 08:00:00 UTC.
const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const WRITERS: usize = 64;
const ROUNDS: usize = 9;
/// For each writer in a round.
const OURS: usize = 64;
const THEIRS: usize = 512;
const LOG: usize = 1_000_000;

/// A folder for this process, on a disk.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("federation-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let kind = file_system(&path);
        assert!(!["tmpfs", "ramfs", "devtmpfs"].contains(&kind.as_str()), "{kind} is not a disk");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The type of the file system that holds `path`.
fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap();
    let mounts = fs::read_to_string("/proc/mounts").expect("a list of mounts");
    let mounted = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        path.starts_with(at).then(|| (at.len(), kind.to_owned()))
    });
    mounted.max_by_key(|(length, _)| *length).expect("a mount").1
}

/// The median time of an `fsync` after a page was written.
fn fsync_time(folder: &Folder) -> Duration {
    let mut file = File::create(folder.file("fsync")).unwrap();
    let times = (0..64).map(|_| {
        file.write_all(&[0x5a; 4096]).unwrap();
        let begin = Instant::now();
        file.sync_data().unwrap();
        begin.elapsed().as_secs_f64()
    });
    Duration::from_secs_f64(median(times.collect()))
}

fn identity() -> AttestedIdentity {
    let identity = AttestedIdentity::assertion(
        EvidenceKind::from_static("aws-stsweb"),
        "arn:aws:eks:us-east-1:123456789012:cluster/demo".parse().unwrap(),
        "blue".parse().unwrap(),
        Assurance::PlatformAttested,
        NOW,
        NOW.plus(Duration::from_secs(1800)),
    );
    identity.unwrap().with_tenant("acme".parse().unwrap())
}

fn intent(identity: &AttestedIdentity) -> Intent {
    let id = AuditId::generate(&SystemRandom::new()).unwrap();
    let role = "arn:aws:iam::123456789012:role/agents/agentkeys-memory-role".parse().unwrap();
    let attribution = Attribution::Attributed(SourceIdentity::agent("acme", "01JZ:7").unwrap());
    Intent::assume_role(id, NOW, identity, role, SessionDuration::MIN, attribution)
}

/// What somebody does who makes each row durable by itself: the table and settings of ours.
struct RowByRow {
    database: Connection,
    head: ChainHead,
}

impl RowByRow {
    fn new(path: &Path, schema: &str) -> Self {
        let database = Connection::open(path).unwrap();
        database
            .execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .unwrap();
        database.execute_batch(schema).unwrap();
        Self { database, head: ChainHead::EMPTY }
    }

    /// Outside a transaction an insert is one of its own.
    fn write(&mut self, event: &AuditEvent<'_>) {
        let row = AuditRow::after(&self.head, event);
        let insert = "INSERT INTO audit_rows (seq, row, hash) VALUES (?1, ?2, ?3)";
        let mut insert = self.database.prepare_cached(insert).unwrap();
        let seq = i64::try_from(row.head().count()).unwrap();
        assert_eq!(insert.execute((seq, row.text(), row.hash())).unwrap(), 1);
        self.head = row.head();
    }
}

pub(crate) fn audit_sqlite() -> Outcome {
    let folder = Folder::new();
    let kind = file_system(&folder.0);
    eprintln!("audit_sqlite: {kind}, fsync {:.0} us", fsync_time(&folder).as_secs_f64() * 1e6);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let audit = Arc::new(SqliteAudit::create(folder.file("audit.db")).unwrap());
    let schema: String = Connection::open(folder.file("audit.db"))
        .unwrap()
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'audit_rows'", [], |row| row.get(0))
        .unwrap();
    let mut row_by_row = RowByRow::new(&folder.file("row-by-row.db"), &schema);
    let identity = Arc::new(identity());

    let ours = || {
        let work: Vec<Vec<_>> =
            (0..WRITERS).map(|_| (0..OURS).map(|_| intent(&identity)).collect()).collect();
        let begin = Instant::now();
        runtime.block_on(async {
            let tasks = work.into_iter().map(|intents| {
                let audit = Arc::clone(&audit);
                tokio::spawn(async move {
                    for intent in intents {
                        let _receipt = audit.intent(&intent).await.unwrap();
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
        begin.elapsed().as_secs_f64() * 1e9 / (WRITERS * OURS) as f64
    };
    let mut theirs = || {
        let events: Vec<_> = (0..THEIRS).map(|_| intent(&identity)).collect();
        let begin = Instant::now();
        events.iter().for_each(|event| row_by_row.write(&AuditEvent::Intent(event)));
        begin.elapsed().as_secs_f64() * 1e9 / THEIRS as f64
    };
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (our, their) = if round % 2 == 0 {
            let our = ours();
            (our, theirs())
        } else {
            let their = theirs();
            (ours(), their)
        };
        // the first round warms up
        if round > 0 {
            times.push(our);
            ratios.push(their / our);
        }
    }
    let head = runtime.block_on(Arc::into_inner(audit).unwrap().close()).unwrap();
    assert_eq!(head.count(), ((ROUNDS + 1) * WRITERS * OURS) as u64);
    assert_eq!(SqliteAudit::verify(folder.file("audit.db"), &head).unwrap(), head);
    Outcome::new("audit_sqlite", median(times), vec![("fsync_per_row", median(ratios))])
}

pub(crate) fn verify_chain() -> Outcome {
    let folder = Folder::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let audit = Arc::new(SqliteAudit::create(folder.file("million.db")).unwrap());
    let identity = Arc::new(identity());
    let head = runtime.block_on(async {
        let tasks = (0..256).map(|worker| {
            let (audit, identity) = (Arc::clone(&audit), Arc::clone(&identity));
            tokio::spawn(async move {
                for _ in 0..LOG / 256 + usize::from(worker < LOG % 256) {
                    let _receipt = audit.intent(&intent(&identity)).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        Arc::into_inner(audit).unwrap().close().await.unwrap()
    });
    assert_eq!(head.count(), LOG as u64);
    let times = (0..3).map(|_| {
        let begin = Instant::now();
        assert_eq!(SqliteAudit::verify(folder.file("million.db"), &head).unwrap(), head);
        begin.elapsed().as_secs_f64()
    });
    let seconds = median(times.collect());
    Outcome::new("verify_chain", seconds * 1e9 / LOG as f64, Vec::new())
        .with_figure("rows_per_s", LOG as f64 / seconds)
}
