use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use agentkeys_attest::select::Selection;
use agentkeys_core::{Issuer, RotationTimes, TokenLifetime};
use agentkeys_federation::{DataClass, Region, SessionDuration, Stack, StackNames, Tenant, TenantPolicy};

use super::app::Wallets;
use super::log::LogLevel;
use super::settings::{Finding, Said, Table};
use super::variables as names;

mod replicas;
mod tenants;

pub(crate) use replicas::{AuditPlace, RedisFiles};

/// Every setting of a broker, parsed.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) issuer: Issuer,
    pub(crate) region: Region,
    pub(crate) sts_endpoint: Option<StsUrl>,
    pub(crate) certificate_authorities: Option<PathBuf>,
    pub(crate) oidc_keypair: PathBuf,
    pub(crate) session_keypair: PathBuf,
    pub(crate) audit: AuditPlace,
    pub(crate) redis: Option<RedisFiles>,
    pub(crate) listen: SocketAddr,
    pub(crate) operator_listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) x5c: Option<PathBuf>,
    pub(crate) operator_token: Option<PathBuf>,
    pub(crate) selection: Selection,
    pub(crate) tenants: Vec<(Tenant, TenantPolicy)>,
    pub(crate) wallets: Wallets,
    pub(crate) times: RotationTimes,
    pub(crate) body_limit: usize,
    pub(crate) requests: usize,
    pub(crate) key_tables: TablesChoice,
    pub(crate) log: LogLevel,
    pub(crate) deployment: Option<PathBuf>,
    notes: Vec<String>,
}

/// A certificate chain and its private key, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

/// Whether the session keys get tables ([`agentkeys_core::jose::KeyTables`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TablesChoice {
    On,
    #[default]
    Off,
}

impl FromStr for TablesChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err("it is on or off"),
        }
    }
}

/// Where another STS than AWS's is.
#[derive(Clone, Debug)]
pub(crate) struct StsUrl(pub(crate) String);

impl FromStr for StsUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        // the same form as an issuer's
        match Issuer::parse(url).or_else(|_| Issuer::loopback_http_for_tests(url)) {
            Ok(_) => Ok(Self(url.to_owned())),
            Err(_) => Err("an STS is at an https:// URL, or at http:// on loopback"),
        }
    }
}

impl Config {
    /// Reads the text of a file, which may be empty, and variables. Relative paths in the file begin in `folder`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(
        text: &str,
        folder: &Path,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let file = Table::parse(text, &mut findings);
        let mut reader = Reader { file, folder, variables, findings };
        let config = reader.config();
        let Reader { file, mut findings, .. } = reader;
        file.finish(&mut findings);
        match config {
            Some(config) if findings.is_empty() => Ok(config),
            _ => Err(findings),
        }
    }

    /// What decides nothing here and may be thought to.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How much is to be logged.
    #[must_use]
    pub const fn log(&self) -> LogLevel {
        self.log
    }
}

struct Reader<'c> {
    file: Table<'c>,
    folder: &'c Path,
    variables: &'c BTreeMap<String, String>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn config(&mut self) -> Option<Config> {
        let notes = self.unused();
        self.anchors();
        // each is read before any is missed, so that all findings are there
        let issuer = self.required("issuer", &[names::OIDC_ISSUER]);
        let region = self.region();
        let sts_endpoint = self.optional("sts_endpoint", &[]);
        let oidc_keypair = self.required_path("oidc_keypair", &[names::OIDC_KEYPAIR_PATH]);
        let session_keypair = self.required_path("session_keypair", &[names::SESSION_KEYPAIR_PATH]);
        let audit = self.audit();
        let redis = self.redis();
        let listen = self.or("listen", &[], LISTEN);
        let operator_listen = self.or("operator_listen", &[], OPERATOR_LISTEN);
        let tls = self.tls();
        let (x5c, operator_token) = (self.path("x5c", &[]), self.path("operator_token_file", &[]));
        let certificate_authorities = self.path("certificate_authorities", &[]);
        let deployment = self.path("deployment", &[]);
        let max_age = self.within("jwks_max_age_seconds", &[], 300, 1, 86_400);
        let body_limit =
            self.within("request_body_limit_bytes", &[names::REQUEST_BODY_LIMIT_BYTES], 65_536, 1024, 65_536);
        let requests = self.within("requests_at_once", &[], 256, 1, 10_000);
        let key_tables = self.optional("key_tables", &[]).unwrap_or_default();
        let log = self.optional("log", &[]).unwrap_or_default();
        let policy = self.policy();
        let selection = self.selection();
        let (tenants, wallets) = self.tenants(policy, selection.as_ref());
        Some(Config {
            issuer: issuer?,
            region: region?,
            sts_endpoint,
            certificate_authorities,
            oidc_keypair: oidc_keypair?,
            session_keypair: session_keypair?,
            audit: audit?,
            redis,
            listen,
            operator_listen,
            tls,
            x5c,
            operator_token,
            selection: selection?,
            tenants,
            wallets,
            times: RotationTimes::new(Duration::from_secs(max_age)),
            body_limit: usize::try_from(body_limit).ok()?,
            requests: usize::try_from(requests).ok()?,
            key_tables,
            log,
            deployment,
            notes,
        })
    }

    /// What the file says under `key`, or one of these variables, which go before it and must agree.
    fn said(&mut self, key: &str, variables: &[&'static str]) -> Option<Said> {
        let file = if key.is_empty() { None } else { self.file.said(key, &mut self.findings) };
        let mut said: Option<Said> = None;
        for &name in variables {
            let Some(text) = self.variables.get(name) else { continue };
            match &said {
                Some(first) if first.text != *text => {
                    let what = format!("it says another thing than {}", first.place);
                    self.findings.push(Finding::new(name, &what));
                }
                Some(_) => {}
                None => said = Some(Said { text: text.clone(), place: name.to_owned() }),
            }
        }
        said.or(file)
    }

    fn must_say(&mut self, key: &str, variables: &[&'static str]) -> Option<Said> {
        let said = self.said(key, variables).filter(|said| !said.text.trim().is_empty());
        if said.is_none() {
            let or = variables.first().map_or_else(String::new, |name| format!(", or the variable {name}"));
            self.findings.push(Finding::new("the file", &format_args!("{key} is missing{or}")));
        }
        said
    }

    fn required<T: FromStr<Err: Display>>(&mut self, key: &str, variables: &[&'static str]) -> Option<T> {
        self.must_say(key, variables)?.parse(&mut self.findings)
    }

    fn optional<T: FromStr<Err: Display>>(&mut self, key: &str, variables: &[&'static str]) -> Option<T> {
        self.said(key, variables)?.parse(&mut self.findings)
    }

    fn or<T: FromStr<Err: Display>>(&mut self, key: &str, variables: &[&'static str], default: T) -> T {
        self.optional(key, variables).unwrap_or(default)
    }

    fn within(&mut self, key: &str, variables: &[&'static str], default: u64, least: u64, most: u64) -> u64 {
        let Some(said) = self.said(key, variables) else { return default };
        match said.text.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                said.wrong(&format_args!("it is a number from {least} to {most}"), &mut self.findings);
                default
            }
        }
    }

    /// A path of the file begins in the file's folder, one of a variable where the process runs.
    fn path(&mut self, key: &str, variables: &[&'static str]) -> Option<PathBuf> {
        let said = self.said(key, variables)?;
        let folder = if variables.contains(&said.place.as_str()) { Path::new("") } else { self.folder };
        Some(folder.join(said.text))
    }

    fn required_path(&mut self, key: &str, variables: &[&'static str]) -> Option<PathBuf> {
        let path = self.path(key, variables);
        if path.is_none() {
            let or = variables.first().map_or_else(String::new, |name| format!(", or the variable {name}"));
            self.findings.push(Finding::new("the file", &format_args!("{key} is missing{or}")));
        }
        path
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        match (self.path("certificate", &[]), self.path("private_key", &[])) {
            (Some(certificate), Some(private_key)) => Some(TlsFiles { certificate, private_key }),
            (None, None) => None,
            _ => {
                let what = "certificate and private_key go together";
                self.findings.push(Finding::new("the file", &what));
                None
            }
        }
    }

    /// What every tenant has in common.
    fn policy(&mut self) -> TenantPolicy {
        let duration = self.said("session_duration_seconds", &[names::SESSION_DURATION_SECONDS]);
        let lifetime = self.said("oidc_jwt_ttl_seconds", &[names::OIDC_JWT_TTL_SECONDS]);
        let mut policy = TenantPolicy::new().with_duration(SESSION_DURATION);
        if let Some(said) = duration {
            match said.text.parse().ok().map(SessionDuration::from_secs) {
                Some(Ok(duration)) => policy = policy.with_duration(duration),
                _ => said.wrong(&"it is a number from 900 to 43200", &mut self.findings),
            }
        }
        if let Some(said) = lifetime {
            match said.text.parse().ok().map(TokenLifetime::from_secs) {
                Some(Ok(lifetime)) => policy = policy.with_token_lifetime(lifetime),
                _ => said.wrong(&"it is a number from 60 to 3600", &mut self.findings),
            }
        }
        policy
    }

    /// The attestor, all of it from the file or all of it from variables: half a set of pins from each is no set.
    fn selection(&mut self) -> Option<Selection> {
        let of_process = self.variables.iter().filter(|(name, _)| names::is_the_attestors(name));
        let mut said: BTreeMap<_, _> = of_process.map(|(name, text)| (name.clone(), text.clone())).collect();
        let mut place = "the environment".to_owned();
        if let Some(table) = self.file.table("attestor", &mut self.findings) {
            place = table.place().to_owned();
            if !said.is_empty() {
                let what = "the environment has an attestor as well; one of the two goes";
                self.findings.push(Finding::new(&place, &what));
                return None;
            }
            said = table.all(&mut self.findings).into_iter().map(|(name, said)| (name, said.text)).collect();
            if let Some(foreign) = said.keys().find(|name| !names::is_the_attestors(name)) {
                self.findings
                    .push(Finding::new(&place, &format_args!("{foreign} is no variable of an attestor")));
                return None;
            }
        }
        let selection =
            Selection::parse(&said).map_err(|error| self.findings.push(Finding::new(place, &error)));
        selection.ok()
    }

    /// Names what is not known, and tells of what is known and not used.
    fn unused(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        for name in self.variables.keys().filter(|name| name.starts_with("BROKER_")) {
            let unused = names::UNUSED.iter().find(|(unused, _)| unused == name);
            if let Some((_, why)) = unused {
                notes.push(format!("{name} decides nothing here: {why}"));
            } else if !names::READ.contains(&name.as_str()) {
                self.findings.push(Finding::new(name, &"there is no such variable"));
            }
        }
        notes
    }

    /// There is one anchor, and it must have every row.
    fn anchors(&mut self) {
        for (name, only) in [(names::AUDIT_ANCHORS, "sqlite"), (names::AUDIT_POLICY, "sqlite_primary")] {
            if let Some(said) = self.said("", &[name]).filter(|said| said.text != only) {
                said.wrong(&format_args!("it is {only}: no other is kept here"), &mut self.findings);
            }
        }
    }

    /// By its own name, or by an old one that others use as well and that therefore goes last.
    fn region(&mut self) -> Option<Region> {
        let old = self.said("", &[names::REGION]);
        match (self.said("region", &[names::AWS_REGION]), old) {
            (Some(said), _) | (None, Some(said)) => said.parse(&mut self.findings),
            (None, None) => self.required("region", &[names::AWS_REGION]),
        }
    }

    /// The data role of older settings, under two names.
    fn data_role(&mut self) -> Option<Said> {
        self.said("", &[names::DATA_ROLE_ARN, names::AGENT_ROLE_ARN])
    }

    /// The same where only the account is said.
    fn derived_data_role(&mut self) -> Option<Said> {
        let account = self.said("", &[names::ACCOUNT_ID])?;
        let named = account.parse(&mut self.findings).and_then(|parsed| {
            let partition = "aws".parse().ok()?;
            StackNames::new(Stack::Production, "agentkeys", partition, parsed).ok()
        });
        named.map(|names| Said { text: names.role(DataClass::Data).to_string(), place: account.place })
    }
}

const LISTEN: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 8440));
const OPERATOR_LISTEN: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 8441));

/// An hour, as brokers before had it.
const SESSION_DURATION: SessionDuration = match SessionDuration::from_secs(3600) {
    Ok(hour) => hour,
    Err(_) => SessionDuration::MIN,
};
