use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agentkeys_core::{SystemRandom, Timestamp};
use agentkeys_federation::{
    AuditCode, AuditId, AuditSink as _, ChainHead, ChainName, Outcome, PostgresAudit, PostgresLogin, Refusal,
};
use tokio_postgres::{Client, NoTls};

pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// The server that the script started.
pub(crate) struct Server {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn new() -> Self {
        let folder = std::env::var_os("AGENTKEYS_POSTGRES").expect("run examples/e2e/postgres.sh");
        let folder = PathBuf::from(folder);
        let port = fs::read_to_string(folder.join("port")).unwrap().trim().parse().unwrap();
        Self { folder, port }
    }

    fn socket(&self, user: &str, database: &str) -> String {
        format!("host={} port={} user={user} dbname={database}", self.folder.display(), self.port)
    }

    /// The server's administrator.
    pub(crate) async fn root(&self, database: &str) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&self.socket("postgres", database), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) fn start(&self) {
        assert!(Command::new(self.folder.join("start")).output().unwrap().status.success());
    }

    /// Without a word to anybody, every process of the server.
    pub(crate) fn kill(&self) {
        let file = self.folder.join("data/postmaster.pid");
        let (pid, rest) = fs::read_to_string(&file).unwrap().split_once('\n').map(own).unwrap();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let all = std::iter::once(pid.as_str()).chain(children.split_whitespace()).collect::<Vec<_>>();
        Command::new("kill").arg("-9").args(&all).output().unwrap();
        // dead, though perhaps nobody has asked after it yet, and then the next one takes it for alive
        let dead = |pid: &&str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z'))
        };
        while !all.iter().all(dead) {
            std::thread::sleep(Duration::from_millis(10));
        }
        fs::write(&file, format!("2147483646\n{rest}")).unwrap();
        fs::remove_file(self.folder.join(format!(".s.PGSQL.{}.lock", self.port))).unwrap();
    }
}

fn own((first, rest): (&str, &str)) -> (String, String) {
    (first.to_owned(), rest.to_owned())
}

/// A database of one test, with our tables, and a role that may read and add.
pub(crate) struct Database {
    pub(crate) server: Server,
    pub(crate) name: String,
}

impl Database {
    /// Without tables.
    pub(crate) async fn empty(name: &str) -> Self {
        let (server, name) = (Server::new(), format!("{name}_{}", std::process::id()));
        let root = server.root("postgres").await;
        root.batch_execute(&format!("CREATE DATABASE {name} OWNER owner")).await.unwrap();
        Self { server, name }
    }

    pub(crate) async fn new(name: &str) -> Self {
        let database = Self::empty(name).await;
        PostgresAudit::migrate(&database.login("owner")).await.unwrap();
        // as in docs/operate.md
        let grants = fs::read_to_string(database.server.folder.join("grants.sql")).unwrap();
        database.sql(&grants).await;
        database
    }

    pub(crate) fn login(&self, user: &str) -> PostgresLogin {
        PostgresLogin::local(&self.server.socket(user, &self.name).into()).unwrap()
    }

    pub(crate) fn replica(&self) -> PostgresLogin {
        self.login("replica")
    }

    pub(crate) async fn create(&self, chain: &str) -> PostgresAudit {
        PostgresAudit::create(&self.replica(), &name(chain)).await.unwrap()
    }

    pub(crate) async fn open(&self, chain: &str) -> PostgresAudit {
        PostgresAudit::open(&self.replica(), &name(chain)).await.unwrap()
    }

    pub(crate) async fn verify(
        &self,
    ) -> Result<BTreeMap<ChainName, ChainHead>, agentkeys_federation::PostgresAuditError> {
        PostgresAudit::verify(&self.replica(), &BTreeMap::new()).await
    }

    /// What only the owner of the tables, or the server's, can do.
    pub(crate) async fn sql(&self, sql: &str) {
        self.server.root(&self.name).await.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.server.root(&self.name).await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

pub(crate) fn name(chain: &str) -> ChainName {
    chain.parse().unwrap()
}

pub(crate) fn refusal() -> Refusal {
    static AT: AtomicU64 = AtomicU64::new(0);
    let id = AuditId::generate(&SystemRandom::new()).unwrap();
    let at = Timestamp::from_unix(NOW.as_unix() + AT.fetch_add(1, Ordering::Relaxed));
    Refusal::new(id, at, AuditCode::new("tenant_unknown").unwrap())
}

pub(crate) fn issued() -> Outcome {
    Outcome::issued(NOW, NOW.plus(Duration::from_secs(900)))
}

pub(crate) async fn write(audit: &PostgresAudit, rows: usize) {
    for _ in 0..rows {
        audit.refusal(&refusal()).await.unwrap();
    }
}

/// Waits until something holds, for a quarter of a minute at most.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(15), "it does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
