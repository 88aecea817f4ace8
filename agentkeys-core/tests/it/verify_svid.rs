//! The JWT-SVID profile: the trust domain of `sub` chooses the keys.

use std::sync::Arc;

use agentkeys_core::jose::{Algorithm, CompactError};
use agentkeys_core::{
    Audience, KeySource, NoClaims, Profile, StaticKeys, TrustDomain, Verifier, VerifyError,
};
use serde_json::{Value, json};

use crate::support::*;

fn verifier() -> Verifier {
    let bundle = |domain: &str, keys| {
        (TrustDomain::parse(domain).unwrap(), Arc::new(StaticKeys::new(keys)) as Arc<dyn KeySource>)
    };
    let bundles = [bundle("a.example", fake().key_set()), bundle("b.example", other().key_set())];
    Verifier::new(Profile::jwt_svid(bundles), Audience::parse(AUDIENCE).unwrap()).with_clock(clock())
}

fn svid(sub: &str) -> Value {
    json!({ "sub": sub, "aud": [AUDIENCE], "exp": NOW + 300 })
}

fn judge(token: &str) -> Verdict {
    verifier().verify_with_known_keys(token, at(NOW))
}

fn judge_claims(claims: &Value) -> Verdict {
    judge(&fake().sign(Algorithm::Es256, claims))
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = svid("spiffe://a.example/agent/blue");
    claims[name] = value.into();
    claims
}

#[tokio::test]
async fn an_svid_needs_neither_iss_nor_iat() {
    let verified = judge_claims(&svid("spiffe://a.example/agent/blue")).unwrap();
    assert_eq!((verified.subject(), verified.issued_at()), ("spiffe://a.example/agent/blue", None));
    judge_claims(&with("iss", "https://spire.example")).unwrap();
    let token = fake().sign(Algorithm::Es256, &svid("spiffe://a.example/agent/blue"));
    verifier().verify::<NoClaims>(&token).await.unwrap();
}

#[test]
fn w26_w27_a_foreign_trust_domain_is_refused() {
    for foreign in ["spiffe://c.example/agent/blue", "spiffe://a.example.evil/agent/blue", "spiffe://a/x"] {
        refused!(judge_claims(&svid(foreign)), VerifyError::TrustDomain);
    }
}

#[test]
fn w26_l16_the_keys_of_one_domain_do_not_sign_for_another() {
    judge(&other().sign(Algorithm::Es256, &svid("spiffe://b.example/x"))).unwrap();
    refused!(judge(&other().sign(Algorithm::Es256, &svid("spiffe://a.example/x"))), VerifyError::Signature);
    refused!(judge(&fake().sign(Algorithm::Es256, &svid("spiffe://b.example/x"))), VerifyError::Signature);
}

#[test]
fn w28_sub_must_be_a_spiffe_id() {
    for sub in [
        "system:serviceaccount:acme:blue",
        "https://a.example/x",
        "spiffe://A.example/x",
        "spiffe://a.example/",
        "",
    ] {
        refused!(judge_claims(&svid(sub)), VerifyError::Subject);
    }
    let mut without = svid("spiffe://a.example/x");
    without.as_object_mut().unwrap().remove("sub");
    refused!(judge_claims(&without), VerifyError::Missing("sub"));
}

#[test]
fn header_members_beyond_alg_kid_and_typ_are_refused_here() {
    for member in [r#""cty":"JWT""#, r#""x5t":"AA""#, r#""x5t#S256":"AA""#] {
        let header = format!(r#"{{"alg":"ES256","kid":"EC256_0",{member}}}"#);
        let token = fake().sign_raw(Algorithm::Es256, &header, &svid("spiffe://a.example/x").to_string());
        refused!(judge(&token), VerifyError::Malformed(CompactError::HeaderMember));
    }
}

#[test]
fn typ_is_jwt_or_jose_or_absent() {
    let typed = |typ: &str| {
        let header = format!(r#"{{"alg":"ES256","kid":"EC256_0"{typ}}}"#);
        judge(&fake().sign_raw(Algorithm::Es256, &header, &svid("spiffe://a.example/x").to_string()))
    };
    for good in ["", r#","typ":"JWT""#, r#","typ":"JOSE""#] {
        typed(good).unwrap();
    }
    refused!(typed(r#","typ":"at+jwt""#), VerifyError::Type);
}

#[test]
fn iat_nbf_and_lifetime_are_checked_where_they_are_present() {
    judge_claims(&with("iat", NOW - 10)).unwrap();
    refused!(judge_claims(&with("iat", NOW + 31)), VerifyError::IssuedInFuture);
    refused!(judge_claims(&with("nbf", NOW + 31)), VerifyError::NotYetValid);
    refused!(judge_claims(&with("iat", "now")), VerifyError::Claims);
    // without iat a token lives from now on
    judge_claims(&with("exp", NOW + 86_400)).unwrap();
    refused!(judge_claims(&with("exp", NOW + 86_431)), VerifyError::LifetimeTooLong);
    refused!(judge_claims(&with("exp", NOW - 30)), VerifyError::Expired);
}

#[test]
fn w27_l15_aud_is_exactly_one_and_ours_here_too() {
    refused!(judge_claims(&with("aud", json!(["registry"]))), VerifyError::Audience);
    refused!(judge_claims(&with("aud", json!([AUDIENCE, "registry"]))), VerifyError::SeveralAudiences);
    refused!(judge_claims(&with("aud", json!([]))), VerifyError::Audience);
}

#[test]
fn w20_a_second_sub_cannot_choose_other_keys() {
    let doubled = format!(
        r#"{{"sub":"spiffe://b.example/x","sub":"spiffe://a.example/x","aud":"{AUDIENCE}","exp":{}}}"#,
        NOW + 300
    );
    let token = fake().sign_raw(Algorithm::Es256, r#"{"alg":"ES256","kid":"EC256_0"}"#, &doubled);
    refused!(judge(&token), VerifyError::Claims);
}

#[test]
fn an_oidc_verifier_does_not_take_an_svid() {
    let token = fake().sign(Algorithm::Es256, &svid("spiffe://a.example/x"));
    refused!(crate::support::judge(&token), VerifyError::Missing("iss"));
}
