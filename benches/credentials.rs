//! What a broker that keeps credentials costs: a storm of requests for few actors, and one request for
//! credentials that are kept.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use agentkeys_benches::{Candidate, Outcome, Plan, compare, median, run};
use agentkeys_core::{
    Assurance, AttestedIdentity, Clock, EvidenceKind, Issuer, KeyRing, LocalSigner, Minter, SystemClock,
    SystemRandom, Token,
};
use agentkeys_federation::{
    AwsCredentials, CredentialCache, CredentialSource, ExchangeError, Exchanger, RoleSession, SessionTags,
};
use async_trait::async_trait;

const ACTORS: usize = 100;
const REQUESTS: usize = 10_000;

/// An STS that takes 20 ms.
#[derive(Debug, Default)]
struct Sts(AtomicUsize);

#[async_trait]
impl Exchanger for Sts {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, _target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let ends = SystemClock::new().now().unwrap().plus(Duration::from_secs(900));
        Ok(AwsCredentials::new("ASIAEXAMPLE", token.expose().into(), "token".into(), ends))
    }
}

fn minter() -> Minter {
    let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    Minter::new(Issuer::parse("https://broker.example.org").unwrap(), KeyRing::new(Arc::new(signer)))
}

fn actors() -> Vec<(AttestedIdentity, RoleSession)> {
    let now = SystemClock::new().now().unwrap();
    (0..ACTORS)
        .map(|at| {
            let identity = AttestedIdentity::assertion(
                EvidenceKind::from_static("aws-stsweb"),
                "arn:aws:eks:us-east-1:123456789012:cluster/demo".parse().unwrap(),
                format!("agent-{at}").parse().unwrap(),
                Assurance::PlatformAttested,
                now,
                now.plus(Duration::from_secs(900)),
            )
            .unwrap();
            let role = "arn:aws:iam::123456789012:role/agents/agentkeys-memory-role".parse().unwrap();
            let session = RoleSession::new(role).with_tags(SessionTags::of(&identity));
            (identity, session)
        })
        .collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn cache(sts: &Arc<Sts>) -> CredentialCache {
    CredentialCache::new(minter(), sts.clone(), NonZeroUsize::new(ACTORS).unwrap())
}

fn single_flight() -> Outcome {
    let (runtime, actors) = (runtime(), Arc::new(actors()));
    let mut times = Vec::new();
    let mut calls = 0;
    for _ in 0..5 {
        let sts = Arc::new(Sts::default());
        let cache = cache(&sts);
        let begin = Instant::now();
        runtime.block_on(async {
            let storm: Vec<_> = (0..REQUESTS)
                .map(|at| {
                    let (cache, actors) = (cache.clone(), Arc::clone(&actors));
                    tokio::spawn(async move {
                        let (identity, session) = &actors[at % ACTORS];
                        cache.credentials(identity, session).await.unwrap();
                    })
                })
                .collect();
            for request in storm {
                request.await.unwrap();
            }
        });
        times.push(begin.elapsed().as_secs_f64() * 1e9 / REQUESTS as f64);
        calls = calls.max(sts.0.load(Ordering::Relaxed));
    }
    assert_eq!(calls, ACTORS, "exchanges for {ACTORS} actors");
    Outcome::new("single_flight", median(times), Vec::new()).with_figure("sts_calls", calls as f64)
}

/// What a future that need not wait has at its first poll.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn cached() -> Outcome {
    let (runtime, actors, sts) = (runtime(), actors(), Arc::new(Sts::default()));
    let cache = cache(&sts);
    let source = |(identity, session): &(AttestedIdentity, RoleSession)| {
        CredentialSource::new(minter(), sts.clone(), identity.clone(), session.clone())
    };
    let sources: Vec<_> = actors.iter().map(source).collect();
    runtime.block_on(async {
        for ((identity, session), source) in actors.iter().zip(&sources) {
            cache.credentials(identity, session).await.unwrap();
            source.credentials().await.unwrap();
        }
    });
    let outcome = compare(
        "cached",
        Plan { items: ACTORS, slice: 20_000, rounds: 31 },
        vec![
            Candidate::new("cache", |at| {
                let (identity, session) = &actors[at];
                black_box(at_once(cache.credentials(identity, session)).unwrap());
            }),
            Candidate::new("source", |at| {
                black_box(at_once(sources[at].credentials()).unwrap());
            }),
        ],
    );
    assert_eq!(sts.0.load(Ordering::Relaxed), 2 * ACTORS, "what is kept was exchanged again");
    outcome
}

fn main() {
    let cases: [fn() -> Outcome; 2] = [single_flight, cached];
    run("credentials", cases.map(|case| Box::new(case) as Box<dyn FnOnce() -> Outcome>));
}
