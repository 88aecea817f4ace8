//! The published vectors: each file through the attestor that it is for, and each against the table that it was
//! made from. `AGENTKEYS_VECTORS=write cargo test -p agentkeys-attest vectors` writes them anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agentkeys_attest::aws_stsweb::{StsWebAttestor, StsWebPins};
use agentkeys_attest::oidc::{OidcAttestor, OidcKeys};
use agentkeys_core::jose::{Compact, KeySet};
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{AttestError, AttestedIdentity, Attestor, Evidence, KeySource, StaticKeys, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cases::Case;
use crate::oidc_support::{ISSUERS, TABLE, from_settings};
use crate::support::{ISSUED, NOW, claims};
use crate::{oidc_support, stsweb};

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

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    rules: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    settings: Map<String, Value>,
    evidence: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl File {
    fn path(kind: &str) -> PathBuf {
        let name = format!("{}.json", kind.replace('-', "_"));
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)
    }

    fn read(kind: &str) -> Self {
        serde_json::from_slice(&std::fs::read(Self::path(kind)).unwrap()).unwrap()
    }

    /// One vector a line.
    fn write(&self) {
        let mut head = serde_json::to_value(self).unwrap();
        let vectors = head.as_object_mut().unwrap().remove("vectors").unwrap();
        let mut lines: Vec<_> = ["format", "kind", "now", "settings", "keys"]
            .iter()
            .map(|name| format!("  \"{name}\": {}", head[*name]))
            .collect();
        let rows: Vec<_> = vectors.as_array().unwrap().iter().map(|row| format!("    {row}")).collect();
        lines.push(format!("  \"vectors\": [\n{}\n  ]", rows.join(",\n")));
        std::fs::write(Self::path(&self.kind), format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
    }

    fn keys(&self, issuer: &str) -> Arc<dyn KeySource> {
        Arc::new(StaticKeys::new(KeySet::parse(self.keys[issuer].to_string().as_bytes()).unwrap()))
    }

    /// The settings of one vector: the file's, and its own over them.
    fn settings_of(&self, vector: &Vector) -> Map<String, Value> {
        let mut settings = self.settings.clone();
        settings.extend(vector.settings.clone());
        settings
    }

    fn attestor(&self, vector: &Vector) -> Box<dyn Attestor> {
        let settings = self.settings_of(vector);
        let clock = ManualClock::new(Timestamp::from_unix(self.now));
        match self.kind.as_str() {
            "aws-stsweb" => Box::new(self.stsweb(&settings).with_clock(clock)),
            "oidc" => {
                let mut issuers = settings["issuers"].as_array().unwrap().iter().map(|issuer| {
                    from_settings(issuer, OidcKeys::given(self.keys(issuer["issuer"].as_str().unwrap())))
                });
                let mut attestor = OidcAttestor::new(issuers.next().unwrap());
                for issuer in issuers {
                    attestor = attestor.with_issuer(issuer).unwrap();
                }
                Box::new(attestor.with_clock(clock))
            }
            other => unreachable!("{other}"),
        }
    }

    fn stsweb(&self, settings: &Map<String, Value>) -> StsWebAttestor {
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
        let attestor = StsWebAttestor::new(pins, FakeHttp::new()).unwrap();
        let mut attestor = attestor.with_keys(self.keys(text("issuer")));
        if settings.contains_key("organization") {
            attestor = attestor.with_organization(text("organization").parse().unwrap());
        }
        if settings.contains_key("unit") {
            attestor = attestor.with_unit(text("unit").parse().unwrap());
        }
        attestor
    }

    async fn outcome(&self, vector: &Vector) -> (Option<Value>, Option<String>) {
        let evidence = Evidence::new(self.kind.parse().unwrap(), vector.evidence.as_str()).unwrap();
        outcome(self.attestor(vector).attest(&evidence).await)
    }

    async fn holds(&self) {
        assert_eq!((self.format, self.now), (1, NOW));
        assert!(self.vectors.len() >= 40, "{}", self.vectors.len());
        for vector in &self.vectors {
            assert!(vector.identity.is_some() != vector.error.is_some(), "{}", vector.name);
            let found = self.outcome(vector).await;
            assert_eq!(found, (vector.identity.clone(), vector.error.clone()), "{}", vector.name);
        }
    }

    /// The vectors are those rows of the table that are not too long, in their order, letter for letter.
    fn follows_from(&self, cases: &[Case], good: impl Fn(&Case) -> Value) {
        let short: Vec<_> =
            cases.iter().filter(|case| case.claims(&good(case)).len() <= MAX_CLAIMS).collect();
        assert_eq!(self.vectors.len(), short.len());
        for (vector, case) in self.vectors.iter().zip(short) {
            assert_eq!((&vector.name, &vector.rules), (&case.name, &case.rules));
            let compact = Compact::split(&vector.evidence).unwrap();
            assert_eq!(*compact.header_json().unwrap(), *case.header().as_bytes(), "{}", case.name);
            assert_eq!(*compact.payload().unwrap(), *case.claims(&good(case)).as_bytes(), "{}", case.name);
            let agent = vector.identity.as_ref().and_then(|identity| identity["agent"].as_str());
            assert_eq!((agent, &vector.error), (case.agent.as_deref(), &case.refused), "{}", case.name);
            let rule = |name: &str| vector.settings.get(name).and_then(Value::as_str);
            assert_eq!(
                (rule("organization"), rule("unit")),
                (case.organization.as_deref(), case.unit.as_deref())
            );
        }
    }
}

fn outcome(found: Result<AttestedIdentity, AttestError>) -> (Option<Value>, Option<String>) {
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

/// A new file of the table's rows, signed with this run's keys.
async fn made<'c>(
    kind: &str,
    settings: Value,
    issuers: impl Iterator<Item = &FakeIssuer>,
    rows: impl Iterator<Item = (&'c Case, String, usize)>,
) -> File {
    let keys = issuers.map(|issuer| (issuer.issuer().to_string(), issuer.jwks())).collect();
    let settings = settings.as_object().unwrap().clone();
    let mut file = File { format: 1, kind: kind.to_owned(), now: NOW, settings, keys, vectors: Vec::new() };
    for (case, evidence, length) in rows {
        if length > MAX_CLAIMS {
            continue;
        }
        let mut settings = Map::new();
        for (name, rule) in [("organization", &case.organization), ("unit", &case.unit)] {
            if let Some(rule) = rule {
                settings.insert(name.to_owned(), rule.as_str().into());
            }
        }
        let (name, rules) = (case.name.clone(), case.rules.clone());
        let mut vector = Vector { name, rules, settings, evidence, identity: None, error: None };
        (vector.identity, vector.error) = file.outcome(&vector).await;
        file.vectors.push(vector);
    }
    file
}

fn writing() -> bool {
    std::env::var("AGENTKEYS_VECTORS").is_ok_and(|what| what == "write")
}

#[tokio::test]
async fn r16_the_published_vectors_of_aws_stsweb_hold() {
    let cases = stsweb::cases();
    if writing() {
        let settings = json!({
            "issuer": ISSUED.issuer().as_str(),
            "audience": "agentkeys",
            "account": "123456789012",
            "role": "arn:aws:iam::123456789012:role/team/agents",
            "cluster": "arn:aws:eks:us-east-1:123456789012:cluster/prod",
            "namespace": "agents",
            "service_account": "agent",
            "pod_suffix": "-pod",
        });
        let rows = cases.iter().map(|case| (case, stsweb::token(case), case.claims(&claims()).len()));
        made("aws-stsweb", settings, [&*ISSUED].into_iter(), rows).await.write();
    }
    let file = File::read("aws-stsweb");
    file.holds().await;
    file.follows_from(&cases, |_| claims());
}

#[tokio::test]
async fn r16_the_published_vectors_of_oidc_hold() {
    let good = |case: &Case| TABLE.claims[&case.issuer].clone();
    if writing() {
        let settings = json!({ "issuers": TABLE.settings.values().collect::<Vec<_>>() });
        let rows =
            TABLE.cases.iter().map(|case| (case, oidc_support::token(case), case.claims(&good(case)).len()));
        made("oidc", settings, ISSUERS.values(), rows).await.write();
    }
    let file = File::read("oidc");
    file.holds().await;
    file.follows_from(&TABLE.cases, good);
}

/// Longer claims are left out of the files: they say nothing that a shorter row does not.
const MAX_CLAIMS: usize = 4096;
