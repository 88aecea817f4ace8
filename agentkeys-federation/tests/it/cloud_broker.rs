//! The broker's way to the other clouds: policy, revocation, rows before and after.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, Attestors, ErrorKind};
use agentkeys_federation::{
    AuditRow, Broker, BrokerError, CloudRole, CredentialCache, DataClass, ExchangeError, Exchanger,
    GcpSession, MAX_GCP_SUBJECT, MemoryAudit, RevocationCheck, RevocationError, RoleSession, SourceError,
    Tenant, TenantError, TenantPolicy, verify_chain,
};
use async_trait::async_trait;
use serde_json::json;

use crate::audit::{memory, text};
use crate::clouds::{
    ALIBABA, Clouds, GCP, GCP_ACCOUNT, TENCENT, alibaba, alibaba_answer, gcp, gcp_answers, identity,
    identity_in, tencent, tencent_answer,
};
use crate::support::{Counting, Faulty, World};

fn tenant(name: &str) -> Tenant {
    Tenant::new("arn:aws:eks:us-east-1:123456789012:cluster/demo".parse().unwrap(), name.parse().unwrap())
}

fn blue() -> AttestedIdentity {
    identity("blue").with_tenant("acme".parse().unwrap())
}

fn policy() -> TenantPolicy {
    TenantPolicy::new()
        .with_alibaba(DataClass::Memory, alibaba())
        .with_tencent(DataClass::Memory, tencent())
        .with_gcp(DataClass::Memory, gcp())
}

/// Lets everybody have what it is asked about, and knows one role that nobody may become.
#[derive(Debug, Default)]
struct Knows(Option<CloudRole>);

#[async_trait]
impl RevocationCheck for Knows {
    async fn check(&self, _: &AttestedIdentity, _: &RoleSession) -> Result<(), RevocationError> {
        Ok(())
    }

    async fn check_cloud(&self, _: &AttestedIdentity, role: &CloudRole) -> Result<(), RevocationError> {
        if self.0.as_ref() == Some(role) { Err(RevocationError::Revoked) } else { Ok(()) }
    }
}

/// Was written when there was AWS alone.
#[derive(Debug)]
struct KnowsAwsAlone;

#[async_trait]
impl RevocationCheck for KnowsAwsAlone {
    async fn check(&self, _: &AttestedIdentity, _: &RoleSession) -> Result<(), RevocationError> {
        Ok(())
    }
}

struct House {
    clouds: Clouds,
    rows: Arc<MemoryAudit>,
    broker: Broker,
}

impl House {
    fn new() -> Self {
        Self::with(Arc::new(Knows::default()), &[])
    }

    fn with(check: Arc<dyn RevocationCheck>, faults: &'static [&'static str]) -> Self {
        let (clouds, rows) = (Clouds::new(), memory(1000));
        let aws = Counting::new(&World::new());
        let cache = CredentialCache::new(clouds.minter.clone(), aws, NonZeroUsize::MIN)
            .with_clock(clouds.clock.clone())
            .with_revocation(check);
        let sink = Faulty::failing(rows.clone(), faults);
        let broker =
            Broker::new(Attestors::new(), cache, sink).with_tenant(tenant("acme"), policy()).unwrap();
        Self { clouds, rows, broker }
    }

    fn rows(&self) -> Vec<AuditRow> {
        self.rows.rows().0
    }
}

/// These columns of a row.
fn cells<const N: usize>(row: &AuditRow, columns: [&str; N]) -> [Option<String>; N] {
    columns.map(|column| text(row, column).map(str::to_owned))
}

fn said<const N: usize>(texts: [&str; N]) -> [Option<String>; N] {
    texts.map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

const ASKED: [&str; 5] = ["event", "path", "role_arn", "attribution", "code"];

#[tokio::test(start_paused = true)]
async fn r90_w55_an_exchange_at_each_cloud_has_its_rows_and_names_the_cloud() {
    let house = House::new();
    house.clouds.http.answer(TENCENT, 200, tencent_answer().to_string());
    let [federated, answer] = gcp_answers();
    house.clouds.http.answer(GCP, 200, federated.to_string());
    house.clouds.http.answer(GCP_ACCOUNT, 200, answer.to_string());
    let (who, class) = (blue(), DataClass::Memory);
    let tencent = house.broker.cloud_credentials(&who, class, &house.clouds.tencent).await.unwrap();
    assert_eq!(tencent.token().expose(), "MARKED-session");
    let gcp = house.broker.cloud_credentials(&who, class, &house.clouds.gcp).await.unwrap();
    assert_eq!(gcp.token().expose(), "MARKED-secret");
    // Alibaba's answer names its session, which is not known before
    let exchanger = Mirrors(&house.clouds);
    let alibaba = house.broker.cloud_credentials(&who, class, &exchanger).await.unwrap();
    assert_eq!(alibaba.security_token().expose(), "MARKED-session");

    let rows = house.rows();
    verify_chain(&rows, &rows.last().unwrap().head()).unwrap();
    let paths = ["oidc_jwt+tencent_sts", "oidc_jwt+gcp_sts", "oidc_jwt+alibaba_sts"];
    let roles = [
        "qcs::cam::uin/100000000001:roleName/agents",
        "agents@my-project.iam.gserviceaccount.com",
        "acs:ram::1135115445850000:role/testoidc",
    ];
    let keys = ["AKIDexampleexampleexample", "", "STS.NUgYrLnoC37mZZCNnAbez"];
    assert_eq!(rows.len(), 6);
    for (at, pair) in rows.chunks(2).enumerate() {
        let [intent, outcome] = pair else { panic!("{pair:?}") };
        assert_eq!(cells(intent, ASKED), said(["intent", paths[at], roles[at], "unattributed", ""]));
        assert_eq!(intent.value("session_seconds"), Some(&agentkeys_federation::AuditValue::Integer(900)));
        let id = text(intent, "id").unwrap();
        assert_eq!(text(intent, "session_name"), (at != 1).then_some(id));
        assert_eq!(text(intent, "subject"), Some(who.subject().as_str()));
        assert_eq!(text(outcome, "id"), Some(id));
        let ended = cells(outcome, ["event", "outcome", "access_key_id", "code"]);
        assert_eq!(ended, said(["outcome", "issued", keys[at], ""]));
    }
    assert!(!format!("{rows:?} {:?}", house.broker).contains("MARKED"));
}

/// Alibaba's STS for a token that it sees now.
#[derive(Debug)]
struct Mirrors<'c>(&'c Clouds);

impl std::fmt::Debug for Clouds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clouds")
    }
}

#[async_trait]
impl Exchanger for Mirrors<'_> {
    type Target = agentkeys_federation::AlibabaSession;
    type Credentials = agentkeys_federation::AlibabaCredentials;

    async fn exchange(
        &self,
        token: &agentkeys_core::Token,
        target: &Self::Target,
    ) -> Result<Self::Credentials, ExchangeError> {
        self.0.http.answer(ALIBABA, 200, alibaba_answer(token).to_string());
        self.0.alibaba.exchange(token, target).await
    }
}

#[tokio::test]
async fn r90_r57_what_the_policy_does_not_allow_is_refused_and_written_down() {
    let house = House::new();
    let stranger = identity("blue").with_tenant("zeta".parse().unwrap());
    let nobody = identity("blue");
    for (who, class, code) in [
        (&stranger, DataClass::Memory, "tenant_unknown"),
        (&nobody, DataClass::Memory, "tenant_unknown"),
        (&blue(), DataClass::Vault, "class_not_allowed"),
    ] {
        let refused = house.broker.cloud_credentials(who, class, &house.clouds.gcp).await.unwrap_err();
        assert_eq!((refused.code(), refused.kind()), (code, ErrorKind::Denied));
        let row = house.rows().pop().unwrap();
        assert_eq!(cells(&row, ASKED), said(["refusal", "oidc_jwt+gcp_sts", "", "", code]));
        assert_eq!(text(&row, "subject"), Some(who.subject().as_str()));
    }
    // what is allowed in one cloud is allowed there alone
    let only = TenantPolicy::new().with_gcp(DataClass::Memory, gcp());
    let broker = house.broker.clone().with_tenant(tenant("other"), only);
    assert_eq!(broker.unwrap_err(), TenantError::SharedRole);
    assert!(house.clouds.http.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn r90_a_refusal_of_a_cloud_is_an_outcome_and_an_expired_token_is_minted_again_once() {
    let house = House::new();
    let refusal = json!({ "Code": "AuthenticationFail.NoPermission", "Message": "MARKED" });
    house.clouds.http.answer(ALIBABA, 403, refusal.to_string());
    let alibaba = &house.clouds.alibaba;
    let refused = house.broker.cloud_credentials(&blue(), DataClass::Memory, alibaba).await.unwrap_err();
    assert_eq!((refused.wire_name(), refused.wire_status()), ("sts_error", 502));
    let ended = cells(&house.rows().pop().unwrap(), ["event", "outcome", "code"]);
    assert_eq!(ended, said(["outcome", "refused", "sts_access_denied"]));
    assert_eq!((house.rows().len(), house.clouds.http.requests().len()), (2, 1));

    let expired = json!({ "Code": "AuthenticationFail.OIDCToken.Expired", "Message": "MARKED" });
    house.clouds.http.answer(ALIBABA, 400, expired.to_string());
    let refused = house.broker.cloud_credentials(&blue(), DataClass::Memory, alibaba).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Source(SourceError::Exchange(ExchangeError::TokenExpired))));
    assert_eq!((house.rows().len(), house.clouds.http.requests().len()), (6, 3));
    let jtis: Vec<_> = house.rows().iter().filter_map(|row| text(row, "jti").map(str::to_owned)).collect();
    assert!(jtis.len() == 3 && jtis[1] != jtis[2]);
}

#[tokio::test(start_paused = true)]
async fn w56_nothing_of_another_cloud_leaves_without_its_rows() {
    for (faults, asked) in [(&["intent"][..], 0), (&["outcome"], 1)] {
        let house = House::with(Arc::new(Knows::default()), faults);
        house.clouds.http.answer(TENCENT, 200, tencent_answer().to_string());
        let tencent = &house.clouds.tencent;
        let refused = house.broker.cloud_credentials(&blue(), DataClass::Memory, tencent).await.unwrap_err();
        assert!(matches!(refused, BrokerError::Source(SourceError::Audit(_))), "{refused:?}");
        assert_eq!(house.clouds.http.requests().len(), asked);
    }
}

#[tokio::test]
async fn r90_a_revoked_agent_gets_nothing_and_a_check_that_does_not_know_clouds_refuses() {
    let role = CloudRole::Gcp(gcp().account().clone());
    for (check, code) in [
        (Arc::new(Knows(Some(role))) as Arc<dyn RevocationCheck>, "source_revoked"),
        (Arc::new(KnowsAwsAlone), "source_revocation_unavailable"),
    ] {
        let house = House::with(check, &[]);
        let refused =
            house.broker.cloud_credentials(&blue(), DataClass::Memory, &house.clouds.gcp).await.unwrap_err();
        assert_eq!(refused.code(), code);
        let row = house.rows().pop().unwrap();
        let account = gcp().account().to_string();
        assert_eq!(cells(&row, ASKED), said(["refusal", "oidc_jwt+gcp_sts", &account, "", code]));
        assert!(house.clouds.http.requests().is_empty());
    }
}

#[tokio::test]
async fn r90_an_identity_that_google_would_refuse_is_refused_before_a_token_is_minted() {
    let house = House::new();
    let long = identity_in(&"d".repeat(90), "blue");
    let other = GcpSession::new(
        "others@my-project.iam.gserviceaccount.com".parse().unwrap(),
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/others/providers/keys"
            .parse()
            .unwrap(),
        "https://www.googleapis.com/auth/logging.write".parse().unwrap(),
    );
    let policy = TenantPolicy::new().with_gcp(DataClass::Memory, other);
    let broker =
        house.broker.clone().with_tenant(Tenant::unnamed(long.trust_root().clone()), policy).unwrap();
    assert!(long.subject().as_str().len() > MAX_GCP_SUBJECT);
    let refused = broker.cloud_credentials(&long, DataClass::Memory, &house.clouds.gcp).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), ("source_subject", ErrorKind::Misconfigured));
    assert_eq!(text(&house.rows().pop().unwrap(), "code"), Some("source_subject"));
    assert!(house.clouds.http.requests().is_empty());
}

#[tokio::test]
async fn r90_past_the_identitys_end_there_is_nothing() {
    let house = House::new();
    let who = blue();
    house.clouds.clock.advance(Duration::from_secs(7201));
    let refused =
        house.broker.cloud_credentials(&who, DataClass::Memory, &house.clouds.tencent).await.unwrap_err();
    assert_eq!(refused.code(), "source_identity_expired");
    assert!(house.clouds.http.requests().is_empty());
}

#[test]
fn r110_two_tenants_have_no_role_of_another_cloud_in_common() {
    let empty = || {
        let cache =
            CredentialCache::new(Clouds::new().minter, Counting::new(&World::new()), NonZeroUsize::MIN);
        Broker::new(Attestors::new(), cache, memory(10))
    };
    let same = gcp().with_scope("https://www.googleapis.com/auth/logging.write".parse().unwrap());
    let upper = agentkeys_federation::AlibabaSession::new(
        "acs:ram::1135115445850000:role/TESTOIDC".parse().unwrap(),
        "acs:ram::1135115445850000:oidc-provider/other".parse().unwrap(),
        "other".parse().unwrap(),
    );
    for (theirs, shared) in [
        (TenantPolicy::new().with_gcp(DataClass::Vault, same), true),
        (TenantPolicy::new().with_alibaba(DataClass::Vault, upper), true),
        (TenantPolicy::new().with_tencent(DataClass::Config, tencent()), true),
        (TenantPolicy::new(), false),
    ] {
        let broker = empty().with_tenant(tenant("acme"), policy()).unwrap();
        let added = broker.with_tenant(tenant("zeta"), theirs).map(drop);
        assert_eq!(added, if shared { Err(TenantError::SharedRole) } else { Ok(()) });
    }
    // one tenant may have one role for two classes, as on AWS
    assert!(empty().with_tenant(tenant("acme"), policy().with_gcp(DataClass::Vault, gcp())).is_ok());
}

#[test]
fn r109_an_attributed_tenant_has_no_sessions_that_cannot_be() {
    for clouds in [
        TenantPolicy::new().with_alibaba(DataClass::Memory, alibaba()),
        TenantPolicy::new().with_gcp(DataClass::Memory, gcp()),
        TenantPolicy::new().with_tencent(DataClass::Memory, tencent()),
    ] {
        let cache =
            CredentialCache::new(Clouds::new().minter, Counting::new(&World::new()), NonZeroUsize::MIN);
        let broker = Broker::new(Attestors::new(), cache, memory(10));
        let refused = broker.clone().with_tenant(tenant("acme"), clouds.clone().attributed()).map(drop);
        assert_eq!(refused, Err(TenantError::Unattributable));
        assert!(broker.with_tenant(tenant("acme"), clouds).is_ok());
    }
}
