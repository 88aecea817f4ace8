//! What popular libraries accept although issuer and audience are set, each by its name; and what only we
//! offer, with its bounds.

use std::time::Duration;

use agentkeys_core::jose::{Algorithm, CompactError};
use agentkeys_core::{Audience, KeySource as _, NoClaims, StaticKeys, Verifier, VerifyError};
use serde_json::json;

use crate::support::*;

/// Rightly signed claims, written as text.
fn raw(claims: &str) -> Verdict {
    judge(&fake().sign_raw(Algorithm::Es256, r#"{"alg":"ES256","kid":"EC256_0"}"#, claims))
}

/// The good claims with `members` before them.
fn before(members: &str) -> Verdict {
    raw(&format!("{{{members},{}", &claims().to_string()[1..]))
}

/// The good header with `members` in it.
fn header(members: &str) -> Verdict {
    judge(&sign_with_header(&format!(r#"{{"alg":"ES256","kid":"EC256_0",{members}}}"#)))
}

macro_rules! pitfalls {
    ($($name:ident: $verdict:expr => $pattern:pat,)*) => {
        $(
            #[test]
            fn $name() {
                refused!($verdict, $pattern);
            }
        )*
    };
}

const MEMBER: CompactError = CompactError::HeaderMember;

pitfalls! {
    nbf_in_the_future: judge_claims(&with("nbf", NOW + 60)) => VerifyError::NotYetValid,
    nbf_as_a_string: judge_claims(&with("nbf", "1800000000")) => VerifyError::Claims,
    exp_a_minute_ago: judge_claims(&with("exp", NOW - 60)) => VerifyError::Expired,
    exp_a_quarter_of_an_hour_ago: judge_claims(&with("exp", NOW - 900)) => VerifyError::Expired,
    exp_missing: judge_claims(&without("exp")) => VerifyError::Missing("exp"),
    exp_as_a_string: judge_claims(&with("exp", "1800000300")) => VerifyError::Claims,
    exp_as_a_huge_float: raw(&claims().to_string().replace("1800000300", "1e15")) => VerifyError::Claims,
    exp_at_the_end_of_time: judge_claims(&with("exp", u64::MAX)) => VerifyError::LifetimeTooLong,
    aud_missing: judge_claims(&without("aud")) => VerifyError::Missing("aud"),
    aud_as_a_number: judge_claims(&with("aud", 42)) => VerifyError::Claims,
    aud_as_an_object: judge_claims(&with("aud", json!({}))) => VerifyError::Claims,
    aud_as_an_empty_list: judge_claims(&with("aud", json!([]))) => VerifyError::Audience,
    aud_of_several: judge_claims(&with("aud", json!([AUDIENCE, "evil"]))) => VerifyError::SeveralAudiences,
    iss_missing: judge_claims(&without("iss")) => VerifyError::Missing("iss"),
    iss_as_a_number: judge_claims(&with("iss", 42)) => VerifyError::Claims,
    iss_as_a_list_with_a_foreign_one: judge_claims(&with("iss", json!(["https://evil.example", ISSUER]))) => VerifyError::Claims,
    sub_missing: judge_claims(&without("sub")) => VerifyError::Missing("sub"),
    iat_in_the_future: judge_claims(&with("iat", NOW + 60)) => VerifyError::IssuedInFuture,
    crit_unknown: header(r#""crit":["new"],"new":1"#) => VerifyError::Malformed(MEMBER),
    crit_empty: header(r#""crit":[]"#) => VerifyError::Malformed(MEMBER),
    b64_false_without_crit: header(r#""b64":false"#) => VerifyError::Malformed(MEMBER),
    b64_false_with_crit: header(r#""b64":false,"crit":["b64"]"#) => VerifyError::Malformed(MEMBER),
    zip_in_the_header: header(r#""zip":"DEF""#) => VerifyError::Malformed(MEMBER),
    typ_of_another_kind: header(r#""typ":"at+jwt""#) => VerifyError::Type,
    kid_missing_with_two_keys_that_fit: {
        let kid = |name| agentkeys_core::jose::KeyId::parse(name).ok();
        let set = [fake().key_set(), other().key_set()].map(|set| set.by_kid("EC256_0").unwrap().key().clone());
        let [one, two] = set;
        let keys = [("a", one), ("b", two)].map(|(name, key)| agentkeys_core::jose::Jwk::new(kid(name), key));
        let keys = std::sync::Arc::new(StaticKeys::new(agentkeys_core::jose::KeySet::new(keys)));
        let profile = agentkeys_core::Profile::oidc(fake().issuer().clone(), keys);
        let verifier = Verifier::new(profile, Audience::parse(AUDIENCE).unwrap());
        verifier.verify_with_known_keys::<NoClaims>(&sign_with_header(r#"{"alg":"ES256"}"#), at(NOW))
    } => VerifyError::AmbiguousKey,
    kid_of_another_key: judge(&sign_with_header(r#"{"alg":"ES256","kid":"EC384_0"}"#)) => VerifyError::Algorithm,
    kid_of_no_key: judge(&sign_with_header(r#"{"alg":"ES256","kid":"EC256_1"}"#)) => VerifyError::UnknownKey,
    a_doubled_unknown_header_member: header(r#""x5t":"a","x5t":"b""#) => VerifyError::Malformed(CompactError::HeaderJson),
    a_doubled_alg: header(r#""alg":"ES256""#) => VerifyError::Malformed(CompactError::HeaderJson),
    an_unknown_header_member: header(r#""new":1"#) => VerifyError::Malformed(MEMBER),
    a_doubled_private_claim: before(r#""role":"admin","role":"user""#) => VerifyError::Claims,
    a_doubled_iss: before(&format!(r#""iss":"{ISSUER}""#)) => VerifyError::Claims,
    a_token_of_four_mebibytes: judge(&sign(&with("pad", "x".repeat(4 << 20)))) => VerifyError::Malformed(CompactError::TooLarge),
    two_hundred_levels_in_a_claim_that_nobody_reads: before(&format!(r#""x":{}{}"#, "[".repeat(200), "]".repeat(200))) => VerifyError::Malformed(CompactError::TooDeep),
}

#[test]
fn exp_at_this_very_second_is_within_the_stated_skew_and_no_more() {
    judge_claims(&with("exp", NOW)).unwrap();
    refused!(judge_claims(&with("exp", NOW - 30)), VerifyError::Expired);
}

#[test]
fn a_doubled_member_below_a_typed_claim_is_refused() {
    #[derive(Debug, serde::Deserialize)]
    struct Wanted {
        #[serde(rename = "tags")]
        _tags: Tags,
    }
    #[derive(Debug, serde::Deserialize)]
    struct Tags {
        #[serde(rename = "tenant")]
        _tenant: String,
    }
    let text = format!(r#"{{"tags":{{"tenant":"a","tenant":"b"}},{}"#, &claims().to_string()[1..]);
    let token = fake().sign_raw(Algorithm::Es256, r#"{"alg":"ES256","kid":"EC256_0"}"#, &text);
    refused!(verifier().verify_with_known_keys::<Wanted>(&token, at(NOW)), VerifyError::Claims);
}

#[test]
fn a_doubled_member_at_any_depth_of_a_claim_that_is_read() {
    use std::collections::BTreeMap;

    use serde_json::{Map, Value};
    let sign = |claim: &str| {
        let text = format!("{{{claim},{}", &claims().to_string()[1..]);
        fake().sign_raw(Algorithm::Es256, r#"{"alg":"ES256","kid":"EC256_0"}"#, &text)
    };
    for doubled in
        [r#""a":{"b":1,"b":2}"#, r#""a":{"x":{"b":1,"\u0062":2}}"#, r#""a":[{"b":1},{"b":1,"b":2}]"#]
    {
        let token = sign(doubled);
        refused!(
            verifier().verify_with_known_keys::<Map<String, Value>>(&token, at(NOW)),
            VerifyError::Claims
        );
        refused!(
            verifier().verify_with_known_keys::<BTreeMap<String, Value>>(&token, at(NOW)),
            VerifyError::Claims
        );
    }
    // every form of value arrives as it was written
    let claim = r#""a":{"b":[1,-1,1.5,"x","\n",true,null,{"b":{"b":[]}}],"c":{}}"#;
    let verified = verifier().verify_with_known_keys::<Value>(&sign(claim), at(NOW)).unwrap();
    assert_eq!(*verified.claims(), serde_json::from_str::<Value>(&format!("{{{claim}}}")).unwrap());
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Unit,
        New(Option<u8>),
        Named { x: char },
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Wanted {
        kinds: Vec<Kind>,
        pair: (bool, f32),
    }
    let claim = r#""kinds":["unit",{"new":7},{"new":null},{"named":{"x":"y"}}],"pair":[true,1.5]"#;
    let verified = verifier().verify_with_known_keys::<Wanted>(&sign(claim), at(NOW)).unwrap();
    let kinds = vec![Kind::Unit, Kind::New(Some(7)), Kind::New(None), Kind::Named { x: 'y' }];
    assert_eq!(*verified.claims(), Wanted { kinds, pair: (true, 1.5) });
}

#[test]
fn l15_a_list_of_audiences_is_taken_where_it_is_asked_for_and_must_hold_ours() {
    let lists = verifier().with_several_audiences_accepted();
    let judge = |aud| lists.verify_with_known_keys::<NoClaims>(&sign(&with("aud", aud)), at(NOW));
    judge(json!([AUDIENCE, "other"])).unwrap();
    judge(json!(["other", AUDIENCE])).unwrap();
    judge(json!(AUDIENCE)).unwrap();
    refused!(judge(json!(["other", "another"])), VerifyError::Audience);
    refused!(judge(json!([])), VerifyError::Audience);
    refused!(judge(json!([AUDIENCE, 1])), VerifyError::Claims);
}

#[test]
fn l14_a_maximum_age_counts_from_iat_with_the_one_skew() {
    let young = verifier().with_max_age(Duration::from_secs(60));
    let judge = |iat| young.verify_with_known_keys::<NoClaims>(&sign(&with("iat", iat)), at(NOW));
    judge(NOW).unwrap();
    judge(NOW - 89).unwrap();
    let refused = judge(NOW - 90);
    assert_eq!(refused.as_ref().unwrap_err().code(), "token_too_old");
    refused!(refused, VerifyError::TooOld);
    // without it the age is bounded by the lifetime alone
    judge_claims(&with("iat", NOW - 3600)).unwrap();
}

#[test]
fn l14_a_maximum_age_makes_iat_required_of_an_svid_too() {
    let bundle = (
        agentkeys_core::TrustDomain::parse("a.example").unwrap(),
        std::sync::Arc::new(StaticKeys::new(fake().key_set()))
            as std::sync::Arc<dyn agentkeys_core::KeySource>,
    );
    let profile = agentkeys_core::Profile::jwt_svid([bundle]);
    let verifier = Verifier::new(profile, Audience::parse(AUDIENCE).unwrap());
    let svid = json!({ "sub": "spiffe://a.example/x", "aud": AUDIENCE, "exp": NOW + 300 });
    let judge = |verifier: &Verifier| verifier.verify_with_known_keys::<NoClaims>(&sign(&svid), at(NOW));
    judge(&verifier).unwrap();
    refused!(judge(&verifier.with_max_age(Duration::from_secs(60))), VerifyError::Missing("iat"));
}

#[test]
fn w20_l12_a_header_member_that_is_named_is_ignored_and_never_one_that_brings_a_key() {
    let token = sign_with_header(r#"{"alg":"ES256","kid":"EC256_0","ver":"1.0"}"#);
    refused!(judge(&token), VerifyError::Malformed(MEMBER));
    let strict = verifier();
    let named = strict.clone().with_ignored_header_member("ver").with_ignored_header_member("jwk");
    for _ in 0..2 {
        named.verify_with_known_keys::<NoClaims>(&token, at(NOW)).unwrap();
        let refused = strict.verify_with_known_keys::<NoClaims>(&token, at(NOW));
        refused!(refused, VerifyError::Malformed(MEMBER));
    }
    let brings = sign_with_header(r#"{"alg":"ES256","kid":"EC256_0","jwk":{}}"#);
    refused!(named.verify_with_known_keys::<NoClaims>(&brings, at(NOW)), VerifyError::Malformed(MEMBER));
}

#[test]
fn looking_a_key_up_allocates_nothing() {
    let keys = StaticKeys::new(fake().key_set());
    let lookup = || {
        let snapshot = keys.read(at(NOW)).unwrap();
        assert!(snapshot.by_kid("EC256_0").is_some() && snapshot.by_kid("nobody's").is_none());
    };
    assert_eq!(allocation_counter::measure(lookup).count_total, 0);
}
