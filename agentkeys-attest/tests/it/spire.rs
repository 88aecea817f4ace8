use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::spire::{SPIFFE_SVID, SpireAttestor, SpirePins, SpirePinsError};
use agentkeys_core::jose::{Algorithm, KeySet};
use agentkeys_core::testing::{FakeHttp, ManualClock};
use agentkeys_core::{
    Assurance, AttestError, AttestedIdentity, Attestor as _, Attestors, CacheAges, ErrorKind, Evidence,
    EvidenceKind, HttpResponse, JwksCache, KeySource, MIN_SOFT_AGE, StaticKeys, Timestamp,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cases::{Case, assert_sound};
use crate::support::{ISSUED, NOW, STRANGER, told};

pub(crate) const TEMPLATE: &str = "/agent/{tenant}/{user}/{type}/{agent}";
pub(crate) const ID: &str = "spiffe://example.org/agent/acme/u1/coder/blue";

pub(crate) fn pins(template: &str) -> SpirePins {
    SpirePins {
        trust_domain: "example.org".parse().unwrap(),
        audience: "agentkeys".parse().unwrap(),
        template: template.parse().unwrap(),
    }
}

fn keys() -> Arc<dyn KeySource> {
    Arc::new(StaticKeys::new(ISSUED.key_set()))
}

fn attestor_with(template: &str, keys: Arc<dyn KeySource>) -> SpireAttestor {
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    SpireAttestor::new(pins(template), keys).unwrap().with_clock(clock)
}

fn attestor() -> SpireAttestor {
    attestor_with(TEMPLATE, keys())
}

/// The claims of a good SVID, as SPIRE writes them.
pub(crate) fn claims() -> Value {
    json!({ "sub": ID, "aud": ["agentkeys"], "iat": NOW, "exp": NOW + 300 })
}

fn good_svid() -> String {
    ISSUED.sign(Algorithm::Es256, &claims())
}

fn svid_of(id: &str) -> String {
    let mut claims = claims();
    claims["sub"] = id.into();
    ISSUED.sign(Algorithm::Es256, &claims)
}

fn evidence(svid: &str) -> Evidence {
    Evidence::new(SPIFFE_SVID, svid).unwrap()
}

async fn attest(attestor: &SpireAttestor, svid: &str) -> Result<AttestedIdentity, AttestError> {
    attestor.attest(&evidence(svid)).await
}

/// One row of `tests/data/spire-cases.json` as an SVID.
pub(crate) fn svid(case: &Case) -> String {
    let signer = if case.signer.is_some() { &*STRANGER } else { &*ISSUED };
    case.token(signer, &claims())
}

/// The table; what a row does not sign otherwise is signed with ES256, as SPIRE does.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = serde_json::from_str(include_str!("../data/spire-cases.json")).unwrap();
    for case in &mut cases {
        case.algorithm.get_or_insert_with(|| "ES256".to_owned());
    }
    cases
}

#[tokio::test]
async fn the_table_of_svids() {
    let mut wrong = Vec::new();
    for case in cases() {
        let attestor = attestor_with(case.template.as_deref().unwrap_or(TEMPLATE), keys());
        let (subject, refused, text) = match attest(&attestor, &svid(&case)).await {
            Ok(identity) => (Some(identity.subject().to_string()), None, String::new()),
            Err(error) => (None, Some(error.code().to_owned()), told(&error)),
        };
        let detail_ok = case.detail.as_deref().is_none_or(|detail| text.ends_with(detail));
        if subject != case.subject || refused != case.refused || !detail_ok {
            wrong.push(format!("{} {:?}: {subject:?} {refused:?} {text}", case.name, case.rules));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_svids_refuses_far_more_than_it_lets_in_and_says_why() {
    assert_sound(&cases());
}

#[tokio::test]
async fn r29_r17_r18_w28_the_identity_says_all_that_the_spiffe_id_says() {
    let identity = attest(&attestor(), &good_svid()).await.unwrap();
    assert_eq!(identity.kind().as_str(), "spiffe-svid");
    assert_eq!(identity.agent().as_str(), "blue");
    assert_eq!(identity.tenant().unwrap().as_str(), "acme");
    assert_eq!(identity.trust_root().as_str(), "spiffe://example.org#user=u1&type=coder");
    assert_eq!(identity.assurance(), Assurance::PlatformAttested);
    assert_eq!(identity.instance(), None);
    assert_eq!(identity.attested_at(), Timestamp::from_unix(NOW));
    assert_eq!(identity.not_after(), Timestamp::from_unix(NOW + 300));
    let facts: Vec<_> =
        identity.facts().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(facts, [("spiffe-id", ID), ("type", "coder"), ("user", "u1")]);
}

#[tokio::test]
async fn r16_two_attestors_of_the_same_pins_give_the_same_identity() {
    let svid = good_svid();
    assert_eq!(attest(&attestor(), &svid).await.unwrap(), attest(&attestor(), &svid).await.unwrap());
}

/// SPIRE's agent hands the same SVID out until half of its life is over.
#[tokio::test]
async fn r29_an_svid_may_be_shown_again() {
    let (attestor, svid) = (attestor(), good_svid());
    for _ in 0..3 {
        attest(&attestor, &svid).await.unwrap();
    }
}

/// Each pin decides: the same good SVID is refused as soon as one of them is another.
#[tokio::test]
async fn r29_w26_w27_w28_each_pin_decides() {
    let good = || pins(TEMPLATE);
    for (pins, code) in [
        (SpirePins { trust_domain: "other.example".parse().unwrap(), ..good() }, "token_trust_domain"),
        (SpirePins { trust_domain: "example.org.".parse().unwrap(), ..good() }, "token_trust_domain"),
        (SpirePins { audience: "registry".parse().unwrap(), ..good() }, "token_audience"),
        (SpirePins { template: "/agent/{tenant}/{type}/{agent}".parse().unwrap(), ..good() }, "evidence_pin"),
        (
            SpirePins { template: "/agent/globex/{user}/{type}/{agent}".parse().unwrap(), ..good() },
            "evidence_pin",
        ),
    ] {
        let clock = ManualClock::new(Timestamp::from_unix(NOW));
        let attestor = SpireAttestor::new(pins, keys()).unwrap().with_clock(clock);
        let error = attest(&attestor, &good_svid()).await.unwrap_err();
        assert_eq!(error.code(), code);
    }
    let attestor = attestor_with(TEMPLATE, Arc::new(StaticKeys::new(STRANGER.key_set())));
    assert_eq!(attest(&attestor, &good_svid()).await.unwrap_err().code(), "token_signature");
}

#[test]
fn pins_that_let_nobody_in_are_an_error_at_once() {
    for (template, error) in [
        ("agent/{agent}", SpirePinsError::Template),
        (".evil/{agent}", SpirePinsError::Template),
        ("{agent}", SpirePinsError::Template),
        ("/agent/{agent}/", SpirePinsError::Template),
        ("/agent//{agent}", SpirePinsError::Template),
        ("/agent/../{agent}", SpirePinsError::Template),
        ("/agent:{agent}", SpirePinsError::Template),
        ("/agent/{agent}?x", SpirePinsError::Template),
        ("spiffe://example.org/{agent}", SpirePinsError::Template),
        ("/{spiffe-id}/{agent}", SpirePinsError::Reserved),
    ] {
        assert_eq!(SpireAttestor::new(pins(template), keys()).err(), Some(error), "{template}");
    }
}

#[tokio::test]
async fn evidence_of_another_kind_or_form_is_refused() {
    let attestor = attestor();
    let stranger = Evidence::new(EvidenceKind::from_static("oidc"), good_svid()).unwrap();
    assert_eq!(attestor.attest(&stranger).await.unwrap_err().code(), "evidence_kind_wrong");
    let bytes = Evidence::new(SPIFFE_SVID, b"\xff".to_vec()).unwrap();
    assert_eq!(attestor.attest(&bytes).await.unwrap_err().code(), "evidence_malformed");
    for not_a_jwt in ["x", "a.b", "{}", "a.b.c.d", "Bearer a.b.c", "a.b.c ", "e30.e30."] {
        let error = attest(&attestor, not_a_jwt).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{not_a_jwt}");
    }
    let attestors = Attestors::new().with(attestor).unwrap();
    assert!(attestors.attest(&evidence(&good_svid())).await.is_ok());
}

#[tokio::test]
async fn no_kid_where_two_keys_fit_is_refused() {
    let mut jwks = ISSUED.jwks();
    let second = STRANGER.jwks()["keys"][2].clone();
    jwks["keys"].as_array_mut().unwrap().push(second);
    jwks["keys"][4]["kid"] = "second".into();
    let keys = KeySet::parse(jwks.to_string().as_bytes()).unwrap();
    let attestor = attestor_with(TEMPLATE, Arc::new(StaticKeys::new(keys)));
    let svid = ISSUED.sign_raw(Algorithm::Es256, r#"{"alg":"ES256"}"#, &claims().to_string());
    assert_eq!(attest(&attestor, &svid).await.unwrap_err().code(), "token_key_ambiguous");
}

/// SPIRE's OIDC discovery provider, or any https address of a bundle.
#[tokio::test]
async fn w26_keys_of_a_discovery_provider_whatever_use_they_say_and_no_store() {
    let issuer = ISSUED.issuer();
    for usage in [None, Some("sig"), Some("jwt-svid")] {
        let http = FakeHttp::new();
        ISSUED.publish(&http);
        let mut jwks = ISSUED.jwks();
        for key in jwks["keys"].as_array_mut().unwrap() {
            let key = key.as_object_mut().unwrap();
            // SPIRE writes neither
            key.remove("use");
            key.remove("alg");
            if let Some(usage) = usage {
                key.insert("use".to_owned(), usage.into());
            }
        }
        let headers = vec![("cache-control".to_owned(), "no-cache, no-store".to_owned())];
        http.respond(&issuer.jwks_url(), HttpResponse::new(200, headers, jwks.to_string()));
        let clock = ManualClock::new(Timestamp::from_unix(NOW));
        let cache =
            JwksCache::with_settings(issuer.clone(), http.clone(), clock.clone(), CacheAges::default());
        let attestor = SpireAttestor::new(pins(TEMPLATE), Arc::new(cache)).unwrap().with_clock(clock.clone());
        attest(&attestor, &good_svid()).await.unwrap();
        // `no-store` makes nobody fetch for each SVID
        clock.advance(MIN_SOFT_AGE - Duration::from_secs(1));
        attest(&attestor, &good_svid()).await.unwrap();
        assert_eq!(http.requests().len(), 2, "{usage:?}");
    }
    // a key for something else is none
    let mut jwks = ISSUED.jwks();
    jwks["keys"][2]["use"] = "x509-svid".into();
    let keys = KeySet::parse(jwks.to_string().as_bytes()).unwrap();
    let attestor = attestor_with(TEMPLATE, Arc::new(StaticKeys::new(keys)));
    assert_eq!(attest(&attestor, &good_svid()).await.unwrap_err().code(), "token_key_unknown");
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_refusal() {
    let http = FakeHttp::new();
    let cache = JwksCache::discover(ISSUED.issuer().clone(), http);
    let error = attest(&attestor_with(TEMPLATE, Arc::new(cache)), &good_svid()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn neither_identity_nor_refusal_shows_any_of_an_svid() {
    let attestor = attestor();
    let mut svids = vec![
        ISSUED.sign_raw(Algorithm::Es256, r#"{"alg":"MARKED"}"#, "{}"),
        ISSUED.sign_raw(Algorithm::Es256, r#"{"alg":"ES256","kid":"MARKED"}"#, &claims().to_string()),
        ISSUED.sign_raw(Algorithm::Es256, r#"{"alg":"ES256","MARKED":1}"#, &claims().to_string()),
        svid_of("spiffe://example.org/MARKED"),
        svid_of("spiffe://MARKED/agent/acme/u1/coder/blue"),
        "MARKED".to_owned(),
    ];
    for claim in ["sub", "aud", "exp", "iat", "nbf"] {
        let mut claims = claims();
        claims[claim] = "MARKED".into();
        svids.push(ISSUED.sign(Algorithm::Es256, &claims));
    }
    for svid in svids {
        let error = attest(&attestor, &svid).await.unwrap_err();
        let shown = format!("{error:?} {error:#?} {} {:?} {attestor:?}", told(&error), evidence(&svid));
        assert!(!shown.contains("MARKED"), "{shown}");
        for segment in svid.split('.').filter(|segment| segment.len() > 8) {
            assert!(!shown.contains(segment), "{shown}");
        }
    }
    let svid = good_svid();
    let shown = format!("{:?}", attest(&attestor, &svid).await.unwrap());
    assert!(svid.split('.').all(|segment| !shown.contains(segment)));
}

#[tokio::test]
async fn w28_w29_ids_that_differ_in_one_field_are_two_subjects() {
    let attestor = attestor();
    let subject = async |path: &str| {
        let svid = svid_of(&format!("spiffe://example.org/agent/{path}"));
        attest(&attestor, &svid).await.unwrap().subject().to_string()
    };
    let mut subjects = std::collections::BTreeSet::new();
    for path in ["t/u/x/a", "t2/u/x/a", "t/u2/x/a", "t/u/x2/a", "t/u/x/a2", "u/t/x/a", "t/x/u/a", "a/u/x/t"] {
        assert!(subjects.insert(subject(path).await), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Of any two IDs, whatever template takes them, equal subjects mean equal IDs.
    #[test]
    fn w28_w29_no_two_spiffe_ids_are_one_subject(
        template in prop::sample::select(vec![
            TEMPLATE, "/agent/{tenant}/{agent}", "/agent/{type}/{agent}", "/{agent}", "/{tenant}/a/{agent}/{x}",
        ]),
        a in prop::collection::vec("[ab]|\\.\\.?", 1..6),
        b in prop::collection::vec("[ab]|\\.\\.?", 1..6),
        shared in any::<bool>(),
    ) {
        // few names, so that many pairs differ in one field; half of the IDs are made to fit the template
        let id = |names: &[String]| {
            if shared {
                let mut names = names.iter().cycle();
                let mut path = String::new();
                for part in template.split_inclusive('}') {
                    let (literal, field) = part.split_once('{').unwrap_or((part, ""));
                    path.push_str(literal);
                    if !field.is_empty() {
                        path.push_str(names.next().unwrap());
                    }
                }
                format!("spiffe://example.org{path}")
            } else {
                format!("spiffe://example.org/agent/{}", names.join("/"))
            }
        };
        let (a, b) = (id(&a), id(&b));
        let attestor = attestor_with(template, keys());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = |id: &str| runtime.block_on(attest(&attestor, &svid_of(id)));
        if let (Ok(one), Ok(other)) = (found(&a), found(&b)) {
            prop_assert_eq!(one.facts()["spiffe-id"].as_str(), a.as_str());
            prop_assert_eq!(one.subject() == other.subject(), a == b);
        }
    }
}
