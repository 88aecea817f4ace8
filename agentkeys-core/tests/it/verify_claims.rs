//! The claims: issuer, audience, times, subject, types, doubles.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::{Algorithm, CompactError};
use agentkeys_core::{Audience, ErrorKind, MAX_LIFETIME, NoClaims, SKEW, VerifyError, claimed_issuer};
use serde_json::{Value, json};

use crate::support::*;

#[test]
fn r34_l14_iss_is_the_configured_issuer_byte_for_byte() {
    for iss in [
        "https://issuer.example/tenant/",
        "https://issuer.example/Tenant",
        "https://issuer.example:443/tenant",
        "https://issuer.example/tenant ",
        "https://other.example",
        "issuer.example/tenant",
        "",
    ] {
        refused!(judge_claims(&with("iss", iss)), VerifyError::Issuer);
    }
    refused!(judge_claims(&without("iss")), VerifyError::Missing("iss"));
}

#[test]
fn l14_iss_as_an_array_is_refused() {
    refused!(judge_claims(&with("iss", json!([ISSUER]))), VerifyError::Claims);
    refused!(judge_claims(&with("iss", json!(["https://evil.example", ISSUER]))), VerifyError::Claims);
}

#[test]
fn w21_l15_aud_is_exactly_one_and_ours() {
    judge_claims(&with("aud", json!([AUDIENCE]))).unwrap();
    refused!(judge_claims(&without("aud")), VerifyError::Missing("aud"));
    for other in ["", "orders-api/", "Orders-api", "orders", "sts.amazonaws.com"] {
        refused!(judge_claims(&with("aud", other)), VerifyError::Audience);
        refused!(judge_claims(&with("aud", json!([other]))), VerifyError::Audience);
    }
    refused!(judge_claims(&with("aud", json!([]))), VerifyError::Audience);
    for several in [json!([AUDIENCE, "other"]), json!(["other", AUDIENCE]), json!([AUDIENCE, AUDIENCE])] {
        refused!(judge_claims(&with("aud", several)), VerifyError::SeveralAudiences);
    }
}

#[test]
fn w15_exp_has_thirty_seconds_of_grace_and_not_one_more() {
    assert_eq!(SKEW, Duration::from_secs(30));
    let (verifier, token) = (verifier(), sign(&claims()));
    let judge_at = |now| verifier.verify_with_known_keys::<NoClaims>(&token, at(now));
    let exp = NOW + 300;
    judge_at(exp - 1).unwrap();
    judge_at(exp).unwrap();
    judge_at(exp + 29).unwrap();
    refused!(judge_at(exp + 30), VerifyError::Expired);
    refused!(judge_at(exp + 31), VerifyError::Expired);
    refused!(judge_claims(&with("exp", 0)), VerifyError::Expired);
    refused!(judge_claims(&without("exp")), VerifyError::Missing("exp"));
}

#[test]
fn l14_nbf_is_honoured() {
    judge_claims(&with("nbf", NOW + 30)).unwrap();
    judge_claims(&without("nbf")).unwrap();
    refused!(judge_claims(&with("nbf", NOW + 31)), VerifyError::NotYetValid);
    refused!(judge_claims(&with("nbf", u64::MAX)), VerifyError::NotYetValid);
}

#[test]
fn w15_l14_iat_is_required_and_never_ahead() {
    judge_claims(&with("iat", NOW + 30)).unwrap();
    refused!(judge_claims(&with("iat", NOW + 31)), VerifyError::IssuedInFuture);
    refused!(judge_claims(&with("iat", u64::MAX)), VerifyError::IssuedInFuture);
    refused!(judge_claims(&without("iat")), VerifyError::Missing("iat"));
}

#[test]
fn w22_a_token_lives_no_longer_than_allowed() {
    let day = MAX_LIFETIME.as_secs();
    judge_claims(&with("exp", NOW - 10 + day)).unwrap();
    refused!(judge_claims(&with("exp", NOW - 10 + day + 1)), VerifyError::LifetimeTooLong);
    refused!(judge_claims(&with("exp", u64::MAX)), VerifyError::LifetimeTooLong);
    let short = verifier().with_max_lifetime(Duration::from_secs(310));
    short.verify_with_known_keys::<NoClaims>(&sign(&claims()), at(NOW)).unwrap();
    let longer = sign(&with("exp", NOW + 301));
    refused!(short.verify_with_known_keys::<NoClaims>(&longer, at(NOW)), VerifyError::LifetimeTooLong);
    // more than the most cannot be asked for
    let boundless = verifier().with_max_lifetime(Duration::MAX);
    let two_days = sign(&with("exp", NOW + 2 * day));
    refused!(boundless.verify_with_known_keys::<NoClaims>(&two_days, at(NOW)), VerifyError::LifetimeTooLong);
}

#[test]
fn w15_sub_is_required_and_not_empty() {
    refused!(judge_claims(&without("sub")), VerifyError::Missing("sub"));
    refused!(judge_claims(&with("sub", "")), VerifyError::Missing("sub"));
}

#[test]
fn l13_a_claim_of_the_wrong_type_is_malformed_never_absent() {
    for (name, value) in [
        ("exp", json!("1800000300")),
        ("exp", json!(1_800_000_300.5)),
        ("exp", json!(-1)),
        ("exp", Value::Null),
        ("nbf", json!("soon")),
        ("nbf", Value::Null),
        ("iat", json!([1])),
        ("iat", json!({})),
        ("iss", json!(42)),
        ("iss", Value::Null),
        ("sub", json!(["a"])),
        ("sub", Value::Null),
        ("aud", json!(42)),
        ("aud", json!({ "a": AUDIENCE })),
        ("aud", json!([AUDIENCE, 1])),
        ("aud", json!([[AUDIENCE]])),
        ("aud", Value::Null),
        ("jti", json!(1)),
    ] {
        refused!(judge_claims(&with(name, value)), VerifyError::Claims);
    }
}

#[test]
fn w20_a_doubled_claim_is_refused_registered_or_private() {
    let good = claims().to_string();
    let rest = good.strip_prefix('{').unwrap();
    for doubled in [
        format!(r#"{{"sub":"somebody-else",{rest}"#),
        format!(r#"{{"iss":"{ISSUER}",{rest}"#),
        format!(r#"{{"\u0065xp":9999999999,{rest}"#),
        format!(r#"{{"aud":"{AUDIENCE}",{rest}"#),
        format!(r#"{{"x":1,"x":1,{rest}"#),
        format!(r#"{{"x":1,"\u0078":1,{rest}"#),
    ] {
        let token = fake().sign_raw(agentkeys_core::jose::Algorithm::Es256, HEADER, &doubled);
        refused!(judge(&token), VerifyError::Claims);
    }
}

#[test]
fn claims_that_are_no_json_object_are_refused() {
    for text in ["", "[]", "null", "\"x\"", "{", "{}x", "{\"a\":1,}", "\u{feff}{}", "{'a':1}", "{\"a\":NaN}"]
    {
        let token = fake().sign_raw(agentkeys_core::jose::Algorithm::Es256, HEADER, text);
        if text.is_empty() {
            refused!(judge(&token), VerifyError::Malformed(CompactError::Segments));
        } else {
            refused!(judge(&token), VerifyError::Claims);
        }
    }
}

#[test]
fn deep_nesting_in_a_claim_that_nobody_reads_is_refused() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let token = fake().sign_raw(agentkeys_core::jose::Algorithm::Es256, HEADER, &deep);
    refused!(judge(&token), VerifyError::Malformed(CompactError::TooDeep));
}

#[test]
fn nothing_of_the_claims_is_judged_before_the_signature() {
    let forged =
        other().sign(agentkeys_core::jose::Algorithm::Es256, &json!({ "exp": "wrong in every way" }));
    refused!(judge(&forged), VerifyError::Signature);
}

#[tokio::test]
async fn w46_without_a_clock_nothing_verifies() {
    let refused = verifier().with_clock(Arc::new(NoClock)).verify::<NoClaims>(&sign(&claims())).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, VerifyError::Clock(_)));
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Misconfigured, "clock"));
}

#[tokio::test]
async fn verify_asks_the_clock_and_no_other() {
    let clock = clock();
    let verifier = verifier().with_clock(Arc::clone(&clock) as _);
    let token = sign(&claims());
    verifier.verify::<NoClaims>(&token).await.unwrap();
    clock.advance(Duration::from_secs(330));
    refused!(verifier.verify::<NoClaims>(&token).await, VerifyError::Expired);
}

#[test]
fn w21_two_verifiers_do_not_take_each_others_tokens() {
    let keys = Arc::new(agentkeys_core::StaticKeys::new(fake().key_set()));
    let profile = agentkeys_core::Profile::oidc(fake().issuer().clone(), keys);
    let second = agentkeys_core::Verifier::new(profile, Audience::parse("billing-api").unwrap());
    refused!(second.verify_with_known_keys::<NoClaims>(&sign(&claims()), at(NOW)), VerifyError::Audience);
}

const HEADER: &str = r#"{"alg":"ES256","kid":"EC256_0","typ":"JWT"}"#;

#[test]
fn l10_the_issuer_that_a_token_claims_is_one_string() {
    let claimed = |claims: Value| claimed_issuer(&sign(&claims));
    assert_eq!(claimed(with("iss", "https://other.example")).unwrap(), "https://other.example");
    // nothing is verified
    let token = sign(&claims());
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(claimed_issuer(&format!("{signed}.AA")).unwrap(), fake().issuer().as_str());
    refused!(claimed(without("iss")), VerifyError::Missing("iss"));
    for iss in [json!(["https://a.example"]), json!(1), Value::Null] {
        refused!(claimed(with("iss", iss)), VerifyError::Claims);
    }
    for bad in ["", "a", "a.b", "a.e30.c", "a.!.c"] {
        assert!(claimed_issuer(bad).is_err(), "{bad}");
    }
    let deep = format!("{{\"iss\":\"a\",\"x\":{}{}}}", "[".repeat(99), "]".repeat(99));
    let token = fake().sign_raw(Algorithm::Es256, "{\"alg\":\"ES256\"}", &deep);
    refused!(claimed_issuer(&token), VerifyError::Malformed(CompactError::TooDeep));
}
