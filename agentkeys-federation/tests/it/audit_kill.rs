//! A process that is killed at any moment has let go of nothing that is not in the log.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{Assurance, Attestors, SystemRandom, Token};
use agentkeys_federation::{
    AuditId, AwsCredentials, Broker, ChainHead, CredentialCache, DataClass, ExchangeError, Exchanger,
    RoleSession, SqliteAudit, Tenant, TenantPolicy,
};
use async_trait::async_trait;
use rusqlite::Connection;

use crate::audit_sqlite::Folder;
use crate::support::{NOW, World, role};

const CHILD: &str = "AGENTKEYS_TEST_AUDIT";
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
        child.env(CHILD, folder.log()).stdout(Stdio::piped());
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

/// The child: a broker with several requests at a time, and a line at each exchange and at each release.
async fn mint_for_ever(log: &std::path::Path) {
    let audit = Arc::new(SqliteAudit::open(log).unwrap());
    let world = World::new();
    // ids of its own, where the world's would be the last child's again
    let minter = world.minter.clone().with_random(Arc::new(SystemRandom::new()));
    let cache = CredentialCache::new(minter, Arc::new(Says), NonZeroUsize::new(100).unwrap())
        .with_clock(world.clock.clone());
    let root = world.identity.trust_root().clone();
    let policy = TenantPolicy::new().with_role(DataClass::Memory, role());
    let broker =
        Broker::new(Attestors::new(), cache, audit).with_tenant(Tenant::unnamed(root), policy).unwrap();
    let mut tasks = Vec::new();
    for worker in 0..WORKERS {
        let broker = broker.clone();
        let who = world.identity_of(&format!("agent-{worker}"), Assurance::PlatformAttested);
        tasks.push(tokio::spawn(async move {
            // a parent that is gone without killing it does not leave it behind
            for _ in 0..100_000 {
                let credentials = broker.credentials(&who, DataClass::Memory).await.unwrap();
                say("released", credentials.session_token().expose());
                broker.forget(&who, DataClass::Memory);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// An STS whose session tokens are the audit ids of their exchanges.
#[derive(Debug)]
struct Says;

#[async_trait]
impl Exchanger for Says {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, _: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        let id = AuditId::of_token(token).to_string();
        say("outcome", &id);
        let ends = NOW.plus(Duration::from_secs(900));
        Ok(AwsCredentials::new("ASIAEXAMPLE", "secret".into(), id.into(), ends))
    }
}

fn say(what: &str, id: &str) {
    tell(&format!("audit> {what} {id}"));
}

/// One line in one write.
fn tell(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}
