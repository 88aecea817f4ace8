//! The whole way through the broker: who is refused, what is written down, what is let go.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentkeys_core::testing::SeededRandom;
use agentkeys_core::{
    Assurance, AttestError, AttestedIdentity, Attestor, Attestors, ErrorKind, Evidence, EvidenceKind, Issuer,
    KeyRing, LocalSigner, SessionError, Sessions, SystemRandom, TokenLifetime,
};
use agentkeys_federation::{
    AttributedSession, AuditCode, AuditError, AuditId, AuditRow, AwsCredentials, BaseCredentials, Broker,
    BrokerError, CredentialCache, CredentialRequest, DataClass, ExchangeError, MemoryAudit, RevocationCheck,
    RevocationError, RoleSession, SOURCE_IDENTITY_CLAIM, SessionBroker, SessionDuration, SourceError,
    SourceIdentity, TAGS_CLAIM, TagsForm, Tenant, TenantError, TenantPolicy, verify_chain,
};
use async_trait::async_trait;
use serde_json::json;

use crate::assume::{IN_TIME, answer, long_lived};
use crate::audit::{memory, text};
use crate::support::{Counting, Fault, Faulty, NOW, STS, World, claims_of, settled};

const ROOT: &str = "arn:aws:eks:us-east-1:123456789012:cluster/demo";

fn kind() -> EvidenceKind {
    EvidenceKind::from_static("aws-stsweb")
}

fn role(name: &str) -> agentkeys_federation::RoleArn {
    format!("arn:aws:iam::123456789012:role/{name}").parse().unwrap()
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(ROOT.parse().unwrap(), name.parse().unwrap())
}

fn agent(root: &str, tenant: Option<&str>, name: &str, assurance: Assurance) -> AttestedIdentity {
    let (root, name, ends) = (root.parse().unwrap(), name.parse().unwrap(), NOW.plus(HALF_AN_HOUR));
    let identity = AttestedIdentity::assertion(kind(), root, name, assurance, NOW, ends).unwrap();
    match tenant {
        Some(tenant) => identity.with_tenant(tenant.parse().unwrap()),
        None => identity,
    }
}

fn blue() -> AttestedIdentity {
    agent(ROOT, Some("acme"), "blue", Assurance::PlatformAttested)
}

/// Knows one agent by its name.
#[derive(Debug)]
struct Knows(EvidenceKind);

#[async_trait]
impl Attestor for Knows {
    fn kind(&self) -> &EvidenceKind {
        &self.0
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        if evidence.expose() == b"blue" { Ok(blue()) } else { Err(AttestError::Pin("name")) }
    }
}

#[derive(Debug, Default)]
struct Revokes(AtomicBool);

#[async_trait]
impl RevocationCheck for Revokes {
    async fn check(&self, _: &AttestedIdentity, _: &RoleSession) -> Result<(), RevocationError> {
        if self.0.load(Ordering::SeqCst) { Err(RevocationError::Revoked) } else { Ok(()) }
    }
}

struct House {
    world: World,
    sts: Arc<Counting>,
    rows: Arc<MemoryAudit>,
    sink: Arc<Faulty>,
    revokes: Arc<Revokes>,
    broker: Broker,
}

impl House {
    /// A broker in which acme's agents may have memory.
    fn new() -> Self {
        Self::of(TenantPolicy::new().with_role(DataClass::Memory, role("acme-memory")))
    }

    fn of(acme: TenantPolicy) -> Self {
        let house = Self::empty();
        let broker = house.broker.clone().with_tenant(tenant("acme"), acme).unwrap();
        Self { broker, ..house }
    }

    fn empty() -> Self {
        let world = World::new();
        let (sts, rows, revokes) = (Counting::new(&world), memory(100_000), Arc::new(Revokes::default()));
        let sink = Arc::new(Faulty::new(rows.clone()));
        let cache = CredentialCache::new(world.minter.clone(), sts.clone(), NonZeroUsize::new(1000).unwrap())
            .with_clock(world.clock.clone())
            .with_random(SeededRandom::new(1 << 40))
            .with_revocation(revokes.clone());
        let attestors = Attestors::new().with(Knows(kind())).unwrap();
        let broker = Broker::new(attestors, cache, sink.clone());
        Self { world, sts, rows, sink, revokes, broker }
    }

    /// The rows so far, which are a chain.
    fn rows(&self) -> Vec<AuditRow> {
        let (rows, head) = self.rows.rows();
        assert_eq!(verify_chain(&rows, &head), Ok(()));
        rows
    }

    /// What the last row says, in these columns.
    fn last(&self, columns: [&str; 4]) -> [Option<String>; 4] {
        let rows = self.rows();
        columns.map(|column| text(rows.last().unwrap(), column).map(str::to_owned))
    }

    fn events(&self) -> Vec<String> {
        self.rows().iter().map(|row| text(row, "event").unwrap().to_owned()).collect()
    }

    async fn refused(&self, identity: &AttestedIdentity, class: DataClass) -> BrokerError {
        self.broker.credentials(identity, class).await.unwrap_err()
    }
}

fn said<const N: usize>(texts: [&str; N]) -> [Option<String>; N] {
    texts.map(|text| Some(text.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn w56_r87_the_rows_come_before_the_exchange_and_before_the_release() {
    let house = House::new();
    let identity = house.broker.attest(&Evidence::new(kind(), "blue").unwrap()).await.unwrap();
    let credentials = house.broker.credentials(&identity, DataClass::Memory).await.unwrap();
    assert_eq!(credentials.expires_at(), NOW.plus(Duration::from_secs(900)));
    assert_eq!(house.events(), ["intent", "outcome"]);
    let rows = house.rows();
    let id = format!("ak-{}", house.sts.jtis()[0]);
    for (column, value) in [
        ("id", Some(&*id)),
        ("path", Some("oidc_jwt+sts")),
        ("subject", Some(identity.subject().as_str())),
        ("tenant", Some("acme")),
        ("jti", Some(&*house.sts.jtis()[0])),
        ("role_arn", Some("arn:aws:iam::123456789012:role/acme-memory")),
        ("session_name", Some(&*id)),
        ("attribution", Some("unattributed")),
        ("source_identity", None),
    ] {
        assert_eq!(text(&rows[0], column), value, "{column}");
    }
    assert_eq!((text(&rows[1], "id"), text(&rows[1], "outcome")), (Some(&*id), Some("issued")));
    assert_eq!(house.sts.claims()[TAGS_CLAIM]["principal_tags"]["agentkeys_data_class"], json!(["memory"]));

    house.broker.credentials(&identity, DataClass::Memory).await.unwrap();
    assert_eq!((house.sts.calls(), house.rows().len()), (1, 2), "what is kept has its rows");
    house.broker.forget(&identity, DataClass::Memory);
    house.broker.credentials(&identity, DataClass::Memory).await.unwrap();
    assert_eq!((house.sts.calls(), house.rows().len()), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn w56_without_its_row_nothing_is_exchanged_and_nothing_is_let_go() {
    for (fault, code, seconds) in [(Fault::Fails, "audit_storage", 0), (Fault::Hangs, "audit_slow", 10)] {
        for (at, calls, rows) in [(&["intent"], 0, 0), (&["outcome"], 1, 1)] {
            let house = House::new();
            house.sink.set(fault, at);
            let begun = tokio::time::Instant::now();
            let refused = house.refused(&blue(), DataClass::Memory).await;
            assert!(matches!(refused, BrokerError::Source(SourceError::Audit(_))), "{refused:?}");
            assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unavailable, code));
            assert_eq!(begun.elapsed().as_secs(), seconds, "{at:?}");
            assert_eq!((house.sts.calls(), house.rows().len()), (calls, rows), "{at:?}");

            house.sink.set(fault, &[]);
            assert_eq!(house.refused(&blue(), DataClass::Memory).await.code(), code, "it is left alone");
            house.world.clock.advance(Duration::from_secs(1));
            house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
            assert_eq!(house.sts.calls(), calls + 1, "what had no row was not kept");
            assert_eq!(house.events().last().unwrap(), "outcome");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn w56_a_full_log_gives_nothing() {
    let house = House::new();
    let full = memory(1);
    let broker = {
        let cache = CredentialCache::new(house.world.minter.clone(), house.sts.clone(), NonZeroUsize::MIN)
            .with_clock(house.world.clock.clone());
        let policy = TenantPolicy::new().with_role(DataClass::Memory, role("acme-memory"));
        Broker::new(Attestors::new(), cache, full.clone()).with_tenant(tenant("acme"), policy).unwrap()
    };
    let refused = broker.credentials(&blue(), DataClass::Memory).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Source(SourceError::Audit(AuditError::Full))), "{refused:?}");
    assert_eq!((house.sts.calls(), full.rows().0.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_provided_for_is_refused_and_written_down() {
    let house = House::new();
    let platform = Assurance::PlatformAttested;
    for (who, class, code) in [
        (agent(ROOT, Some("zeta"), "blue", platform), DataClass::Memory, "tenant_unknown"),
        (agent(ROOT, None, "blue", platform), DataClass::Memory, "tenant_unknown"),
        (agent(ROOT, Some("Acme"), "blue", platform), DataClass::Memory, "tenant_unknown"),
        // another root's tenant of the same name is another tenant
        (agent("spire.example.org", Some("acme"), "blue", platform), DataClass::Memory, "tenant_unknown"),
        (blue(), DataClass::Vault, "class_not_allowed"),
        (blue(), DataClass::Data, "class_not_allowed"),
    ] {
        let refused = house.refused(&who, class).await;
        assert_eq!((refused.kind(), refused.code(), refused.wire_status()), (ErrorKind::Denied, code, 403));
        let row = house.last(["event", "code", "path", "subject"]);
        assert_eq!(row, said(["refusal", code, "oidc_jwt+sts", who.subject().as_str()]));
        let refused = house.broker.token(&who, class).await.unwrap_err();
        assert_eq!(refused.code(), code);
        assert_eq!(
            house.last(["event", "code", "path", "agent"]),
            said(["refusal", code, "oidc_jwt", "blue"])
        );
        house.broker.forget(&who, class);
    }
    assert_eq!((house.sts.calls(), house.rows().len()), (0, 12));
    let refused = House::empty().refused(&blue(), DataClass::Memory).await;
    assert_eq!(refused.code(), "tenant_unknown");
}

#[tokio::test(start_paused = true)]
async fn agents_without_a_tenant_have_a_policy_of_their_own() {
    let policy = TenantPolicy::new().with_role(DataClass::Memory, role("nobodys"));
    let house = House::empty();
    let unnamed = Tenant::unnamed(ROOT.parse().unwrap());
    let broker = house.broker.clone().with_tenant(unnamed, policy).unwrap();
    let platform = Assurance::PlatformAttested;
    broker.credentials(&agent(ROOT, None, "blue", platform), DataClass::Memory).await.unwrap();
    let refused = broker.credentials(&blue(), DataClass::Memory).await.unwrap_err();
    assert!(matches!(refused, BrokerError::UnknownTenant));
}

#[tokio::test(start_paused = true)]
async fn w61_refused_evidence_and_sessions_leave_a_row_that_names_nobody() {
    let house = House::new();
    let evidence = |kind, content: &str| Evidence::new(kind, content).unwrap();
    for (evidence, code) in [
        (evidence(kind(), "red"), "evidence_pin"),
        (evidence(EvidenceKind::from_static("spiffe"), "blue"), "evidence_kind_unknown"),
    ] {
        let refused = house.broker.attest(&evidence).await.unwrap_err();
        assert_eq!(refused.code(), code);
        assert_eq!(
            house.last(["code", "subject", "path", "role_arn"]),
            [Some(code.to_owned()), None, None, None]
        );
    }
    let refused = house.broker.resume("x.y.z").await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), ("session_not_served", ErrorKind::Misconfigured));

    let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
    let issuer = Issuer::parse("https://broker.example.org").unwrap();
    let clock = house.world.clock.clone();
    let sessions = Sessions::new(issuer, KeyRing::new(Arc::new(signer))).unwrap().with_clock(clock);
    let broker = house.broker.clone().with_sessions(sessions.clone());
    let session = sessions.issue(&blue(), TokenLifetime::DEFAULT).await.unwrap();
    let resumed = broker.resume(session.expose()).await.unwrap();
    assert_eq!(resumed.subject(), blue().subject());
    broker.credentials(&resumed, DataClass::Memory).await.unwrap();
    for (session, code) in [("x.y.z", "token_malformed"), (&session.expose()[1..], "token_malformed")] {
        let refused = broker.resume(session).await.unwrap_err();
        assert!(matches!(refused, BrokerError::Session(SessionError::Verify(_))), "{refused:?}");
        assert_eq!((refused.code(), refused.wire_status()), (code, 401));
        assert_eq!(house.last(["event", "code", "subject", "jti"])[1], Some(code.to_owned()));
    }
    assert_eq!(house.events(), ["refusal", "refusal", "refusal", "intent", "outcome", "refusal", "refusal"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_cannot_be_written_down_is_unavailable() {
    for (fault, code) in [(Fault::Fails, "audit_storage"), (Fault::Hangs, "audit_slow")] {
        let house = House::new();
        house.sink.set(fault, &["refusal"]);
        let stranger = agent(ROOT, Some("zeta"), "blue", Assurance::PlatformAttested);
        for refused in [
            house.refused(&stranger, DataClass::Memory).await,
            house.refused(&blue(), DataClass::Vault).await,
            house.broker.attest(&Evidence::new(kind(), "red").unwrap()).await.unwrap_err(),
            house.broker.resume("x").await.unwrap_err(),
        ] {
            assert!(matches!(refused, BrokerError::Audit(_)), "{refused:?}");
            assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unavailable, code));
            assert!(refused.retry_after().is_some());
        }
        assert!(house.rows().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_between_policy_and_exchange_name_the_agent_and_the_role() {
    let house = House::new();
    house.revokes.0.store(true, Ordering::SeqCst);
    let self_asserted = agent(ROOT, Some("acme"), "red", Assurance::SelfAsserted);
    for (who, code, kind) in [
        (blue(), "source_revoked", ErrorKind::Denied),
        (self_asserted, "identity_self_asserted", ErrorKind::Denied),
        (blue(), "source_identity_expired", ErrorKind::Invalid),
    ] {
        let refused = house.refused(&who, DataClass::Memory).await;
        assert_eq!((refused.code(), refused.kind()), (code, kind));
        let row = house.last(["event", "code", "role_arn", "subject"]);
        let role = "arn:aws:iam::123456789012:role/acme-memory";
        assert_eq!(row, said(["refusal", code, role, who.subject().as_str()]));
        house.revokes.0.store(false, Ordering::SeqCst);
        if code == "identity_self_asserted" {
            house.world.clock.advance(HALF_AN_HOUR);
        }
    }
    assert_eq!((house.sts.calls(), house.events()), (0, vec!["refusal".to_owned(); 3]));
}

#[tokio::test(start_paused = true)]
async fn r65_what_the_sts_refuses_has_two_rows_and_is_sts_error() {
    for (error, outcome, kind) in [
        (ExchangeError::Denied, "refused", ErrorKind::Denied),
        (ExchangeError::TokenInvalid, "refused", ErrorKind::Misconfigured),
        (ExchangeError::Unavailable, "failed", ErrorKind::Unavailable),
        (ExchangeError::Answer("another role"), "failed", ErrorKind::Unavailable),
    ] {
        let house = House::new();
        house.sts.fail(Some(error));
        for _ in 0..2 {
            let refused = house.refused(&blue(), DataClass::Memory).await;
            assert_eq!((refused.kind(), refused.code()), (kind, error.code()));
            assert_eq!((refused.wire_name(), refused.wire_status()), ("sts_error", 502));
        }
        assert_eq!(house.events(), ["intent", "outcome"], "the second was not exchanged");
        assert_eq!(
            house.last(["outcome", "code", "access_key_id", "subject"]),
            [Some(outcome.to_owned()), Some(error.code().to_owned()), None, None]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_sts_that_never_answers_is_an_outcome_in_bounded_time() {
    let house = House::new();
    house.sts.take(Duration::from_secs(3600));
    let begun = tokio::time::Instant::now();
    let refused = house.refused(&blue(), DataClass::Memory).await;
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unavailable, "sts_unavailable"));
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(
        house.last(["event", "outcome", "code", "path"])[..3],
        said(["outcome", "failed", "sts_unavailable"])
    );
}

#[tokio::test(start_paused = true)]
async fn w64_a_token_that_expired_on_its_way_has_rows_of_its_own() {
    let house = House::new();
    house.sts.fail(Some(ExchangeError::TokenExpired));
    let refused = house.refused(&blue(), DataClass::Memory).await;
    assert_eq!((refused.code(), house.sts.calls()), ("sts_token_expired", 2));
    assert_eq!(house.events(), ["intent", "outcome", "intent", "outcome"]);
    assert_ne!(house.sts.jtis()[0], house.sts.jtis()[1]);
}

#[tokio::test(start_paused = true)]
async fn r107_r108_a_tenant_is_unattributed_unless_its_policy_says_otherwise() {
    let memory = || TenantPolicy::new().with_role(DataClass::Memory, role("acme-memory"));
    let house = House::of(memory());
    house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
    assert_eq!(house.sts.claims().get(SOURCE_IDENTITY_CLAIM), None);
    assert_eq!(text(&house.rows()[0], "attribution"), Some("unattributed"));

    for attributed in [memory().attributed(), memory().attributed_with_digests()] {
        let house = House::of(attributed);
        house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
        assert_eq!(house.sts.claims()[SOURCE_IDENTITY_CLAIM], "agent+acme+blue");
        let row = &house.rows()[0];
        let columns = ["attribution", "source_identity", "source_identity_preimage"];
        let values = columns.map(|column| text(row, column));
        assert_eq!(values, [Some("source_identity"), Some("agent+acme+blue"), None]);
        // another tenant is as it was
        let zeta = memory().with_role(DataClass::Memory, role("zeta-memory"));
        let broker = house.broker.clone().with_tenant(tenant("zeta"), zeta).unwrap();
        let other = agent(ROOT, Some("zeta"), "blue", Assurance::PlatformAttested);
        broker.credentials(&other, DataClass::Memory).await.unwrap();
        assert_eq!(house.sts.claims().get(SOURCE_IDENTITY_CLAIM), None);
    }
}

#[tokio::test(start_paused = true)]
async fn r109_who_cannot_be_attributed_gets_nothing() {
    let memory = || TenantPolicy::new().with_role(DataClass::Memory, role("acme-memory"));
    let long = agent(ROOT, Some("acme"), &"a".repeat(60), Assurance::PlatformAttested);
    let house = House::of(memory().attributed());
    let refused = house.refused(&long, DataClass::Memory).await;
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Misconfigured, "attribution_impossible"));
    assert_eq!((house.sts.calls(), house.events()), (0, vec!["refusal".to_owned()]));

    let house = House::of(memory().attributed_with_digests());
    house.broker.credentials(&long, DataClass::Memory).await.unwrap();
    let claim = house.sts.claims()[SOURCE_IDENTITY_CLAIM].as_str().unwrap().to_owned();
    assert!(claim.starts_with("agent.h1+"), "{claim}");
    let row = &house.rows()[0];
    assert_eq!(text(row, "source_identity"), Some(&*claim));
    let preimage = format!("agent+acme+{}", "a".repeat(60));
    assert_eq!(text(row, "source_identity_preimage"), Some(&*preimage));
}

#[test]
fn r110_an_attributed_tenants_roles_are_its_own() {
    let policy = |name: &str| TenantPolicy::new().with_role(DataClass::Memory, role(name));
    let begin = |policy| House::of(policy).broker;
    let zeta = tenant("zeta");
    for (acme, other, error) in [
        (policy("a").attributed(), policy("a"), Some(TenantError::SharedRole)),
        (policy("a"), policy("a").attributed(), Some(TenantError::SharedRole)),
        (
            policy("a"),
            policy("b").attributed().with_role(DataClass::Vault, role("a")),
            Some(TenantError::SharedRole),
        ),
        (policy("a"), policy("a"), None),
        (policy("a").attributed(), policy("b").attributed(), None),
    ] {
        assert_eq!(begin(acme).with_tenant(zeta.clone(), other).err(), error);
    }
    let again = begin(policy("a")).with_tenant(tenant("acme"), policy("b"));
    assert_eq!(again.err(), Some(TenantError::Doubled));
    let unnamed = Tenant::unnamed(ROOT.parse().unwrap());
    for attributed in [policy("b").attributed(), policy("b").attributed_with_digests()] {
        let refused = begin(policy("a")).with_tenant(unnamed.clone(), attributed).err();
        assert_eq!(refused, Some(TenantError::Nameless));
    }
    let unattributed = begin(policy("a")).with_tenant(zeta.clone(), policy("b").with_session_role(role("s")));
    assert_eq!(unattributed.err(), Some(TenantError::Unattributed));
    for (acme, other) in [
        (policy("a").with_session_role(role("s")).attributed(), policy("s")),
        (policy("s"), policy("b").with_session_role(role("s")).attributed()),
    ] {
        assert_eq!(begin(acme).with_tenant(zeta.clone(), other).err(), Some(TenantError::SharedRole));
    }
    assert_eq!(TenantError::Nameless.kind(), ErrorKind::Misconfigured);
}

#[tokio::test(start_paused = true)]
async fn r63_a_token_alone_has_its_rows_too() {
    let house = House::of(TenantPolicy::new().with_role(DataClass::Memory, role("acme-memory")).attributed());
    let one = house.broker.token(&blue(), DataClass::Memory).await.unwrap();
    let two = house.broker.token(&blue(), DataClass::Memory).await.unwrap();
    assert_ne!(one.jti(), two.jti());
    assert_eq!(claims_of(&one)["https://aws.amazon.com/roles"], json!([role("acme-memory").as_str()]));
    assert_eq!(house.events(), ["intent", "outcome", "intent", "outcome"]);
    let rows = house.rows();
    let first = ["path", "jti", "source_identity", "role_arn"].map(|column| text(&rows[0], column));
    assert_eq!(first, [Some("oidc_jwt"), Some(one.jti()), Some("agent+acme+blue"), None]);
    assert_eq!((text(&rows[1], "outcome"), house.sts.calls()), (Some("issued"), 0));

    for at in [&["intent"], &["outcome"]] {
        house.sink.set(Fault::Fails, at);
        let refused = house.broker.token(&blue(), DataClass::Memory).await.unwrap_err();
        assert!(matches!(refused, BrokerError::Source(SourceError::Audit(_))), "{refused:?}");
    }
    house.sink.set(Fault::Fails, &[]);
    house.revokes.0.store(true, Ordering::SeqCst);
    let refused = house.broker.token(&blue(), DataClass::Memory).await.unwrap_err();
    assert_eq!(refused.code(), "source_revoked");
    let row = house.last(["event", "code", "path", "agent"]);
    assert_eq!(row, said(["refusal", "source_revoked", "oidc_jwt", "blue"]));
    house.revokes.0.store(false, Ordering::SeqCst);
    house.world.clock.advance(HALF_AN_HOUR);
    let refused = house.broker.token(&blue(), DataClass::Memory).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, "source_identity_expired"));
}

#[tokio::test(start_paused = true)]
async fn w53_r41_a_wallet_is_the_hosts_word_and_shares_nothing() {
    let house = House::new();
    house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
    let tags = |house: &House| house.sts.claims()[TAGS_CLAIM]["principal_tags"].clone();
    assert_eq!(tags(&house).get("agentkeys_user_wallet"), None);
    let wallet = format!("0x{}", "a".repeat(40));
    let request = CredentialRequest::new(DataClass::Memory).with_wallet(wallet.parse().unwrap());
    house.broker.credentials(&blue(), request).await.unwrap();
    assert_eq!((tags(&house)["agentkeys_user_wallet"].clone(), house.sts.calls()), (json!([wallet]), 2));
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_how_long_and_in_which_form() {
    let policy = TenantPolicy::new()
        .with_role(DataClass::Memory, role("replaced"))
        .with_role(DataClass::Memory, role("acme-memory"))
        .with_duration(SessionDuration::from_secs(1800).unwrap())
        .with_tags_form(TagsForm::Flat);
    let house = House::of(policy);
    let credentials = house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
    assert_eq!(credentials.expires_at(), NOW.plus(Duration::from_secs(1800)));
    assert_eq!(text(&house.rows()[0], "role_arn"), Some("arn:aws:iam::123456789012:role/acme-memory"));
    assert_eq!(house.sts.claims().get(TAGS_CLAIM), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_for_a_hundred_agents_are_a_hundred_exchanges_and_two_hundred_rows() {
    let house = House::new();
    let held = house.sts.hold().await;
    let requests: Vec<_> = (0..10_000)
        .map(|at| {
            let broker = house.broker.clone();
            let name = format!("agent-{}", at % 100);
            let who = agent(ROOT, Some("acme"), &name, Assurance::PlatformAttested);
            tokio::spawn(async move { broker.credentials(&who, DataClass::Memory).await.map(drop) })
        })
        .collect();
    while house.sts.calls() < 100 {
        tokio::task::yield_now().await;
    }
    drop(held);
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert_eq!((house.sts.calls(), house.rows().len()), (100, 200));
}

#[tokio::test(start_paused = true)]
async fn w73_nothing_is_shared_by_two_agents_classes_wallets_or_ways_of_vouching() {
    let policy = TenantPolicy::new()
        .with_role(DataClass::Memory, role("acme-memory"))
        .with_role(DataClass::Vault, role("acme-vault"));
    let house = House::of(policy.clone());
    let spire = Tenant::new("spire.example.org".parse().unwrap(), "acme".parse().unwrap());
    let zeta = TenantPolicy::new().with_role(DataClass::Memory, role("zeta-memory"));
    let (broker, platform) = (house.broker.clone(), Assurance::PlatformAttested);
    let broker = broker.with_tenant(spire, policy).unwrap().with_tenant(tenant("zeta"), zeta).unwrap();
    let wallet = |digit: &str| {
        let wallet = format!("0x{}", digit.repeat(40)).parse().unwrap();
        CredentialRequest::new(DataClass::Memory).with_wallet(wallet)
    };
    let pod = |uid: &str| blue().with_instance(uid.parse().unwrap());
    let asked: [(AttestedIdentity, CredentialRequest); 9] = [
        (blue(), DataClass::Memory.into()),
        (blue(), DataClass::Vault.into()),
        (blue(), wallet("a")),
        (blue(), wallet("b")),
        (pod("one"), DataClass::Memory.into()),
        (pod("two"), DataClass::Memory.into()),
        (agent(ROOT, Some("acme"), "red", platform), DataClass::Memory.into()),
        (agent(ROOT, Some("zeta"), "blue", platform), DataClass::Memory.into()),
        (agent("spire.example.org", Some("acme"), "blue", platform), DataClass::Memory.into()),
    ];
    for round in 1..=2 {
        for (at, (who, request)) in asked.iter().enumerate() {
            broker.credentials(who, request.clone()).await.unwrap();
            assert_eq!(house.sts.calls(), if round == 1 { at + 1 } else { asked.len() }, "{at}");
        }
    }
    let self_asserted = agent(ROOT, Some("acme"), "blue", Assurance::SelfAsserted);
    let refused = broker.credentials(&self_asserted, DataClass::Memory).await.unwrap_err();
    assert_eq!(refused.code(), "identity_self_asserted");
}

#[tokio::test(start_paused = true)]
async fn w74_r41_what_is_kept_is_renewed_in_time_and_ends_with_the_identity() {
    let house = House::new();
    house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
    house.world.clock.advance(Duration::from_secs(700));
    house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
    settled().await;
    assert_eq!((house.sts.calls(), house.events().len()), (2, 4), "in the background, with its rows");
    house.sts.fail(Some(ExchangeError::Unavailable));
    house.world.clock.advance(Duration::from_secs(899));
    assert_eq!(house.refused(&blue(), DataClass::Memory).await.code(), "sts_unavailable");
    house.sts.fail(None);
    house.world.clock.advance(Duration::from_secs(10));
    house.broker.credentials(&blue(), DataClass::Memory).await.unwrap();
    house.world.clock.advance(Duration::from_secs(191));
    let refused = house.refused(&blue(), DataClass::Memory).await;
    assert_eq!((refused.code(), house.sts.calls()), ("source_identity_expired", 4));
}

/// A tenant with a session role, and what the STS answers to the next assumption.
fn with_session_role(assumed: &str, source_identity: &str) -> (House, SessionBroker, BaseCredentials) {
    let policy = TenantPolicy::new()
        .with_role(DataClass::Memory, role("acme-memory"))
        .with_session_role(role("acme-session"))
        .attributed();
    let house = House::of(policy);
    let http = house.world.http.clone();
    // the first id that the broker draws
    let id = AuditId::generate(&*SeededRandom::new(1 << 40)).unwrap();
    let source_identity = SourceIdentity::verbatim(source_identity).or_else(|_| {
        SourceIdentity::decode(source_identity).and_then(|(t, s)| SourceIdentity::agent(&t, &s))
    });
    let session = AttributedSession::new(role(assumed), id, source_identity.unwrap());
    http.answer(STS, 200, answer(&session, IN_TIME));
    let sessions =
        SessionBroker::new("us-east-1".parse().unwrap(), http).with_clock(house.world.clock.clone());
    (house, sessions, long_lived())
}

#[tokio::test(start_paused = true)]
async fn r98_r110_an_assumed_session_is_the_tenants_own_and_has_its_rows() {
    for (exchanged, path) in [(false, "legacy_assume_role"), (true, "oidc_jwt+sts+assume_role")] {
        let (house, sessions, mut base) = with_session_role("acme-session", "agent+acme+blue");
        if exchanged {
            base = crate::assume::exchanged();
        }
        let credentials = house.broker.assume(&blue(), &sessions, &base).await.unwrap();
        assert_eq!(credentials.source_identity().map(SourceIdentity::as_str), Some("agent+acme+blue"));
        assert_eq!(house.events(), ["intent", "outcome"]);
        let rows = house.rows();
        let columns = ["path", "role_arn", "source_identity", "agent"].map(|column| text(&rows[0], column));
        let role = "arn:aws:iam::123456789012:role/acme-session";
        assert_eq!(columns, [Some(path), Some(role), Some("agent+acme+blue"), Some("blue")]);
        assert_eq!(text(&rows[0], "id"), text(&rows[0], "session_name"));
        assert_eq!((text(&rows[1], "outcome"), house.sts.calls()), (Some("issued"), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn w56_r109_nobody_assumes_without_a_row_a_session_role_or_an_answer_that_fits() {
    for at in [&["intent"], &["outcome"]] {
        let (house, sessions, base) = with_session_role("acme-session", "agent+acme+blue");
        house.sink.set(Fault::Fails, at);
        let refused = house.broker.assume(&blue(), &sessions, &base).await.unwrap_err();
        assert!(matches!(refused, BrokerError::Source(SourceError::Audit(_))), "{refused:?}");
        assert_eq!(house.world.http.requests().len(), usize::from(at[0] == "outcome"));
    }
    // what is refused before the STS is asked
    let (house, sessions, base) = with_session_role("acme-session", "agent+acme+blue");
    let platform = Assurance::PlatformAttested;
    let long = agent(ROOT, Some("acme"), &"a".repeat(60), platform);
    let stranger = agent(ROOT, Some("zeta"), "blue", platform);
    house.revokes.0.store(true, Ordering::SeqCst);
    for (who, code) in
        [(blue(), "source_revoked"), (long, "attribution_impossible"), (stranger, "tenant_unknown")]
    {
        let refused = house.broker.assume(&who, &sessions, &base).await.unwrap_err();
        assert_eq!(refused.code(), code);
        let row = house.last(["event", "code", "path", "subject"]);
        assert_eq!(row, said(["refusal", code, "legacy_assume_role", who.subject().as_str()]));
    }
    let plain = House::of(TenantPolicy::new().with_role(DataClass::Memory, role("acme-memory")).attributed());
    let refused = plain.broker.assume(&blue(), &sessions, &base).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), ("session_role_none", ErrorKind::Denied));
    assert_eq!(house.world.http.requests().len(), 0);

    // what the STS answers for another role or agent
    for (assumed, source_identity) in
        [("acme-memory", "agent+acme+blue"), ("acme-session", "agent+acme+red"), ("acme-session", "blue")]
    {
        let (house, sessions, base) = with_session_role(assumed, source_identity);
        let refused = house.broker.assume(&blue(), &sessions, &base).await.unwrap_err();
        assert_eq!((refused.wire_name(), refused.wire_status()), ("sts_error", 502));
        assert_eq!(
            house.last(["event", "outcome", "code", "path"])[..3],
            said(["outcome", "failed", "sts_answer"])
        );
        assert_eq!(house.events(), ["intent", "outcome"]);
    }
    // the base session is somebody else's already
    let (house, sessions, _) = with_session_role("acme-session", "agent+acme+blue");
    let red = SourceIdentity::agent("acme", "red").unwrap();
    let theirs = AwsCredentials::new("ASIABASE", "s".into(), "t".into(), NOW.plus(HALF_AN_HOUR));
    let base = BaseCredentials::exchanged(theirs.with_source_identity(red));
    let refused = house.broker.assume(&blue(), &sessions, &base).await.unwrap_err();
    assert_eq!((refused.code(), refused.wire_status()), ("assume_source_identity_fixed", 403));
    assert_eq!(
        (house.events(), house.world.http.requests().len()),
        (vec!["intent".to_owned(), "outcome".to_owned()], 0)
    );
}

#[test]
fn w61_every_code_of_a_refusal_is_one_that_a_row_takes() {
    for error in [
        BrokerError::ClassNotAllowed,
        BrokerError::UnknownTenant,
        BrokerError::NoSessions,
        BrokerError::NoSessionRole,
        AuditError::Slow.into(),
        AttestError::UnknownKind.into(),
        SourceError::Busy.into(),
        SessionError::Claims.into(),
        agentkeys_federation::SourceIdentityError::Length.into(),
        agentkeys_core::RandomError::new().into(),
    ] {
        assert_eq!(AuditCode::new(error.code()).map(AuditCode::as_str), Ok(error.code()));
        assert!(error.wire_name() == error.code() && error.wire_status() == error.kind().http_status());
    }
}

const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

#[tokio::test]
async fn r39_a_token_lives_as_long_as_the_tenants_policy_says() {
    for (seconds, policy) in [
        (300, TenantPolicy::new()),
        (60, TenantPolicy::new().with_token_lifetime(TokenLifetime::from_secs(60).unwrap())),
    ] {
        let house = House::of(policy.with_role(DataClass::Memory, role("acme-memory")));
        let token = house.broker.token(&blue(), DataClass::Memory).await.unwrap();
        assert_eq!(token.expires_at(), NOW.plus(Duration::from_secs(seconds)));
    }
}
