//! Several replicas behind a balancer, and what they do while parts of the whole are killed or cut off.
//!
//! The servers are started by `examples/e2e/replicas.sh`; its folder has a file for each command that this needs
//! (`redis-kill`, `redis-start`, `postgres-kill`, `postgres-start`, `cut`, `mend`, `rows`) and `ports`: the balancer's and the replicas'.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{Clock as _, KeyRing, Oidc, Purpose, Session, SystemClock, SystemRandom};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::broker::{LoadAws, LogLevel, Replica, ReplicaPlaces, log_to_stderr};

mod client;
mod faults;
mod load;
mod replays;
mod rotation;

use client::Client;

/// Everything, in turn.
///
/// # Errors
/// What does not hold.
pub async fn prove(folder: &Path, replays: &str, say: &impl Fn(&str)) -> Result<(), Failure> {
    let mut whole = Whole::start(folder, "").await?;
    replays::prove(&whole, replays.parse()?, say).await?;
    rotation::prove(&mut whole, say).await?;
    faults::prove(&mut whole, say).await?;
    whole.stop().await?;
    let (chains, rows) = Replica::verify(&folder.join("postgres.url")).await?;
    say(&format!("chains: {chains} with {rows} rows, each whole and known to the others"));
    Ok(())
}

/// How much three replicas lose because they share.
///
/// # Errors
/// What does not hold.
pub async fn rate(folder: &Path, rounds: &str, say: &impl Fn(&str)) -> Result<(), Failure> {
    let (shared, apart) = (Whole::start(folder, "").await?, Whole::start(folder, "apart-").await?);
    load::compare(&shared, &apart, rounds.parse()?, say).await?;
    shared.stop().await?;
    apart.stop().await
}

/// One replica: the balancer's URL, its two addresses, the STS and its issuer, and the files of [`ReplicaPlaces`].
///
/// # Errors
/// What cannot be had.
pub async fn serve(places: &[&str], say: &impl Fn(&str)) -> Result<(), Failure> {
    let [folder, issuer, public, operator, sts, sts_issuer, redis, authority, challenge_key, postgres, chain] =
        places
    else {
        return Err("a replica has eleven places".into());
    };
    log_to_stderr(LogLevel::Warn);
    let replica = Replica::start(ReplicaPlaces {
        folder: PathBuf::from(folder),
        issuer: (*issuer).to_owned(),
        sts: ((*sts).to_owned(), (*sts_issuer).to_owned()),
        listen: [public.parse()?, operator.parse()?],
        redis: (PathBuf::from(redis), Some(PathBuf::from(authority)), PathBuf::from(challenge_key)),
        postgres: (PathBuf::from(postgres), (*chain).to_owned()),
    })
    .await?;
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    say("listening");
    loop {
        tokio::select! {
            _ = terminate.recv() => return replica.shutdown().await,
            _ = hang_up.recv() => {
                replica.reload_keys()?;
                say("keys read again");
            }
        }
    }
}

/// Three replicas, their balancer, and the STS of their agents.
struct Whole {
    folder: PathBuf,
    aws: Arc<LoadAws>,
    balancer: u16,
    replicas: Vec<Process>,
    arguments: Vec<Vec<String>>,
}

/// A replica's process.
struct Process {
    child: Child,
    public: u16,
    said: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
}

impl Whole {
    /// Those whose files and ports are named with `prefix`.
    async fn start(folder: &Path, prefix: &str) -> Result<Self, Failure> {
        let ports = fs::read_to_string(folder.join(format!("{prefix}ports")))?;
        let ports = ports.split_whitespace().map(str::parse).collect::<Result<Vec<u16>, _>>()?;
        let [balancer, replicas @ ..] = ports.as_slice() else { return Err("no ports".into()) };
        let issuer = format!("http://127.0.0.1:{balancer}");
        let aws = Arc::new(LoadAws::start().await?);
        aws.trust(&issuer)?;
        let keys = folder.join("keys");
        if !keys.exists() {
            fs::create_dir(&keys)?;
            create::<Oidc>(&keys.join("oidc-keypair.json"))?;
            create::<Session>(&keys.join("session-keypair.json"))?;
        }
        let file = |name: &str| folder.join(name).display().to_string();
        let mut arguments = Vec::new();
        for (number, public) in (1..).zip(replicas) {
            // three that share nothing have a database each, of Redis and of PostgreSQL
            let own = if prefix.is_empty() { String::new() } else { number.to_string() };
            arguments.push(vec![
                keys.display().to_string(),
                issuer.clone(),
                format!("127.0.0.1:{public}"),
                "127.0.0.1:0".to_owned(),
                aws.endpoint().to_owned(),
                aws.issuer(),
                file(&format!("{prefix}redis{own}.url")),
                file("ca.pem"),
                file("challenge.key"),
                file(&format!("{prefix}postgres{own}.url")),
                format!("{prefix}replica-{number}"),
            ]);
        }
        let mut whole =
            Self { folder: folder.to_owned(), aws, balancer: *balancer, replicas: Vec::new(), arguments };
        // one after the other: the operator's token is made by the first
        for number in 0..replicas.len() {
            let process = whole.process(number).await?;
            whole.replicas.push(process);
        }
        whole.balanced().await?;
        Ok(whole)
    }

    /// Starts the replica of this number.
    async fn process(&self, number: usize) -> Result<Process, Failure> {
        let arguments = self.arguments.get(number).ok_or("no such replica")?;
        let public =
            arguments.get(2).and_then(|address| address.rsplit_once(':')).ok_or("no port")?.1.parse()?;
        let mut why = String::new();
        for _ in 0..STARTS {
            let mut command = Command::new(std::env::current_exe()?);
            let command = command.arg("serve").args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn()?;
            let mut said = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
            let first = said.next_line().await?;
            if first.as_deref() == Some("listening") {
                return Ok(Process { child, public, said });
            }
            why = first.unwrap_or_default();
            // the lock of its chain may last for a moment after it was killed
            child.wait().await?;
            tokio::time::sleep(STEP).await;
        }
        Err(format!("a replica does not start: {why}").into())
    }

    /// Waits until the balancer sends requests to all of them.
    async fn balanced(&self) -> Result<(), Failure> {
        let mut client = Client::new(self.balancer);
        let mut well = 0;
        for _ in 0..200 {
            well = if client.get("/healthz").await.status == 200 { well + 1 } else { 0 };
            if well == 12 {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
        Err("the balancer does not reach the replicas".into())
    }

    /// Makes all replicas read the key files, and waits until they have.
    async fn reload(&mut self) -> Result<(), Failure> {
        for replica in &mut self.replicas {
            let pid = replica.child.id().ok_or("a replica is gone")?;
            run(Command::new("kill").args(["-HUP", &pid.to_string()])).await?;
            if replica.said.next_line().await?.as_deref() != Some("keys read again") {
                return Err("a replica did not read its keys".into());
            }
        }
        Ok(())
    }

    /// A command of the script's.
    async fn script(&self, name: &str) -> Result<String, Failure> {
        run(&mut Command::new(self.folder.join(name))).await
    }

    async fn stop(self) -> Result<(), Failure> {
        for mut replica in self.replicas {
            let pid = replica.child.id().ok_or("a replica is gone")?;
            run(Command::new("kill").arg(pid.to_string())).await?;
            if !replica.child.wait().await?.success() {
                return Err("a replica did not stop as it should".into());
            }
        }
        Ok(())
    }
}

async fn run(command: &mut Command) -> Result<String, Failure> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().await?;
    if !done.status.success() {
        return Err(format!("a command ended with {}", done.status).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

fn create<P: Purpose>(path: &Path) -> Result<(), Failure> {
    Ok(KeyRing::<P>::generate(&SystemRandom::new(), SystemClock::new().now()?)?.create(path)?)
}

const STARTS: usize = 100;
const STEP: Duration = Duration::from_millis(50);
