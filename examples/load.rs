//! A broker under load, beside the least that a broker could do:
//!
//! ```text
//! cargo run --release -p agentkeys-examples --example load             about five minutes
//! cargo run --release -p agentkeys-examples --example load -- --long   with ten minutes of memory
//! cargo run -p agentkeys-examples --example load -- --short            a minute, of what is built anyway
//! ```
//!
//! 1. Requests a second of `POST /v1/mint-oidc-jwt` (a session verified, two rows made durable, a token signed)
//!    and of an axum handler that does one raw ES256 signature and one raw verification; alternating, each in a
//!    process of its own: at least 60 % of it.
//! 2. Latencies at half that load, counted from when a request was due: p99 below five times p50.
//! 3. The broker's resident memory with 10,000 agents that attest again and again: flat within 5 %.
//!
//! Its status is 0 only if all three hold; the short form has wider bounds of its own ([`Form`]), for
//! builds without optimisation and machines that do other things too. The generator runs on the same machine and takes its share.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentkeys_core::jose::Jwk;
use agentkeys_core::{LocalSigner, SystemRandom, TokenSigner as _};
use agentkeys_examples::Failure;
use agentkeys_examples::broker::{LoadAws, LogLevel, log_to_stderr, start_beside};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// A server's memory is many small pieces for a short time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => measure(&Form::DEFAULT).await,
        ["--long"] => measure(&Form { memory: Duration::from_secs(600), ..Form::DEFAULT }).await,
        ["--short"] => measure(&Form::SHORT).await,
        ["--serve-raw"] => serve_raw().await,
        ["--serve-broker", folder, endpoint, issuer] => {
            serve_broker(Path::new(folder), endpoint, issuer).await
        }
        _ => Err("usage: load [--long | --short]".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("load: {error}"));
            ExitCode::from(2)
        }
    }
}

fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// How long is measured, and what must come out.
#[derive(Debug)]
struct Form {
    rounds: usize,
    tail: Duration,
    agents: usize,
    settle: Duration,
    memory: Duration,
    least_ratio: f64,
    most_tail: f64,
    most_spread: f64,
}

impl Form {
    const DEFAULT: Self = Self {
        rounds: 7,
        tail: Duration::from_secs(60),
        agents: 10_000,
        // until each agent's timeline is as full as it gets
        settle: Duration::from_secs(150),
        memory: Duration::from_secs(60),
        least_ratio: 0.6,
        most_tail: 5.0,
        most_spread: 0.05,
    };
    const SHORT: Self = Self {
        rounds: 2,
        tail: Duration::from_secs(20),
        agents: 1000,
        settle: Duration::from_secs(5),
        memory: Duration::from_secs(20),
        least_ratio: 0.1,
        most_tail: 20.0,
        most_spread: 0.2,
    };
}

async fn measure(form: &Form) -> Result<bool, Failure> {
    let folder = std::env::temp_dir().join(format!("agentkeys-load-{}", std::process::id()));
    let aws = LoadAws::start().await?;
    let broker =
        Server::start(&["--serve-broker", &folder.display().to_string(), aws.endpoint(), &aws.issuer()])?;
    let raw = Server::start(&["--serve-raw"])?;
    let held = measured(&aws, &broker, &raw, form).await;
    drop((broker, raw));
    std::fs::remove_dir_all(&folder)?;
    held
}

async fn measured(aws: &LoadAws, broker: &Server, raw: &Server, form: &Form) -> Result<bool, Failure> {
    let sessions = Arc::new(Sessions::default());
    sessions.attest(aws, broker.address, 0..FEW).await?;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..form.rounds {
        for (of, server) in [broker, raw].into_iter().enumerate() {
            let rate = throughput(server.address, &sessions, ROUND).await?;
            say(&format!("round {round}: {} {rate:.0} requests/s", ["broker", "raw"].get(of).unwrap_or(&"")));
            rates.get_mut(of).ok_or("two servers")?.push(rate);
        }
    }
    let [of_broker, of_raw] = rates.map(median);
    let ratio = of_broker / of_raw;
    say(&format!("mint-oidc-jwt {of_broker:.0}/s, raw {of_raw:.0}/s: {:.1} %", ratio * 100.0));

    let latencies = at_rate(broker.address, &sessions, of_broker / 2.0, form.tail, None).await?;
    let (p50, p99) = (quantile(&latencies, 0.50), quantile(&latencies, 0.99));
    let tail = p99.as_secs_f64() / p50.as_secs_f64();
    say(&format!(
        "at {:.0}/s for {:?}: p50 {p50:?}, p99 {p99:?}: {tail:.2} times",
        of_broker / 2.0,
        form.tail
    ));

    say(&format!("{} agents attest", form.agents));
    sessions.attest(aws, broker.address, 0..form.agents).await?;
    // half of the load again, while every agent attests anew before its session ends
    let rate = of_broker / 4.0;
    at_rate(broker.address, &sessions, rate, form.settle, Some(aws)).await?;
    let mut resident = vec![broker.resident()?];
    for _ in 0..form.memory.as_secs() / STEP.as_secs() {
        at_rate(broker.address, &sessions, rate, STEP, Some(aws)).await?;
        resident.push(broker.resident()?);
    }
    let (least, most) =
        (resident.iter().min().copied().unwrap_or(1), resident.iter().max().copied().unwrap_or(1));
    let middle = (least + most) as f64 / 2.0;
    let spread = (most as f64 - middle) / middle;
    say(&format!("resident {least} to {most} KiB over {:?}: ± {:.1} %", form.memory, spread * 100.0));

    let held = [ratio >= form.least_ratio, tail < form.most_tail, spread <= form.most_spread];
    say(&format!("load: ratio, tail, memory: {held:?}"));
    Ok(held.into_iter().all(|held| held))
}

/// The least that a broker could do.
async fn serve_raw() -> Result<bool, Failure> {
    struct Raw(LocalSigner, Jwk, [u8; 64]);
    let (signer, _key_to_keep) = LocalSigner::generate(&SystemRandom::new())?;
    let (public, signature) = (signer.public_jwk().to_jwk()?, signer.sign(MESSAGE).await?);
    let raw = Arc::new(Raw(signer, public, signature));
    let handler = async |State(raw): State<Arc<Raw>>| {
        let (signed, verified) = (raw.0.sign(MESSAGE).await.is_ok(), raw.1.key().verifies(MESSAGE, &raw.2));
        if signed && verified { "1" } else { "0" }
    };
    let routes = Router::new().route("/v1/mint-oidc-jwt", post(handler)).with_state(raw);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("listening {}", listener.local_addr()?));
    axum::serve(listener, routes).await?;
    Ok(true)
}

async fn serve_broker(folder: &Path, endpoint: &str, issuer: &str) -> Result<bool, Failure> {
    log_to_stderr(LogLevel::Warn);
    let running = start_beside(folder, endpoint, issuer).await?;
    say(&format!("listening {}", running.public()));
    std::future::pending().await
}

/// This program again, as a server.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(arguments: &[&str]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?);
        let mut child = child.args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening ").ok_or("it does not listen")?.parse()?;
        Ok(Self { child, address })
    }

    /// In KiB. <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
    fn resident(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Requests of agents that have attested, ready to be sent.
#[derive(Default)]
struct Sessions {
    requests: Mutex<Vec<Arc<[u8]>>>,
    next: AtomicU64,
    /// Who attests anew.
    again: AtomicU64,
}

impl Sessions {
    /// Lets these agents attest, several at a time.
    async fn attest(
        &self,
        aws: &LoadAws,
        broker: SocketAddr,
        agents: std::ops::Range<usize>,
    ) -> Result<(), Failure> {
        let next = AtomicU64::new(agents.start as u64);
        let worker = async || -> Result<(), Failure> {
            let mut connection = Connection::open(broker).await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                if number >= agents.end {
                    return Ok(());
                }
                self.attest_one(aws, &mut connection, number).await?;
            }
        };
        tokio::try_join!(worker(), worker(), worker(), worker())?;
        Ok(())
    }

    async fn attest_one(
        &self,
        aws: &LoadAws,
        connection: &mut Connection,
        number: usize,
    ) -> Result<(), Failure> {
        let evidence = aws.evidence(&format!("agent-{number}")).await?;
        let evidence = std::str::from_utf8(evidence.expose())?;
        let body = json!({ "kind": "aws-stsweb", "evidence": evidence }).to_string();
        let head = "POST /v1/attest HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let answer: Value = serde_json::from_slice(&connection.ask(request.as_bytes()).await?)?;
        let session = answer.get("session").and_then(Value::as_str).ok_or("no session")?;
        let mint = format!(
            "POST /v1/mint-oidc-jwt HTTP/1.1\r\nhost: load\r\nauthorization: Bearer {session}\r\ncontent-length: 0\r\n\r\n"
        );
        let mut all = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(number) {
            Some(known) => *known = mint.into_bytes().into(),
            None => all.push(mint.into_bytes().into()),
        }
        Ok(())
    }

    fn next(&self) -> Arc<[u8]> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        let all = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(number % all.len()).map(Arc::clone).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A connection that stays open.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(16 * 1024) })
    }

    /// The body of the answer, which must be 200.
    async fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        self.stream.write_all(request).await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err("the server closed".into());
            }
            let Some(head) = self.read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(self.read.get(..head).unwrap_or_default())?;
            if !text.starts_with("HTTP/1.1 200 ") {
                return Err(format!("it answered {}", text.lines().next().unwrap_or_default()).into());
            }
            let length = text.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            });
            let end = head + 4 + length.ok_or("no length")?;
            if let Some(body) = self.read.get(head + 4..end) {
                return Ok(body.to_vec());
            }
        }
    }
}

/// Requests a second, as many as are answered.
async fn throughput(address: SocketAddr, sessions: &Arc<Sessions>, time: Duration) -> Result<f64, Failure> {
    let begun = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let (sessions, mut connection) = (Arc::clone(sessions), Connection::open(address).await?);
        clients.push(tokio::spawn(async move {
            let mut answered = 0_u64;
            while begun.elapsed() < time {
                connection.ask(&sessions.next()).await?;
                answered += 1;
            }
            Ok::<_, Failure>(answered)
        }));
    }
    let mut answered = 0;
    for client in clients {
        answered += client.await??;
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}

/// How long each answer took from the moment when its request was due. With an STS, agents attest anew meanwhile,
/// all of them within [`SESSION`].
async fn at_rate(
    address: SocketAddr,
    sessions: &Arc<Sessions>,
    rate: f64,
    time: Duration,
    aws: Option<&LoadAws>,
) -> Result<Vec<Duration>, Failure> {
    let begun = Instant::now();
    let mut clients = Vec::new();
    for number in 0..CONNECTIONS {
        let (sessions, mut connection) = (Arc::clone(sessions), Connection::open(address).await?);
        clients.push(tokio::spawn(async move {
            let (mut took, mut turn) = (Vec::new(), number as u64);
            loop {
                let due = begun + Duration::from_secs_f64(turn as f64 / rate);
                if due.duration_since(begun) >= time {
                    return Ok::<_, Failure>(took);
                }
                tokio::time::sleep_until(due).await;
                connection.ask(&sessions.next()).await?;
                took.push(due.elapsed());
                turn += CONNECTIONS as u64;
            }
        }));
    }
    if let Some(aws) = aws {
        let each = SESSION.div_f64(sessions.len() as f64);
        let mut connection = Connection::open(address).await?;
        for at in 0_u32.. {
            let due = begun + each * at;
            if due.duration_since(begun) >= time {
                break;
            }
            tokio::time::sleep_until(due).await;
            let number = sessions.again.fetch_add(1, Ordering::Relaxed) as usize % sessions.len();
            sessions.attest_one(aws, &mut connection, number).await?;
        }
    }
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await??);
    }
    Ok(all)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn quantile(all: &[Duration], part: f64) -> Duration {
    let mut all = all.to_vec();
    all.sort_unstable();
    let at = ((all.len() as f64 - 1.0) * part) as usize;
    all.get(at).copied().unwrap_or_default()
}

const FEW: usize = 100;
const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_secs(10);
/// Pods' tokens live five minutes, and so do sessions.
const SESSION: Duration = Duration::from_secs(240);
const MESSAGE: &[u8] = &[7; 600];
