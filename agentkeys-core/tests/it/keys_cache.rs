//! The key cache over a fake issuer and virtual time: ages, flights, failures.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::{KeySetError, MAX_KEY_SET_BYTES};
use agentkeys_core::testing::{FakeHttp, ManualClock, SeededRandom};
use agentkeys_core::{
    Audience, CacheAges, Clock as _, ErrorKind, Issuer, JwksCache, KeyError, KeySource as _, NoClaims,
    Profile, Verifier, VerifyError,
};
use serde_json::json;

use crate::support::*;

/// An issuer that is up, a cache of its keys and a verifier over that.
pub(crate) struct World {
    pub(crate) http: Arc<FakeHttp>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) cache: JwksCache,
    pub(crate) verifier: Verifier,
}

impl World {
    pub(crate) fn new() -> Self {
        let (http, clock, issuer) = (FakeHttp::new(), clock(), fake().issuer().clone());
        fake().publish(&http);
        let (client, time) = (Arc::clone(&http) as _, Arc::clone(&clock) as _);
        let cache = JwksCache::with_settings(issuer, client, time, CacheAges::default());
        // no jitter: the shortest back-off
        Self::over(http, clock, cache.with_random(SeededRandom::new(0)))
    }

    pub(crate) fn over(http: Arc<FakeHttp>, clock: Arc<ManualClock>, cache: JwksCache) -> Self {
        let issuer = fake().issuer().clone();
        let profile = Profile::oidc(issuer, Arc::new(cache.clone()));
        let verifier =
            Verifier::new(profile, Audience::parse(AUDIENCE).unwrap()).with_clock(Arc::clone(&clock) as _);
        Self { http, clock, cache, verifier }
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A token that is good now.
    pub(crate) fn token(&self) -> String {
        let now = self.clock.now().unwrap().as_unix();
        let mut claims = claims();
        (claims["iat"], claims["nbf"], claims["exp"]) = (now.into(), now.into(), (now + 300).into());
        sign(&claims)
    }

    pub(crate) async fn verify(&self, token: &str) -> Verdict {
        self.verifier.verify::<NoClaims>(token).await
    }

    /// How often the key set was fetched.
    pub(crate) fn fetches(&self) -> usize {
        let url = fake().issuer().jwks_url();
        self.http.requests().iter().filter(|request| request.url == url).count()
    }

    /// How often the issuer was asked at all.
    pub(crate) fn tries(&self) -> usize {
        let url = fake().issuer().discovery_url();
        self.http.requests().iter().filter(|request| request.url == url).count()
    }

    /// So many who verify a good token while the issuer's answer is held back: the outcome of each.
    pub(crate) async fn readers(self: &Arc<Self>, many: usize) -> Vec<Result<(), VerifyError>> {
        let held = self.http.hold().await;
        let readers: Vec<_> = (0..many)
            .map(|_| {
                let world = Arc::clone(self);
                tokio::spawn(async move { world.verify(&world.token()).await.map(drop) })
            })
            .collect();
        settle().await;
        drop(held);
        let mut outcomes = Vec::with_capacity(many);
        for reader in readers {
            outcomes.push(reader.await.unwrap());
        }
        outcomes
    }

    pub(crate) fn go_down(&self) {
        self.http.disconnect(&fake().issuer().jwks_url());
        self.http.disconnect(&fake().issuer().discovery_url());
    }
}

/// Gives every spawned task its turn.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn w18_nothing_is_fetched_before_it_is_needed() {
    let world = World::new();
    assert_eq!(world.tries(), 0);
    assert!(matches!(world.cache.read(at(NOW)), Err(KeyError::Stale { .. })));
    assert_eq!(world.tries(), 0);
    world.verify(&world.token()).await.unwrap();
    world.verify(&world.token()).await.unwrap();
    assert_eq!((world.tries(), world.fetches()), (1, 1));
    let asked = world.http.requests();
    assert!(asked.iter().all(|request| request.header_is("accept", "application/json")));
}

trait HeaderIs {
    fn header_is(&self, name: &str, value: &str) -> bool;
}

impl HeaderIs for agentkeys_core::HttpRequest {
    fn header_is(&self, name: &str, value: &str) -> bool {
        self.headers.iter().any(|(known, given)| known == name && given == value)
    }
}

#[tokio::test]
async fn w18_prefetch_only_reports_and_the_next_reader_tries_again() {
    let world = World::new();
    world.go_down();
    assert_eq!(world.cache.prefetch().await.unwrap_err().kind(), ErrorKind::Unavailable);
    fake().publish(&world.http);
    unavailable(&world.verify(&world.token()).await.unwrap_err());
    world.pass(10);
    world.verify(&world.token()).await.unwrap();
    assert_eq!(world.tries(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w49_a_hundred_first_readers_share_one_fetch() {
    let world = Arc::new(World::new());
    assert!(world.readers(100).await.iter().all(Result::is_ok));
    assert_eq!((world.tries(), world.fetches()), (1, 1));
}

#[tokio::test]
async fn w49_waiters_share_a_slow_failure_instead_of_queueing_for_their_own() {
    let world = Arc::new(World::new());
    world.go_down();
    let held = world.http.hold().await;
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.verify(&sign(&claims())).await.map(drop) })
        })
        .collect();
    settle().await;
    // the issuer lets the first one hang for longer than the cooldown
    world.pass(15);
    drop(held);
    for reader in readers {
        unavailable(&reader.await.unwrap().unwrap_err());
    }
    assert_eq!(world.tries(), 1);
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_take_the_fetch_with_it() {
    let world = Arc::new(World::new());
    let held = world.http.hold().await;
    let first = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.verify(&world.token()).await.map(drop) }
    });
    settle().await;
    assert_eq!(world.tries(), 1);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.verify(&world.token()).await.map(drop) }
    });
    settle().await;
    drop(held);
    second.await.unwrap().unwrap();
    assert_eq!((world.tries(), world.fetches()), (1, 1));
}

#[tokio::test]
async fn past_the_soft_age_the_old_set_serves_while_one_refresh_runs() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.pass(599);
    world.verify(&world.token()).await.unwrap();
    settle().await;
    assert_eq!(world.tries(), 1);
    world.pass(1);
    let held = world.http.hold().await;
    for _ in 0..10 {
        world.verify(&world.token()).await.unwrap();
    }
    settle().await;
    assert_eq!(world.tries(), 2);
    drop(held);
    settle().await;
    world.verify(&world.token()).await.unwrap();
    settle().await;
    assert_eq!((world.tries(), world.fetches()), (2, 2));
}

#[tokio::test]
async fn l28_past_the_hard_age_old_keys_are_unavailable_not_wrong() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.go_down();
    world.pass(86_399);
    world.verify(&world.token()).await.unwrap();
    settle().await;
    world.pass(1);
    assert!(matches!(world.cache.read(world.clock.now().unwrap()), Err(KeyError::Stale { .. })));
    let refused = world.verify(&world.token()).await.unwrap_err();
    unavailable(&refused);
    assert!(matches!(refused, VerifyError::Keys(KeyError::Stale { .. })), "the cooldown of the try before");
    world.pass(10);
    let refused = world.verify(&world.token()).await.unwrap_err();
    unavailable(&refused);
    assert!(matches!(refused, VerifyError::Keys(KeyError::Http(_))));
}

#[tokio::test]
async fn an_issuer_that_is_down_fails_no_token_inside_the_hard_age() {
    let world = World::new();
    world.verify(&world.token()).await.unwrap();
    world.go_down();
    for _ in 0..140 {
        world.pass(600);
        world.verify(&world.token()).await.unwrap();
        settle().await;
    }
    assert_eq!((world.fetches(), world.tries()), (1, 141));
    fake().publish(&world.http);
    world.pass(600);
    world.verify(&world.token()).await.unwrap();
    settle().await;
    world.pass(86_000);
    world.verify(&world.token()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_key_set_leaves_the_kept_one_in_use() {
    for (status, body) in [
        (404, b"not found".to_vec()),
        (500, fake().jwks().to_string().into_bytes()),
        (302, Vec::new()),
        (200, b"<html>".to_vec()),
        (200, br#"{"keys":[]}"#.to_vec()),
        (200, vec![b' '; MAX_KEY_SET_BYTES + 1]),
    ] {
        let world = World::new();
        world.verify(&world.token()).await.unwrap();
        world.http.answer(&fake().issuer().jwks_url(), status, body);
        world.pass(600);
        world.verify(&world.token()).await.unwrap();
        settle().await;
        assert_eq!(world.fetches(), 2, "{status}");
        world.verify(&world.token()).await.unwrap();
    }
}

#[tokio::test]
async fn each_first_answer_that_is_no_key_set_is_named() {
    let url = fake().issuer().jwks_url();
    for (status, body, wanted) in [
        (404, "", "the issuer answered with status 404"),
        (500, "", "the issuer answered with status 500"),
        (200, "garbage", "the issuer's key set is refused"),
        (200, "{\"keys\":[]}", "the issuer's key set is refused"),
    ] {
        let world = World::new();
        world.http.answer(&url, status, body);
        let refused = world.verify(&world.token()).await.unwrap_err();
        unavailable(&refused);
        assert_eq!(std::error::Error::source(&refused).unwrap().to_string(), wanted);
    }
    let world = World::new();
    world.http.answer(&url, 200, vec![b' '; MAX_KEY_SET_BYTES + 1]);
    let refused = world.cache.prefetch().await.unwrap_err();
    assert!(matches!(refused, KeyError::KeySet(KeySetError::TooLarge)));
    assert!(world.http.requests().iter().all(|request| request.max_body <= MAX_KEY_SET_BYTES));
}

#[tokio::test]
async fn a_discovery_document_comes_with_status_200() {
    let world = World::new();
    let document = json!({ "issuer": ISSUER, "jwks_uri": fake().issuer().jwks_url() });
    world.http.answer(&fake().issuer().discovery_url(), 203, document.to_string());
    let refused = world.verify(&world.token()).await.unwrap_err();
    assert!(matches!(refused, VerifyError::Keys(KeyError::Status(203))), "{refused:?}");
}

#[tokio::test]
async fn r34_w24_discovery_that_speaks_for_another_issuer_is_refused() {
    let world = World::new();
    for issuer in ["https://issuer.example/tenant/", "https://issuer.example", "https://evil.example"] {
        let document = json!({ "issuer": issuer, "jwks_uri": fake().issuer().jwks_url() });
        world.http.answer(&fake().issuer().discovery_url(), 200, document.to_string());
        let refused = world.verify(&world.token()).await.unwrap_err();
        unavailable(&refused);
        assert!(matches!(refused, VerifyError::Keys(KeyError::Discovery(_))), "{refused:?}");
        world.pass(30);
    }
    assert_eq!(world.fetches(), 0);
}

#[tokio::test]
async fn l10_w24_a_jwks_uri_on_another_host_is_never_fetched() {
    let world = World::new();
    for uri in [
        "https://evil.example/keys",
        "http://issuer.example/keys",
        "https://issuer.example@evil.example/keys",
        "https://issuer.example:8443/keys",
        "http://169.254.169.254/latest/meta-data",
    ] {
        world.http.answer(uri, 200, fake().jwks().to_string());
        let document = json!({ "issuer": ISSUER, "jwks_uri": uri });
        world.http.answer(&fake().issuer().discovery_url(), 200, document.to_string());
        let refused = world.verify(&world.token()).await.unwrap_err();
        assert!(matches!(refused, VerifyError::Keys(KeyError::Discovery(_))), "{refused:?}");
        world.pass(30);
    }
    let asked = world.http.requests();
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|request| request.url == fake().issuer().discovery_url()));
}

#[tokio::test]
async fn a_clock_that_ran_ahead_and_was_set_back_does_not_keep_a_set_for_ever() {
    let world = World::new();
    world.pass(400 * 86_400);
    world.verify(&world.token()).await.unwrap();
    // the same cache seen a year earlier: the set is not "fresh until then", and refreshing is not shut off
    assert!(matches!(world.cache.read(at(NOW)), Err(KeyError::Stale { .. })));
}

#[tokio::test]
async fn a_cooldown_of_nothing_is_a_second() {
    let (http, clock, issuer) = (FakeHttp::new(), clock(), Issuer::parse(ISSUER).unwrap());
    let ages = CacheAges::new(Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let cache = JwksCache::with_settings(issuer, Arc::clone(&http) as _, Arc::clone(&clock) as _, ages)
        .with_random(SeededRandom::new(0));
    for _ in 0..5 {
        cache.prefetch().await.unwrap_err();
    }
    assert_eq!(http.requests().len(), 1);
    clock.advance(Duration::from_secs(1));
    cache.prefetch().await.unwrap_err();
    assert_eq!(http.requests().len(), 2);
}
