//! The key cache: what a lookup costs, and what a storm does to those who do not cause it.
//!
//! - `hit`: one key by name through the cache, beside a plain borrowed set (`borrowed`) and beside a clone of
//!   the set's `Arc` for each lookup (`arc_clone`);
//! - `refresh_storm`: the 99th percentile of verifying tokens of a known key, polled once and ready, while the
//!   set is past its soft age, its refresh never ends and another thread brings tokens of 1000 unknown kids
//!   without a pause. Beside the same with nobody else there (`quiet`), and with the same storm at another
//!   issuer's cache (`elsewhere`), which takes as much of the machine and shares nothing.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
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

const HERE: u8 = 0;
const ELSEWHERE: u8 = 1;
const NOWHERE: u8 = 2;
const OVER: u8 = 3;

fn refresh_storm(issuer: &FakeIssuer) -> Outcome {
    let runtime = runtime();
    let _entered = runtime.enter();
    let (world, other) = runtime.block_on(async { (World::new(issuer).await, World::new(issuer).await) });
    let tokens: Vec<String> = (0..512).map(|at| issuer.sign(Algorithm::Es256, &claims(at))).collect();
    let unknown: Vec<String> = (0..1000)
        .map(|at| {
            let header = format!(r#"{{"alg":"ES256","kid":"made-up-{at}"}}"#);
            issuer.sign_raw(Algorithm::Es256, &header, &claims(at).to_string())
        })
        .collect();

    // past the soft age, and no answer ever comes
    let _held = runtime.block_on(async { (world.http.hold().await, other.http.hold().await) });
    for world in [&world, &other] {
        world.clock.advance(Duration::from_secs(601));
        assert!(world.verify_at_once(&tokens[0]));
        runtime.block_on(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(world.http.requests().len(), 3, "the refresh is on its way");
        assert!(!world.verify_at_once(&unknown[0]), "who needs a new key waits");
    }

    let storm = AtomicU8::new(NOWHERE);
    let (rounds, slice) = (63, 512);
    let mut p99 = vec![Vec::with_capacity(rounds); 3];
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            for token in unknown.iter().cycle() {
                match storm.load(Ordering::Relaxed) {
                    HERE => assert!(!world.verify_at_once(token)),
                    ELSEWHERE => assert!(!other.verify_at_once(token)),
                    NOWHERE => std::thread::park(),
                    _ => return,
                }
            }
        });
        for round in 0..rounds * 3 {
            let place = [HERE, ELSEWHERE, NOWHERE][(round + round / 3) % 3];
            storm.store(place, Ordering::Relaxed);
            thread.thread().unpark();
            let mut times: Vec<f64> = (0..slice)
                .map(|at| {
                    let begin = Instant::now();
                    assert!(world.verify_at_once(&tokens[at % tokens.len()]), "ready at its first poll");
                    begin.elapsed().as_secs_f64() * 1e9
                })
                .collect();
            times.sort_by(f64::total_cmp);
            p99[usize::from(place)].push(times[slice * 99 / 100]);
        }
        storm.store(OVER, Ordering::Relaxed);
        thread.thread().unpark();
    });
    let ratio = |theirs: u8| {
        let pairs = p99[usize::from(theirs)].iter().zip(&p99[usize::from(HERE)]);
        median(pairs.map(|(theirs, ours)| theirs / ours).collect())
    };
    let versus = vec![("quiet", ratio(NOWHERE)), ("elsewhere", ratio(ELSEWHERE))];
    assert_eq!(world.http.requests().len(), 3, "no storm asks the issuer twice");
    Outcome::new("refresh_storm", median(p99[usize::from(HERE)].clone()), versus)
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
