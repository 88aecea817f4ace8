//! Key rings through their states, in virtual time: no consumer ever lacks a key that it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use agentkeys_core::{
    ErrorKind, KeyRing, KeyRingError, KeyState, Oidc, RotationTimes, Session, SystemRandom,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

const MAX_AGE: u64 = 300;

fn times() -> RotationTimes {
    RotationTimes::new(Duration::from_secs(MAX_AGE))
}

fn fresh() -> KeyRing<Oidc> {
    KeyRing::generate(&SystemRandom::new(), at(NOW)).unwrap()
}

fn stage(ring: &KeyRing<Oidc>, now: u64) -> KeyRing<Oidc> {
    ring.stage(&SystemRandom::new(), at(now)).unwrap()
}

fn states(ring: &KeyRing<Oidc>) -> Vec<KeyState> {
    ring.keys().iter().map(agentkeys_core::RingKey::state).collect()
}

fn published(ring: &KeyRing<Oidc>) -> BTreeSet<String> {
    let jwks = serde_json::to_value(ring.jwks()).unwrap();
    jwks["keys"].as_array().unwrap().iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect()
}

fn signing(ring: &KeyRing<Oidc>) -> String {
    ring.active().public_jwk().kid().as_str().to_owned()
}

#[test]
fn w42_a_key_is_published_for_its_lead_before_it_signs() {
    let ring = stage(&fresh(), NOW + 10);
    assert_eq!(states(&ring), [KeyState::Active, KeyState::Next]);
    assert!(matches!(ring.stage(&SystemRandom::new(), at(NOW)), Err(KeyRingError::NextExists)));
    let early = ring.promote(at(NOW + 309), times()).unwrap_err();
    assert_eq!((early.kind(), early.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(1))));
    let next = ring.keys()[1].kid().as_str();
    assert_eq!(signing(&ring.promote(at(NOW + 310), times()).unwrap()), next);
    // a longer lead is kept, a shorter one than the JWKS may be old is not taken
    let longer = times().with_lead(Duration::from_secs(900));
    assert!(matches!(ring.promote(at(NOW + 909), longer), Err(KeyRingError::TooEarly { .. })));
    ring.promote(at(NOW + 910), longer).unwrap();
    assert_eq!(times().with_lead(Duration::ZERO), times());
    let none = fresh().promote(at(NOW + 9999), times()).unwrap_err();
    assert!(matches!(none, KeyRingError::NoNext));
    assert_eq!((none.kind(), none.retry_after()), (ErrorKind::Misconfigured, None));
}

#[test]
fn w42_a_retired_key_is_published_until_its_last_token_has_ended() {
    let first = fresh();
    let ring = stage(&first, NOW).promote(at(NOW + 300), times()).unwrap();
    assert_eq!(states(&ring), [KeyState::Active, KeyState::Retired]);
    let end = NOW + 300 + RotationTimes::MIN_OVERLAP.as_secs();
    assert_eq!(ring.keys()[1].retire_at(), Some(at(end)));
    assert_eq!(published(&ring.prune(at(end - 1))).len(), 2);
    assert_eq!(published(&ring.prune(at(end))), BTreeSet::from([signing(&ring)]));
    let longer = times().with_overlap(Duration::from_secs(7200));
    let ring = stage(&first, NOW).promote(at(NOW + 300), longer).unwrap();
    assert_eq!(ring.keys()[1].retire_at(), Some(at(NOW + 7500)));
    assert_eq!(times().with_overlap(Duration::ZERO), times());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn w42_no_rotation_leaves_a_consumer_without_the_key_of_a_live_token(
        steps in proptest::collection::vec((0_u8..3, 0_u64..2000), 1..30)
    ) {
        let (mut ring, mut now) = (fresh(), NOW);
        // what was published since when, and which key signed since when
        let mut published_since = vec![(now, published(&ring))];
        let mut signed = vec![(now, signing(&ring))];
        for (step, pause) in steps {
            now += pause;
            // the old key's last token
            signed.push((now, signing(&ring)));
            ring = match step {
                0 => ring.stage(&SystemRandom::new(), at(now)).unwrap_or(ring),
                1 => ring.promote(at(now), times()).unwrap_or(ring),
                _ => ring.prune(at(now)),
            };
            prop_assert_eq!(states(&ring).iter().filter(|state| **state == KeyState::Active).count(), 1);
            published_since.push((now, published(&ring)));
            signed.push((now, signing(&ring)));
        }
        for (minted, kid) in signed {
            // a JWKS that was fetched up to MAX_AGE before the token was made, or while it lived
            let from = minted.saturating_sub(MAX_AGE).max(NOW);
            let until = minted + RotationTimes::MIN_OVERLAP.as_secs();
            for (place, (since, keys)) in published_since.iter().enumerate() {
                let ended = published_since.get(place + 1).map_or(u64::MAX, |(next, _)| *next);
                if *since < until && ended > from {
                    prop_assert!(keys.contains(&kid), "minted {} published {}", minted - NOW, since - NOW);
                }
            }
        }
    }
}

#[test]
fn the_published_set_has_caching_headers_that_follow_its_body() {
    let ring = fresh();
    let answer = ring.publish(times()).unwrap();
    assert_eq!(answer.cache_control(), "public, max-age=300");
    assert_eq!(answer.body(), serde_json::to_vec(&ring.jwks()).unwrap());
    assert!(answer.etag().starts_with('"') && answer.etag().ends_with('"') && answer.etag().len() == 45);
    assert_eq!(answer, ring.publish(times()).unwrap());
    assert_ne!(answer.etag(), stage(&ring, NOW).publish(times()).unwrap().etag());
}

#[test]
fn x5c_is_published_only_where_asked_for_and_only_with_a_certificate_of_the_key() {
    let ring = fresh();
    let kid = ring.keys()[0].kid().clone();
    let jwks = serde_json::to_value(ring.jwks()).unwrap();
    let member = |name: &str| decode(jwks["keys"][0][name].as_str().unwrap());
    let own = [vec![0x30, 0x82, 4], member("x"), member("y"), vec![1, 2]].concat();
    let with = ring.clone().with_x5c(&kid, &[&own, b"issuer"]).unwrap();
    let published: Value = serde_json::from_slice(with.publish(times()).unwrap().body()).unwrap();
    assert_eq!(published["keys"][0]["x5c"].as_array().unwrap().len(), 2);
    assert_eq!(published["keys"][0]["x5c"][1], "aXNzdWVy");
    assert_eq!(jwks["keys"][0].get("x5c"), None);
    for chain in [&[][..], &[b"foreign".as_slice()], &[b"issuer".as_slice(), &own]] {
        assert!(matches!(ring.clone().with_x5c(&kid, chain), Err(KeyRingError::Jwk(_))));
    }
    assert!(matches!(fresh().with_x5c(&kid, &[&own]), Err(KeyRingError::Kid)));
}

#[test]
fn w43_one_key_does_not_stand_in_the_rings_of_both_purposes() {
    let oidc = fresh();
    let text = String::from_utf8(oidc.to_secret().unwrap().expose().clone()).unwrap();
    let text = text.replace("\"oidc\"", "\"session\"").into_bytes();
    let session = KeyRing::<Session>::from_secret(&agentkeys_core::Secret::new(text)).unwrap();
    assert!(matches!(oidc.ensure_apart_from(&session), Err(KeyRingError::SharedKey)));
    let rotated = stage(&oidc, NOW).promote(at(NOW + 300), times()).unwrap();
    assert!(matches!(session.ensure_apart_from(&rotated), Err(KeyRingError::SharedKey)));
    let other = KeyRing::<Session>::generate(&SystemRandom::new(), at(NOW)).unwrap();
    oidc.ensure_apart_from(&other).unwrap();
}

#[test]
fn a_ring_has_a_bound() {
    let (mut ring, mut now) = (fresh(), NOW);
    loop {
        match ring.stage(&SystemRandom::new(), at(now)) {
            Ok(staged) => {
                now += MAX_AGE;
                ring = staged.promote(at(now), times()).unwrap();
            }
            Err(refused) => {
                assert!(matches!(refused, KeyRingError::TooManyKeys));
                break;
            }
        }
    }
    assert_eq!(ring.keys().len(), agentkeys_core::MAX_RING_KEYS);
    let again = KeyRing::<Oidc>::from_secret(&ring.to_secret().unwrap()).unwrap();
    assert_eq!(json!(again.jwks()), json!(ring.jwks()));
}
