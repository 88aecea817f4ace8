//! Six issuers, each with keys of its own, and one attestor of all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use agentkeys_attest::oidc::{
    AgentClaim, ClaimPath, ClaimValue, GcpPins, GithubPins, GitlabPins, KubernetesAgent, KubernetesPins,
    OIDC, OidcAttestor, OidcIssuer, OidcKeys, OidcPins, RequiredClaims,
};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{AttestError, AttestedIdentity, Attestor as _, Evidence, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::cases::Case;
use crate::support::NOW;

/// `tests/data/oidc-cases.json`: settings and good claims by the name of the issuer, and the rows.
#[derive(Deserialize)]
pub(crate) struct Table {
    pub(crate) settings: BTreeMap<String, Value>,
    pub(crate) claims: BTreeMap<String, Value>,
    pub(crate) cases: Vec<Case>,
}

pub(crate) static TABLE: LazyLock<Table> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/oidc-cases.json")).unwrap());

/// The issuers by name, and strangers who say to be them.
pub(crate) static ISSUERS: LazyLock<BTreeMap<&str, FakeIssuer>> = LazyLock::new(fakes);
pub(crate) static STRANGERS: LazyLock<BTreeMap<&str, FakeIssuer>> = LazyLock::new(fakes);

fn fakes() -> BTreeMap<&'static str, FakeIssuer> {
    let fake = |settings: &Value| FakeIssuer::new(settings["issuer"].as_str().unwrap().parse().unwrap());
    TABLE.settings.iter().map(|(name, settings)| (name.as_str(), fake(settings))).collect()
}

pub(crate) fn token(case: &Case) -> String {
    let signers = if case.signer.is_some() { &STRANGERS } else { &ISSUERS };
    case.token(&signers[case.issuer.as_str()], &TABLE.claims[&case.issuer])
}

pub(crate) fn good_token(issuer: &str) -> String {
    ISSUERS[issuer].sign(Algorithm::Rs256, &TABLE.claims[issuer])
}

pub(crate) struct World {
    pub(crate) http: Arc<FakeHttp>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) attestor: OidcAttestor,
}

impl World {
    /// Of the well-known issuers' own pins.
    pub(crate) fn new() -> Self {
        Self::of(|http| {
            let keys = || OidcKeys::discovered(http.clone());
            vec![
                pods(keys()),
                service_accounts(keys()),
                github(keys()),
                gitlab(keys()),
                gcp(keys()),
                from_settings(&TABLE.settings["tenants"], keys()),
            ]
        })
    }

    /// Of the same pins spelled out.
    pub(crate) fn spelled_out() -> Self {
        let all = TABLE.settings.values();
        Self::of(|http| all.map(|one| from_settings(one, OidcKeys::discovered(http.clone()))).collect())
    }

    pub(crate) fn of(issuers: impl FnOnce(&Arc<FakeHttp>) -> Vec<OidcIssuer>) -> Self {
        let (http, clock) = (FakeHttp::new(), ManualClock::new(Timestamp::from_unix(NOW)));
        ISSUERS.values().for_each(|issuer| issuer.publish(&http));
        let mut issuers = issuers(&http).into_iter();
        let mut attestor = OidcAttestor::new(issuers.next().unwrap());
        for issuer in issuers {
            attestor = attestor.with_issuer(issuer).unwrap();
        }
        let attestor = attestor.with_clock(clock.clone());
        Self { http, clock, attestor }
    }

    pub(crate) async fn attest(&self, token: &str) -> Result<AttestedIdentity, AttestError> {
        self.attestor.attest(&evidence(token)).await
    }
}

pub(crate) fn evidence(token: &str) -> Evidence {
    Evidence::new(OIDC, token).unwrap()
}

pub(crate) fn pods(keys: OidcKeys) -> OidcIssuer {
    let agent =
        KubernetesAgent::Pod { service_account: "agent".parse().unwrap(), suffix: "-pod".parse().unwrap() };
    OidcIssuer::kubernetes(kubernetes("pods", agent), keys).unwrap()
}

fn service_accounts(keys: OidcKeys) -> OidcIssuer {
    OidcIssuer::kubernetes(kubernetes("service-accounts", KubernetesAgent::ServiceAccount), keys).unwrap()
}

pub(crate) fn kubernetes(name: &str, agent: KubernetesAgent) -> KubernetesPins {
    KubernetesPins {
        issuer: ISSUERS[name].issuer().clone(),
        audience: "agentkeys".parse().unwrap(),
        namespace: "agents".parse().unwrap(),
        agent,
    }
}

fn github(keys: OidcKeys) -> OidcIssuer {
    let pins = GithubPins {
        issuer: ISSUERS["github"].issuer().clone(),
        audience: "agentkeys".parse().unwrap(),
        owner_id: 65,
        repository_id: 74,
        workflow: "octo-org/octo-repo/.github/workflows/agents.yml@refs/heads/main".parse().unwrap(),
    };
    OidcIssuer::github_actions(pins, keys).unwrap()
}

fn gitlab(keys: OidcKeys) -> OidcIssuer {
    let pins = GitlabPins {
        issuer: ISSUERS["gitlab"].issuer().clone(),
        audience: "agentkeys".parse().unwrap(),
        namespace_id: 72,
        project_id: 20,
    };
    OidcIssuer::gitlab(pins, keys).unwrap()
}

fn gcp(keys: OidcKeys) -> OidcIssuer {
    let pins = GcpPins {
        issuer: ISSUERS["gcp"].issuer().clone(),
        audience: "agentkeys".parse().unwrap(),
        project: "my-project".parse().unwrap(),
    };
    OidcIssuer::gcp(pins, keys).unwrap()
}

/// An issuer's settings as the published vectors have them.
pub(crate) fn from_settings(settings: &Value, keys: OidcKeys) -> OidcIssuer {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let path = |value: &Value| ClaimPath::parse(value.as_str().unwrap()).unwrap();
    let agent = &settings["agent"];
    let claim = path(&agent["claim"]);
    let agent = match agent.get("suffix") {
        Some(suffix) => AgentClaim::suffixed(claim, text(suffix).parse().unwrap()),
        None => AgentClaim::matching(claim, text(&agent["template"]).parse().unwrap()),
    };
    let mut required = RequiredClaims::none();
    for (name, value) in settings["required"].as_object().unwrap() {
        let value = match value {
            Value::Bool(value) => ClaimValue::from(*value),
            Value::Number(value) => value.as_u64().unwrap().into(),
            value => text(value).into(),
        };
        required = required.and(ClaimPath::parse(name).unwrap(), value);
    }
    let pins = OidcPins {
        issuer: text(&settings["issuer"]).parse().unwrap(),
        audience: text(&settings["audience"]).parse().unwrap(),
        agent,
        required,
    };
    let algorithms = settings["algorithms"].as_array().unwrap().iter();
    let algorithms: Vec<_> = algorithms.map(|name| Algorithm::from_name(&text(name)).unwrap()).collect();
    let issuer = OidcIssuer::new(pins, keys).unwrap().with_algorithms(&algorithms);
    match &settings["instance"] {
        Value::Null => issuer,
        instance => issuer.with_instance(path(instance)),
    }
}
