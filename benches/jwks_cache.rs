//! The key cache: what a lookup costs, and what a storm does to those who do not cause it.
//!
//! - `hit`: one key by name through the cache, beside a plain borrowed set (`borrowed`) and beside a clone of
//!   the set's `Arc` for each lookup (`arc_clone`);
//! - `refresh_storm`: the 99th percentile of verifying tokens of a known key, polled once and ready, while the
//!   set is past its soft age, its refresh never ends and another thread brings tokens of 1000 unknown kids
//!   without a pause; beside the same through a cache that is fresh and that nobody else uses (`quiet`). The
//!   storm goes on meanwhile, so that both have as much of the machine.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use agentkeys_benches::{Candidate, Outcome, Plan, compare, median, run};
use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{
    Audience, CacheAges, Clock as _, Issuer, JwksCache, KeySource as _, NoClaims, Profile, Timestamp,
    Verifier,
};
use serde_json::json;

const ISSUER: &str = "https://oidc.example.com/tenants/agents-production";
const AUDIENCE: &str = "sts.amazonaws.com";
const NOW: u64 = 1_800_000_000;

/// A cache whose issuer has answered once.
struct World {
    http: Arc<FakeHttp>,
    clock: Arc<ManualClock>,
    cache: JwksCache,
    verifier: Verifier,
}

impl World {
    async fn new(issuer: &FakeIssuer) -> Self {
        let (http, clock) = (FakeHttp::new(), ManualClock::new(Timestamp::from_unix(NOW)));
        issuer.publish(&http);
        let (client, time) = (Arc::clone(&http) as _, Arc::clone(&clock) as _);
        let cache = JwksCache::with_settings(issuer.issuer().clone(), client, time, CacheAges::default());
        cache.prefetch().await.unwrap();
        let profile = Profile::oidc(issuer.issuer().clone(), Arc::new(cache.clone()));
        let verifier =
            Verifier::new(profile, Audience::parse(AUDIENCE).unwrap()).with_clock(Arc::clone(&clock) as _);
        Self { http, clock, cache, verifier }
    }

    /// Verifies with one poll; whether it was ready.
    fn verify_at_once(&self, token: &str) -> bool {
        let mut verdict = pin!(self.verifier.verify::<NoClaims>(token));
        match verdict.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(verdict) => verdict.map(drop).map_or_else(|error| panic!("{error}"), |()| true),
            Poll::Pending => false,
        }
    }
}

fn claims(at: usize) -> serde_json::Value {
    json!({
        "iss": ISSUER, "sub": format!("agent-{at:08}"), "aud": AUDIENCE, "iat": NOW, "nbf": NOW,
        "exp": NOW + 3000,
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn hit(issuer: &FakeIssuer) -> Outcome {
    let world = runtime().block_on(World::new(issuer));
    let (plain, shared) = (issuer.key_set(), Arc::new(issuer.key_set()));
    let now = world.clock.now().unwrap();
    let kids = [Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa].map(FakeIssuer::kid);
    let kid = |at: usize| black_box(kids[at % kids.len()]);
    compare(
        "hit",
        Plan { items: 1 << 16, slice: 1 << 14, rounds: 301 },
        vec![
            Candidate::new("cache", |at| {
                black_box(world.cache.read(now).unwrap().by_kid(kid(at)).unwrap());
            }),
            Candidate::new("borrowed", |at| {
                black_box(black_box(&plain).by_kid(kid(at)).unwrap());
            }),
            Candidate::new("arc_clone", |at| {
                black_box(Arc::clone(black_box(&shared)).by_kid(kid(at)).unwrap());
            }),
        ],
    )
}

fn refresh_storm(issuer: &FakeIssuer) -> Outcome {
    let runtime = runtime();
    let _entered = runtime.enter();
    let (world, quiet) = runtime.block_on(async { (World::new(issuer).await, World::new(issuer).await) });
    let tokens: Vec<String> = (0..512).map(|at| issuer.sign(Algorithm::Es256, &claims(at))).collect();
    let unknown: Vec<String> = (0..1000)
        .map(|at| {
            let header = format!(r#"{{"alg":"ES256","kid":"made-up-{at}"}}"#);
            issuer.sign_raw(Algorithm::Es256, &header, &claims(at).to_string())
        })
        .collect();

    // past the soft age, and no answer ever comes
    let _held = runtime.block_on(world.http.hold());
    world.clock.advance(Duration::from_secs(601));
    assert!(world.verify_at_once(&tokens[0]));
    runtime.block_on(async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(world.http.requests().len(), 3, "the refresh is on its way");

    let over = AtomicBool::new(false);
    let (rounds, slice) = (63, 512);
    let mut p99 = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut waiting = 0_usize;
            for token in unknown.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
                waiting += usize::from(!world.verify_at_once(token));
            }
            waiting
        });
        let mut late = 0_usize;
        for turn in 0..rounds * 2 {
            let place = (turn + turn / 2) % 2;
            let world = if place == 0 { &world } else { &quiet };
            let mut times: Vec<f64> = (0..slice)
                .map(|at| {
                    let begin = Instant::now();
                    late += usize::from(!world.verify_at_once(&tokens[at % tokens.len()]));
                    begin.elapsed().as_secs_f64() * 1e9
                })
                .collect();
            times.sort_by(f64::total_cmp);
            p99[place].push(times[slice * 99 / 100]);
        }
        over.store(true, Ordering::Relaxed);
        assert!(storm.join().is_ok_and(|waiting| waiting > 1000), "there was no storm");
        assert_eq!(late, 0, "a verify was not ready at its first poll");
    });
    assert_eq!(world.http.requests().len(), 3, "the storm asked the issuer again");
    let [ours, quiet] = p99;
    let ratios = quiet.iter().zip(&ours).map(|(quiet, ours)| quiet / ours).collect();
    Outcome::new("refresh_storm", median(ours), vec![("quiet", median(ratios))])
}

fn main() {
    let issuer = Arc::new(FakeIssuer::new(Issuer::parse(ISSUER).unwrap()));
    let cases: [fn(&FakeIssuer) -> Outcome; 2] = [hit, refresh_storm];
    run(
        "jwks_cache",
        cases.map(|case| {
            let issuer = Arc::clone(&issuer);
            Box::new(move || case(&issuer)) as Box<dyn FnOnce() -> Outcome>
        }),
    );
}
