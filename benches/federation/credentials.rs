//! A broker that keeps credentials: a storm of requests for few agents, a request for what is kept, and an
//! exchange without the STS.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use agentkeys_benches::{Candidate, Outcome, Plan, compare, median};
use agentkeys_core::{
    Assurance, AttestedIdentity, Attestors, Clock, DiscoveryDocument, EvidenceKind, HttpSettings, Issuer,
    KeyRing, LocalSigner, Minter, Oidc, ReqwestClient, SystemClock, SystemRandom, Token, TrustStore,
};
use agentkeys_federation::{
    AwsCredentials, AwsExchanger, Broker, CredentialCache, CredentialSource, DataClass, ExchangeError,
    Exchanger, MemoryAudit, OidcProvider, RoleSession, SessionTags, Tenant, TenantPolicy, WebIdentityTrust,
};
use agentkeys_local_aws::policy::TrustPolicy;
use agentkeys_local_aws::{LocalAws, Role, State};
use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom as RawRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const AGENTS: usize = 100;
const REQUESTS: usize = 10_000;
const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";
const ROOT: &str = "spire.example.org";
const ROLE: &str = "agentkeys-memory-role";

/// An STS that answers at once.
#[derive(Debug, Default)]
struct AtOnce(AtomicUsize);

#[async_trait]
impl Exchanger for AtOnce {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, _token: &Token, _target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let ends = SystemClock::new().now().unwrap().plus(Duration::from_secs(900));
        Ok(AwsCredentials::new("ASIAEXAMPLE", "secret".into(), "token".into(), ends))
    }
}

fn ring() -> (KeyRing<Oidc>, Vec<u8>) {
    let (signer, pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let body: String = pem.expose().lines().filter(|line| !line.starts_with('-')).collect();
    (KeyRing::new(Arc::new(signer)), STANDARD.decode(body).unwrap())
}

fn minter() -> Minter {
    Minter::new(Issuer::parse("https://broker.example.org").unwrap(), ring().0)
}

fn agents() -> Vec<AttestedIdentity> {
    let now = SystemClock::new().now().unwrap();
    let agent = |at: usize| {
        let (root, name) = (ROOT.parse().unwrap(), format!("agent-{at}").parse().unwrap());
        let (kind, ends) = (EvidenceKind::from_static("spiffe"), now.plus(Duration::from_secs(900)));
        AttestedIdentity::assertion(kind, root, name, Assurance::PlatformAttested, now, ends)
            .unwrap()
            .with_tenant("acme".parse().unwrap())
    };
    (0..AGENTS).map(agent).collect()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

type Sts = Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>;

fn broker(minter: Minter, sts: Sts) -> (Broker, Arc<MemoryAudit>) {
    let cache = CredentialCache::new(minter, sts, NonZeroUsize::new(AGENTS).unwrap());
    let audit = Arc::new(MemoryAudit::new(NonZeroUsize::MAX));
    let role = format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}").parse().unwrap();
    let policy = TenantPolicy::new().with_role(DataClass::Memory, role).attributed();
    let tenant = Tenant::new(ROOT.parse().unwrap(), "acme".parse().unwrap());
    let broker = Broker::new(Attestors::new(), cache, audit.clone()).with_tenant(tenant, policy).unwrap();
    (broker, audit)
}

/// Publishes `keys` under an issuer on loopback for as long as the runtime lives.
async fn publish(keys: &KeyRing<Oidc>) -> Issuer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let issuer = Issuer::loopback_http_for_tests(&url).unwrap();
    let discovery = serde_json::to_string(&DiscoveryDocument::new(&issuer)).unwrap();
    let jwks = serde_json::to_string(&keys.jwks()).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let wants_keys = request[..length].starts_with(b"GET /.well-known/jwks.json ");
            let body = if wants_keys { &jwks } else { &discovery };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _gone = stream.write_all((head + body).as_bytes()).await;
        }
    });
    issuer
}

/// An STS on loopback that shares no code with ours and trusts `issuer`.
async fn local_aws(issuer: &Issuer) -> LocalAws {
    let aws = LocalAws::start(State::new(ACCOUNT.parse().unwrap(), REGION.parse().unwrap())).await.unwrap();
    aws.register_provider(issuer.as_str().parse().unwrap(), ["sts.amazonaws.com"]);
    let provider =
        OidcProvider::new("aws".parse().unwrap(), ACCOUNT.parse().unwrap(), issuer.clone()).unwrap();
    let subjects = format!("spiffe/{ROOT}/acme/*").parse().unwrap();
    let trust = WebIdentityTrust::new(provider, subjects)
        .with_source_identity(agentkeys_federation::SourceIdentityPattern::tenant("acme").unwrap());
    let trust = TrustPolicy::parse(&trust.document().to_string()).unwrap();
    aws.put_role(Role::new(ROLE.parse().unwrap(), trust));
    aws
}

pub(crate) fn single_flight() -> Outcome {
    let (runtime, agents) = (runtime(), Arc::new(agents()));
    let (keys, _) = ring();
    let mut times = Vec::new();
    let mut calls = 0;
    for _ in 0..5 {
        let begun = runtime.block_on(async {
            let issuer = publish(&keys).await;
            let aws = local_aws(&issuer).await;
            let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap());
            let sts = Arc::new(AwsExchanger::with_endpoint(REGION.parse().unwrap(), http, aws.endpoint()));
            let (broker, audit) = broker(Minter::new(issuer, keys.clone()), sts);
            let begin = Instant::now();
            let storm: Vec<_> = (0..REQUESTS)
                .map(|at| {
                    let (broker, agents) = (broker.clone(), Arc::clone(&agents));
                    tokio::spawn(async move {
                        broker.credentials(&agents[at % AGENTS], DataClass::Memory).await.unwrap();
                    })
                })
                .collect();
            for request in storm {
                request.await.unwrap();
            }
            let elapsed = begin.elapsed();
            calls = calls.max(aws.requests().len());
            assert_eq!((aws.requests().len(), audit.rows().0.len()), (AGENTS, 2 * AGENTS));
            elapsed
        });
        times.push(begun.as_secs_f64() * 1e9 / REQUESTS as f64);
    }
    Outcome::new("single_flight", median(times), Vec::new()).with_figure("sts_calls", calls as f64)
}

/// What a future that need not wait has at its first poll.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

pub(crate) fn cached() -> Outcome {
    let (runtime, agents, sts) = (runtime(), agents(), Arc::new(AtOnce::default()));
    let role: agentkeys_federation::RoleArn = format!("arn:aws:iam::{ACCOUNT}:role/{ROLE}").parse().unwrap();
    let session = |identity| RoleSession::new(role.clone()).with_tags(SessionTags::of(identity));
    let sessions: Vec<_> = agents.iter().map(session).collect();
    let cache = CredentialCache::new(minter(), sts.clone(), NonZeroUsize::new(AGENTS).unwrap());
    let (broker, _) = broker(minter(), sts.clone());
    let source = |(identity, session): (&AttestedIdentity, &RoleSession)| {
        CredentialSource::new(minter(), sts.clone(), identity.clone(), session.clone())
    };
    let sources: Vec<_> = agents.iter().zip(&sessions).map(source).collect();
    runtime.block_on(async {
        for ((identity, session), source) in agents.iter().zip(&sessions).zip(&sources) {
            cache.credentials(identity, session).await.unwrap();
            source.credentials().await.unwrap();
            broker.credentials(identity, DataClass::Memory).await.unwrap();
        }
    });
    let outcome = compare(
        "cached",
        Plan { items: AGENTS, slice: 20_000, rounds: 31 },
        vec![
            Candidate::new("cache", |at| {
                black_box(at_once(cache.credentials(&agents[at], &sessions[at])).unwrap());
            }),
            Candidate::new("source", |at| {
                black_box(at_once(sources[at].credentials()).unwrap());
            }),
            Candidate::new("broker", |at| {
                black_box(at_once(broker.credentials(&agents[at], DataClass::Memory)).unwrap());
            }),
        ],
    );
    assert_eq!(sts.0.load(Ordering::Relaxed), 3 * AGENTS, "what is kept was exchanged again");
    outcome
}

pub(crate) fn exchange_overhead() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (agents, sts, (keys, der)) = (agents(), Arc::new(AtOnce::default()), ring());
    let minter = Minter::new(Issuer::parse("https://broker.example.org").unwrap(), keys);
    let (broker, audit) = broker(minter, sts.clone());
    let raw = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap();
    let (random, message) = (RawRandom::new(), vec![b'x'; 700]);
    let outcome = compare(
        "exchange_overhead",
        Plan { items: AGENTS, slice: 100, rounds: 101 },
        vec![
            Candidate::new("broker", |at| {
                broker.forget(&agents[at], DataClass::Memory);
                let credentials = runtime.block_on(broker.credentials(&agents[at], DataClass::Memory));
                black_box(credentials.unwrap());
            }),
            Candidate::new("raw_sign", |_| {
                black_box(raw.sign(&random, &message).unwrap());
            }),
        ],
    );
    assert_eq!(2 * sts.0.load(Ordering::Relaxed), audit.rows().0.len(), "two rows for each exchange");
    outcome
}
