use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentkeys_core::{Assurance, AttestedIdentity, EvidenceKind, SystemRandom};
use agentkeys_federation::{
    Attribution, AuditEvent, AuditId, AuditRow, AuditSink as _, ChainHead, Intent, PostgresAudit,
    SessionDuration, SourceIdentity,
};
use futures_util::SinkExt as _;
use tokio_postgres::CopyInSink;

use crate::support::{Database, NOW, write};

pub(crate) fn intent() -> Intent {
    let identity = AttestedIdentity::assertion(
        EvidenceKind::from_static("aws-stsweb"),
        "arn:aws:eks:us-east-1:123456789012:cluster/demo".parse().unwrap(),
        "blue".parse().unwrap(),
        Assurance::PlatformAttested,
        NOW,
        NOW.plus(Duration::from_secs(1800)),
    );
    let identity = identity.unwrap().with_tenant("acme".parse().unwrap());
    let id = AuditId::generate(&SystemRandom::new()).unwrap();
    let role = "arn:aws:iam::123456789012:role/agents/agentkeys-memory-role".parse().unwrap();
    let attribution = Attribution::Attributed(SourceIdentity::agent("acme", "01JZ:7").unwrap());
    Intent::assume_role(id, NOW, &identity, role, SessionDuration::MIN, attribution)
}

/// The highest that this process's memory has been since the last reset, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r87_a_long_log_is_checked_in_little_memory() {
    let rows: u64 = std::env::var("POSTGRES_ROWS").map_or(50_000, |rows| rows.parse().unwrap());
    let database = Database::new("long").await;
    let head = {
        let (a, b) = (database.create("a").await, database.create("b").await);
        write(&a, 1).await;
        write(&b, 1).await;
        b.close().await.unwrap();
        a.close().await.unwrap()
    };
    // rows as the log writes them, put in at once, for to write them one by one takes minutes
    let root = database.server.root(&database.name).await;
    let copy: CopyInSink<Cursor<Vec<u8>>> =
        root.copy_in("COPY agentkeys_audit.audit_rows FROM STDIN").await.unwrap();
    let mut copy = std::pin::pin!(copy);
    let (mut head, mut lines) = (head, Vec::new());
    for at in 0..rows {
        let row = AuditRow::after(&head, &AuditEvent::Intent(&intent()));
        head = row.head();
        let hash = row.hash().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let text = row.text().replace('\\', "\\\\");
        lines.extend_from_slice(format!("a\t{}\t{text}\t\\\\x{hash}\n", head.count()).as_bytes());
        if lines.len() > 1 << 20 || at + 1 == rows {
            copy.send(Cursor::new(std::mem::take(&mut lines))).await.unwrap();
        }
    }
    copy.as_mut().finish().await.unwrap();
    // and the other chain records their end
    let b = database.open("b").await;
    let recorded = format!(
        "SELECT count(*) FROM agentkeys_audit.audit_rows WHERE chain = 'b' AND row LIKE '%1 {} %'",
        head.count()
    );
    crate::support::until(async || database.number(&recorded).await == 1).await;
    b.close().await.unwrap();

    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, begun) = (peak(), Instant::now());
    let heads = database.verify().await.unwrap();
    let (seconds, grown) = (begun.elapsed().as_secs_f64(), peak() - before);
    assert_eq!(heads.values().next(), Some(&head));
    assert!(grown < 32 * 1024, "{grown} KiB");
    println!(
        "verify: {rows} rows in {seconds:.1} s, {:.0} rows/s, {grown} KiB more at the most",
        rows as f64 / seconds
    );
    // one row off the end of so many
    database
        .sql(&format!("DELETE FROM agentkeys_audit.audit_rows WHERE chain = 'a' AND seq = {}", head.count()))
        .await;
    assert!(database.verify().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_wait_share_a_transaction() {
    const WRITERS: usize = 64;
    const OURS: usize = 32;
    const THEIRS: usize = 128;
    const ROUNDS: usize = 7;
    let database = Database::new("rate").await;
    let audit = Arc::new(database.create("a").await);
    let root = database.server.root(&database.name).await;
    root.batch_execute(
        "CREATE TABLE by_row (LIKE agentkeys_audit.audit_rows INCLUDING ALL); SET synchronous_commit = on",
    )
    .await
    .unwrap();
    let insert = root.prepare("INSERT INTO by_row VALUES ('a', $1, $2, $3)").await.unwrap();
    let mut head = ChainHead::EMPTY;
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let our = many(&audit, WRITERS, OURS).await;
        let begun = Instant::now();
        for _ in 0..THEIRS {
            let row = AuditRow::after(&head, &AuditEvent::Intent(&intent()));
            let seq = i64::try_from(row.head().count()).unwrap();
            assert_eq!(root.execute(&insert, &[&seq, &row.text(), &row.hash().as_slice()]).await.unwrap(), 1);
            head = row.head();
        }
        let their = begun.elapsed().as_secs_f64() / THEIRS as f64;
        ours.push(our);
        theirs.push(their);
        ratios.push(their / our);
    }
    let middle = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let ratio = middle(ratios);
    println!(
        "{WRITERS} in flight: {:.0} rows/s, one transaction for each row: {:.0} rows/s, ratio {ratio:.1}",
        1.0 / middle(ours),
        1.0 / middle(theirs)
    );
    database.verify().await.unwrap();
    assert!(ratio >= 10.0, "{ratio}");
}

/// Seconds for each row.
async fn many(audit: &Arc<PostgresAudit>, writers: usize, each: usize) -> f64 {
    let begun = Instant::now();
    let tasks = (0..writers).map(|_| {
        let audit = Arc::clone(audit);
        tokio::spawn(async move {
            for _ in 0..each {
                let _receipt = audit.intent(&intent()).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    begun.elapsed().as_secs_f64() / (writers * each) as f64
}
