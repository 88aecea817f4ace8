use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws::{AccountId, ClusterArn, RoleArn as PodRoleArn, StsEndpoint};
use agentkeys_attest::aws_sts::{AwsStsAttestor, AwsStsPins, AwsStsSource, StsRole};
use agentkeys_attest::aws_stsweb::{StsWebAttestor, StsWebPins};
use agentkeys_attest::spire::{SpireAttestor, SpireBundles, SpirePins, WorkloadSocket};
use agentkeys_core::{
    AttestedIdentity, Attestors, Audience, HttpSettings, Issuer, MemoryReplayGuard, ReqwestClient,
    SystemClock, TrustDomain, TrustStore,
};
use agentkeys_federation::{
    ActorOmni, AwsExchanger, Broker, CredentialCache, DataClass, MemoryAudit, PodRole, Stack, Tenant,
    TenantPolicy,
};
use agentkeys_local_aws::policy::{IdentityPolicy, TrustPolicy};
use agentkeys_local_aws::{LocalAws, Role, SessionCredentials, State, Tags};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;
use aws_types::region::Region as SdkRegion;
use serde_json::{Value, json};

use crate::spire::{SPIRE_SUBJECTS, TEMPLATE, TRUST_DOMAIN};
use crate::{Failure, Report, RunningStack};

/// The classes of data that are shown: each has a role and a bucket of its own (R57, R58).
pub const CLASSES: [DataClass; 3] = [DataClass::Data, DataClass::Vault, DataClass::Memory];

/// Another of the classes, for looking over the fence.
#[must_use]
pub const fn next(class: DataClass) -> DataClass {
    match class {
        DataClass::Data => DataClass::Vault,
        DataClass::Vault => DataClass::Memory,
        _ => DataClass::Data,
    }
}

/// Where an agent's objects of a class are (R53).
#[must_use]
pub fn own_prefix(agent: &AttestedIdentity, class: DataClass) -> String {
    format!("bots/{}/{}/", ActorOmni::of(agent), class.prefix())
}

/// A small world on loopback: an STS and S3, an issuer, and what links them.
#[derive(Debug)]
pub struct Demo {
    pub(crate) aws: LocalAws,
    pub(crate) attestors: Attestors,
    /// Where the agents work.
    pub(crate) production: RunningStack,
    /// Another issuer, with roles and buckets of its own.
    pub(crate) test: RunningStack,
    pub(crate) exchanger: Arc<AwsExchanger>,
    pub(crate) broker: Broker,
    pub(crate) audit: Arc<MemoryAudit>,
    pub(crate) spire: Option<WorkloadSocket>,
}

impl Demo {
    /// Starts it: three servers on free ports of 127.0.0.1, new keys, nothing read from the machine.
    ///
    /// # Errors
    /// Where a port or randomness cannot be had.
    pub async fn start() -> Result<Self, Failure> {
        Self::beside(None).await
    }

    /// The same, which also takes the SVIDs of the SPIFFE agent that listens on `spire`: of the trust domain
    /// `example.org`, with IDs of the form `/agent/{tenant}/{agent}`.
    ///
    /// # Errors
    /// As before.
    pub async fn beside(spire: Option<WorkloadSocket>) -> Result<Self, Failure> {
        let aws = LocalAws::start(State::new(ACCOUNT.parse()?, REGION.parse()?)).await?;
        let production = RunningStack::start(&aws, Stack::Production, &SUBJECTS, &CLASSES).await?;
        let test = RunningStack::start(&aws, Stack::Test, &SUBJECTS, &CLASSES).await?;
        // everything is plain HTTP on loopback, so no certificate authority is trusted at all
        let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody()))?);

        let generated = PodRole::new(AUDIENCE.parse()?)?;
        let pod_trust = TrustPolicy::parse(&generated.trust_policy().to_string())?;
        let mut pods = Role::new(POD_ROLE.parse()?, pod_trust);
        for policy in [generated.role_policy().to_string(), careless_pod_policy().to_string()] {
            pods.policies.push(IdentityPolicy::parse(&policy)?);
        }
        let pod_role = aws.put_role(pods);
        // a role of its own for an agent that no cluster vouches for; GetCallerIdentity needs no permission
        let green_trust = TrustPolicy::parse(&generated.trust_policy().to_string())?;
        let green = Role::new(GREEN_ROLE.parse()?, green_trust);
        let green_role = aws.put_role(green);

        let pins = StsWebPins {
            issuer: Issuer::loopback_http_for_tests(&aws.outbound_issuer())?,
            audience: AUDIENCE.parse()?,
            account: ACCOUNT.parse::<AccountId>()?,
            role: pod_role.parse::<PodRoleArn>()?,
            cluster: CLUSTER.parse::<ClusterArn>()?,
            namespace: NAMESPACE.parse()?,
            service_account: SERVICE_ACCOUNT.parse()?,
            pod_suffix: "-pod".parse()?,
        };
        let requests = AwsStsPins {
            endpoints: vec![StsEndpoint::loopback_http_for_tests(REGION.parse()?, aws.endpoint())?],
            audience: AUDIENCE.parse()?,
            roles: vec![StsRole::named(green_role.parse()?, "green".parse()?)],
        };
        let room = NonZeroUsize::new(1000).ok_or("no room")?;
        let guard = Arc::new(MemoryReplayGuard::new(Arc::new(SystemClock::new()), room));
        let mut attestors = Attestors::new()
            .with(StsWebAttestor::new(pins, http.clone())?)?
            .with(AwsStsAttestor::new(requests, http.clone(), guard)?)?;
        if let Some(socket) = &spire {
            let trust_domain: TrustDomain = TRUST_DOMAIN.parse()?;
            let keys = SpireBundles::new(socket.clone(), &trust_domain);
            let pins = SpirePins { trust_domain, audience: AUDIENCE.parse()?, template: TEMPLATE.parse()? };
            attestors = attestors.with(SpireAttestor::new(pins, Arc::new(keys))?)?;
        }
        let exchanger = Arc::new(AwsExchanger::with_endpoint(REGION.parse()?, http, aws.endpoint()));
        let audit = Arc::new(MemoryAudit::new(room));
        let broker = broker(&attestors, &production, exchanger.clone(), audit.clone(), &green_role)?;
        Ok(Self { aws, attestors, production, test, exchanger, broker, audit, spire })
    }

    /// Says what there is.
    pub(crate) fn introduce(&self, report: &mut Report) {
        let aws = format!("{}   an STS and S3 on this machine; nothing leaves it", self.aws.endpoint());
        report.step("", "local AWS", aws, Duration::ZERO);
        for (step, stack) in [("issuer", &self.production), ("test issuer", &self.test)] {
            let issuer =
                format!("{}   discovery and keys served, provider registered", stack.minter().issuer());
            report.step("", step, issuer, Duration::ZERO);
        }
    }

    /// What EKS Pod Identity gives an agent's pod: a session whose tags name the pod.
    pub(crate) fn pod_session(&self, agent: &str) -> Result<SessionCredentials, Failure> {
        self.session_with(agent, pod_tags(agent)?)
    }

    /// A session of the pods' role with these tags.
    pub(crate) fn session_with(&self, name: &str, tags: Tags) -> Result<SessionCredentials, Failure> {
        pod_session(&self.aws, name, tags)
    }

    /// A session of the role that is agent green.
    pub(crate) fn green_session(&self) -> Result<SessionCredentials, Failure> {
        let (role, name) = (GREEN_ROLE.parse()?, "i-0123456789abcdef0".parse()?);
        Ok(self.aws.workload_session(&role, &name, Tags::default(), Duration::from_secs(3600))?)
    }

    /// What signs requests with a session's credentials for the STS at `endpoint`, or for this one.
    pub(crate) fn signer(
        &self,
        session: &SessionCredentials,
        audience: &str,
        endpoint: Option<StsEndpoint>,
    ) -> Result<AwsStsSource, Failure> {
        let here = || {
            StsEndpoint::loopback_http_for_tests(REGION.parse()?, self.aws.endpoint()).map_err(Failure::from)
        };
        let endpoint = endpoint.map_or_else(here, Ok)?;
        Ok(AwsStsSource::new(credentials_of(session), endpoint, audience.parse()?))
    }

    /// An SDK configuration with these credentials, as a pod's own would be.
    pub(crate) fn sdk(&self, session: &SessionCredentials) -> SdkConfig {
        self.sdk_with(SharedCredentialsProvider::new(credentials_of(session)))
    }

    /// An SDK configuration with this provider.
    pub(crate) fn sdk_with(&self, credentials: SharedCredentialsProvider) -> SdkConfig {
        sdk_at(self.aws.endpoint(), credentials)
    }

    /// The audience of the agents' evidence.
    pub(crate) fn audience() -> Result<Audience, Failure> {
        Ok(AUDIENCE.parse()?)
    }
}

/// What stands between evidence and credentials: everybody that the attestors know may have every class, as one
/// tenant of the cluster, the role that is an agent, or a tenant of the SPIFFE trust domain.
fn broker(
    attestors: &Attestors,
    stack: &RunningStack,
    exchanger: Arc<AwsExchanger>,
    audit: Arc<MemoryAudit>,
    green_role: &str,
) -> Result<Broker, Failure> {
    let room = NonZeroUsize::new(100).ok_or("no room")?;
    let cache = CredentialCache::new(stack.minter().clone(), exchanger, room);
    let mut broker = Broker::new(attestors.clone(), cache, audit);
    let acme = Tenant::new(format!("spiffe://{TRUST_DOMAIN}").parse()?, "acme".parse()?);
    for tenant in [Tenant::unnamed(CLUSTER.parse()?), Tenant::unnamed(green_role.parse()?), acme] {
        let give = |policy: TenantPolicy, class| policy.with_role(class, stack.role(class).clone());
        broker = broker.with_tenant(tenant, CLASSES.into_iter().fold(TenantPolicy::new(), give))?;
    }
    Ok(broker)
}

/// The tags that EKS Pod Identity puts on the session of an agent's pod.
pub(crate) fn pod_tags(agent: &str) -> Result<Tags, Failure> {
    let pod = format!("{agent}-pod");
    let uid = format!("{:08x}-0000-4000-8000-000000000000", agent.len());
    Ok(Tags::parse([
        ("eks-cluster-arn", CLUSTER),
        ("eks-cluster-name", "demo"),
        ("kubernetes-namespace", NAMESPACE),
        ("kubernetes-service-account", SERVICE_ACCOUNT),
        ("kubernetes-pod-name", pod.as_str()),
        ("kubernetes-pod-uid", uid.as_str()),
    ])?)
}

/// A session of the pods' role in the local AWS.
pub(crate) fn pod_session(aws: &LocalAws, name: &str, tags: Tags) -> Result<SessionCredentials, Failure> {
    let name = format!("eks-demo-{name}").parse()?;
    Ok(aws.workload_session(&POD_ROLE.parse()?, &name, tags, Duration::from_secs(3600))?)
}

pub(crate) fn credentials_of(session: &SessionCredentials) -> Credentials {
    Credentials::new(
        session.access_key_id.as_str(),
        session.secret_access_key.expose(),
        Some(session.session_token.expose().to_owned()),
        Some(session.expires_at),
        "workload",
    )
}

/// An SDK configuration for the local AWS at `endpoint`.
pub(crate) fn sdk_at(endpoint: &str, credentials: SharedCredentialsProvider) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(SdkRegion::new(REGION))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(credentials)
        .build()
}

/// What no pod should have, and the attempts to cheat need: the right to put tags of its own into a token.
/// They end up in `request_tags`, which nobody reads.
fn careless_pod_policy() -> Value {
    let statement = json!({ "Effect": "Allow", "Action": "sts:TagGetWebIdentityToken", "Resource": "*" });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const NAMESPACE: &str = "agents";
pub(crate) const SERVICE_ACCOUNT: &str = "agent";
pub(crate) const CLUSTER: &str = "arn:aws:eks:us-east-1:123456789012:cluster/demo";
/// The provider takes tokens for this audience as well; the roles do not.
pub(crate) const OTHER_AUDIENCE: &str = "reports.example.org";
pub(crate) const AUDIENCE: &str = "agentkeys";
pub(crate) const POD_ROLE: &str = "agents";
pub(crate) const GREEN_ROLE: &str = "agent-green";
/// Agents that this cluster attested by its own STS, the one that is a role, and one tenant's of a SPIFFE trust
/// domain.
pub(crate) const SUBJECTS: [&str; 3] = [
    "aws-stsweb/arn:aws:eks:us-east-1:123456789012:cluster%2Fdemo//*",
    "aws-sts/arn:aws:iam::123456789012:role%2Fagent-green//green",
    SPIRE_SUBJECTS,
];
