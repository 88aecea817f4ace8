//! Which key: by name, within one issuer, never by what the token brings.

use std::sync::Arc;

use agentkeys_core::jose::{Algorithm, Jwk, KeyId, KeySet};
use agentkeys_core::{Audience, NoClaims, Profile, StaticKeys, Verifier, VerifyError};

use crate::support::*;

fn verifier_of(keys: KeySet) -> Verifier {
    let profile = Profile::oidc(fake().issuer().clone(), Arc::new(StaticKeys::new(keys)));
    Verifier::new(profile, Audience::parse(AUDIENCE).unwrap())
}

fn judge_with(keys: KeySet, token: &str) -> Verdict {
    verifier_of(keys).verify_with_known_keys(token, at(NOW))
}

fn renamed(jwk: &Jwk, kid: &str) -> Jwk {
    Jwk::new(Some(KeyId::parse(kid).unwrap()), jwk.key().clone())
}

fn es256(set: &KeySet) -> &Jwk {
    set.by_kid("EC256_0").unwrap()
}

/// Both issuers' P-256 keys, ours as `ours` and the other as `theirs`.
fn two() -> KeySet {
    let (ours, theirs) = (fake().key_set(), other().key_set());
    KeySet::new([renamed(es256(&ours), "ours"), renamed(es256(&theirs), "theirs")])
}

#[test]
fn the_kid_of_another_key_does_not_verify() {
    let named = |kid| sign_with_header(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#));
    judge_with(two(), &named("ours")).unwrap();
    refused!(judge_with(two(), &named("theirs")), VerifyError::Signature);
    refused!(judge_with(two(), &named("nobody's")), VerifyError::UnknownKey);
    refused!(judge_with(two(), &named("")), VerifyError::UnknownKey);
    refused!(judge_with(two(), &named("OURS")), VerifyError::UnknownKey);
}

#[test]
fn without_a_kid_exactly_one_key_must_fit() {
    let token = sign_with_header(r#"{"alg":"ES256"}"#);
    judge(&token).unwrap();
    refused!(judge_with(two(), &token), VerifyError::AmbiguousKey);
    let rsa = KeySet::new([fake().key_set().by_kid("RSA_0").unwrap().clone()]);
    refused!(judge_with(rsa, &token), VerifyError::UnknownKey);
    refused!(judge_with(other().key_set(), &token), VerifyError::Signature);
}

#[test]
fn the_same_nameless_key_twice_is_one_key() {
    let set = fake().key_set();
    let nameless = Jwk::new(None, es256(&set).key().clone());
    judge_with(KeySet::new([nameless.clone(), nameless]), &sign_with_header(r#"{"alg":"ES256"}"#)).unwrap();
}

#[test]
fn l16_the_same_kid_at_another_issuer_is_another_key() {
    let foreign = other().sign(Algorithm::Es256, &claims());
    refused!(judge(&foreign), VerifyError::Signature);
}

#[test]
fn w49_a_kid_that_means_two_keys_means_none() {
    let (ours, theirs) = (fake().key_set(), other().key_set());
    let set = KeySet::new([es256(&ours).clone(), es256(&theirs).clone(), renamed(es256(&ours), "kept")]);
    assert_eq!((set.keys().len(), set.contradicted()), (1, 2));
    refused!(judge_with(set, &sign(&claims())), VerifyError::UnknownKey);
}

#[test]
fn an_empty_set_knows_no_key() {
    refused!(judge_with(KeySet::default(), &sign(&claims())), VerifyError::UnknownKey);
}

#[tokio::test]
async fn static_keys_are_never_refreshed_into_something_else() {
    let verdict =
        verifier_of(KeySet::default()).with_clock(clock()).verify::<NoClaims>(&sign(&claims())).await;
    refused!(verdict, VerifyError::UnknownKey);
}
