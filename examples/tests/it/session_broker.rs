//! The session broker before an STS that shares no code with it, under documents that were generated: who
//! acts is in the record of every call, and nobody acts as somebody else.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::Clock as _;
use agentkeys_core::{
    Assurance, AttestedIdentity, DiscoveryDocument, ErrorKind, EvidenceKind, HttpClient, HttpSettings,
    Issuer, KeyRing, LocalSigner, Minter, ReqwestClient, SystemClock, SystemRandom, TrustStore,
};
use agentkeys_federation::{
    AssumeError, AttributedSession, AuditId, AwsCredentials, AwsExchanger, BaseCredentials, ExchangeError,
    Exchanger as _, OidcProvider, PolicyDocument, RoleArn, RoleSession, SessionBroker, SessionDuration,
    SessionRole, SessionTags, SourceIdentity, SourceIdentityPattern, WebIdentityTrust,
};
use agentkeys_local_aws::policy::{IdentityPolicy, TrustPolicy};
use agentkeys_local_aws::{LocalAws, RecordedRequest, Role, State, Tags};
use aws_credential_types::Credentials;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

/// Two tenants, each with what its runtime is, and the role of its sessions.
struct Scene {
    aws: LocalAws,
    minter: Minter,
    exchanger: AwsExchanger,
    broker: SessionBroker,
}

fn arn(name: &str) -> RoleArn {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}").parse().unwrap()
}

/// Publishes the keys until the test ends.
async fn publish(keys: &KeyRing<agentkeys_core::Oidc>) -> Issuer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer =
        Issuer::loopback_http_for_tests(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let discovery = serde_json::to_string(&DiscoveryDocument::new(&issuer)).unwrap();
    let jwks = serde_json::to_string(&keys.jwks()).unwrap();
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(|| async move { discovery }))
        .route("/.well-known/jwks.json", get(|| async move { jwks }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    issuer
}

impl Scene {
    async fn start() -> Self {
        let aws =
            LocalAws::start(State::new(ACCOUNT.parse().unwrap(), REGION.parse().unwrap())).await.unwrap();
        let keys = KeyRing::new(Arc::new(LocalSigner::generate(&SystemRandom::new()).unwrap().0));
        let issuer = publish(&keys).await;
        aws.register_provider(issuer.as_str().parse().unwrap(), ["sts.amazonaws.com"]);
        let http: Arc<dyn HttpClient> =
            Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap());
        let region = || REGION.parse().unwrap();
        let scene = Self {
            exchanger: AwsExchanger::with_endpoint(region(), http.clone(), aws.endpoint()),
            broker: SessionBroker::with_endpoint(region(), http, aws.endpoint()),
            minter: Minter::new(issuer.clone(), keys),
            aws,
        };
        for tenant in ["acme", "globex"] {
            scene.open(&issuer, tenant);
        }
        scene
    }

    /// A tenant's roles: `-runtime`, that a token becomes, and `-session`, that it assumes; `-named` and
    /// `-named-session`, where the token names who acts already.
    fn open(&self, issuer: &Issuer, tenant: &str) {
        let provider =
            OidcProvider::new("aws".parse().unwrap(), ACCOUNT.parse().unwrap(), issuer.clone()).unwrap();
        let subjects = format!("aws-stsweb/root/{tenant}/*").parse().unwrap();
        let pattern = SourceIdentityPattern::tenant(tenant).unwrap();
        let trust = WebIdentityTrust::new(provider, subjects);
        for (suffix, trust) in
            [("runtime", trust.clone()), ("named", trust.with_source_identity(pattern.clone()))]
        {
            let runtime = format!("{tenant}-{suffix}");
            let session =
                if suffix == "runtime" { format!("{tenant}-session") } else { format!("{runtime}-session") };
            let both = SessionRole::new(arn(&session), arn(&runtime), pattern.clone()).for_tagged_caller();
            self.put(&runtime, &trust.document(), Some(&both.caller_policy()));
            self.put(&session, &both.trust_policy(), None);
        }
    }

    fn put(&self, name: &str, trust: &PolicyDocument, policy: Option<&PolicyDocument>) {
        let mut role = Role::new(name.parse().unwrap(), TrustPolicy::parse(&trust.to_string()).unwrap())
            .with_max_session_duration(43_200.try_into().unwrap());
        role.policies =
            policy.map(|policy| IdentityPolicy::parse(&policy.to_string()).unwrap()).into_iter().collect();
        assert_eq!(self.aws.put_role(role), arn(name).as_str());
    }

    async fn exchanged(&self, tenant: &str, identity: Option<SourceIdentity>) -> AwsCredentials {
        let (who, suffix) = (agent_of(tenant), if identity.is_some() { "named" } else { "runtime" });
        let mut session =
            RoleSession::new(arn(&format!("{tenant}-{suffix}"))).with_tags(SessionTags::of(&who));
        if let Some(identity) = identity {
            session = session.with_source_identity(identity);
        }
        let token = self.minter.mint(&who, session.mint_request().unwrap()).await.unwrap();
        self.exchanger.exchange(&token, &session).await.unwrap()
    }

    async fn assume(
        &self,
        base: &AwsCredentials,
        session: &AttributedSession,
    ) -> Result<AwsCredentials, AssumeError> {
        self.broker.assume(&agent_of("acme"), &BaseCredentials::exchanged(base.clone()), session).await
    }

    fn asked(&self) -> usize {
        self.aws.requests().len()
    }

    /// The record of a call with these credentials.
    async fn trace(&self, credentials: &AwsCredentials) -> RecordedRequest {
        self.sdk(credentials).get_caller_identity().send().await.unwrap();
        self.aws.requests().pop().unwrap()
    }

    /// AWS's own SDK with these credentials.
    fn sdk(&self, credentials: &AwsCredentials) -> aws_sdk_sts::Client {
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
            .region(aws_sdk_sts::config::Region::new(REGION))
            .endpoint_url(self.aws.endpoint())
            .credentials_provider(Credentials::from(credentials.clone()))
            .retry_config(aws_sdk_sts::config::retry::RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        aws_sdk_sts::Client::from_conf(config)
    }

    /// The code that the STS refuses a request with which the broker does not make.
    async fn refused_by_hand(
        &self,
        base: &AwsCredentials,
        role: &str,
        identity: Option<&str>,
        seconds: i32,
    ) -> String {
        let request = self.sdk(base).assume_role().role_arn(arn(role).as_str()).role_session_name("by-hand");
        let request = request.set_source_identity(identity.map(str::to_owned)).duration_seconds(seconds);
        let error = request.send().await.unwrap_err().into_service_error();
        error.meta().code().unwrap().to_owned()
    }
}

fn agent_of(tenant: &str) -> AttestedIdentity {
    let now = SystemClock::new().now().unwrap();
    let identity = AttestedIdentity::assertion(
        EvidenceKind::from_static("aws-stsweb"),
        "root".parse().unwrap(),
        "blue".parse().unwrap(),
        Assurance::PlatformAttested,
        now,
        now.plus(Duration::from_secs(1800)),
    );
    identity.unwrap().with_tenant(tenant.parse().unwrap())
}

fn session(role: &str, identity: SourceIdentity) -> AttributedSession {
    AttributedSession::new(arn(role), AuditId::generate(&SystemRandom::new()).unwrap(), identity)
}

fn who(tenant: &str, session: &str) -> SourceIdentity {
    SourceIdentity::agent(tenant, session).unwrap()
}

#[tokio::test]
async fn r98_r103_from_a_token_to_a_session_whose_every_call_says_who_acts() {
    let scene = Scene::start().await;
    let base = scene.exchanged("acme", None).await;
    assert_eq!(base.source_identity(), None);
    assert_eq!(scene.trace(&base).await.source_identity(), None);

    let session = session("acme-session", who("acme", "01JZ:7"));
    let credentials = scene.assume(&base, &session).await.unwrap();
    let asked = scene.aws.requests().pop().unwrap();
    assert_eq!(asked.sts_action.as_deref(), Some("AssumeRole"));
    assert!(asked.has_authorization && asked.has_header("x-amz-security-token"));
    // it keeps the agent's transitive tag
    assert!(credentials.packed_size().is_some_and(|size| !size.is_near_the_limit()));

    let trace = scene.trace(&credentials).await;
    assert_eq!(trace.source_identity(), Some("agent+acme+01JZ=3A7"));
    let caller = format!("arn:aws:sts::{ACCOUNT}:assumed-role/acme-session/{}", session.id());
    assert_eq!(trace.caller(), Some(caller.as_str()));
    // what an intent of it says is what the record says
    assert_eq!(session.role().session_arn(&session.name()), caller);
}

#[tokio::test]
async fn r104_r105_a_tenant_that_names_anothers_identity_or_role_is_refused_by_the_trust_policy() {
    let scene = Scene::start().await;
    let base = scene.exchanged("acme", None).await;
    for (role, identity) in [
        ("acme-session", who("globex", "7")),
        ("acme-session", who("acme2", "7")),
        ("acme-session", who("acm", "7")),
        ("acme-session", SourceIdentity::digest("acme", "7").unwrap()),
        ("acme-session", SourceIdentity::verbatim("jane@example.org").unwrap()),
        ("globex-session", who("globex", "7")),
        ("globex-session", who("acme", "7")),
        ("acme-named-session", who("acme", "7")),
        ("nobodys-session", who("acme", "7")),
    ] {
        let refused = scene.assume(&base, &session(role, identity.clone())).await.unwrap_err();
        assert_eq!(refused, ExchangeError::Denied.into(), "{role} {identity}");
        assert_eq!(refused.kind(), ErrorKind::Denied);
    }
    scene.assume(&base, &session("acme-session", who("acme", "7"))).await.unwrap();
}

#[tokio::test]
async fn r105_r109_a_request_that_leaves_the_source_identity_out_is_refused() {
    let scene = Scene::start().await;
    let base = scene.exchanged("acme", None).await;
    assert_eq!(scene.refused_by_hand(&base, "acme-session", None, 900).await, "AccessDenied");
    // nor is it enough that the base session has one: it must be said again
    let named = scene.exchanged("acme", Some(who("acme", "7"))).await;
    assert_eq!(scene.refused_by_hand(&named, "acme-named-session", None, 900).await, "AccessDenied");
    scene.assume(&named, &session("acme-named-session", who("acme", "7"))).await.unwrap();
}

#[tokio::test]
async fn r102_a_source_identity_stays_through_the_chain_and_another_is_not_asked_for() {
    let scene = Scene::start().await;
    let base = scene.exchanged("acme", Some(who("acme", "7"))).await;
    assert_eq!(scene.trace(&base).await.source_identity(), Some("agent+acme+7"));
    let asked = scene.asked();
    let other = session("acme-named-session", who("acme", "8"));
    let refused = scene.assume(&base, &other).await.unwrap_err();
    assert_eq!((refused, scene.asked()), (AssumeError::SourceIdentityFixed, asked));
    // where somebody asks all the same, the STS refuses it too
    let role = "acme-named-session";
    assert_eq!(scene.refused_by_hand(&base, role, Some("agent+acme+8"), 900).await, "AccessDenied");

    let credentials = scene.assume(&base, &session(role, who("acme", "7"))).await.unwrap();
    assert_eq!(scene.trace(&credentials).await.source_identity(), Some("agent+acme+7"));
    let asked = scene.asked();
    let refused = scene.assume(&credentials, &other).await.unwrap_err();
    assert_eq!((refused, scene.asked()), (AssumeError::SourceIdentityFixed, asked));
}

#[tokio::test]
async fn w62_a_chained_session_lasts_an_hour_at_most_and_more_is_not_asked_for() {
    let scene = Scene::start().await;
    let base = scene.exchanged("acme", None).await;
    let lasting = |seconds| {
        session("acme-session", who("acme", "7")).with_duration(SessionDuration::from_secs(seconds).unwrap())
    };
    let asked = scene.asked();
    let refused = scene.assume(&base, &lasting(3601)).await.unwrap_err();
    assert_eq!((refused, scene.asked()), (AssumeError::Duration, asked));
    let code = scene.refused_by_hand(&base, "acme-session", Some("agent+acme+7"), 3601).await;
    assert_eq!(code, "ValidationError");
    let credentials = scene.assume(&base, &lasting(3600)).await.unwrap();
    let left = credentials.expires_at().as_unix() - SystemClock::new().now().unwrap().as_unix();
    assert!((3590..=3600).contains(&left), "{left}");
}

#[tokio::test]
async fn base_credentials_that_the_sts_does_not_know_or_that_have_ended_get_nothing() {
    let scene = Scene::start().await;
    let base = scene.exchanged("acme", None).await;
    let session = session("acme-session", who("acme", "7"));
    let (secret, token) = (base.secret_access_key().clone(), base.session_token().clone());
    for (id, secret, token) in [
        ("ASIAUNKNOWNUNKNOWN00", secret.clone(), token.clone()),
        (base.access_key_id(), "other".into(), token),
        (base.access_key_id(), secret, "other".into()),
    ] {
        let wrong = AwsCredentials::new(id, secret, token, base.expires_at());
        let refused = scene.assume(&wrong, &session).await.unwrap_err();
        assert_eq!(refused, ExchangeError::BaseInvalid.into());
    }
    // without its session token a session's key is none
    let bare = BaseCredentials::long_lived(base.access_key_id(), base.secret_access_key().clone());
    let refused = scene.broker.assume(&agent_of("acme"), &bare, &session).await.unwrap_err();
    assert_eq!(refused, ExchangeError::BaseInvalid.into());
    // the STS's clock is ahead of ours
    scene.aws.clock().advance(Duration::from_secs(901));
    let refused = scene.assume(&base, &session).await.unwrap_err();
    assert_eq!(refused, ExchangeError::BaseExpired.into());
}

#[tokio::test]
async fn r106_a_pods_own_session_carries_no_source_identity_and_one_that_it_starts_does() {
    let scene = Scene::start().await;
    let pods = agentkeys_federation::PodRole::new("agentkeys".parse().unwrap()).unwrap();
    // what a pod's role can be given has no way to set one
    for document in [pods.trust_policy(), pods.role_policy()] {
        assert!(!document.to_string().contains("SourceIdentity"), "{document}");
    }
    let both =
        SessionRole::new(arn("acme-session"), arn("pods"), SourceIdentityPattern::tenant("acme").unwrap());
    scene.put("pods", &pods.trust_policy(), Some(&both.caller_policy()));
    scene.put("acme-session", &both.trust_policy(), None);
    let (role, name) = ("pods".parse().unwrap(), "eks-pod".parse().unwrap());
    // the association has its session tags disabled
    let pod = scene.aws.workload_session(&role, &name, Tags::default(), Duration::from_secs(3600)).unwrap();
    let ends = SystemClock::new().now().unwrap().plus(Duration::from_secs(3600));
    let base = AwsCredentials::new(
        pod.access_key_id.as_str(),
        pod.secret_access_key.expose().into(),
        pod.session_token.expose().into(),
        ends,
    );
    assert_eq!(scene.trace(&base).await.source_identity(), None);
    let session = session("acme-session", who("acme", "7"));
    let base = BaseCredentials::temporary(base);
    let credentials = scene.broker.assume(&agent_of("acme"), &base, &session).await.unwrap();
    assert_eq!(scene.trace(&credentials).await.source_identity(), Some("agent+acme+7"));
}
