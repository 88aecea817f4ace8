use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws_sts::AwsStsAttestor;
use agentkeys_attest::aws_stsweb::AWS_STSWEB;
use agentkeys_attest::select::Selection;
use agentkeys_core::jose::KeyTables;
use agentkeys_core::{
    Attestors, Challenges, EvidenceKind, HttpClient, HttpSettings, KeyRing, MemoryReplayGuard, Purpose,
    Random as _, ReplayGuard, ReqwestClient, Secret, SystemClock, SystemRandom, TrustStore,
};
use agentkeys_federation::{AwsExchanger, SqliteAudit};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::app::{App, Keys, Parts};
use super::config::{Config, TablesChoice, TlsFiles};
use super::input::BodyLimits;
use super::{listener, routes};
use crate::Failure;

/// A broker that listens.
pub struct Running {
    app: Arc<App>,
    audit: Arc<SqliteAudit>,
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
        let audit = SqliteAudit::open(&config.audit_database)
            .map_err(|error| named(&config.audit_database, &error))?;
        let audit = Arc::new(audit);
        let app = App::new(files.parts(config, Arc::clone(&audit))?)?;
        let public = bind(config.listen).await?;
        let operator = bind(config.operator_listen).await?;
        Self::listen(app, audit, files.tls, public, operator)
    }

    pub(super) fn listen(
        app: App,
        audit: Arc<SqliteAudit>,
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
        let mut audit = audit;
        for _ in 0..CLOSING_STEPS {
            audit = match Arc::try_unwrap(audit) {
                Ok(audit) => {
                    audit.close().await?;
                    return Ok(());
                }
                Err(audit) => audit,
            };
            tokio::time::sleep(CLOSING_STEP).await;
        }
        Err("the audit log is still written to".into())
    }
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

    fn parts(&self, config: &Config, audit: Arc<SqliteAudit>) -> Result<Parts, Failure> {
        let guard = guard()?;
        let challenges = challenges(Arc::clone(&guard))?;
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

/// Remembers what was used, in this process: a second replica would let it pass once more.
pub(super) fn guard() -> Result<Arc<dyn ReplayGuard>, Failure> {
    let room = std::num::NonZeroUsize::new(REMEMBERED).ok_or("no room")?;
    Ok(Arc::new(MemoryReplayGuard::new(Arc::new(SystemClock::new()), room)))
}

/// Challenges of this process.
pub(super) fn challenges(guard: Arc<dyn ReplayGuard>) -> Result<Challenges, Failure> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key)?;
    Ok(Challenges::new(guard, &Secret::new(key)))
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
    let mut file = File::open(path).map_err(|error| named(path, &error))?;
    let metadata = file.metadata().map_err(|error| named(path, &error))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        return Err(named(path, &"it is not a file that its owner alone can read (chmod 600)"));
    }
    let mut text = String::new();
    file.by_ref().take(MAX_TOKEN).read_to_string(&mut text).map_err(|error| named(path, &error))?;
    let token = text.trim_end();
    let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    if token.len() < MIN_TOKEN || !plain {
        return Err(named(path, &"it holds no token: 32 or more characters of A-Z a-z 0-9 - . _ ~ + / ="));
    }
    Ok(Secret::new(token.to_owned()))
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
const MAX_TOKEN: u64 = 1024;

const CLOSING_STEPS: usize = 100;
const CLOSING_STEP: Duration = Duration::from_millis(50);
