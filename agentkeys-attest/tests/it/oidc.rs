use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::oidc::{
    AgentClaim, ClaimPath, OIDC, OidcAttestor, OidcIssuer, OidcKeys, OidcPins, OidcPinsError, RequiredClaims,
};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{
    Assurance, AttestError, Attestor as _, Attestors, ErrorKind, Evidence, EvidenceKind, KeyRing,
    MintRequest, Minter, Oidc, StaticKeys, SystemRandom, Timestamp,
};
use proptest::prelude::*;
use serde_json::json;

use crate::cases::assert_sound;
use crate::oidc_support::{
    ISSUERS, STRANGERS, TABLE, World, evidence, from_settings, good_token, pods, token,
};
use crate::support::{NOW, told};

#[tokio::test]
async fn the_table_of_oidc_tokens() {
    let (world, spelled_out) = (World::new(), World::spelled_out());
    let mut wrong = Vec::new();
    for case in &TABLE.cases {
        let token = token(case);
        let found = match world.attest(&token).await {
            Ok(identity) => {
                assert_eq!(spelled_out.attest(&token).await.unwrap(), identity, "{}", case.name);
                (Some(identity.agent().to_string()), None, String::new())
            }
            Err(error) => {
                let other = spelled_out.attest(&token).await.map_err(|error| error.code());
                assert_eq!(other, Err(error.code()), "{}", case.name);
                (None, Some(error.code().to_owned()), told(&error))
            }
        };
        let (agent, refused, text) = found;
        let detail_ok = case.detail.as_deref().is_none_or(|detail| text.contains(detail));
        if agent != case.agent || refused != case.refused || !detail_ok {
            wrong.push(format!("{} {:?}: {agent:?} {refused:?} {text}", case.name, case.rules));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_oidc_tokens_is_sound() {
    assert_sound(&TABLE.cases);
}

#[tokio::test]
async fn r17_r18_w28_w29_an_identity_of_an_issuer_says_all_that_was_attested() {
    let world = World::new();
    let identity = world.attest(&good_token("tenants")).await.unwrap();
    assert_eq!((identity.kind(), identity.kind().as_str()), (&OIDC, "oidc"));
    assert_eq!(identity.assurance(), Assurance::PlatformAttested);
    assert_eq!(identity.agent().as_str(), "blue");
    assert_eq!(identity.tenant().unwrap().as_str(), "acme");
    assert_eq!(identity.instance(), None);
    assert_eq!(identity.trust_root().as_str(), "https://login.example.org/realms/agents/#user=u1&type=coder");
    assert_eq!(
        identity.subject().as_str(),
        "oidc/https:%2F%2Flogin.example.org%2Frealms%2Fagents%2F%23user%3Du1%26type%3Dcoder/acme/blue"
    );
    let facts: Vec<_> =
        identity.facts().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        facts,
        [
            ("/azp", "agents"),
            ("/https:~1~1example.org~1agents/path", "/agent/acme/u1/coder/blue"),
            ("/level", "2"),
            ("/sub", "f1a2"),
            ("type", "coder"),
            ("user", "u1"),
        ]
    );
    assert_eq!(identity.attested_at(), Timestamp::from_unix(NOW));
    assert_eq!(identity.not_after(), Timestamp::from_unix(NOW + 600));

    let pod = world.attest(&good_token("pods")).await.unwrap();
    assert_eq!(pod.instance().unwrap().as_str(), "5e0bd49b-f040-43b0-99b7-22765a53f7f3");
    assert_eq!(pod.trust_root().as_str(), ISSUERS["pods"].issuer().as_str());
    let job = world.attest(&good_token("github")).await.unwrap();
    assert_eq!(job.instance().unwrap().as_str(), "22259804324");
}

#[tokio::test]
async fn w29_the_same_name_at_six_issuers_is_six_subjects() {
    let world = World::new();
    let mut subjects = BTreeSet::new();
    for issuer in TABLE.settings.keys() {
        let identity = world.attest(&good_token(issuer)).await.unwrap();
        assert_eq!(identity.agent().as_str(), "blue");
        subjects.insert(identity.subject().to_string());
    }
    assert_eq!(subjects.len(), 6);
}

#[tokio::test]
async fn l20_a_pod_or_account_made_anew_is_another_instance_of_the_same_agent() {
    let world = World::new();
    for (issuer, pointer) in [("pods", "/kubernetes.io/pod/uid"), ("gcp", "/sub"), ("gitlab", "/job_id")] {
        let mut claims = TABLE.claims[issuer].clone();
        *claims.pointer_mut(pointer).unwrap() = json!("7");
        let first = world.attest(&good_token(issuer)).await.unwrap();
        let second = world.attest(&ISSUERS[issuer].sign(Algorithm::Rs256, &claims)).await.unwrap();
        assert_eq!(first.subject(), second.subject());
        assert_ne!(first.instance(), second.instance());
    }
}

#[tokio::test]
async fn l10_w16_a_token_of_an_issuer_that_is_not_configured_fetches_nothing() {
    let world = World::new();
    for iss in ["https://evil.example", "https://169.254.169.254", "file:///etc/passwd", "x", ""] {
        let mut claims = TABLE.claims["pods"].clone();
        claims["iss"] = iss.into();
        let error = world.attest(&STRANGERS["pods"].sign(Algorithm::Rs256, &claims)).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("token_issuer", ErrorKind::Invalid));
        assert!(!format!("{error:?} {}", told(&error)).contains("evil"));
    }
    for garbage in ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(world.attest(garbage).await.unwrap_err().code(), "token_malformed");
    }
    let bytes = Evidence::new(OIDC, b"\xff\xfe".to_vec()).unwrap();
    assert_eq!(world.attestor.attest(&bytes).await.unwrap_err().code(), "evidence_malformed");
    assert!(world.http.requests().is_empty());

    // nor is it tried with keys that are known already: the refusal is the same
    world.attest(&good_token("pods")).await.unwrap();
    for iss in ["https://evil.example", "https://", "", ISSUERS["gcp"].issuer().as_str()] {
        let mut claims = TABLE.claims["pods"].clone();
        claims["iss"] = iss.into();
        let error = world.attest(&STRANGERS["pods"].sign(Algorithm::Rs256, &claims)).await.unwrap_err();
        let expected = if iss.contains("google") { "token_signature" } else { "token_issuer" };
        assert_eq!(error.code(), expected, "{iss}");
    }
}

#[tokio::test]
async fn l16_w18_w24_each_issuer_is_asked_for_its_own_keys_and_only_when_needed() {
    let world = World::new();
    assert!(world.http.requests().is_empty());
    for issuer in ["github", "pods"] {
        let before = world.http.requests().len();
        world.attest(&good_token(issuer)).await.unwrap();
        let asked: Vec<_> =
            world.http.requests().into_iter().skip(before).map(|request| request.url).collect();
        let issuer = ISSUERS[issuer].issuer();
        assert_eq!(asked, [issuer.discovery_url(), issuer.jwks_url()]);
    }
    world.http.disconnect(&ISSUERS["gcp"].issuer().jwks_url());
    let error = world.attest(&good_token("gcp")).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("keys_unavailable", ErrorKind::Unavailable));
    // the others are not touched by it
    assert!(world.attest(&good_token("pods")).await.is_ok());
}

#[tokio::test]
async fn r2_evidence_of_another_kind_is_not_read() {
    let world = World::new();
    let other = Evidence::new(EvidenceKind::from_static("aws-stsweb"), good_token("pods")).unwrap();
    assert!(matches!(world.attestor.attest(&other).await, Err(AttestError::WrongKind)));
    assert!(world.http.requests().is_empty());
    let attestors = Attestors::new().with(world.attestor).unwrap();
    assert!(matches!(attestors.attest(&other).await, Err(AttestError::UnknownKind)));
    assert!(attestors.attest(&evidence(&good_token("pods"))).await.is_ok());
}

#[tokio::test]
async fn w14_an_oidc_identity_is_no_longer_good_than_its_token() {
    let world = World::new();
    let token = good_token("github");
    world.clock.advance(Duration::from_secs(299));
    let identity = world.attest(&token).await.unwrap();
    assert_eq!(identity.attested_at(), Timestamp::from_unix(NOW + 299));
    assert_eq!(identity.not_after(), Timestamp::from_unix(NOW + 300));
    for (waited, code) in [(1, "evidence_identity"), (29, "evidence_identity"), (1, "token_expired")] {
        world.clock.advance(Duration::from_secs(waited));
        assert_eq!(world.attest(&token).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn l31_what_a_broker_signs_is_no_evidence_of_another_issuer() {
    let world = World::new();
    let clock = world.clock.clone();
    let identity = world.attest(&good_token("pods")).await.unwrap();
    let ring = KeyRing::<Oidc>::generate(&SystemRandom::new(), Timestamp::from_unix(NOW)).unwrap();
    let minter = Minter::new("https://broker.example".parse().unwrap(), ring).with_clock(clock);
    let request = MintRequest::new("agentkeys".parse().unwrap());
    let token = minter.mint(&identity, request).await.unwrap();
    assert_eq!(world.attest(token.expose()).await.unwrap_err().code(), "token_issuer");
}

#[test]
fn w11_pins_that_let_everybody_in_or_contradict_each_other_are_refused_at_once() {
    let keys = || OidcKeys::given(Arc::new(StaticKeys::new(ISSUERS["pods"].key_set())));
    let path = |text: &str| ClaimPath::parse(text).unwrap();
    let make = |template: &str, required: RequiredClaims| {
        let pins = OidcPins {
            issuer: ISSUERS["pods"].issuer().clone(),
            audience: "agentkeys".parse().unwrap(),
            agent: AgentClaim::matching(path("/sub"), template.parse().unwrap()),
            required,
        };
        OidcIssuer::new(pins, keys()).err()
    };
    assert_eq!(make("{agent}", RequiredClaims::none()), Some(OidcPinsError::Unpinned));
    assert_eq!(make("repo:octo-org/{agent}", RequiredClaims::none()), None);
    assert_eq!(make("{agent}", RequiredClaims::none().and(path("/azp"), "agents")), None);
    let twice = RequiredClaims::none().and(path("/azp"), "a").and(path("/b"), 1).and(path("/azp"), "b");
    assert_eq!(make("{agent}", twice), Some(OidcPinsError::Doubled));

    let attestor = OidcAttestor::new(pods(keys()));
    assert_eq!(attestor.with_issuer(pods(keys())).err(), Some(OidcPinsError::TwoOfOneIssuer));
}

/// Each required claim decides, whatever the issuer: without it, and with another value or type, nobody passes.
#[tokio::test]
async fn w11_every_required_claim_decides() {
    let world = World::new();
    for (name, settings) in &TABLE.settings {
        let agent = settings["agent"]["claim"].as_str().unwrap();
        let instance = settings["instance"].as_str();
        let required = settings["required"].as_object().unwrap().keys().map(String::as_str);
        for pointer in required.chain([agent]).chain(instance) {
            for spoilt in [json!("x/y"), json!(["blue"]), json!({}), json!(null), json!(7), json!(false)] {
                let mut claims = TABLE.claims[name].clone();
                *claims.pointer_mut(pointer).unwrap() = spoilt.clone();
                if (name.as_str(), pointer) == ("gcp", "/sub")
                    || Some(pointer) == instance && spoilt.is_string()
                {
                    continue;
                }
                let refused = world.attest(&ISSUERS[name.as_str()].sign(Algorithm::Rs256, &claims)).await;
                assert!(refused.is_err(), "{name} {pointer} {spoilt}");
            }
        }
    }
}

#[tokio::test]
async fn r8_one_changed_byte_of_an_oidc_token_is_refused() {
    let world = World::new();
    let token = ISSUERS["pods"].sign(Algorithm::Es256, &TABLE.claims["pods"]);
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(world.attest(&String::from_utf8(bytes).unwrap()).await.is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn l29_neither_attestor_nor_refusal_shows_any_of_an_oidc_token() {
    let world = World::new();
    for (name, settings) in &TABLE.settings {
        let agent = settings["agent"]["claim"].as_str().unwrap();
        let required = settings["required"].as_object().unwrap().keys().map(String::as_str);
        for pointer in required.chain([agent, "/iss", "/aud", "/exp"]) {
            for value in [json!("MARKED red"), json!(["MARKED red"])] {
                let mut claims = TABLE.claims[name].clone();
                *claims.pointer_mut(pointer).unwrap() = value;
                let token = ISSUERS[name.as_str()].sign(Algorithm::Rs256, &claims);
                let error = world.attest(&token).await.unwrap_err();
                let shown = format!(
                    "{error:?} {error:#?} {} {:?} {:?}",
                    told(&error),
                    world.attestor,
                    evidence(&token)
                );
                assert!(!shown.contains("MARKED"), "{name} {pointer}: {shown}");
                assert!(token.split('.').all(|segment| !shown.contains(&segment[..24])), "{name} {pointer}");
            }
        }
    }
}

fn tenants(template: &str) -> OidcAttestor {
    let mut settings = TABLE.settings["tenants"].clone();
    settings["agent"]["template"] = template.into();
    let keys = OidcKeys::given(Arc::new(StaticKeys::new(ISSUERS["tenants"].key_set())));
    let clock = agentkeys_core::testing::ManualClock::new(Timestamp::from_unix(NOW));
    OidcAttestor::new(from_settings(&settings, keys)).with_clock(clock)
}

fn named(name: &str) -> String {
    let mut claims = TABLE.claims["tenants"].clone();
    claims["https://example.org/agents"]["path"] = name.into();
    ISSUERS["tenants"].sign(Algorithm::EdDsa, &claims)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn w28_w29_w31_no_two_names_are_one_subject(
        template in "(/[a-z]{0,3}/|x:)(\\{tenant\\}/)?(\\{user\\}[/:])?(\\{type\\}/)?\\{agent\\}(/z)?",
        a in "[ab](/(a|b|-|a\\.b)){3}",
        b in "[ab](/(a|b|-|a\\.b)){3}",
    ) {
        let attestor = tenants(&template);
        // texts that often fit: the template's own, its fields filled in turn
        let fill = |names: &str| {
            let mut names = names.split('/').cycle();
            let mut text = template.clone();
            for field in ["{tenant}", "{user}", "{type}", "{agent}"] {
                text = text.replace(field, names.next().unwrap());
            }
            text
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let attest = |name: &str| runtime.block_on(attestor.attest(&evidence(&named(name)))).ok();
        let (one, other) = (fill(&a), fill(&b));
        if let (Some(first), Some(second)) = (attest(&one), attest(&other)) {
            prop_assert_eq!(first.subject() == second.subject(), one == other, "{} {}", one, other);
        }
    }
}

/// The sample tokens that core verifies are those of the forms, but for the names that a job is configured with.
#[test]
fn fake_issuers_have_the_addresses_of_the_real_ones() {
    for (name, issuer) in [
        ("github", "https://token.actions.githubusercontent.com"),
        ("gcp", "https://accounts.google.com"),
        ("service-accounts", "https://kubernetes.default.svc.cluster.local"),
    ] {
        let fake: &FakeIssuer = &ISSUERS[name];
        assert_eq!(fake.issuer().as_str(), issuer);
    }
}
