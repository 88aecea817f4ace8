use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentkeys_core::{
    Clock as _, KeyRing, KeyRingError, Oidc, Purpose, RotationTimes, Session, SystemClock, SystemRandom,
};
use agentkeys_federation::{ChainName, PostgresAudit, SqliteAudit};
use tokio::signal::unix::{SignalKind, signal};

use super::config::{AuditPlace, Config};
use super::demo::BrokerDemo;
use super::log::{LogLevel, log_to_stderr};
use super::settings::Finding;
use super::start::{Files, Running, named, postgres};
use super::variables;
use crate::{Deployment, Failure};

/// What a broker is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Begins an audit log.
    Audit(PathBuf),
    /// Begins a replica's chain in the database whose URL is in a file, and makes the tables where there are none.
    Chain(PathBuf, Option<PathBuf>, ChainName),
    /// Names every line that is wrong.
    Check(Option<PathBuf>),
    /// Runs with nothing configured, in a folder of its own.
    Demo(Option<PathBuf>, Option<NonZeroU32>),
    /// Makes a key file.
    Keygen(KeyPurpose, PathBuf),
    /// Prints the deployment's documents.
    Policies(PathBuf),
    /// Takes a step of a rotation.
    Rotate(Step, KeyPurpose, PathBuf),
    /// Runs.
    Serve(Option<PathBuf>),
}

/// What the keys of a file sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPurpose {
    /// Tokens for clouds.
    Oidc,
    /// Sessions.
    Session,
}

/// A step of a rotation: each is safe to take when the one before has lasted long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Publishes a next key.
    Stage,
    /// Signs with it.
    Promote,
    /// Drops what nobody needs any more.
    Prune,
}

impl Command {
    /// Reads arguments.
    ///
    /// # Errors
    /// How it is used.
    pub fn parse(arguments: &[&str]) -> Result<Self, Failure> {
        let config = |file: &str| Some(PathBuf::from(file));
        Ok(match arguments {
            [] | ["demo"] => Self::Demo(None, None),
            ["demo", folder] => Self::Demo(config(folder), None),
            ["demo", folder, "--sessions", seconds] => Self::Demo(config(folder), Some(seconds.parse()?)),
            ["serve"] => Self::Serve(None),
            ["serve", "--config", file] => Self::Serve(config(file)),
            ["check"] => Self::Check(None),
            ["check", "--config", file] => Self::Check(config(file)),
            ["policies", "--config", file] => Self::Policies(PathBuf::from(file)),
            ["keygen", purpose, file] => Self::Keygen(KeyPurpose::parse(purpose)?, PathBuf::from(file)),
            ["rotate", step, purpose, file] => {
                Self::Rotate(Step::parse(step)?, KeyPurpose::parse(purpose)?, PathBuf::from(file))
            }
            ["audit", "postgres", url, chain] => Self::Chain(PathBuf::from(url), None, chain.parse()?),
            ["audit", "postgres", url, chain, "--authorities", pem] => {
                Self::Chain(PathBuf::from(url), config(pem), chain.parse()?)
            }
            ["audit", file] => Self::Audit(PathBuf::from(file)),
            _ => return Err(USAGE.into()),
        })
    }

    /// Does it. Answers whether all is well; `say` prints a line.
    ///
    /// # Errors
    /// Where it cannot be done.
    pub async fn run(self, say: impl Fn(&str)) -> Result<bool, Failure> {
        match self {
            Self::Audit(file) => {
                let audit = SqliteAudit::create(&file).map_err(|error| named(&file, &error))?;
                say(&format!("{}: {}", file.display(), audit.close().await?));
                Ok(true)
            }
            Self::Chain(url, authorities, chain) => {
                let login = postgres(&url, authorities.as_deref())?;
                PostgresAudit::migrate(&login).await.map_err(|error| named(&url, &error))?;
                let audit =
                    PostgresAudit::create(&login, &chain).await.map_err(|error| named(&url, &error))?;
                say(&format!("{chain}: {}", audit.close().await?));
                Ok(true)
            }
            Self::Check(file) => check(file.as_deref(), say),
            Self::Demo(folder, seconds) => demo(folder, seconds, say).await,
            Self::Keygen(KeyPurpose::Oidc, file) => keygen::<Oidc>(&file, say),
            Self::Keygen(KeyPurpose::Session, file) => keygen::<Session>(&file, say),
            Self::Policies(file) => policies(&file, say),
            Self::Rotate(step, KeyPurpose::Oidc, file) => rotate::<Oidc>(step, &file, say),
            Self::Rotate(step, KeyPurpose::Session, file) => rotate::<Session>(step, &file, say),
            Self::Serve(file) => serve(file.as_deref(), say).await,
        }
    }
}

impl KeyPurpose {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "oidc" => Ok(Self::Oidc),
            "session" => Ok(Self::Session),
            _ => Err("the purpose of a key is oidc or session".into()),
        }
    }
}

impl Step {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "stage" => Ok(Self::Stage),
            "promote" => Ok(Self::Promote),
            "prune" => Ok(Self::Prune),
            _ => Err("a step is stage, promote or prune".into()),
        }
    }
}

fn read(file: Option<&Path>) -> Result<Result<Config, Vec<Finding>>, Failure> {
    let text = match file {
        Some(path) => fs::read_to_string(path).map_err(|error| named(path, &error))?,
        None => String::new(),
    };
    let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
    Ok(Config::parse(&text, folder, &variables::of_the_process()))
}

/// All findings on lines of their own.
fn all(findings: &[Finding]) -> Failure {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n").into()
}

fn check(file: Option<&Path>, say: impl Fn(&str)) -> Result<bool, Failure> {
    let config = match read(file)? {
        Ok(config) => config,
        Err(findings) => {
            for finding in findings {
                say(&finding.to_string());
            }
            return Ok(false);
        }
    };
    for note in config.notes() {
        say(&format!("note: {note}"));
    }
    let mut wrong = Vec::new();
    if let Err(error) = Files::open(&config) {
        wrong.push(error.to_string());
    }
    if let AuditPlace::Sqlite(path) = &config.audit
        && !path.exists()
    {
        let path = path.display();
        wrong.push(format!("{path}: there is no audit log: begin one with `broker audit {path}`"));
    }
    if let Err(error) = deployment(&config) {
        wrong.push(error.to_string());
    }
    for finding in &wrong {
        say(finding);
    }
    if wrong.is_empty() {
        say("broker: all is well");
    }
    Ok(wrong.is_empty())
}

/// The deployment that the configuration names, whose documents must be for this issuer.
fn deployment(config: &Config) -> Result<Option<Deployment>, Failure> {
    let Some(path) = &config.deployment else { return Ok(None) };
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    let deployment = Deployment::parse(&text, path.parent().unwrap_or(Path::new("")));
    let deployment = deployment.map_err(|error| named(path, &error))?;
    if deployment.provider().issuer() != &config.issuer {
        return Err(named(path, &"its issuer is not this broker's, byte for byte"));
    }
    Ok(Some(deployment))
}

fn policies(file: &Path, say: impl Fn(&str)) -> Result<bool, Failure> {
    let config = read(Some(file))?.map_err(|findings| all(&findings))?;
    let deployment = deployment(&config)?.ok_or("the configuration names no deployment")?;
    say(&serde_json::to_string_pretty(&deployment.documents()?)?);
    Ok(true)
}

fn keygen<P: Purpose>(file: &Path, say: impl Fn(&str)) -> Result<bool, Failure> {
    let ring = KeyRing::<P>::generate(&SystemRandom::new(), SystemClock::new().now()?)?;
    ring.create(file).map_err(|error| named(file, &error))?;
    say(&format!(
        "{}: one key for {}, {}",
        file.display(),
        P::NAME,
        ring.active().public_jwk().kid().as_str()
    ));
    Ok(true)
}

fn rotate<P: Purpose>(step: Step, file: &Path, say: impl Fn(&str)) -> Result<bool, Failure> {
    let now = SystemClock::new().now()?;
    let take = |ring: &KeyRing<P>| -> Result<KeyRing<P>, KeyRingError> {
        match step {
            Step::Stage => ring.stage(&SystemRandom::new(), now),
            Step::Promote => ring.promote(now, RotationTimes::new(MAX_AGE)),
            Step::Prune => Ok(ring.prune(now)),
        }
    };
    let ring = KeyRing::<P>::update(file, take).map_err(|error| named(file, &error))?;
    say(&format!(
        "{}: {} keys, signing with {}",
        file.display(),
        ring.keys().len(),
        ring.active().public_jwk().kid().as_str()
    ));
    Ok(true)
}

async fn serve(file: Option<&Path>, say: impl Fn(&str)) -> Result<bool, Failure> {
    let config = read(file)?.map_err(|findings| all(&findings))?;
    log_to_stderr(config.log());
    for note in config.notes() {
        say(&format!("note: {note}"));
    }
    let running = Running::start(&config).await?;
    say(&format!("broker: listening on {}, for the operator on {}", running.public(), running.operator()));
    until_stopped(None, || running.reload_keys(&config)).await?;
    say("broker: stopping");
    running.shutdown().await?;
    Ok(true)
}

async fn demo(
    folder: Option<PathBuf>,
    seconds: Option<NonZeroU32>,
    say: impl Fn(&str),
) -> Result<bool, Failure> {
    log_to_stderr(LogLevel::Info);
    let ours = folder.is_none();
    let folder = folder
        .unwrap_or_else(|| std::env::temp_dir().join(format!("agentkeys-broker-{}", std::process::id())));
    let demo = BrokerDemo::with_sessions_of(seconds, &folder).await?;
    say(&demo.environment().await?);
    for line in demo.hints() {
        say(&line);
    }
    say("broker: serving; stop with Ctrl-C");
    until_stopped(Some(&demo), || demo.reload_keys()).await?;
    say("broker: stopping");
    demo.shutdown().await?;
    if ours {
        fs::remove_dir_all(folder)?;
    }
    Ok(true)
}

/// Until SIGTERM or Ctrl-C. SIGHUP reads the keys again; the pods of a demonstration get new tokens.
async fn until_stopped(
    demo: Option<&BrokerDemo>,
    reload: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut due = tokio::time::interval(RENEWAL);
    due.tick().await;
    loop {
        tokio::select! {
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => match reload() {
                Ok(()) => tracing::warn!(target: "broker", "keys read again"),
                Err(error) => tracing::warn!(target: "broker", %error, "the keys stay what they were"),
            },
            _ = due.tick() => if let Some(demo) = demo {
                demo.renew().await?;
            }
        }
    }
}

const USAGE: &str = "usage: broker [demo [FOLDER [--sessions SECONDS]]] | serve [--config FILE] | check [--config FILE]\n\
    \u{20}      | policies --config FILE | keygen oidc|session FILE\n\
    \u{20}      | rotate stage|promote|prune oidc|session FILE\n\
    \u{20}      | audit FILE | audit postgres URL_FILE CHAIN [--authorities FILE]";

/// Pods' tokens live five minutes.
const RENEWAL: Duration = Duration::from_secs(120);

/// How long a JWKS may be kept that was published before a key is promoted.
const MAX_AGE: Duration = Duration::from_secs(300);
