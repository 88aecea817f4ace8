//! Tokens that name a key which the cached set does not have.

use std::sync::Arc;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::{KeyError, NoClaims, VerifyError};
use serde_json::Value;

use crate::keys_cache::{World, settle};
use crate::support::*;

fn of_an_unknown_key(world: &World, kid: &str) -> String {
    let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
    let (_, claims) = open(&world.token());
    other().sign_raw(Algorithm::Es256, &header, &claims.to_string())
}

/// The issuer publishes only the keys that `keep` likes.
fn publish_only(world: &World, keep: impl Fn(&Value) -> bool) {
    let mut jwks = fake().jwks();
    jwks["keys"].as_array_mut().unwrap().retain(keep);
    world.http.answer(&fake().issuer().jwks_url(), 200, jwks.to_string());
}

#[tokio::test]
async fn w16_unknown_kids_cause_one_fetch_per_cooldown() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    for round in 0..3 {
        world.pass(10);
        for at in 0..50 {
            let token = of_an_unknown_key(&world, &format!("made-up-{at}"));
            refused!(world.verify(&token).await, VerifyError::UnknownKey);
        }
        assert_eq!(world.tries(), 2 + round);
    }
}

#[tokio::test]
async fn w16_a_fetch_that_fails_counts_and_nobody_is_told_that_the_key_does_not_exist() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.go_down();
    world.pass(10);
    let token = of_an_unknown_key(&world, "perhaps-new");
    let first = world.verify(&token).await.unwrap_err();
    assert!(matches!(first, VerifyError::Keys(KeyError::Http(_))), "{first:?}");
    for _ in 0..20 {
        unavailable(&world.verify(&token).await.unwrap_err());
        world.verify(&world.token()).await.unwrap();
    }
    assert_eq!(world.tries(), 2);
    fake().publish(&world.http);
    world.pass(10);
    refused!(world.verify(&token).await, VerifyError::UnknownKey);
    assert_eq!(world.tries(), 3);
}

#[tokio::test]
async fn a_rotated_key_is_found_by_all_who_wait_for_the_one_fetch() {
    let world = Arc::new(World::new());
    publish_only(&world, |jwk| jwk["kid"] != "EC256_0");
    world.cache.prefetch().await.unwrap();
    world.pass(10);
    fake().publish(&world.http);
    assert!(world.readers(50).await.iter().all(Result::is_ok));
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn an_ignored_header_member_does_not_hide_that_the_key_is_new() {
    let world = World::new();
    publish_only(&world, |jwk| jwk["kid"] != "EC256_0");
    world.cache.prefetch().await.unwrap();
    world.pass(10);
    fake().publish(&world.http);
    let (_, claims) = open(&world.token());
    let header = r#"{"alg":"ES256","kid":"EC256_0","ver":"1.0"}"#;
    let token = fake().sign_raw(Algorithm::Es256, header, &claims.to_string());
    let verifier = world.verifier.clone().with_ignored_header_member("ver");
    verifier.verify::<NoClaims>(&token).await.unwrap();
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn a_removed_key_stops_working_with_the_next_refresh() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    publish_only(&world, |jwk| jwk["kid"] != "EC256_0");
    world.verify(&world.token()).await.unwrap();
    world.pass(600);
    world.verify(&world.token()).await.unwrap();
    settle().await;
    refused!(world.verify(&world.token()).await, VerifyError::UnknownKey);
}

#[tokio::test]
async fn w16_wrong_signatures_under_known_kids_cause_one_fetch_per_cooldown() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    for round in 0..3 {
        world.pass(10);
        for _ in 0..50 {
            let forged = of_an_unknown_key(&world, "EC256_0");
            refused!(world.verify(&forged).await, VerifyError::Signature);
        }
        assert_eq!(world.tries(), 2 + round);
    }
    // nobody is told that a forgery may be good later
    world.go_down();
    world.pass(10);
    for _ in 0..2 {
        refused!(world.verify(&of_an_unknown_key(&world, "EC256_0")).await, VerifyError::Signature);
    }
    assert_eq!(world.tries(), 5);
}

#[tokio::test]
async fn another_key_under_the_same_name_is_found_under_the_same_cooldown() {
    let world = Arc::new(World::new());
    world.http.answer(&fake().issuer().jwks_url(), 200, other().jwks().to_string());
    world.cache.prefetch().await.unwrap();
    // too soon after the last fetch: the keys that are trusted now decide
    refused!(world.verify(&world.token()).await, VerifyError::Signature);
    world.pass(10);
    fake().publish(&world.http);
    assert!(world.readers(50).await.iter().all(Result::is_ok));
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn w16_a_kid_that_is_known_to_be_unknown_causes_no_other_fetch_for_six_cooldowns() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.pass(10);
    let token = of_an_unknown_key(&world, "made-up");
    for _ in 0..6 {
        refused!(world.verify(&token).await, VerifyError::UnknownKey);
        assert_eq!(world.tries(), 2);
        world.pass(10);
    }
    refused!(world.verify(&token).await, VerifyError::UnknownKey);
    assert_eq!(world.tries(), 3);
    // another one is asked for meanwhile
    world.pass(10);
    refused!(world.verify(&of_an_unknown_key(&world, "perhaps-new")).await, VerifyError::UnknownKey);
    assert_eq!(world.tries(), 4);
}

#[tokio::test]
async fn w16_a_kid_that_no_key_can_have_fetches_nothing() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.pass(10);
    for kid in ["", "k\u{e9}y", &"k".repeat(257)] {
        refused!(world.verify(&of_an_unknown_key(&world, kid)).await, VerifyError::UnknownKey);
    }
    assert_eq!(world.tries(), 1);
}

#[tokio::test]
async fn w16_l10_only_a_well_formed_token_of_this_issuer_causes_a_fetch() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.pass(10);
    let header = r#"{"alg":"ES256","kid":"made-up"}"#;
    let signed = |header: &str, claims: &str| other().sign_raw(Algorithm::Es256, header, claims);
    let good = claims().to_string();
    for garbage in [
        "a.b.c".to_owned(),
        signed(r#"{"alg":"HS256","kid":"made-up"}"#, &good),
        signed(r#"{"alg":"ES256","kid":"made-up","typ":"other"}"#, &good),
        signed(r#"{"alg":"ES256","kid":"made-up","jku":"https://evil.example"}"#, &good),
        signed(header, "not JSON"),
        signed(header, "{}"),
        signed(header, &with("iss", "https://evil.example").to_string()),
        format!("{}=", signed(header, &good)),
    ] {
        world.verify(&garbage).await.unwrap_err();
    }
    assert_eq!(world.tries(), 1);
    refused!(world.verify(&signed(header, &good)).await, VerifyError::UnknownKey);
    assert_eq!(world.tries(), 2);
}
