use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkeys_core::jose::Compact;
use agentkeys_core::testing::{FakeHttp, ManualClock, SeededRandom};
use agentkeys_core::{
    AgentId, Assurance, AttestedIdentity, Clock as _, EvidenceKind, Issuer, KeyRing, LocalSigner, Minter,
    Random, RandomError, SystemRandom, Timestamp, Token,
};
use agentkeys_federation::{
    AuditError, AuditEvent, AuditSink, AwsCredentials, AwsExchanger, ExchangeError, Exchanger, MemoryAudit,
    RoleArn, RoleSession, RoleSessionName, SessionTags,
};
use async_trait::async_trait;
use serde_json::Value;

pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
pub(crate) const STS: &str = "https://sts.us-east-1.amazonaws.com/";

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) http: Arc<FakeHttp>,
    pub(crate) minter: Minter,
    pub(crate) identity: AttestedIdentity,
    pub(crate) session: RoleSession,
    pub(crate) exchanger: AwsExchanger,
    pub(crate) jitter: Always,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(NOW);
        let http = FakeHttp::new();
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let issuer = Issuer::parse("https://broker.example.org").unwrap();
        let minter = Minter::new(issuer, KeyRing::new(Arc::new(signer)))
            .with_clock(clock.clone())
            .with_random(SeededRandom::new(7));
        let identity = identity("blue", Assurance::PlatformAttested, NOW);
        let session = RoleSession::new(role()).with_tags(SessionTags::of(&identity));
        let exchanger =
            AwsExchanger::new("us-east-1".parse().unwrap(), http.clone()).with_clock(clock.clone());
        Self { clock, http, minter, identity, session, exchanger, jitter: Always(0) }
    }

    pub(crate) fn identity_of(&self, name: &str, assurance: Assurance) -> AttestedIdentity {
        identity(name, assurance, self.identity.attested_at())
    }

    pub(crate) fn identity_from(&self, name: &str, attested_at: Timestamp) -> AttestedIdentity {
        identity(name, self.identity.assurance(), attested_at)
    }

    pub(crate) async fn token(&self) -> Token {
        self.minter.mint(&self.identity, self.session.mint_request().unwrap()).await.unwrap()
    }
}

fn identity(name: &str, assurance: Assurance, attested_at: Timestamp) -> AttestedIdentity {
    AttestedIdentity::assertion(
        EvidenceKind::from_static("aws-stsweb"),
        "arn:aws:eks:us-east-1:123456789012:cluster/demo".parse().unwrap(),
        name.parse::<AgentId>().unwrap(),
        assurance,
        attested_at,
        attested_at.plus(Duration::from_secs(1800)),
    )
    .unwrap()
}

pub(crate) fn role() -> RoleArn {
    "arn:aws:iam::123456789012:role/agents/agentkeys-memory-role".parse().unwrap()
}

/// AWS's answer to AssumeRoleWithWebIdentity, shortened.
pub(crate) fn success(token: &Token, role: &RoleArn, expiration: &str) -> String {
    let name = RoleSessionName::of_token(token);
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>{}</Arn>\
         <AssumedRoleId>AROAEXAMPLE:{name}</AssumedRoleId></AssumedRoleUser><Credentials>\
         <AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>MARKED-secret</SecretAccessKey>\
         <SessionToken>MARKED-session</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        role.session_arn(&name)
    )
}

/// An STS error as AWS writes it; its message holds a marker that must never come back out.
pub(crate) fn failure(code: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>MARKED-upstream</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
}

/// Gives credentials of 900 seconds and counts how often it was asked.
#[derive(Debug)]
pub(crate) struct Counting {
    clock: Arc<ManualClock>,
    jtis: Mutex<Vec<String>>,
    claims: Mutex<Vec<Value>>,
    error: Mutex<Option<ExchangeError>>,
    takes: Mutex<Duration>,
    gate: tokio::sync::Mutex<()>,
    panics: AtomicBool,
}

impl Counting {
    pub(crate) fn new(world: &World) -> Arc<Self> {
        Arc::new(Self {
            clock: world.clock.clone(),
            jtis: Mutex::default(),
            claims: Mutex::default(),
            error: Mutex::default(),
            takes: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
            panics: AtomicBool::default(),
        })
    }

    pub(crate) fn calls(&self) -> usize {
        self.jtis().len()
    }

    pub(crate) fn jtis(&self) -> Vec<String> {
        self.jtis.lock().unwrap().clone()
    }

    /// What the last token said.
    pub(crate) fn claims(&self) -> Value {
        self.claims.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn fail(&self, error: Option<ExchangeError>) {
        *self.error.lock().unwrap() = error;
    }

    pub(crate) fn take(&self, long: Duration) {
        *self.takes.lock().unwrap() = long;
    }

    /// No exchange ends while this is held.
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    pub(crate) fn panic_once(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Exchanger for Counting {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        self.jtis.lock().unwrap().push(token.jti().to_owned());
        self.claims.lock().unwrap().push(claims_of(token));
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as told");
        let (takes, error) = (*self.takes.lock().unwrap(), *self.error.lock().unwrap());
        tokio::time::sleep(takes).await;
        drop(self.gate.lock().await);
        if let Some(error) = error {
            return Err(error);
        }
        let ends = self.clock.now().unwrap().plus(Duration::from_secs(target.duration().as_secs().into()));
        Ok(AwsCredentials::new("ASIAEXAMPLE", "MARKED-secret".into(), "MARKED-session".into(), ends))
    }
}

pub(crate) fn claims_of(token: &Token) -> Value {
    let payload = Compact::split(token.expose()).unwrap().payload().unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// A sink that fails, or never answers, at some of the events.
#[derive(Debug)]
pub(crate) struct Faulty {
    rows: Arc<MemoryAudit>,
    faults: Mutex<(Fault, &'static [&'static str])>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Fails,
    Hangs,
}

impl Faulty {
    pub(crate) fn new(rows: Arc<MemoryAudit>) -> Self {
        Self { rows, faults: Mutex::new((Fault::Fails, &[])) }
    }

    pub(crate) fn failing(rows: Arc<MemoryAudit>, at: &'static [&'static str]) -> Arc<Self> {
        let sink = Self::new(rows);
        sink.set(Fault::Fails, at);
        Arc::new(sink)
    }

    pub(crate) fn set(&self, fault: Fault, at: &'static [&'static str]) {
        *self.faults.lock().unwrap() = (fault, at);
    }
}

#[async_trait]
impl AuditSink for Faulty {
    async fn append(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        // others have their turn before it answers
        tokio::task::yield_now().await;
        let (fault, at) = *self.faults.lock().unwrap();
        match fault {
            _ if !at.contains(&event.label()) => self.rows.append(event).await,
            Fault::Fails => Err(AuditError::storage("the disk is gone")),
            Fault::Hangs => std::future::pending().await,
        }
    }
}

/// Every byte drawn is this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Always(pub(crate) u8);

impl Random for Always {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        buffer.fill(self.0);
        Ok(())
    }
}

/// Lets the tasks in the background run until each of them waits.
pub(crate) async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
