use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use agentkeys_attest::aws::{Region, StsEndpoint};
use agentkeys_attest::aws_sts::AwsStsSource;
use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebSource};
use agentkeys_attest::oidc::OIDC;
use agentkeys_attest::select::SelectError;
use agentkeys_attest::spire::{SPIFFE_SVID, SpireSource, WorkloadSocket};
use agentkeys_core::{
    Audience, Evidence, EvidenceKind, EvidenceSource, HttpSettings, Issuer, MAX_EVIDENCE_BYTES,
    ReqwestClient, SourceError, TrustStore,
};
use agentkeys_federation::DataClass;
use async_trait::async_trait;
use aws_config::BehaviorVersion;

use super::client::BrokerClient;
use super::keeper::Prover;
use crate::Failure;

/// What a sidecar is told, read out of a map of variables: nothing here reads the environment.
///
/// | variable | what it says |
/// |---|---|
/// | `AGENTKEYS_BROKER` | the broker's address: `https://`, or `http://` on loopback |
/// | `AGENTKEYS_CLASS` | the class of data: `data`, `vault`, `memory` or `config` |
/// | `AGENTKEYS_CA_FILE` | optional: the only certificate authorities that may vouch for the broker, PEM |
/// | `AGENTKEYS_PORT` | optional: the port on 127.0.0.1; any free one otherwise |
/// | `AGENTKEYS_PEER_UID` | optional, Linux: only processes of this user are answered |
/// | `AGENTKEYS_EVIDENCE_FILE` | a file in which the platform keeps a fresh token: for `oidc`, and instead of the variables below for `aws-stsweb` and `spire` |
/// | `ATTESTOR` | how this workload proves itself |
///
/// | `ATTESTOR` | required |
/// |---|---|
/// | `spire`, `spiffe` | `SPIRE_AUDIENCE`, `SPIFFE_ENDPOINT_SOCKET` |
/// | `aws-sts` | `AWSSTS_AUDIENCE`, `AWS_REGION`, and AWS credentials where SDKs look for them |
/// | `aws-stsweb` | `STSWEB_AUDIENCE`, `AWS_REGION`, and AWS credentials where SDKs look for them |
/// | `oidc` | `AGENTKEYS_EVIDENCE_FILE` |
#[derive(Clone, Debug)]
pub struct SidecarSettings {
    broker: Issuer,
    trusted: Option<PathBuf>,
    class: DataClass,
    port: u16,
    peer: Option<u32>,
    proof: Proof,
}

#[derive(Clone, Debug)]
enum Proof {
    AwsSts(Region, Audience),
    AwsStsWeb(Region, Audience),
    File(EvidenceKind, PathBuf),
    Spire(WorkloadSocket, Audience),
}

impl SidecarSettings {
    /// Reads them.
    ///
    /// # Errors
    /// [`SelectError`], which names the variable.
    pub fn parse(variables: &BTreeMap<String, String>) -> Result<Self, SelectError> {
        let variables = Variables(variables);
        let mut ours = variables.0.keys().filter(|name| name.starts_with("AGENTKEYS_"));
        if let Some(unknown) = ours.find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(SelectError::Unknown(unknown.clone()));
        }
        Ok(Self {
            broker: variables.required::<BrokerAddress>(BROKER)?.0,
            trusted: variables.optional(CA_FILE)?,
            class: variables.required(CLASS)?,
            port: variables.optional(PORT)?.unwrap_or(0),
            peer: variables.optional(PEER_UID)?,
            proof: Proof::parse(variables)?,
        })
    }

    /// Who speaks to the broker.
    ///
    /// # Errors
    /// Where a trust store cannot be read.
    pub fn client(&self) -> Result<BrokerClient, Failure> {
        let trust = match &self.trusted {
            Some(path) => TrustStore::only(std::fs::read(path)?),
            None if self.broker.is_loopback_http() => TrustStore::nobody(),
            None => TrustStore::system(),
        };
        let http = ReqwestClient::new(HttpSettings::new(trust))?;
        Ok(BrokerClient::new(&self.broker, Arc::new(http)))
    }

    /// What gathers the evidence. For AWS it looks for the workload's own credentials where every SDK does.
    ///
    /// # Errors
    /// Where there can be none.
    pub async fn prover(&self) -> Result<Prover, Failure> {
        Ok(match &self.proof {
            Proof::AwsSts(region, audience) => {
                let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
                let credentials = sdk.credentials_provider().ok_or("there are no AWS credentials here")?;
                let endpoint = StsEndpoint::regional(region.clone())?;
                Prover::Challenged(AwsStsSource::new(credentials, endpoint, audience.clone()))
            }
            Proof::AwsStsWeb(region, audience) => {
                let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
                Prover::Source(Arc::new(StsWebSource::new(&sdk, region, audience.clone())))
            }
            Proof::File(kind, path) => Prover::Source(Arc::new(TokenFile(kind.clone(), path.clone()))),
            Proof::Spire(socket, audience) => {
                Prover::Source(Arc::new(SpireSource::new(socket.clone(), audience.clone())))
            }
        })
    }

    /// The class of data.
    #[must_use]
    pub const fn class(&self) -> DataClass {
        self.class
    }

    /// The port on loopback; 0 for any.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The only user whose processes are answered, where one is named.
    #[must_use]
    pub const fn peer(&self) -> Option<u32> {
        self.peer
    }
}

impl Proof {
    fn parse(variables: Variables<'_>) -> Result<Self, SelectError> {
        let file = variables.optional::<PathBuf>(EVIDENCE_FILE)?;
        match (variables.text(ATTESTOR)?, file) {
            ("aws-sts", None) => {
                Ok(Self::AwsSts(variables.required(REGION)?, variables.required("AWSSTS_AUDIENCE")?))
            }
            ("aws-sts", Some(_)) => {
                Err(malformed(EVIDENCE_FILE, &"evidence of aws-sts is signed anew each time"))
            }
            ("aws-stsweb", Some(path)) => Ok(Self::File(AWS_STSWEB, path)),
            ("aws-stsweb", None) => {
                Ok(Self::AwsStsWeb(variables.required(REGION)?, variables.required("STSWEB_AUDIENCE")?))
            }
            ("oidc", Some(path)) => Ok(Self::File(OIDC, path)),
            ("oidc", None) => Err(SelectError::Missing(EVIDENCE_FILE)),
            ("spire" | "spiffe", Some(path)) => Ok(Self::File(SPIFFE_SVID, path)),
            ("spire" | "spiffe", None) => Ok(Self::Spire(
                variables.required("SPIFFE_ENDPOINT_SOCKET")?,
                variables.required("SPIRE_AUDIENCE")?,
            )),
            _ => Err(malformed(ATTESTOR, &"it is none of spire, spiffe, aws-sts, aws-stsweb, oidc")),
        }
    }
}

/// A token that the platform writes into a file and renews there.
#[derive(Debug)]
struct TokenFile(EvidenceKind, PathBuf);

#[async_trait]
impl EvidenceSource for TokenFile {
    async fn fetch(&self) -> Result<Evidence, SourceError> {
        let path = self.1.clone();
        let read = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
            let mut text = String::new();
            let limit = MAX_EVIDENCE_BYTES as u64 + 1;
            std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
            Ok(text)
        });
        let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| SourceError::Misconfigured {
            what: "AGENTKEYS_EVIDENCE_FILE cannot be read",
            source: Some(source),
        };
        let text = read.await.map_err(|error| unreadable(error.into()))?;
        let text = text.map_err(|error| unreadable(error.into()))?;
        Evidence::new(self.0.clone(), text.trim_end()).map_err(|_| SourceError::Malformed)
    }
}

#[derive(Clone, Copy)]
struct Variables<'v>(&'v BTreeMap<String, String>);

impl<'v> Variables<'v> {
    fn text(self, name: &'static str) -> Result<&'v str, SelectError> {
        let given = self.0.get(name).map(String::as_str);
        given.filter(|text| !text.trim().is_empty()).ok_or(SelectError::Missing(name))
    }

    fn required<T: FromStr<Err: fmt::Display>>(self, name: &'static str) -> Result<T, SelectError> {
        self.text(name)?.parse().map_err(|error| malformed(name, &error))
    }

    /// One that is there and empty is malformed.
    fn optional<T: FromStr<Err: fmt::Display>>(self, name: &'static str) -> Result<Option<T>, SelectError> {
        if self.0.contains_key(name) { self.required(name).map(Some) } else { Ok(None) }
    }
}

struct BrokerAddress(Issuer);

impl FromStr for BrokerAddress {
    type Err = agentkeys_core::IssuerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // the more telling error is that of https
        Issuer::parse(text)
            .or_else(|error| Issuer::loopback_http_for_tests(text).map_err(|_| error))
            .map(Self)
    }
}

fn malformed(variable: &'static str, reason: &dyn fmt::Display) -> SelectError {
    SelectError::Malformed { variable, reason: reason.to_string() }
}

/// The sidecar's own variables: they are taken out of a command's environment.
pub(super) const KNOWN: &[&str] = &[BROKER, CA_FILE, CLASS, EVIDENCE_FILE, PORT, PEER_UID];
const BROKER: &str = "AGENTKEYS_BROKER";
const CA_FILE: &str = "AGENTKEYS_CA_FILE";
const CLASS: &str = "AGENTKEYS_CLASS";
const EVIDENCE_FILE: &str = "AGENTKEYS_EVIDENCE_FILE";
const PORT: &str = "AGENTKEYS_PORT";
const PEER_UID: &str = "AGENTKEYS_PEER_UID";
const ATTESTOR: &str = "ATTESTOR";
const REGION: &str = "AWS_REGION";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<SidecarSettings, String> {
        let base = [("AGENTKEYS_BROKER", "https://broker.example.org"), ("AGENTKEYS_CLASS", "memory")];
        let all = base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        SidecarSettings::parse(&all.collect()).map_err(|error| error.to_string())
    }

    const OIDC_FILE: [(&str, &str); 2] = [("ATTESTOR", "oidc"), ("AGENTKEYS_EVIDENCE_FILE", "/run/token")];

    #[test]
    fn r2_a_workload_that_does_not_say_how_it_proves_itself_is_told_so() {
        let with = |pair: (&'static str, &'static str)| [OIDC_FILE[0], OIDC_FILE[1], pair];
        for (pairs, said) in [
            (&[][..], "ATTESTOR is not set"),
            (&[("ATTESTOR", "")], "ATTESTOR is not set"),
            (&[("ATTESTOR", "mtls")], "ATTESTOR is malformed: it is none of"),
            (&[("ATTESTOR", "OIDC")], "ATTESTOR is malformed"),
            (&[("ATTESTOR", "oidc")], "AGENTKEYS_EVIDENCE_FILE is not set"),
            (&[("ATTESTOR", "aws-sts")], "AWS_REGION is not set"),
            (&[("ATTESTOR", "aws-sts"), ("AWS_REGION", "eu-west-1")], "AWSSTS_AUDIENCE is not set"),
            (&[("ATTESTOR", "aws-stsweb"), ("AWS_REGION", "eu-west-1")], "STSWEB_AUDIENCE is not set"),
            (&[("ATTESTOR", "aws-stsweb"), ("AWS_REGION", "EU WEST")], "AWS_REGION is malformed"),
            (&[("ATTESTOR", "spire"), ("SPIRE_AUDIENCE", "a")], "SPIFFE_ENDPOINT_SOCKET is not set"),
            (
                &[("ATTESTOR", "spire"), ("SPIFFE_ENDPOINT_SOCKET", "tcp://h:1")],
                "SPIFFE_ENDPOINT_SOCKET is m",
            ),
            (&[("ATTESTOR", "aws-sts"), OIDC_FILE[1]], "AGENTKEYS_EVIDENCE_FILE is malformed"),
            (&with(("AGENTKEYS_CLASS", "secrets")), "AGENTKEYS_CLASS is malformed"),
            (&with(("AGENTKEYS_BROKER", "http://broker.example.org")), "AGENTKEYS_BROKER is malformed"),
            (&with(("AGENTKEYS_BROKER", "http://127.0.0.1.evil.example")), "AGENTKEYS_BROKER is malformed"),
            (&with(("AGENTKEYS_BROKER", "")), "AGENTKEYS_BROKER is not set"),
            (&with(("AGENTKEYS_PORT", "70000")), "AGENTKEYS_PORT is malformed"),
            (&with(("AGENTKEYS_PEER_UID", "")), "AGENTKEYS_PEER_UID is not set"),
            (&with(("AGENTKEYS_PEER_UID", "-1")), "AGENTKEYS_PEER_UID is malformed"),
            (&with(("AGENTKEYS_PEERUID", "1000")), "AGENTKEYS_PEERUID is no variable"),
        ] {
            let refused = parse(pairs).unwrap_err();
            assert!(refused.starts_with(said), "{refused}");
        }
    }

    #[test]
    fn r2_r26_each_name_chooses_its_source_from_the_map_alone() {
        for (name, kind) in
            [("oidc", OIDC), ("aws-stsweb", AWS_STSWEB), ("spire", SPIFFE_SVID), ("spiffe", SPIFFE_SVID)]
        {
            let settings = parse(&[("ATTESTOR", name), OIDC_FILE[1]]).unwrap();
            assert!(matches!(settings.proof, Proof::File(of, _) if of == kind));
        }
        let socket = ("SPIFFE_ENDPOINT_SOCKET", "unix:///run/agent.sock");
        for name in ["spire", "spiffe"] {
            let settings = parse(&[("ATTESTOR", name), socket, ("SPIRE_AUDIENCE", "agentkeys")]).unwrap();
            assert!(matches!(settings.proof, Proof::Spire(..)));
        }
        let region = ("AWS_REGION", "eu-west-1");
        let settings = parse(&[("ATTESTOR", "aws-sts"), region, ("AWSSTS_AUDIENCE", "agentkeys")]).unwrap();
        assert!(matches!(settings.proof, Proof::AwsSts(..)));
        let settings =
            parse(&[("ATTESTOR", "aws-stsweb"), region, ("STSWEB_AUDIENCE", "agentkeys")]).unwrap();
        assert!(matches!(settings.proof, Proof::AwsStsWeb(..)));
        assert_eq!((settings.class(), settings.port(), settings.peer()), (DataClass::Memory, 0, None));
    }
}
