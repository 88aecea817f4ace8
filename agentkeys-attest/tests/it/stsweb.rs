use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebAttestor, StsWebPins, StsWebPinsError};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::FakeHttp;
use agentkeys_core::{
    Assurance, AttestError, Attestor as _, Attestors, ErrorKind, Evidence, EvidenceKind, StaticKeys,
    Timestamp,
};
use serde_json::{Value, json};

use crate::cases::{Case, assert_sound};
use crate::support::{ISSUED, NOW, STRANGER, World, claims, evidence, good_token, pins, told};

/// One row of `tests/data/stsweb-cases.json` as a token.
pub(crate) fn token(case: &Case) -> String {
    let signer = if case.signer.is_some() { &*STRANGER } else { &*ISSUED };
    case.token(signer, &claims())
}

pub(crate) fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../data/stsweb-cases.json")).unwrap()
}

#[tokio::test]
async fn the_table_of_tokens() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut world = World::new();
        if let Some(organization) = &case.organization {
            world.attestor = world.attestor.with_organization(organization.parse().unwrap());
        }
        if let Some(unit) = &case.unit {
            world.attestor = world.attestor.with_unit(unit.parse().unwrap());
        }
        let found = match world.attest(&token(&case)).await {
            Ok(identity) => (Some(identity.agent().to_string()), None, String::new()),
            Err(error) => (None, Some(error.code().to_owned()), told(&error)),
        };
        let (agent, refused, text) = found;
        let detail_ok = case.detail.as_deref().is_none_or(|detail| text.ends_with(detail));
        if agent != case.agent || refused != case.refused || !detail_ok {
            wrong.push(format!("{} {:?}: {agent:?} {refused:?} {text}", case.name, case.rules));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_refuses_far_more_than_it_lets_in_and_says_why() {
    assert_sound(&cases());
}

#[tokio::test]
async fn r10_r13_r17_r18_the_identity_says_all_that_was_attested() {
    let world = World::new();
    let identity = world.attest(&good_token()).await.unwrap();
    assert_eq!(identity.kind(), &AWS_STSWEB);
    assert_eq!(identity.kind().as_str(), "aws-stsweb");
    assert_eq!(identity.agent().as_str(), "blue");
    assert_eq!(identity.assurance(), Assurance::PlatformAttested);
    assert_eq!(identity.instance().unwrap().as_str(), "7f0c3a52-51d7-4b0f-9d0e-0d9f6a1c2b3e");
    assert_eq!(identity.trust_root().as_str(), "arn:aws:eks:us-east-1:123456789012:cluster/prod");
    assert_eq!(identity.tenant(), None);
    assert_eq!(identity.attested_at(), Timestamp::from_unix(NOW));
    assert_eq!(
        identity.subject().as_str(),
        "aws-stsweb/arn:aws:eks:us-east-1:123456789012:cluster%2Fprod//blue"
    );
    let facts: Vec<_> =
        identity.facts().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        facts,
        [
            ("account", "123456789012"),
            ("cluster", "arn:aws:eks:us-east-1:123456789012:cluster/prod"),
            ("namespace", "agents"),
            ("pod", "blue-pod"),
            ("region", "us-east-1"),
            ("role", "arn:aws:iam::123456789012:role/team/agents"),
            ("service-account", "agent"),
        ]
    );
}

#[tokio::test]
async fn l20_w14_a_recreated_pod_is_another_instance_of_the_same_agent() {
    let world = World::new();
    let mut claims = claims();
    claims["https://sts.amazonaws.com/"]["principal_tags"]["kubernetes-pod-uid"] = "other".into();
    let first = world.attest(&good_token()).await.unwrap();
    let second = world.attest(&ISSUED.sign(Algorithm::Rs256, &claims)).await.unwrap();
    assert_eq!(first.subject(), second.subject());
    assert_ne!(first.instance(), second.instance());
}

/// Each pin decides: the same good token is refused as soon as one of them is another.
#[tokio::test]
async fn w11_every_pin_decides() {
    let other_account = |pins: &mut StsWebPins| {
        pins.account = "999999999999".parse().unwrap();
        pins.role = "arn:aws:iam::999999999999:role/team/agents".parse().unwrap();
        pins.cluster = "arn:aws:eks:us-east-1:999999999999:cluster/prod".parse().unwrap();
    };
    type Change<'c> = &'c dyn Fn(&mut StsWebPins);
    let changes: [(&str, Change<'_>); 8] = [
        ("token_issuer", &|pins| pins.issuer = "https://other.example".parse().unwrap()),
        ("token_audience", &|pins| pins.audience = "other".parse().unwrap()),
        ("the evidence is for another role", &other_account),
        ("the evidence is for another role", &|pins| {
            pins.role = "arn:aws:iam::123456789012:role/agents".parse().unwrap();
        }),
        ("the evidence is for another cluster", &|pins| {
            pins.cluster = "arn:aws:eks:us-east-1:123456789012:cluster/test".parse().unwrap();
        }),
        ("the evidence is for another namespace", &|pins| pins.namespace = "other".parse().unwrap()),
        ("the evidence is for another service account", &|pins| {
            pins.service_account = "other".parse().unwrap();
        }),
        ("the evidence is for another pod suffix", &|pins| pins.pod_suffix = "-job".parse().unwrap()),
    ];
    for (expected, change) in changes {
        let mut pins = pins();
        change(&mut pins);
        let issuer = pins.issuer.clone();
        let world = World::with_pins(pins);
        // another issuer publishes keys of its own
        world.http.answer(
            &issuer.discovery_url(),
            200,
            serde_json::json!({ "issuer": issuer.as_str(), "jwks_uri": issuer.jwks_url() }).to_string(),
        );
        let keys = if issuer == *ISSUED.issuer() { ISSUED.jwks() } else { ed25519_only() };
        world.http.answer(&issuer.jwks_url(), 200, keys.to_string());
        let error = world.attest(&good_token()).await.unwrap_err();
        assert!(error.code() == expected || error.to_string() == expected, "{expected}: {error:?}");
        if matches!(error, AttestError::Pin(_)) {
            assert_eq!((error.code(), error.kind()), ("evidence_pin", ErrorKind::Denied));
        }
    }
}

fn ed25519_only() -> Value {
    let keys = STRANGER.jwks()["keys"].as_array().unwrap().clone();
    serde_json::json!({ "keys": keys.into_iter().filter(|key| key["kty"] == "OKP").collect::<Vec<_>>() })
}

#[test]
fn w12_pins_that_contradict_each_other_are_refused_at_once() {
    let make = |change: &dyn Fn(&mut StsWebPins)| {
        let mut pins = pins();
        change(&mut pins);
        StsWebAttestor::new(pins, FakeHttp::new()).err()
    };
    assert_eq!(make(&|_| ()), None);
    assert_eq!(
        make(&|pins| pins.account = "999999999999".parse().unwrap()),
        Some(StsWebPinsError::RoleAccount)
    );
    assert_eq!(
        make(&|pins| pins.role = "arn:aws:iam::999999999999:role/agents".parse().unwrap()),
        Some(StsWebPinsError::RoleAccount)
    );
    assert_eq!(
        make(&|pins| pins.cluster = "arn:aws:eks:us-east-1:999999999999:cluster/prod".parse().unwrap()),
        Some(StsWebPinsError::ClusterAccount)
    );
    assert_eq!(
        make(&|pins| pins.cluster = "arn:aws-cn:eks:cn-north-1:123456789012:cluster/prod".parse().unwrap()),
        Some(StsWebPinsError::Partition)
    );
}

#[tokio::test]
async fn w19_hs256_with_the_public_key_as_secret_is_refused() {
    let world = World::new();
    let modulus = ISSUED.jwks()["keys"][0]["n"].as_str().unwrap().to_owned();
    for secret in [ISSUED.jwks().to_string(), ISSUED.jwks()["keys"][0].to_string(), modulus] {
        let header = jsonwebtoken::Header {
            kid: Some("RSA_0".to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
        };
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        let token = jsonwebtoken::encode(&header, &claims(), &key).unwrap();
        assert_eq!(world.attest(&token).await.unwrap_err().code(), "token_algorithm");
    }
}

#[tokio::test]
async fn r8_one_changed_byte_anywhere_is_refused() {
    let world = World::new();
    let token = good_token();
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(world.attest(&String::from_utf8(bytes).unwrap()).await.is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn evidence_of_another_kind_is_refused_unread() {
    let world = World::new();
    let other = Evidence::new(EvidenceKind::from_static("spiffe-svid"), good_token()).unwrap();
    assert!(matches!(world.attestor.attest(&other).await, Err(AttestError::WrongKind)));
    assert!(world.http.requests().is_empty());

    let attestors = Attestors::new().with(world.attestor).unwrap();
    assert!(attestors.attest(&evidence(&good_token())).await.is_ok());
    assert!(matches!(attestors.attest(&other).await, Err(AttestError::UnknownKind)));
}

#[tokio::test]
async fn evidence_that_is_no_token_is_refused() {
    let world = World::new();
    for (bytes, code) in [
        (&b"\xff\xfe"[..], "evidence_malformed"),
        (b"x", "token_malformed"),
        (b"a.b", "token_malformed"),
        (b"{}", "token_malformed"),
        (b"eyJhbGciOiJub25lIn0.e30.", "token_malformed"),
    ] {
        let error = world.attestor.attest(&Evidence::new(AWS_STSWEB, bytes).unwrap()).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Invalid));
    }
    assert!(world.http.requests().is_empty(), "garbage fetches nothing (W16)");
}

#[tokio::test]
async fn w18_w24_keys_come_from_the_issuers_own_address_and_only_when_needed() {
    let world = World::new();
    assert!(world.http.requests().is_empty());
    world.attest(&good_token()).await.unwrap();
    let issuer = ISSUED.issuer();
    let asked: Vec<_> = world.http.requests().into_iter().map(|request| request.url).collect();
    assert_eq!(asked, [issuer.discovery_url(), issuer.jwks_url()]);
}

#[tokio::test]
async fn l28_the_age_of_keys_is_told_by_the_given_clock() {
    let world = World::new();
    world.attest(&good_token()).await.unwrap();
    world.clock.advance(Duration::from_secs(86_400));
    let mut claims = claims();
    claims["iat"] = (NOW + 86_400).into();
    claims["exp"] = (NOW + 86_700).into();
    world.http.disconnect(&ISSUED.issuer().discovery_url());
    let error = world.attest(&ISSUED.sign(Algorithm::Rs256, &claims)).await.unwrap_err();
    assert_eq!(error.code(), "keys_unavailable");
}

#[tokio::test]
async fn w18_an_issuer_that_is_down_is_no_refusal() {
    let world = World::new();
    world.http.disconnect(&ISSUED.issuer().jwks_url());
    let error = world.attest(&good_token()).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("keys_unavailable", ErrorKind::Unavailable));
    assert!(error.retry_after().is_some());
}

#[tokio::test]
async fn r9_given_keys_are_used_and_nothing_is_fetched() {
    let world = World::new();
    let keys = |keys| Arc::new(StaticKeys::new(keys));
    let attestor = world.attestor.clone().with_keys(keys(ISSUED.key_set()));
    assert!(attestor.attest(&evidence(&good_token())).await.is_ok());
    let attestor = world.attestor.with_keys(keys(STRANGER.key_set())).with_clock(world.clock);
    let error = attestor.attest(&evidence(&good_token())).await.unwrap_err();
    assert_eq!(error.code(), "token_signature");
    assert!(world.http.requests().is_empty());
}

#[tokio::test]
async fn r13_a_source_identity_is_a_fact_and_no_name() {
    let world = World::new();
    let mut claims = claims();
    claims[STS]["source_identity"] = "ada@example.org".into();
    let identity = world.attest(&ISSUED.sign(Algorithm::Es384, &claims)).await.unwrap();
    assert_eq!(identity.facts()["source-identity"], "ada@example.org");
    let without = world.attest(&good_token()).await.unwrap();
    assert!(!without.facts().contains_key("source-identity"));
    assert_eq!(identity.subject(), without.subject());
}

#[tokio::test]
async fn w30_l18_request_tags_come_only_where_they_are_asked_for_and_beside_the_identity() {
    let world = World::new();
    let mut claims = claims();
    claims[STS]["request_tags"] = json!({ "job": "7", "Team": "red", "kubernetes-pod-name": "red-pod" });
    let token = ISSUED.sign(Algorithm::Rs256, &claims);
    let (identity, tags) = world.attestor.attest_with_request_tags(&evidence(&token)).await.unwrap();
    // the same identity as without asking, in every part
    assert_eq!(identity, world.attest(&token).await.unwrap());
    assert_eq!(identity.agent().as_str(), "blue");
    assert!(identity.facts().iter().all(|(name, value)| !format!("{name}{value}").contains("red")));
    assert_eq!((tags.claimed("job"), tags.claimed("kubernetes-pod-name")), (Some("7"), Some("red-pod")));
    assert_eq!((tags.claimed("team"), tags.claimed("Team"), tags.claimed("x")), (None, Some("red"), None));
    assert_eq!(tags.iter().count(), 3);
    assert!(!format!("{tags:?}").contains("red"), "{tags:?}");

    let (_, none) = world.attestor.attest_with_request_tags(&evidence(&good_token())).await.unwrap();
    assert_eq!(none.iter().count(), 0);
}

#[tokio::test]
async fn l18_asking_for_request_tags_lets_nobody_in() {
    let world = World::new();
    let ask = async |token: &str| {
        let refused = world.attestor.attest_with_request_tags(&evidence(token)).await;
        refused.map(|(identity, _)| identity.agent().to_string()).map_err(|error| error.code())
    };
    for bad in
        [json!(["job"]), json!({ "job": 7 }), json!({ "job": "a", "JOB": "b" }), json!("job"), json!(null)]
    {
        let mut claims = claims();
        claims[STS]["request_tags"] = bad;
        let token = ISSUED.sign(Algorithm::Rs256, &claims);
        assert_eq!(ask(&token).await, Err("token_claims"));
        // who does not ask does not care
        assert!(world.attest(&token).await.is_ok());
    }
    for case in cases().iter().filter(|case| case.organization.is_none() && case.unit.is_none()) {
        if let Some(refused) = &case.refused {
            assert_eq!(ask(&token(case)).await.as_ref(), Err(&refused.as_str()), "{}", case.name);
        }
    }
    let other = Evidence::new(EvidenceKind::from_static("oidc"), good_token()).unwrap();
    let refused = world.attestor.attest_with_request_tags(&other).await;
    assert!(matches!(refused, Err(AttestError::WrongKind)));
}

const STS: &str = "https://sts.amazonaws.com/";
