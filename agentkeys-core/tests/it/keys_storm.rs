//! The promises of the key cache, in virtual time: storms, outages, rotation, a refresh that never ends.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{KeyError, NoClaims, VerifyError};

use crate::keys_cache::{World, settle};
use crate::support::*;

/// A token of `kid`, signed by somebody else.
fn made_up(kid: usize) -> String {
    let header = format!(r#"{{"alg":"ES256","kid":"made-up-{kid}"}}"#);
    other().sign_raw(Algorithm::Es256, &header, &claims().to_string())
}

/// The verdict of the first poll.
fn at_once(world: &World, token: &str) -> Poll<Verdict> {
    let verdict = pin!(world.verifier.verify::<NoClaims>(token));
    verdict.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w16_ten_thousand_verifies_of_a_thousand_unknown_kids_fetch_once_per_cooldown() {
    let world = Arc::new(World::new());
    world.verify(&world.token()).await.unwrap();
    let tokens: Arc<Vec<_>> = Arc::new((0..1000).map(made_up).collect());
    for round in 0..4 {
        world.pass(10);
        let readers: Vec<_> = (0..10_000)
            .map(|at| {
                let (world, tokens) = (Arc::clone(&world), Arc::clone(&tokens));
                tokio::spawn(async move { world.verify(&tokens[at % 1000]).await.map(drop) })
            })
            .collect();
        for reader in readers {
            assert!(matches!(reader.await.unwrap(), Err(VerifyError::UnknownKey)));
        }
        assert!(world.tries() <= 2 + round, "{} in round {round}", world.tries());
    }
    assert!(world.tries() > 1);
}

#[tokio::test]
async fn l28_an_issuer_that_is_down_until_just_before_the_hard_age_fails_no_verify() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.go_down();
    for _ in 0..86_399 / 97 {
        world.pass(97);
        world.verify(&world.token()).await.unwrap();
        settle().await;
    }
    world.pass(86_399 % 97);
    world.verify(&world.token()).await.unwrap();
    assert!(world.tries() > 500, "it was asked all the time: {}", world.tries());
}

#[tokio::test]
async fn l28_past_the_hard_age_every_verify_is_unavailable_and_none_invalid() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.go_down();
    world.pass(86_400);
    for _ in 0..100 {
        unavailable(&world.verify(&world.token()).await.unwrap_err());
        unavailable(&world.verify(&made_up(0)).await.unwrap_err());
        let forged = other().sign(Algorithm::Es256, &claims());
        unavailable(&world.verify(&forged).await.unwrap_err());
        world.pass(7);
    }
    fake().publish(&world.http);
    world.pass(60);
    world.verify(&world.token()).await.unwrap();
}

/// Two keys of the issuer: the set of its other algorithms' keys stands for "before", the whole for "after".
#[tokio::test]
async fn rotation_with_overlap_fails_no_verify() {
    let world = World::new();
    let publish = |kids: &[Algorithm]| {
        let kids: Vec<_> = kids.iter().map(|algorithm| FakeIssuer::kid(*algorithm)).collect();
        let mut jwks = fake().jwks();
        jwks["keys"].as_array_mut().unwrap().retain(|jwk| kids.contains(&jwk["kid"].as_str().unwrap()));
        world.http.answer(&fake().issuer().jwks_url(), 200, jwks.to_string());
    };
    let (old, new) = (Algorithm::Es384, Algorithm::Es256);
    let tokens = |signing: &[Algorithm]| {
        let (_, claims) = open(&world.token());
        signing.iter().map(|algorithm| fake().sign(*algorithm, &claims)).collect::<Vec<_>>()
    };
    // published alone; both published and the old one signs; the new one signs and tokens of the old one
    // are still out; the new one alone
    for (published, signing) in
        [(&[old][..], &[old][..]), (&[old, new], &[old]), (&[old, new], &[old, new]), (&[new], &[new])]
    {
        publish(published);
        for _ in 0..40 {
            for token in tokens(signing) {
                world.verify(&token).await.unwrap();
            }
            settle().await;
            world.pass(60);
        }
    }
    assert!(world.fetches() > 10);
}

#[tokio::test]
async fn a_refresh_that_never_ends_keeps_no_verify_of_a_known_key_waiting() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    let _held = world.http.hold().await;
    // fresh: an unknown kid begins the refresh
    world.pass(10);
    assert!(at_once(&world, &made_up(0)).is_pending());
    settle().await;
    // 10 s to just before the hard age, soft-stale from 600 s on
    for seconds in [0, 580, 9, 1, 600, 85_199] {
        world.pass(seconds);
        for kid in 0..50 {
            assert!(matches!(at_once(&world, &world.token()), Poll::Ready(Ok(_))));
            assert!(at_once(&world, &made_up(kid)).is_pending());
        }
        settle().await;
    }
    assert_eq!(world.tries(), 2);
    world.pass(1);
    assert!(at_once(&world, &world.token()).is_pending());
    let refused = world.verifier.verify_with_known_keys::<NoClaims>(&world.token(), at(NOW + 86_400));
    assert!(matches!(refused, Err(VerifyError::Keys(KeyError::Stale { .. }))));
}
