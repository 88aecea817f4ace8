//! The published vectors: each file through the attestor that it is for, and each against the table that it was
//! made from. `AGENTKEYS_VECTORS=write cargo test -p agentkeys-attest vectors` writes them anew.

mod requests;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use agentkeys_attest::aws_sts::AwsStsAttestor;
use agentkeys_attest::aws_stsweb::{StsWebAttestor, StsWebPins};
use agentkeys_attest::oidc::{OidcAttestor, OidcKeys};
use agentkeys_attest::spire::{SpireAttestor, SpirePins};
use agentkeys_core::jose::KeySet;
use agentkeys_core::testing::{FakeHttp, ManualClock};
use agentkeys_core::{
    AttestError, AttestedIdentity, Attestor, Evidence, HttpMethod, HttpRequest, HttpResponse, KeySource,
    MemoryReplayGuard, StaticKeys, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::support::NOW;
use crate::{aws_sts_support, oidc_support};

/// As `vectors/README.md` describes it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    kind: String,
    now: u64,
    settings: Map<String, Value>,
    keys: BTreeMap<String, Value>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    rules: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    settings: Map<String, Value>,
    evidence: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sts: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A request without a body.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl From<&HttpRequest> for Request {
    fn from(request: &HttpRequest) -> Self {
        assert!(request.body.expose().is_empty());
        let headers: BTreeMap<_, _> = request.headers.iter().cloned().collect();
        assert_eq!(headers.len(), request.headers.len(), "a header is doubled");
        let method = if request.method == HttpMethod::Get { "GET" } else { "POST" };
        Self { method: method.to_owned(), url: request.url.clone(), headers }
    }
}

impl From<HttpResponse> for Answer {
    fn from(answer: HttpResponse) -> Self {
        let HttpResponse { status, headers, body, .. } = answer;
        Self { status, headers, body: String::from_utf8(body).unwrap() }
    }
}

impl Vector {
    /// An STS that answers the one request, and nothing else.
    fn http(&self) -> Arc<FakeHttp> {
        let http = FakeHttp::new();
        if let (Some(request), Some(Answer { status, headers, body })) = (&self.request, &self.sts) {
            http.respond(&request.url, HttpResponse::new(*status, headers.clone(), body.as_str()));
        }
        http
    }
}

/// What came of evidence.
type Outcome = (Option<Value>, Option<String>);

impl File {
    fn new(kind: &str, settings: Value, keys: BTreeMap<String, Value>) -> Self {
        let settings = settings.as_object().unwrap().clone();
        Self { format: 1, kind: kind.to_owned(), now: NOW, settings, keys, vectors: Vec::new() }
    }

    fn path(kind: &str) -> PathBuf {
        let (_, name) = FILES.iter().find(|(known, _)| *known == kind).unwrap();
        directory().join(name)
    }

    /// Only as it would be written: no member twice, nothing by hand.
    fn read(kind: &str) -> Self {
        let text = std::fs::read_to_string(Self::path(kind)).unwrap();
        let file: Self = serde_json::from_str(&text).unwrap();
        assert!(file.text() == text, "{kind}: written by somebody else");
        assert_eq!(file.kind, kind);
        file
    }

    fn write(&self) {
        std::fs::write(Self::path(&self.kind), self.text()).unwrap();
    }

    /// One vector a line.
    fn text(&self) -> String {
        let mut head = serde_json::to_value(self).unwrap();
        // in this order too where a build's other crates let objects keep the order they were made in
        head.sort_all_objects();
        let vectors = head.as_object_mut().unwrap().remove("vectors").unwrap();
        let mut lines: Vec<_> = ["format", "kind", "now", "settings", "keys"]
            .iter()
            .map(|name| format!("  \"{name}\": {}", head[*name]))
            .collect();
        let rows: Vec<_> = vectors.as_array().unwrap().iter().map(|row| format!("    {row}")).collect();
        lines.push(format!("  \"vectors\": [\n{}\n  ]", rows.join(",\n")));
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }

    /// Adds a vector, with what the attestor makes of it.
    async fn push(&mut self, mut vector: Vector) {
        let (attestor, evidence) = (self.attestor(&vector, vector.http()), self.evidence(&vector));
        (vector.identity, vector.error) = outcome(attestor.attest(&evidence).await);
        self.vectors.push(vector);
    }

    fn evidence(&self, vector: &Vector) -> Evidence {
        Evidence::new(self.kind.parse().unwrap(), vector.evidence.as_str()).unwrap()
    }

    fn keys(&self, issuer: &str) -> Arc<dyn KeySource> {
        Arc::new(StaticKeys::new(KeySet::parse(self.keys[issuer].to_string().as_bytes()).unwrap()))
    }

    /// A new attestor of the file's settings, with the vector's own over them.
    fn attestor(&self, vector: &Vector, http: Arc<FakeHttp>) -> Box<dyn Attestor> {
        let mut settings = self.settings.clone();
        settings.extend(vector.settings.clone());
        let clock = ManualClock::new(Timestamp::from_unix(self.now));
        match self.kind.as_str() {
            "aws-sts" => {
                let pins = aws_sts_support::from_settings(&settings);
                let guard = Arc::new(MemoryReplayGuard::new(clock.clone(), NonZeroUsize::MIN));
                Box::new(AwsStsAttestor::new(pins, http, guard).unwrap().with_clock(clock))
            }
            "aws-stsweb" => Box::new(self.stsweb(&settings, http).with_clock(clock)),
            "oidc" => {
                let mut issuers = settings["issuers"].as_array().unwrap().iter().map(|issuer| {
                    let keys = self.keys(issuer["issuer"].as_str().unwrap());
                    oidc_support::from_settings(issuer, OidcKeys::given(keys))
                });
                let mut attestor = OidcAttestor::new(issuers.next().unwrap());
                for issuer in issuers {
                    attestor = attestor.with_issuer(issuer).unwrap();
                }
                Box::new(attestor.with_clock(clock))
            }
            "spiffe-svid" => {
                let text = |name: &str| settings[name].as_str().unwrap();
                let pins = SpirePins {
                    trust_domain: text("trust_domain").parse().unwrap(),
                    audience: text("audience").parse().unwrap(),
                    template: text("template").parse().unwrap(),
                };
                let keys = self.keys(text("trust_domain"));
                Box::new(SpireAttestor::new(pins, keys).unwrap().with_clock(clock))
            }
            other => unreachable!("{other}"),
        }
    }

    fn stsweb(&self, settings: &Map<String, Value>, http: Arc<FakeHttp>) -> StsWebAttestor {
        let text = |name: &str| settings[name].as_str().unwrap();
        let pins = StsWebPins {
            issuer: text("issuer").parse().unwrap(),
            audience: text("audience").parse().unwrap(),
            account: text("account").parse().unwrap(),
            role: text("role").parse().unwrap(),
            cluster: text("cluster").parse().unwrap(),
            namespace: text("namespace").parse().unwrap(),
            service_account: text("service_account").parse().unwrap(),
            pod_suffix: text("pod_suffix").parse().unwrap(),
        };
        let attestor = StsWebAttestor::new(pins, http).unwrap();
        let mut attestor = attestor.with_keys(self.keys(text("issuer")));
        if settings.contains_key("organization") {
            attestor = attestor.with_organization(text("organization").parse().unwrap());
        }
        if settings.contains_key("unit") {
            attestor = attestor.with_unit(text("unit").parse().unwrap());
        }
        attestor
    }

    /// Each vector comes out as it says, asks what it says, and a second time as the README says.
    async fn holds(&self) {
        self.assert_documented();
        for vector in &self.vectors {
            let (name, http) = (&vector.name, vector.http());
            let (attestor, evidence) = (self.attestor(vector, http.clone()), self.evidence(vector));
            let found = outcome(attestor.attest(&evidence).await);
            assert_eq!(found, (vector.identity.clone(), vector.error.clone()), "{name}");
            let asked: Vec<_> = http.requests().iter().map(Request::from).collect();
            assert_eq!(asked.iter().collect::<Vec<_>>(), vector.request.iter().collect::<Vec<_>>(), "{name}");
            if vector.identity.is_some() {
                let again = outcome(attestor.attest(&evidence).await);
                let replayed = (None, Some("evidence_replayed".to_owned()));
                assert_eq!(again, if self.kind == "aws-sts" { replayed } else { found }, "{name}");
            }
        }
    }

    /// The members are those that the README describes, and no others.
    fn assert_documented(&self) {
        assert_eq!((self.format, self.now), (1, NOW));
        assert!(self.vectors.len() >= 60, "{}", self.vectors.len());
        let (_, usual, own) = SETTINGS.iter().find(|(kind, ..)| *kind == self.kind).unwrap();
        assert!(self.settings.keys().eq(usual.iter()), "{}", self.kind);
        assert_eq!(self.keys.is_empty(), self.kind == "aws-sts");
        for key in self.keys.values().flat_map(|keys| keys["keys"].as_array().unwrap()) {
            let public = |name: &String| PUBLIC_MEMBERS.contains(&name.as_str());
            assert!(key.as_object().unwrap().keys().all(public), "a private key");
        }
        let text = |path: &str| std::fs::read_to_string(directory().join(path)).unwrap();
        let (readme, rules) = (text("README.md"), text("../../docs/rules.md"));
        let mut names = BTreeSet::new();
        for vector in &self.vectors {
            let name = &vector.name;
            assert!(names.insert(name), "two vectors of the name {name}");
            assert!(!vector.rules.is_empty(), "{name}");
            assert!(vector.rules.iter().all(|rule| rules.contains(&format!("\n| {rule} | "))), "{name}");
            assert!(vector.settings.keys().all(|setting| own.contains(&setting.as_str())), "{name}");
            assert!(vector.identity.is_some() != vector.error.is_some(), "{name}");
            assert_eq!(vector.request.is_some(), vector.sts.is_some(), "{name}");
            assert!(vector.request.is_none() || self.kind == "aws-sts", "{name}");
            let known = |code: &str| code.starts_with("token_") || readme.contains(&format!("`{code}`"));
            assert!(vector.error.as_deref().is_none_or(known), "{name}: {:?}", vector.error);
            let Some(identity) = &vector.identity else { continue };
            let Identity { kind, subject, attested_at, not_after, .. } =
                Identity::deserialize(identity).unwrap();
            assert_eq!((&kind, attested_at), (&self.kind, self.now), "{name}");
            assert!(not_after > self.now && subject.starts_with(&format!("{kind}/")), "{name}");
        }
    }
}

/// The members of an identity; `null` must be written where there is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "their types are what is tested")]
struct Identity {
    kind: String,
    trust_root: String,
    #[serde(deserialize_with = "Option::deserialize")]
    tenant: Option<String>,
    agent: String,
    #[serde(deserialize_with = "Option::deserialize")]
    instance: Option<String>,
    subject: String,
    assurance: String,
    attested_at: u64,
    not_after: u64,
    facts: BTreeMap<String, String>,
}

fn outcome(found: Result<AttestedIdentity, AttestError>) -> Outcome {
    match found {
        Err(error) => (None, Some(error.code().to_owned())),
        Ok(identity) => {
            let identity = json!({
                "kind": identity.kind().as_str(),
                "trust_root": identity.trust_root().as_str(),
                "tenant": identity.tenant().map(|tenant| tenant.as_str()),
                "agent": identity.agent().as_str(),
                "instance": identity.instance().map(|instance| instance.as_str()),
                "subject": identity.subject().as_str(),
                "assurance": identity.assurance().as_str(),
                "attested_at": identity.attested_at().as_unix(),
                "not_after": identity.not_after().as_unix(),
                "facts": identity.facts(),
            });
            (Some(identity), None)
        }
    }
}

fn writing() -> bool {
    std::env::var("AGENTKEYS_VECTORS").is_ok_and(|what| what == "write")
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

#[test]
fn r16_each_published_file_is_one_that_is_tested() {
    let entries = std::fs::read_dir(directory()).unwrap();
    let names: BTreeSet<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let known = FILES.iter().map(|(_, name)| *name).chain(["README.md"]);
    assert_eq!(names, known.map(str::to_owned).collect());
}

const FILES: [(&str, &str); 4] = [
    ("aws-sts", "aws_sts.json"),
    ("aws-stsweb", "aws_stsweb.json"),
    ("oidc", "oidc.json"),
    ("spiffe-svid", "spire.json"),
];

/// By kind, the file's settings, and those that a vector may have of its own.
const SETTINGS: [(&str, &[&str], &[&str]); 4] = [
    ("aws-sts", &["audience", "endpoints", "roles"], &["endpoints", "roles"]),
    (
        "aws-stsweb",
        &["account", "audience", "cluster", "issuer", "namespace", "pod_suffix", "role", "service_account"],
        &["organization", "unit"],
    ),
    ("oidc", &["issuers"], &[]),
    ("spiffe-svid", &["audience", "template", "trust_domain"], &["template"]),
];

const PUBLIC_MEMBERS: [&str; 9] = ["alg", "crv", "e", "kid", "kty", "n", "use", "x", "y"];
