//! The isolation proof on a store that nobody here wrote: the Ceph Object Gateway.
//!
//! It reads neither a variable in `Resource`, nor `Null`, nor which role a token names. So each class of data
//! shows another way that works there:
//!
//! | class | what decides |
//! |---|---|
//! | memory | the role's own policy, in the generator's form without variables |
//! | data | the bucket's policy, in the same form; the role has none |
//! | vault | one policy with the variable as a condition's whole value, over buckets with a tag |
//! | config | nothing: sessions of this role have no tags, and every policy above |
//!
//! <https://docs.ceph.com/en/latest/radosgw/session-tags/>

use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::spire::SPIFFE_SVID;
use agentkeys_core::{
    Assurance, AttestedIdentity, Clock as _, HttpSettings, Issuer, KeyRing, Minter, Oidc, ReqwestClient,
    SystemClock, TrustStore,
};
use agentkeys_federation::{
    ActorOmni, AwsExchanger, ClassAccess, CredentialSource, DataClass, OidcProvider, RoleSession,
    SessionTags, Stack, StackNames, TAG_ACTOR_OMNI, Thumbprint, WebIdentityTrust,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;
use serde_json::{Value, json};

use crate::agent::{Platform, attest, s3, timed};
use crate::demo::{ACCOUNT, Demo, REGION, SUBJECTS, own_prefix, sdk_at};
use crate::spire::TRUST_DOMAIN;
use crate::{Failure, Report};

mod gateway;
mod matrix;
mod refusals;

pub use gateway::CephGateway;

/// Puts a provider, roles, buckets and policies into the gateway, and tries with two agents what must work and
/// what must not. The `issuer` publishes the `keys`, and a certificate of the first: the gateway reads nothing else.
///
/// # Errors
/// Where a step that must succeed fails; a check that does not hold is part of the report instead.
pub async fn prove_on_ceph(
    gateway: &CephGateway,
    keys: KeyRing<Oidc>,
    issuer: Issuer,
) -> Result<Report, Failure> {
    let mut report = Report::new("the Ceph Object Gateway", LEAST_CHECKS);
    // who vouches for the agents is the quickstart's little world; its STS and S3 are not asked for anything else
    let demo = Demo::start().await?;
    let mut agents = Vec::new();
    for name in ["blue", "red"] {
        agents.push((name, attest(&demo, &Platform::Pod, name, &mut report).await?));
    }
    let violet = ("violet", spire_agent()?);
    let known: Vec<_> = agents.iter().cloned().chain([violet]).collect();
    let proof = Proof::install(gateway, Minter::new(issuer, keys), &known, &mut report).await?;
    matrix::fill(&proof, &agents, &mut report).await?;
    let [(_, blue), ..] = agents.as_slice() else { return Err("two agents were started".into()) };
    refusals::try_everything(&proof, blue, &mut report).await?;
    Ok(report)
}

/// The prefix of the agent that SPIRE vouches for in `examples/e2e/spire.sh`: the gateway's roles let it in as well,
/// with tokens of a broker that has appraised its evidence.
///
/// # Errors
/// Without a clock.
pub fn spire_prefix_on_ceph() -> Result<String, Failure> {
    Ok(own_prefix(&spire_agent()?, DataClass::Memory))
}

fn spire_agent() -> Result<AttestedIdentity, Failure> {
    let now = SystemClock::new().now()?;
    let (root, agent) = (format!("spiffe://{TRUST_DOMAIN}").parse()?, "violet".parse()?);
    let end = now.plus(Duration::from_secs(60));
    let violet =
        AttestedIdentity::assertion(SPIFFE_SVID, root, agent, Assurance::PlatformAttested, now, end)?;
    Ok(violet.with_tenant("acme".parse()?))
}

/// What the gateway holds.
#[derive(Debug)]
struct Proof<'a> {
    gateway: &'a CephGateway,
    names: StackNames,
    minter: Minter,
    exchanger: Arc<AwsExchanger>,
}

impl<'a> Proof<'a> {
    async fn install(
        gateway: &'a CephGateway,
        minter: Minter,
        agents: &[(&str, AttestedIdentity)],
        report: &mut Report,
    ) -> Result<Self, Failure> {
        let names = StackNames::new(Stack::Production, "agentkeys", "aws".parse()?, ACCOUNT.parse()?)?;
        let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody()))?);
        let exchanger = Arc::new(AwsExchanger::with_endpoint(REGION.parse()?, http, gateway.url()));
        let proof = Self { gateway, names, minter, exchanger };
        let (installed, took) = timed(proof.put_everything(agents)).await;
        installed?;
        let gateway = format!("{}   S3, STS and IAM of Ceph; documents of the generator", gateway.url());
        report.step("", "gateway", gateway, took);
        let issuer = format!("{}   registered as a provider", proof.minter.issuer());
        report.step("", "issuer", issuer, Duration::ZERO);
        Ok(proof)
    }

    async fn put_everything(&self, agents: &[(&str, AttestedIdentity)]) -> Result<(), Failure> {
        let provider = OidcProvider::new("aws".parse()?, ACCOUNT.parse()?, self.minter.issuer().clone())?
            // the gateway wants one and does not look at it
            .with_thumbprint(Thumbprint::of_certificate(b""))?;
        self.put_provider(&provider).await?;

        let actors: Vec<_> = agents.iter().map(|(_, agent)| ActorOmni::of(agent)).collect();
        let access = |class| -> Result<ClassAccess, Failure> {
            let [first, others @ ..] = actors.as_slice() else { return Err("no agent was started".into()) };
            let access =
                ClassAccess::new(class, self.names.bucket(class).clone(), self.names.role(class).clone());
            let access = access.for_one_actor(first.clone());
            Ok(others.iter().cloned().fold(access, ClassAccess::or_actor))
        };
        let literal = access(DataClass::Memory)?.role_policy().to_string();
        let variable = tagged_buckets(self.bucket(DataClass::Vault)).to_string();
        self.put_role(&provider, DataClass::Memory, &[&literal]).await?;
        self.put_role(&provider, DataClass::Data, &[]).await?;
        self.put_role(&provider, DataClass::Vault, &[&variable]).await?;
        self.put_careless_role(&provider, &[&literal, &variable]).await?;

        self.gateway.bucket(self.bucket(DataClass::Memory), None, &[]).await?;
        let policy = access(DataClass::Data)?.bucket_policy().to_string();
        self.gateway.bucket(self.bucket(DataClass::Data), Some(policy), &[]).await?;
        for ((name, _), actor) in agents.iter().zip(&actors) {
            let tags = [(TAG_ACTOR_OMNI, actor.as_str())];
            self.gateway.bucket(&self.tagged_bucket(name), None, &tags).await?;
        }
        self.gateway.bucket(&self.tagged_bucket(UNTAGGED), None, &[]).await
    }

    async fn put_provider(&self, provider: &OidcProvider) -> Result<(), Failure> {
        // a list's values are numbered
        let mut parameters = Vec::new();
        for (name, value) in serde_json::to_value(provider)?.as_object().into_iter().flatten() {
            match value {
                Value::Array(values) => parameters.extend(
                    (1..).zip(values).map(|(at, value)| (format!("{name}.member.{at}"), value.clone())),
                ),
                value => parameters.push((name.clone(), value.clone())),
            }
        }
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, value)| Ok((name.as_str(), value.as_str().ok_or("a text")?)))
            .collect::<Result<_, Failure>>()?;
        self.gateway.iam("CreateOpenIDConnectProvider", &parameters).await
    }

    /// A class's role: the generator's trust, in its form for servers without `Null`, and these policies.
    async fn put_role(
        &self,
        provider: &OidcProvider,
        class: DataClass,
        policies: &[&str],
    ) -> Result<(), Failure> {
        let [first, others @ ..] = SUBJECTS;
        let trust = WebIdentityTrust::new(provider.clone(), first.parse()?).pinned_by_class(class);
        let subjects = others.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>()?;
        let trust = subjects.into_iter().fold(trust, WebIdentityTrust::or_subject).document();
        self.put(class, &trust.to_string(), policies).await
    }

    /// A role that takes tokens without tags: what no generator writes.
    async fn put_careless_role(&self, provider: &OidcProvider, policies: &[&str]) -> Result<(), Failure> {
        let mut aud = serde_json::Map::new();
        aud.insert(format!("{}:aud", provider.issuer().without_scheme()), json!(provider.client_id()));
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "Federated": [provider.arn()] },
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
            "Condition": { "StringEquals": aud },
        }] });
        self.put(DataClass::Config, &trust.to_string(), policies).await
    }

    async fn put(&self, class: DataClass, trust: &str, policies: &[&str]) -> Result<(), Failure> {
        let role = self.names.role(class).name();
        let parameters = [("RoleName", role), ("Path", "/"), ("AssumeRolePolicyDocument", trust)];
        self.gateway.iam("CreateRole", &parameters).await?;
        for (at, policy) in policies.iter().enumerate() {
            let name = format!("policy-{at}");
            self.put_policy(class, &name, policy).await?;
        }
        Ok(())
    }

    async fn put_policy(&self, class: DataClass, name: &str, policy: &str) -> Result<(), Failure> {
        let role = self.names.role(class).name();
        let parameters = [("RoleName", role), ("PolicyName", name), ("PolicyDocument", policy)];
        self.gateway.iam("PutRolePolicy", &parameters).await
    }

    fn bucket(&self, class: DataClass) -> &str {
        self.names.bucket(class).as_str()
    }

    /// An agent's own bucket of the class vault.
    fn tagged_bucket(&self, agent: &str) -> String {
        format!("{}-{agent}", self.bucket(DataClass::Vault))
    }

    /// What the broker asks for.
    fn session(&self, agent: &AttestedIdentity, class: DataClass) -> RoleSession {
        let tags = SessionTags::of(agent).with_data_class(class);
        RoleSession::new(self.names.role(class).clone()).with_tags(tags)
    }

    /// An S3 client whose credentials come from tokens of ours.
    fn client(&self, agent: &AttestedIdentity, session: RoleSession) -> S3 {
        let (minter, exchanger) = (self.minter.clone(), self.exchanger.clone());
        let source = CredentialSource::new(minter, exchanger, agent.clone(), session);
        s3(&sdk_at(self.gateway.url(), SharedCredentialsProvider::new(source)))
    }
}

/// Whoever has the tag that a bucket has may use the bucket. AWS has no such key, so no generator writes it.
fn tagged_buckets(buckets: &str) -> Value {
    let tag = format!("aws:PrincipalTag/{TAG_ACTOR_OMNI}");
    let (mut same, mut present) = (serde_json::Map::new(), serde_json::Map::new());
    same.insert(format!("s3:ResourceTag/{TAG_ACTOR_OMNI}"), json!(format!("${{{tag}}}")));
    present.insert(tag, json!("?*"));
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Action": ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        "Resource": [format!("arn:aws:s3:::{buckets}-*"), format!("arn:aws:s3:::{buckets}-*/*")],
        "Condition": { "StringEquals": same, "StringLike": present },
    }] })
}

/// Whose bucket has no tag.
const UNTAGGED: &str = "nobody";
/// 84 cells, and for each of 11 attempts to cheat two checks at least.
const LEAST_CHECKS: usize = 130;
