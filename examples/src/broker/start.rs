use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws_sts::AwsStsAttestor;
use agentkeys_attest::aws_stsweb::AWS_STSWEB;
use agentkeys_attest::replay::{RedisReplayGuard, RedisTrust, RedisUrl};
use agentkeys_attest::select::Selection;
use agentkeys_core::jose::KeyTables;
use agentkeys_core::{
    Attestors, Challenges, EvidenceKind, HttpClient, HttpSettings, KeyRing, MemoryReplayGuard, Purpose,
    Random as _, ReplayError, ReplayGuard, ReqwestClient, Secret, SystemClock, SystemRandom, TrustStore,
};
use agentkeys_federation::{AuditSink, AwsExchanger, PostgresAudit, PostgresLogin, SqliteAudit};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::app::{App, Keys, Parts};
use super::config::{AuditPlace, Config, RedisFiles, TablesChoice, TlsFiles};
use super::input::BodyLimits;
use super::{listener, routes};
use crate::Failure;

/// A broker that listens.
pub struct Running {
    app: Arc<App>,
    audit: Audit,
    public: SocketAddr,
    operator: SocketAddr,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("public", &self.public)
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Starts what is configured.
    ///
    /// # Errors
    /// What cannot be had: a key, the audit log, a certificate, a port.
    pub async fn start(config: &Config) -> Result<Self, Failure> {
        let files = Files::open(config)?;
        let audit = Audit::open(&config.audit).await?;
        let (guard, challenges) = match &config.redis {
            Some(redis) => shared(redis).await?,
            None => alone()?,
        };
        let app = App::new(files.parts(config, audit.sink(), guard, challenges)?)?;
        let public = bind(config.listen).await?;
        let operator = bind(config.operator_listen).await?;
        Self::listen(app, audit, files.tls, public, operator)
    }

    pub(super) fn listen(
        app: App,
        audit: Audit,
        tls: Option<TlsAcceptor>,
        public: TcpListener,
        operator: TcpListener,
    ) -> Result<Self, Failure> {
        let app = Arc::new(app);
        let (stop, stopped) = watch::channel(false);
        let addresses = (public.local_addr()?, operator.local_addr()?);
        let open = app.metrics.connections.clone();
        let listeners = vec![
            tokio::spawn(listener::serve(public, tls, routes::public(&app), open.clone(), stopped.clone())),
            tokio::spawn(listener::serve(operator, None, routes::operator(&app), open, stopped)),
        ];
        Ok(Self { app, audit, public: addresses.0, operator: addresses.1, stop, listeners })
    }

    /// Where anybody asks.
    #[must_use]
    pub const fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where the operator asks.
    #[must_use]
    pub const fn operator(&self) -> SocketAddr {
        self.operator
    }

    /// Reads the key files again and signs with what is in them.
    ///
    /// # Errors
    /// Where a file cannot be read; it goes on with the keys that it has.
    pub fn reload_keys(&self, config: &Config) -> Result<(), Failure> {
        self.app.replace_keys(load_keys(config)?)
    }

    pub(super) const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Takes no more connections, answers what was begun, and closes the audit log.
    ///
    /// # Errors
    /// Where the audit log does not close as it should.
    pub async fn shutdown(self) -> Result<(), Failure> {
        let Self { app, audit, stop, listeners, .. } = self;
        stop.send_replace(true);
        for listener in listeners {
            listener.await?;
        }
        drop(app);
        // an exchange under way writes its outcome first; its handle goes with it
        match audit {
            Audit::Sqlite(audit) => last(audit).await?.close().await?,
            Audit::Postgres(audit) => last(audit).await?.close().await?,
        };
        Ok(())
    }
}

/// What nobody else holds any more.
async fn last<T>(mut shared: Arc<T>) -> Result<T, Failure> {
    for _ in 0..CLOSING_STEPS {
        shared = match Arc::try_unwrap(shared) {
            Ok(alone) => return Ok(alone),
            Err(shared) => shared,
        };
        tokio::time::sleep(CLOSING_STEP).await;
    }
    Err("the audit log is still written to".into())
}

/// An audit log that is open.
pub(super) enum Audit {
    Sqlite(Arc<SqliteAudit>),
    Postgres(Arc<PostgresAudit>),
}

impl Audit {
    pub(super) async fn open(place: &AuditPlace) -> Result<Self, Failure> {
        match place {
            AuditPlace::Sqlite(path) => {
                Ok(Self::Sqlite(Arc::new(SqliteAudit::open(path).map_err(|error| named(path, &error))?)))
            }
            AuditPlace::Postgres { url, authorities, chain } => {
                let login = postgres(url, authorities.as_deref())?;
                let audit = PostgresAudit::open(&login, chain).await;
                Ok(Self::Postgres(Arc::new(audit.map_err(|error| named(url, &error))?)))
            }
        }
    }

    pub(super) fn sink(&self) -> Arc<dyn AuditSink> {
        match self {
            Self::Sqlite(audit) => Arc::clone(audit) as _,
            Self::Postgres(audit) => Arc::clone(audit) as _,
        }
    }
}

/// With TLS under these authorities, or on this machine.
pub(super) fn postgres(url: &Path, authorities: Option<&Path>) -> Result<PostgresLogin, Failure> {
    let text = Secret::new(secret_in(url)?);
    let login = match authorities {
        Some(path) => PostgresLogin::tls(&text, &fs::read(path).map_err(|error| named(path, &error))?),
        None => PostgresLogin::local(&text),
    };
    login.map_err(|error| named(url, &error))
}

/// What is read from files at the start.
pub(super) struct Files {
    keys: Keys,
    http: Arc<dyn HttpClient>,
    tls: Option<TlsAcceptor>,
    operator_token: Option<Secret>,
}

impl Files {
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        let trust = match &config.certificate_authorities {
            Some(path) => TrustStore::system_and(fs::read(path).map_err(|error| named(path, &error))?),
            None => TrustStore::system(),
        };
        Ok(Self {
            keys: load_keys(config)?,
            http: Arc::new(ReqwestClient::new(HttpSettings::new(trust))?),
            tls: config.tls.as_ref().map(acceptor).transpose()?,
            operator_token: config.operator_token.as_deref().map(token_in).transpose()?,
        })
    }

    fn parts(
        &self,
        config: &Config,
        audit: Arc<dyn AuditSink>,
        guard: Arc<dyn ReplayGuard>,
        challenges: Challenges,
    ) -> Result<Parts, Failure> {
        let (region, http) = (config.region.clone(), Arc::clone(&self.http));
        let exchanger = match &config.sts_endpoint {
            Some(url) => AwsExchanger::with_endpoint(region, http, &url.0),
            None => AwsExchanger::new(region, http),
        };
        let (attestors, assertions, challenges) =
            attestors(config.selection.clone(), &self.http, guard, challenges)?;
        Ok(Parts {
            issuer: config.issuer.clone(),
            keys: self.keys.clone(),
            times: config.times,
            key_tables: match config.key_tables {
                TablesChoice::On => KeyTables::on(),
                TablesChoice::Off => KeyTables::off(),
            },
            attestors,
            assertions,
            challenges,
            exchanger: Arc::new(exchanger),
            audit,
            tenants: config.tenants.clone(),
            wallets: config.wallets.clone(),
            operator_token: self.operator_token.clone(),
            body: BodyLimits { bytes: config.body_limit, time: BODY },
            requests: config.requests,
        })
    }
}

/// The attestor of a selection; which evidence is a JWT; challenges, where evidence is signed with one.
fn attestors(
    selection: Selection,
    http: &Arc<dyn HttpClient>,
    guard: Arc<dyn ReplayGuard>,
    challenges: Challenges,
) -> Result<(Attestors, Option<EvidenceKind>, Option<Challenges>), Failure> {
    let kind = match &selection {
        // signed for us just now (L8)
        Selection::AwsSts(pins) => {
            let attestor = AwsStsAttestor::new(pins.clone(), Arc::clone(http), guard)?;
            let attestors = Attestors::new().with(attestor.with_challenges(challenges.clone()))?;
            return Ok((attestors, None, Some(challenges)));
        }
        Selection::AwsStsWeb(..) => AWS_STSWEB,
        Selection::Oidc(..) => agentkeys_attest::oidc::OIDC,
        Selection::Spire(..) => agentkeys_attest::spire::SPIFFE_SVID,
        _ => return Err("this attestor is not known here".into()),
    };
    Ok((selection.attestors(Arc::clone(http), guard)?, Some(kind), None))
}

/// Remembers what was used, in this process, and its challenges: a second replica would let it pass once more.
pub(super) fn alone() -> Result<(Arc<dyn ReplayGuard>, Challenges), Failure> {
    let room = std::num::NonZeroUsize::new(REMEMBERED).ok_or("no room")?;
    let guard: Arc<dyn ReplayGuard> = Arc::new(MemoryReplayGuard::new(Arc::new(SystemClock::new()), room));
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key)?;
    Ok((Arc::clone(&guard), Challenges::new(guard, &Secret::new(key))))
}

/// The same for all replicas, on a Redis that must be well now.
pub(super) async fn shared(redis: &RedisFiles) -> Result<(Arc<dyn ReplayGuard>, Challenges), Failure> {
    let url: RedisUrl = secret_in(&redis.url)?.parse().map_err(|error| named(&redis.url, &error))?;
    let trust = match &redis.authorities {
        Some(path) => {
            let pem = fs::read(path).map_err(|error| named(path, &error))?;
            RedisTrust::only(&pem).map_err(|error| named(path, &error))?
        }
        // a server on loopback has no certificate
        None => RedisTrust::system().or_else(|_| RedisTrust::nobody())?,
    };
    let guard = RedisReplayGuard::new(&url, &trust);
    if let Err(ReplayError::Unavailable(fault)) = guard.check().await {
        return Err(named(&redis.url, &fault));
    }
    let guard: Arc<dyn ReplayGuard> = Arc::new(guard);
    Ok((Arc::clone(&guard), Challenges::new(guard, &challenge_key(&redis.challenge_key)?)))
}

/// 32 random bytes as 64 hexadecimal digits.
fn challenge_key(path: &Path) -> Result<Secret<[u8; 32]>, Failure> {
    let text = secret_in(path)?;
    let wrong = || named(path, &"it holds no key: 64 hexadecimal digits, as of `openssl rand -hex 32`");
    let mut key = [0; 32];
    if text.len() != 2 * key.len() || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        // a sign is no digit
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(digits, 16).ok().filter(|_| plain).ok_or_else(wrong)?;
    }
    Ok(Secret::new(key))
}

fn load_keys(config: &Config) -> Result<Keys, Failure> {
    let mut keys = Keys { oidc: load(&config.oidc_keypair)?, session: load(&config.session_keypair)? };
    if let Some(path) = &config.x5c {
        let chain = certificates(path)?;
        let chain: Vec<&[u8]> = chain.iter().map(|der| &**der).collect();
        let kids = keys.oidc.keys().iter().map(|key| key.kid().clone());
        let with =
            kids.collect::<Vec<_>>().iter().find_map(|kid| keys.oidc.clone().with_x5c(kid, &chain).ok());
        keys.oidc = with.ok_or_else(|| named(path, &"it is a certificate of none of the keys"))?;
    }
    Ok(keys)
}

fn load<P: Purpose>(path: &Path) -> Result<KeyRing<P>, Failure> {
    KeyRing::load(path).map_err(|error| named(path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = fs::read(path).map_err(|error| named(path, &error))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(named(path, &"it holds no certificates in PEM")),
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, Failure> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|_| named(&files.private_key, &"it holds no private key in PEM"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| named(&files.certificate, &"the certificate is not of the private key"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A token that its owner alone can read, long enough that nobody guesses it.
pub(super) fn token_in(path: &Path) -> Result<Secret, Failure> {
    let token = secret_in(path)?;
    let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    if token.len() < MIN_TOKEN || !plain {
        return Err(named(path, &"it holds no token: 32 or more characters of A-Z a-z 0-9 - . _ ~ + / ="));
    }
    Ok(Secret::new(token))
}

/// The text of a file that its owner alone can read.
pub(super) fn secret_in(path: &Path) -> Result<String, Failure> {
    let mut file = File::open(path).map_err(|error| named(path, &error))?;
    let metadata = file.metadata().map_err(|error| named(path, &error))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        return Err(named(path, &"it is not a file that its owner alone can read (chmod 600)"));
    }
    let mut text = String::new();
    file.by_ref().take(MAX_SECRET).read_to_string(&mut text).map_err(|error| named(path, &error))?;
    Ok(text.trim_end().to_owned())
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    Ok(TcpListener::bind(address).await.map_err(|error| format!("{address}: {error}"))?)
}

pub(super) fn named(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    format!("{}: {error}", path.display()).into()
}

/// How much of used evidence is remembered.
const REMEMBERED: usize = 100_000;

/// How long a body may take.
pub(super) const BODY: Duration = Duration::from_secs(10);

const MIN_TOKEN: usize = 32;
const MAX_SECRET: u64 = 1024;

const CLOSING_STEPS: usize = 100;
const CLOSING_STEP: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("agentkeys-start-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn l8_the_challenges_key_is_32_bytes_that_the_owner_alone_can_read() {
        let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
        let good = file("good", format!("{digits}\n").as_bytes(), 0o600);
        assert_eq!(challenge_key(&good).unwrap().expose()[..4], [0x01, 0x23, 0x45, 0x67]);
        for (at, bad) in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &digits.replace('a', "g"),
            &digits.replace("01", "+1"),
            &"é".repeat(32),
        ]
        .into_iter()
        .enumerate()
        {
            let path = file(&format!("bad{at}"), bad.as_bytes(), 0o600);
            let error = challenge_key(&path).unwrap_err().to_string();
            assert!(
                error.ends_with("it holds no key: 64 hexadecimal digits, as of `openssl rand -hex 32`"),
                "{bad}"
            );
            fs::remove_file(path).unwrap();
        }
        let open = file("open", digits.as_bytes(), 0o644);
        assert!(challenge_key(&open).unwrap_err().to_string().contains("chmod 600"));
        fs::remove_file(open).unwrap();
        fs::remove_file(good).unwrap();
    }

    #[tokio::test]
    async fn w8_l29_a_start_without_redis_is_none_and_names_the_file_alone() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = file("url", format!("redis://u:MARKED@{gone}").as_bytes(), 0o600);
        let challenge_key = file("key", "0".repeat(64).as_bytes(), 0o600);
        let mut redis =
            RedisFiles { url: url.clone(), authorities: None, challenge_key: challenge_key.clone() };
        let error = shared(&redis).await.err().unwrap().to_string();
        assert_eq!(error, format!("{}: there is no connection to redis", url.display()));
        let plain = file("plain", b"redis://u:MARKED@192.0.2.1", 0o600);
        redis.url = plain.clone();
        let error = shared(&redis).await.err().unwrap().to_string();
        assert!(error.contains("redis:// is for loopback") && !error.contains("MARKED"), "{error}");
        redis.authorities = Some(challenge_key.clone());
        redis.url = url.clone();
        assert!(shared(&redis).await.err().unwrap().to_string().contains("certificate authorities"));
        for path in [url, plain, challenge_key] {
            fs::remove_file(path).unwrap();
        }
    }
}
