//! A process that is killed at any moment has let go of nothing that is not in the log.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use agentkeys_federation::{AuditSink as _, ChainHead, SqliteAudit};
use rusqlite::Connection;

use crate::audit::Mints;
use crate::audit_sqlite::Folder;

const CHILD: &str = "AGENTKEYS_TEST_AUDIT";
const ROUND: &str = "AGENTKEYS_TEST_ROUND";
const POINTS: &str = "AGENTKEYS_KILL_POINTS";
const SEED: u64 = 20;
const WORKERS: u64 = 8;

/// How many rounds; 200 in the long form.
fn points() -> u64 {
    std::env::var(POINTS).map_or(20, |points| points.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w56_r87_a_kill_at_any_point_leaves_no_released_credential_without_its_rows() {
    if let Some(log) = std::env::var_os(CHILD) {
        return mint_for_ever(log.as_ref()).await;
    }
    tell(&format!("seed {SEED}, {} points", points()));
    let folder = Folder::new("kill");
    SqliteAudit::create(folder.log()).unwrap().close().await.unwrap();
    let (mut released, mut asked, mut known) = (BTreeSet::new(), BTreeSet::new(), ChainHead::EMPTY);
    let (mut state, mut unfinished) = (SEED, 0);
    for round in 0..points() {
        // a linear congruential generator: Knuth's MMIX
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = 1 + (state >> 33) % 60;
        let mut child = Command::new(std::env::current_exe().unwrap());
        let test = "audit_kill::w56_r87_a_kill_at_any_point_leaves_no_released_credential_without_its_rows";
        child.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        child.env(CHILD, folder.log()).env(ROUND, round.to_string()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut seen = 0;
        // it is killed after so many lines, and what it wrote until it was dead counts as well
        for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
            let line = String::from_utf8(line.unwrap()).unwrap();
            match line.split_once("audit> ").and_then(|(_, said)| said.split_once(' ')) {
                Some(("outcome", id)) => drop(asked.insert(id.to_owned())),
                Some(("released", id)) => drop(released.insert(id.to_owned())),
                _ => continue,
            }
            seen += 1;
            if seen == lines {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success() && seen >= lines, "round {round}: it was killed");

        // it opens, it is a chain, and it goes on from all that was there before
        let audit = SqliteAudit::open(folder.log()).unwrap();
        let head = audit.close().await.unwrap();
        assert_eq!(SqliteAudit::verify(folder.log(), &known).unwrap(), head, "round {round}");
        assert!(head.count() > known.count());
        known = head;
        let (intents, outcomes) = (ids(&folder, "intent"), ids(&folder, "outcome"));
        assert!(released.is_subset(&outcomes) && released.is_subset(&intents), "round {round}: {released:?}");
        assert!(outcomes.is_subset(&intents), "round {round}");
        assert!(outcomes.is_subset(&asked), "round {round}: an outcome that nobody asked for");
        unfinished = intents.difference(&outcomes).count();
    }
    assert!(released.len() >= 100 || points() < 20, "{} released", released.len());
    tell(&format!("{} released, {unfinished} intents without an outcome", released.len()));
}

fn ids(folder: &Folder, event: &str) -> BTreeSet<String> {
    let database = Connection::open(folder.log()).unwrap();
    let mut rows = database.prepare("SELECT id FROM audit WHERE event = ?1").unwrap();
    rows.query_map([event], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The child: several mints at a time, and a line before each outcome and at each release.
async fn mint_for_ever(log: &std::path::Path) {
    let audit = Arc::new(SqliteAudit::open(log).unwrap());
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let mut tasks = Vec::new();
    for worker in 0..WORKERS {
        let (audit, mint) = (audit.clone(), Mints::new((round * WORKERS + worker) << 32));
        tasks.push(tokio::spawn(async move {
            // a parent that is gone without killing it does not leave it behind
            for _ in 0..100_000 {
                let receipt = audit.intent(&mint.intent()).await.unwrap();
                let id = receipt.id().to_string();
                say("outcome", &id);
                audit.outcome(receipt, mint.issued()).await.unwrap();
                say("released", &id);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

fn say(what: &str, id: &str) {
    tell(&format!("audit> {what} {id}"));
}

/// One line in one write.
fn tell(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}
