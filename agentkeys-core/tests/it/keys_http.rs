//! What the issuer's answers say of themselves: Cache-Control, ETag; and where the host says the keys are.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeHttp, FakeIssuer, SeededRandom};
use agentkeys_core::{CacheAges, HttpResponse, JwksCache, JwksUri, KeyError, VerifyError};

use crate::keys_cache::{World, settle};
use crate::support::*;

/// Answers with the key set, or with nothing where `status` is 304, and with these headers.
fn respond(world: &World, status: u16, headers: &[(&str, &str)]) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = if status == 200 { fake().jwks().to_string() } else { String::new() };
    world.http.respond(&fake().issuer().jwks_url(), HttpResponse::new(status, headers, body));
}

/// The tags that the requests for the key set named, in order.
fn tags(world: &World) -> Vec<Option<String>> {
    let url = fake().issuer().jwks_url();
    let asked = world.http.requests().into_iter().filter(|request| request.url == url);
    let tag = |headers: Vec<(String, String)>| {
        headers.into_iter().find(|(name, _)| name == "if-none-match").map(|(_, value)| value)
    };
    asked.map(|request| tag(request.headers)).collect()
}

/// Verifies, and lets a background refresh come to its end.
async fn verify_and_settle(world: &World) {
    world.verify(&world.token()).await.unwrap();
    settle().await;
}

#[tokio::test]
async fn max_age_sets_the_soft_age_within_bounds() {
    for (value, soft) in [("max-age=900", 900), ("no-store", 60), ("max-age=5", 60), ("max-age=86400", 3600)]
    {
        let world = World::new();
        respond(&world, 200, &[("cache-control", value)]);
        verify_and_settle(&world).await;
        world.pass(soft - 1);
        verify_and_settle(&world).await;
        assert_eq!(world.tries(), 1, "{value}");
        world.pass(1);
        verify_and_settle(&world).await;
        assert_eq!(world.tries(), 2, "{value}");
    }
}

#[tokio::test]
async fn a_304_keeps_the_set_and_renews_its_age() {
    let world = World::new();
    respond(&world, 200, &[("etag", "\"one\"")]);
    verify_and_settle(&world).await;
    respond(&world, 304, &[("cache-control", "max-age=3600")]);
    // for three times the hard age
    for _ in 0..72 {
        world.pass(3600);
        verify_and_settle(&world).await;
    }
    assert_eq!(world.tries(), 73);
    let sent = tags(&world);
    assert_eq!(sent.first(), Some(&None));
    assert!(sent.iter().skip(1).all(|tag| tag.as_deref() == Some("\"one\"")));
    let health = world.cache.health(at(NOW + 72 * 3600));
    assert_eq!((health.age, health.keys, health.failures), (Some(Duration::ZERO), 4, 0));
}

#[tokio::test]
async fn a_304_to_a_request_without_a_tag_is_no_answer() {
    let world = World::new();
    respond(&world, 304, &[]);
    let refused = world.verify(&world.token()).await.unwrap_err();
    assert!(matches!(refused, VerifyError::Keys(KeyError::Status(304))));
    // nor where the kept set came without a tag, or with one that is not sent back
    for tag in ["", "caf\u{e9}", "a\r\nx: y", &"t".repeat(257)] {
        let world = World::new();
        let headers: Vec<_> = (!tag.is_empty()).then_some(("etag", tag)).into_iter().collect();
        respond(&world, 200, &headers);
        verify_and_settle(&world).await;
        respond(&world, 304, &[]);
        world.pass(600);
        verify_and_settle(&world).await;
        assert_eq!((tags(&world), world.cache.health(at(NOW)).failures), (vec![None, None], 1), "{tag:?}");
    }
}

#[tokio::test]
async fn a_tag_is_not_sent_to_another_address() {
    let world = World::new();
    respond(&world, 200, &[("etag", "\"one\"")]);
    verify_and_settle(&world).await;
    let moved = "https://issuer.example/moved";
    let document = serde_json::json!({ "issuer": ISSUER, "jwks_uri": moved });
    world.http.answer(&fake().issuer().discovery_url(), 200, document.to_string());
    world.http.answer(moved, 200, fake().jwks().to_string());
    world.pass(600);
    verify_and_settle(&world).await;
    let asked = world.http.requests();
    let last = asked.last().unwrap();
    assert_eq!(last.url, moved);
    assert!(last.headers.iter().all(|(name, _)| name != "if-none-match"));
}

#[tokio::test]
async fn l10_w24_a_configured_address_is_the_only_one_asked() {
    let (http, clock) = (FakeHttp::new(), clock());
    let url = "https://keys.example/other?host=1";
    http.answer(url, 200, fake().jwks().to_string());
    let (client, time) = (Arc::clone(&http) as _, Arc::clone(&clock) as _);
    let cache = JwksCache::with_settings(fake().issuer().clone(), client, time, CacheAges::default())
        .with_jwks_uri(JwksUri::parse(url).unwrap())
        .with_random(SeededRandom::new(0));
    let world = World::over(http, clock, cache);
    world.verify(&world.token()).await.unwrap();
    let asked: Vec<_> = world.http.requests().into_iter().map(|request| request.url).collect();
    assert_eq!(asked, [url]);
}

#[tokio::test]
async fn failures_in_a_row_stretch_the_cooldown() {
    let world = World::new();
    world.go_down();
    // the instants at which a reader that never stops asking reaches the issuer
    let mut reached = Vec::new();
    for second in 0..=130_u64 {
        let before = world.tries();
        let refused = world.verify(&world.token()).await.unwrap_err();
        unavailable(&refused);
        if world.tries() > before {
            reached.push(second);
        } else {
            let next = world.cache.health(at(NOW + second)).next_try.unwrap();
            assert_eq!(refused.retry_after(), Some(next.since(at(NOW + second))));
        }
        world.pass(1);
    }
    assert_eq!(reached, [0, 10, 30, 60, 90, 120]);
    // one success ends it
    fake().publish(&world.http);
    world.pass(30);
    world.verify(&world.token()).await.unwrap();
    world.go_down();
    world.pass(10);
    world.cache.prefetch().await.unwrap_err();
    world.pass(10);
    fake().publish(&world.http);
    let before = world.tries();
    world.cache.prefetch().await.unwrap();
    assert_eq!(world.tries(), before + 1);
}

#[tokio::test]
async fn health_says_how_the_cache_does() {
    let world = World::new();
    let health = world.cache.health(at(NOW));
    assert!(health.age.is_none() && health.last_outcome.is_none() && health.next_try.is_none());
    assert_eq!((health.refreshes, health.keys), (0, 0));

    let mut jwks = fake().jwks();
    let keys = jwks["keys"].as_array_mut().unwrap();
    let mut double = other().jwks()["keys"][1].clone();
    double["kid"] = FakeIssuer::kid(Algorithm::Es384).into();
    keys.push(double);
    world.http.answer(&fake().issuer().jwks_url(), 200, jwks.to_string());
    world.verify(&world.token()).await.unwrap();
    let header = r#"{"alg":"ES256","kid":"made-up"}"#;
    let token = other().sign_raw(Algorithm::Es256, header, &claims().to_string());
    refused!(world.verify(&token).await, VerifyError::UnknownKey);
    world.pass(4);
    let health = world.cache.health(at(NOW + 4));
    assert_eq!((health.age, health.next_try), (Some(Duration::from_secs(4)), Some(at(NOW + 10))));
    assert!(matches!(health.last_outcome, Some(Ok(()))));
    assert_eq!((health.keys, health.contradicted_keys), (3, 2));
    assert_eq!((health.refreshes, health.failures, health.unknown_kids, health.throttled), (1, 0, 1, 1));

    world.go_down();
    world.pass(6);
    world.cache.prefetch().await.unwrap_err();
    let health = world.cache.health(at(NOW + 10));
    assert!(matches!(health.last_outcome, Some(Err(KeyError::Http(_)))));
    assert_eq!((health.refreshes, health.failures, health.keys), (2, 1, 3));
}
