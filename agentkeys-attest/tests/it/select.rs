//! The variables of a deployment: which attestor they choose, and that each mistake names its variable.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use agentkeys_attest::select::{SelectError, Selection};
use agentkeys_core::testing::FakeHttp;
use agentkeys_core::{AttestError, ErrorKind, Evidence, MemoryReplayGuard, SystemClock};

type Variables = BTreeMap<String, String>;

const STSWEB: &[(&str, &str)] = &[
    ("ATTESTOR", "aws-stsweb"),
    ("STSWEB_ISSUER", "https://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws"),
    ("STSWEB_AUDIENCE", "agentkeys"),
    ("STSWEB_ACCOUNT", "123456789012"),
    ("STSWEB_ROLE_ARN", "arn:aws:iam::123456789012:role/agents"),
    ("STSWEB_CLUSTER_ARN", "arn:aws:eks:us-east-1:123456789012:cluster/prod"),
    ("STSWEB_NAMESPACE", "agents"),
    ("STSWEB_SERVICE_ACCOUNT", "agent"),
];

const STS: &[(&str, &str)] = &[
    ("ATTESTOR", "aws-sts"),
    ("AWSSTS_AUDIENCE", "agentkeys"),
    ("AWSSTS_REGIONS", "eu-west-1 eu-central-1"),
    ("AWSSTS_ROLES", "blue=arn:aws:iam::123456789012:role/blue\n red=arn:aws:iam::123456789012:role/a=b"),
];

const OIDC: &[(&str, &str)] = &[
    ("ATTESTOR", "oidc"),
    ("OIDC_ISSUER", "https://token.actions.githubusercontent.com"),
    ("OIDC_AUDIENCE", "agentkeys"),
    ("OIDC_AGENT_ID_CLAIM", "sub"),
    ("OIDC_AGENT_TEMPLATE", "repo:acme/{agent}:environment:prod"),
    ("OIDC_REQUIRED_CLAIMS", r#"{"/repository_owner_id":"65834464","/run_number":7,"/private":true}"#),
];

const SPIRE: &[(&str, &str)] = &[
    ("ATTESTOR", "spire"),
    ("SPIRE_TRUST_DOMAIN", "example.org"),
    ("SPIRE_AUDIENCE", "agentkeys"),
    ("SPIRE_TEMPLATE", "/agent/{tenant}/{agent}"),
    ("SPIRE_JWKS_URL", "https://oidc.example.org/keys"),
];

const ALL: [&[(&str, &str)]; 4] = [STSWEB, STS, OIDC, SPIRE];

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with(pairs: &[(&str, &str)], name: &str, value: &str) -> Variables {
    let mut variables = variables(pairs);
    variables.insert(name.to_owned(), value.to_owned());
    variables
}

fn without(pairs: &[(&str, &str)], name: &str) -> Variables {
    let mut variables = variables(pairs);
    variables.remove(name);
    variables
}

async fn kind_of(variables: &Variables) -> String {
    let http = FakeHttp::new();
    let guard = MemoryReplayGuard::new(Arc::new(SystemClock::new()), NonZeroUsize::new(9).unwrap());
    let attestors = Selection::parse(variables).unwrap().attestors(http.clone(), Arc::new(guard)).unwrap();
    let mut kinds = Vec::new();
    for kind in ["aws-sts", "aws-stsweb", "oidc", "spiffe-svid", "spire", "spiffe"] {
        let evidence = Evidence::new(kind.parse().unwrap(), "x").unwrap();
        if !matches!(attestors.attest(&evidence).await, Err(AttestError::UnknownKind)) {
            kinds.push(kind);
        }
    }
    assert!(http.requests().is_empty(), "nothing is fetched before it is needed");
    kinds.join(" ")
}

#[tokio::test]
async fn r2_r26_each_name_chooses_its_attestor_and_no_other() {
    for (pairs, kind) in ALL.into_iter().zip(["aws-stsweb", "aws-sts", "oidc", "spiffe-svid"]) {
        assert_eq!(kind_of(&variables(pairs)).await, kind);
    }
    assert_eq!(kind_of(&with(SPIRE, "ATTESTOR", "spiffe")).await, "spiffe-svid");
}

#[test]
fn r2_an_unknown_name_is_an_error_that_names_the_variable() {
    for name in ["", " ", "none", "SPIRE", "aws_sts", "aws-sts ", "spire,oidc", "mtls"] {
        let refused = Selection::parse(&with(SPIRE, "ATTESTOR", name)).unwrap_err();
        assert!(refused.to_string().starts_with("ATTESTOR "), "{refused}");
        assert_eq!(refused.kind(), ErrorKind::Misconfigured);
    }
    assert_eq!(Selection::parse(&Variables::new()).unwrap_err(), SelectError::Missing("ATTESTOR"));
}

#[test]
fn r83_w11_each_variable_is_required_and_named_where_it_is_missing_or_empty() {
    for pairs in ALL {
        for (name, _) in pairs {
            // one of two that each suffice
            let named = if *name == "SPIRE_JWKS_URL" { "SPIFFE_ENDPOINT_SOCKET" } else { name };
            let missing = Selection::parse(&without(pairs, name)).unwrap_err();
            assert_eq!(missing.to_string(), format!("{named} is not set"));
            let empty = Selection::parse(&with(pairs, name, "")).unwrap_err();
            assert!(empty.to_string().starts_with(name), "{empty}");
            assert_eq!(empty.kind(), ErrorKind::Misconfigured);
        }
    }
}

#[test]
fn r83_a_malformed_value_names_its_variable_and_is_not_shown() {
    for (pairs, name, value) in [
        (STSWEB, "STSWEB_ISSUER", "http://MARKED.example"),
        (STSWEB, "STSWEB_ISSUER", "https://MARKED.example/?x"),
        (STSWEB, "STSWEB_AUDIENCE", "MAR KED"),
        (STSWEB, "STSWEB_ACCOUNT", "MARKED"),
        (STSWEB, "STSWEB_ROLE_ARN", "arn:aws:sts::123456789012:assumed-role/MARKED/x"),
        (STSWEB, "STSWEB_CLUSTER_ARN", "MARKED"),
        (STSWEB, "STSWEB_NAMESPACE", "MARKED"),
        (STSWEB, "STSWEB_SERVICE_ACCOUNT", "MARKED"),
        (STSWEB, "STSWEB_POD_SUFFIX", ""),
        (STSWEB, "STSWEB_POD_SUFFIX", "/MARKED"),
        (STSWEB, "STSWEB_JWKS_URL", ""),
        (
            STSWEB,
            "STSWEB_JWKS_URL",
            "http://0a1b2c3d-0000-4000-8000-000000000000.tokens.sts.global.api.aws/MARKED",
        ),
        (STS, "AWSSTS_AUDIENCE", "MAR KED"),
        (STS, "AWSSTS_REGIONS", "eu-west-1 MARKED"),
        (STS, "AWSSTS_REGIONS", "zz-marked-1"),
        (STS, "AWSSTS_ROLES", "arn:aws:iam::123456789012:role/MARKED"),
        (STS, "AWSSTS_ROLES", "MARK/ED=arn:aws:iam::123456789012:role/blue"),
        (STS, "AWSSTS_ROLES", "blue=arn:aws:iam::*:role/MARKED"),
        (STS, "AWSSTS_SELF_ASSERTED_ROLES", "blue=arn:aws:iam::123456789012:role/MARKED"),
        (OIDC, "OIDC_ISSUER", "MARKED"),
        (OIDC, "OIDC_AGENT_ID_CLAIM", "/MARKED~2"),
        (OIDC, "OIDC_AGENT_ID_CLAIM", "iss"),
        (OIDC, "OIDC_AGENT_TEMPLATE", "MARKED"),
        (OIDC, "OIDC_REQUIRED_CLAIMS", "MARKED"),
        (OIDC, "OIDC_REQUIRED_CLAIMS", r#"["MARKED"]"#),
        (OIDC, "OIDC_REQUIRED_CLAIMS", r#"{"MARKED":"x"}"#),
        (OIDC, "OIDC_REQUIRED_CLAIMS", r#"{"/MARKED":"x","/MARKED":"y"}"#),
        (OIDC, "OIDC_REQUIRED_CLAIMS", r#"{"/MARKED":null}"#),
        (OIDC, "OIDC_REQUIRED_CLAIMS", r#"{"/MARKED":1.5}"#),
        (OIDC, "OIDC_REQUIRED_CLAIMS", r#"{"/MARKED":{}}"#),
        (OIDC, "OIDC_JWKS_URL", "http://MARKED.example/keys"),
        (SPIRE, "SPIRE_TRUST_DOMAIN", "MARKED"),
        (SPIRE, "SPIRE_TEMPLATE", "/agent/{MARKED}"),
        (SPIRE, "SPIRE_JWKS_URL", "MARKED"),
        (SPIRE, "SPIRE_JWKS_URL", ""),
    ] {
        let refused = Selection::parse(&with(pairs, name, value)).unwrap_err();
        assert!(
            matches!(&refused, SelectError::Malformed { variable, .. } if *variable == name),
            "{name}: {refused}"
        );
        assert!(!format!("{refused} {refused:?}").contains("MARKED"), "{refused}");
    }
}

#[test]
fn w24_stswebs_keys_are_on_the_issuers_host() {
    let keys = |url: &str| Selection::parse(&with(STSWEB, "STSWEB_JWKS_URL", url));
    let host = STSWEB[1].1;
    keys(&format!("{host}/.well-known/jwks.json")).unwrap();
    for bad in [
        "https://example.org/.well-known/jwks.json".to_owned(),
        format!("{host}.example.org/jwks.json"),
        format!("{host}:8443/jwks.json"),
        format!("https://example.org/{}", host.trim_start_matches("https://")),
    ] {
        let refused = keys(&bad).unwrap_err();
        assert!(matches!(refused, SelectError::Malformed { variable: "STSWEB_JWKS_URL", .. }), "{bad}");
    }
}

#[test]
fn r82_a_misspelled_pin_is_refused_and_foreign_variables_are_left_alone() {
    for (pairs, name) in [
        (STSWEB, "STSWEB_ORGANIZATION"),
        (STS, "AWSSTS_ROLE"),
        (OIDC, "OIDC_INSECURE_SKIP_TLS_VERIFY"),
        (SPIRE, "SPIRE_TEMPLATES"),
    ] {
        assert_eq!(
            Selection::parse(&with(pairs, name, "x")).unwrap_err(),
            SelectError::Unknown(name.to_owned())
        );
        for other in ["AWS_REGION", "PATH", "SPIFFE_ID", "stsweb_x"] {
            Selection::parse(&with(pairs, other, "x")).unwrap();
        }
    }
    // another attestor's variables may be there
    let mut both = variables(STS);
    both.extend(variables(&STSWEB[1..]));
    assert!(matches!(Selection::parse(&both).unwrap(), Selection::AwsSts(_)));
}

#[test]
fn w6_aws_sts_has_at_least_one_role_and_says_which_name_themselves() {
    let Selection::AwsSts(pins) = Selection::parse(&variables(STS)).unwrap() else { panic!("another") };
    assert_eq!((pins.endpoints.len(), pins.roles.len()), (2, 2));
    let none = with(STS, "AWSSTS_ROLES", " \n ");
    assert_eq!(Selection::parse(&none).unwrap_err(), SelectError::Missing("AWSSTS_ROLES"));
    let listed = "arn:aws:iam::123456789012:role/launched";
    let mut only = without(STS, "AWSSTS_ROLES");
    only.insert("AWSSTS_SELF_ASSERTED_ROLES".to_owned(), listed.to_owned());
    let Selection::AwsSts(pins) = Selection::parse(&only).unwrap() else { panic!("another") };
    let asserted =
        agentkeys_attest::aws_sts::StsRole::with_self_asserted_session_names(listed.parse().unwrap());
    assert_eq!(pins.roles, [asserted]);
}

#[test]
fn settings_that_contradict_each_other_are_refused_when_the_attestor_is_built() {
    for variables in [
        with(STSWEB, "STSWEB_ACCOUNT", "210987654321"),
        with(
            STS,
            "AWSSTS_ROLES",
            "blue=arn:aws:iam::123456789012:role/a blue=arn:aws:iam::123456789012:role/b",
        ),
        with(STS, "AWSSTS_ROLES", "blue=arn:aws-cn:iam::123456789012:role/a"),
        with(STS, "AWSSTS_REGIONS", "eu-west-1 eu-west-1"),
    ] {
        let guard = MemoryReplayGuard::new(Arc::new(SystemClock::new()), NonZeroUsize::new(9).unwrap());
        let built = Selection::parse(&variables).unwrap().attestors(FakeHttp::new(), Arc::new(guard));
        assert!(matches!(built, Err(SelectError::Contradiction(_))), "{variables:?}");
    }
    let mut open = with(OIDC, "OIDC_REQUIRED_CLAIMS", "{}");
    open.insert("OIDC_AGENT_TEMPLATE".to_owned(), "{agent}".to_owned());
    let guard = MemoryReplayGuard::new(Arc::new(SystemClock::new()), NonZeroUsize::new(9).unwrap());
    let built = Selection::parse(&open).unwrap().attestors(FakeHttp::new(), Arc::new(guard));
    assert!(matches!(built, Err(SelectError::Contradiction(_))));
}

#[cfg(feature = "spire-workload-api")]
#[tokio::test]
async fn spires_keys_come_from_one_place() {
    let mut socket = without(SPIRE, "SPIRE_JWKS_URL");
    socket.insert("SPIFFE_ENDPOINT_SOCKET".to_owned(), "unix:///run/spire/agent.sock".to_owned());
    assert_eq!(kind_of(&socket).await, "spiffe-svid");
    socket.insert("SPIRE_JWKS_URL".to_owned(), "https://oidc.example.org/keys".to_owned());
    let both = Selection::parse(&socket).unwrap_err();
    assert!(matches!(both, SelectError::Malformed { variable: "SPIRE_JWKS_URL", .. }));
    let network = with(&SPIRE[..4], "SPIFFE_ENDPOINT_SOCKET", "tcp://127.0.0.1:8081");
    let refused = Selection::parse(&network).unwrap_err();
    assert!(matches!(refused, SelectError::Malformed { variable: "SPIFFE_ENDPOINT_SOCKET", .. }));
}
