//! The same requests, in virtual time, through [`CredentialCache`], [`JwksCache`] and [`MemoryAudit`] themselves.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkeys_core::{
    Assurance, AttestedIdentity, CacheAges, Clock as _, DiscoveryDocument, EvidenceKind, HttpClient,
    HttpError, HttpRequest, HttpResponse, Issuer, JwksCache, KeyRing, KeySource as _, LocalSigner, Minter,
    RefreshReason, SystemRandom, Timestamp, Token,
};
use agentkeys_federation::{
    AwsCredentials, CredentialCache, ExchangeError, Exchanger, MemoryAudit, RoleSession, SessionTags,
    verify_chain,
};
use async_trait::async_trait;

use super::model::{Counts, Seconds, Workload};
use super::{Drawn, Virtual};
use crate::Failure;

/// What the real parts did with a workload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Real {
    /// The same that the model counts.
    pub counts: Counts,
    /// Rows in the audit logs, for the whole time; their chains hold.
    pub rows: u64,
    /// Calls of the STS in the whole time.
    pub exchanges: u64,
    /// Fetches of an attesting issuer's keys in the whole time, by all caches together.
    pub key_fetches: u64,
}

/// Runs it, on a current-thread runtime.
///
/// # Errors
/// Where a part refuses what it must not refuse, or a chain does not hold.
pub async fn run(workload: &Workload) -> Result<Real, Failure> {
    let mut requests = Vec::new();
    for agent in 0..workload.agents {
        requests.extend(workload.requests(agent).map(|(at, cache)| (at, agent, cache)));
    }
    requests.sort_unstable();

    let clock = Arc::new(Virtual::default());
    clock.set(0);
    let (signer, _unused) = LocalSigner::generate(&SystemRandom::new())?;
    let issuer = Issuer::parse("https://broker.example.org")?;
    let minter = Minter::new(issuer, KeyRing::new(Arc::new(signer))).with_clock(clock.clone());
    let replicas = (0..workload.caches)
        .map(|number| Replica::new(workload, number, &minter, &clock))
        .collect::<Result<Vec<_>, _>>()?;

    let (mut counts, mut calls) = (Counts::default(), Seconds::of(workload));
    let mut agents: Vec<Option<(AttestedIdentity, RoleSession)>> = vec![None; workload.agents as usize];
    for (at, agent, cache) in requests {
        clock.set(at.into());
        let now = clock.now()?;
        let counted = u64::from(at >= workload.warm_up);
        counts.requests += counted;
        let replica = replicas.get(cache as usize).ok_or("no such replica")?;
        let place = agents.get_mut(agent as usize).ok_or("no such agent")?;
        let (identity, session) = match place {
            Some(known) if known.0.is_current(now) => known,
            expired => {
                counts.attested += counted;
                replica.read_keys(now).await?;
                let ends = now.plus(Duration::from_secs(workload.identity.into()));
                expired.insert(agent_of(agent, now, ends, workload)?)
            }
        };
        let before = replica.sts.calls();
        replica.cache.credentials(identity, session).await?;
        counts.waited += counted * (replica.sts.calls() - before);
        // what runs in the background ends now, because the STS answers at once
        tokio::task::yield_now().await;
        (before..replica.sts.calls()).for_each(|_| calls.add(at));
    }

    let mut real = Real { counts, rows: 0, exchanges: 0, key_fetches: 0 };
    (real.counts.exchanges, real.counts.peak) = calls.counted();
    for replica in &replicas {
        let (rows, head) = replica.audit.rows();
        verify_chain(&rows, &head)?;
        real.rows += rows.len() as u64;
        real.exchanges += replica.sts.calls();
        real.key_fetches += replica.issuer.fetches.load(Ordering::Relaxed);
        real.counts.keys += replica.cache.len() as u64;
    }
    Ok(real)
}

#[derive(Debug)]
struct Replica {
    cache: CredentialCache,
    sts: Arc<Sts>,
    audit: Arc<MemoryAudit>,
    issuer: Arc<AttestingIssuer>,
    keys: JwksCache,
}

impl Replica {
    fn new(workload: &Workload, number: u32, minter: &Minter, clock: &Arc<Virtual>) -> Result<Self, Failure> {
        let sts = Arc::new(Sts { clock: clock.clone(), calls: AtomicU64::new(0) });
        let room = NonZeroUsize::new(workload.agents as usize).ok_or("no agents")?;
        let audit = Arc::new(MemoryAudit::new(NonZeroUsize::MAX));
        let cache = CredentialCache::new(minter.clone(), sts.clone(), room)
            .with_clock(clock.clone())
            .with_random(Arc::new(Drawn::new(!workload.seed ^ u64::from(number))))
            .with_audit(audit.clone());
        let issuer = Arc::new(AttestingIssuer::new()?);
        let keys = JwksCache::with_settings(
            Issuer::parse(ATTESTING)?,
            issuer.clone(),
            clock.clone(),
            CacheAges::default(),
        );
        Ok(Self { cache, sts, audit, issuer, keys })
    }

    /// What a verifier does before it looks at evidence.
    async fn read_keys(&self, now: Timestamp) -> Result<(), Failure> {
        if self.keys.read(now).is_err() {
            self.keys.refresh(RefreshReason::Stale).await?;
        }
        self.keys.read(now)?;
        Ok(())
    }
}

/// What an attestor found, and what the broker asks AWS for.
pub(super) fn agent_of(
    number: u32,
    now: Timestamp,
    ends: Timestamp,
    workload: &Workload,
) -> Result<(AttestedIdentity, RoleSession), Failure> {
    let (kind, root) = (EvidenceKind::from_static("aws-stsweb"), CLUSTER.parse()?);
    let agent = format!("agent-{number:07}").parse()?;
    let identity = AttestedIdentity::assertion(kind, root, agent, Assurance::PlatformAttested, now, ends)?
        .with_tenant("acme".parse()?);
    let session = RoleSession::new("arn:aws:iam::123456789012:role/agentkeys-memory-role".parse()?)
        .with_tags(SessionTags::of(&identity))
        .with_duration(workload.session);
    Ok((identity, session))
}

/// An STS that answers at once.
#[derive(Debug)]
struct Sts {
    clock: Arc<Virtual>,
    calls: AtomicU64,
}

impl Sts {
    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Exchanger for Sts {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, _token: &Token, target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now().map_err(|_| ExchangeError::Unavailable)?;
        let ends = now.plus(Duration::from_secs(target.duration().as_secs().into()));
        Ok(AwsCredentials::new("ASIAEXAMPLE", "secret".into(), "session".into(), ends))
    }
}

/// The issuer of the agents' evidence, as HTTP sees it; it says nothing of how long its keys may be kept.
#[derive(Debug)]
struct AttestingIssuer {
    discovery: String,
    keys: String,
    fetches: AtomicU64,
}

impl AttestingIssuer {
    fn new() -> Result<Self, Failure> {
        let (signer, _unused) = LocalSigner::generate(&SystemRandom::new())?;
        let keys = serde_json::to_string(&KeyRing::<agentkeys_core::Oidc>::new(Arc::new(signer)).jwks())?;
        let discovery = serde_json::to_string(&DiscoveryDocument::new(&Issuer::parse(ATTESTING)?))?;
        Ok(Self { discovery, keys, fetches: AtomicU64::new(0) })
    }
}

#[async_trait]
impl HttpClient for AttestingIssuer {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let body = if request.url.ends_with("/jwks.json") {
            self.fetches.fetch_add(1, Ordering::Relaxed);
            &self.keys
        } else {
            &self.discovery
        };
        Ok(HttpResponse::new(200, Vec::new(), body.clone()))
    }
}

const ATTESTING: &str = "https://attesting.example.org";
const CLUSTER: &str = "arn:aws:eks:us-east-1:123456789012:cluster/agents";

#[cfg(test)]
mod tests {
    use agentkeys_federation::SessionDuration;

    use super::super::model;
    use super::*;

    fn workload(caches: u32) -> Workload {
        let short = Workload::new(300, SessionDuration::MIN).anywhere(caches);
        Workload { gap: 120, warm_up: 900, counted: 1800, ..short }
    }

    #[tokio::test]
    async fn the_model_and_the_real_caches_agree() {
        for caches in [1, 3] {
            let workload = workload(caches);
            let (modelled, real) = (model::run(&workload), run(&workload).await.unwrap());
            // what does not depend on the jitter is the same to the last request
            assert_eq!(modelled.requests, real.counts.requests);
            assert_eq!(modelled.attested, real.counts.attested);
            let near = |modelled: u64, real: u64| {
                let ratio = modelled as f64 / real as f64;
                assert!((ratio - 1.0).abs() < 0.03, "{caches} caches: {modelled} beside {real}");
            };
            near(modelled.exchanges, real.counts.exchanges);
            assert!((modelled.hit_ratio() - real.counts.hit_ratio()).abs() < 0.005);
        }
    }

    #[tokio::test]
    async fn every_exchange_has_two_rows_and_keys_are_fetched_every_ten_minutes() {
        let workload = workload(1);
        let real = run(&workload).await.unwrap();
        assert_eq!(real.rows, 2 * real.exchanges);
        assert!(real.exchanges > real.counts.exchanges, "some came while it warmed up");
        // 2700 seconds, the first fetch at once and each next one at the first request that finds ten minutes gone
        assert_eq!(real.key_fetches, 5);
    }
}
