use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::{Algorithm, KeyTables};
use agentkeys_core::{
    AgentId, Assurance, AttestError, AttestedIdentity, Attestor, Audience, CacheAges, Clock, Evidence,
    EvidenceKind, HttpClient, InstanceId, Issuer, JwksCache, KeySource, Profile, SystemClock, TrustRoot,
    VerifiedToken, Verifier,
};
use async_trait::async_trait;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::AWS_STSWEB;
use super::claims::{Claims, RequestTags, StsClaims, Tags};
use super::organization::{OrgId, OuPath};
use crate::aws::{AccountId, ClusterArn, RoleArn};
use crate::kubernetes::{Namespace, PodSuffix, ServiceAccount};

/// Appraises `sts:GetWebIdentityToken` JWTs of one account's pods.
///
/// # Precondition
///
/// The pinned role's trust policy must name the service `pods.eks.amazonaws.com` and nobody else.
/// `principal_tags` are the role's own tags and the session's: any principal that may call
/// `sts:AssumeRole` with `sts:TagSession` on that role, or `iam:TagRole`, can write
/// `kubernetes-pod-name` of any victim into a token that is perfectly signed (W12, L17). No attestor can
/// see that in the token.
///
/// The Pod Identity association must leave session tags on: a token without them is refused.
///
/// # Contract
/// As [`Attestor`]'s. The agent is the pod's name without the suffix, the instance is the pod's uid, and
/// the trust root is the cluster's ARN. The identity is platform-attested.
///
/// # Security
/// Everything is pinned: the account's own issuer (R9), exactly one audience (L15), the role as `sub`
/// with its path and partition (W12; a chained role that inherited the pod's tags is another `sub`, L19),
/// the account, the cluster (W25), the namespace and the service account (R14). `request_tags` are never
/// read (R12), but where a host asks for them by name, and then they are a type of their own (L18).
/// `source_identity` is a fact: the session has it, and whoever started the session wrote it.
///
/// # Errors
/// [`AttestError`]; `Pin` says which pin refuses, and nothing shows any part of the token.
#[derive(Clone, Debug)]
pub struct StsWebAttestor {
    pins: StsWebPins,
    organization: Option<OrgId>,
    unit: Option<OuPath>,
    http: Arc<dyn HttpClient>,
    keys: Option<Arc<dyn KeySource>>,
    clock: Arc<dyn Clock>,
    key_tables: KeyTables,
    verifier: Verifier,
}

impl StsWebAttestor {
    /// An attestor that fetches the issuer's keys through `http` when they are first needed (W18).
    ///
    /// # Errors
    /// [`StsWebPinsError`] where two pins contradict each other, so that no token could ever pass.
    pub fn new(pins: StsWebPins, http: Arc<dyn HttpClient>) -> Result<Self, StsWebPinsError> {
        if pins.role.account() != &pins.account {
            return Err(StsWebPinsError::RoleAccount);
        }
        if pins.cluster.account() != &pins.account {
            return Err(StsWebPinsError::ClusterAccount);
        }
        if pins.cluster.partition() != pins.role.partition() {
            return Err(StsWebPinsError::Partition);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let verifier = verifier(&pins, &http, None, &clock);
        let key_tables = KeyTables::off();
        Ok(Self { pins, organization: None, unit: None, http, keys: None, clock, key_tables, verifier })
    }

    /// Only while the account is in this organization.
    #[must_use]
    pub fn with_organization(mut self, organization: OrgId) -> Self {
        self.organization = Some(organization);
        self
    }

    /// Only while the account is in this organizational unit or in one below it.
    #[must_use]
    pub fn with_unit(mut self, unit: OuPath) -> Self {
        self.unit = Some(unit);
        self
    }

    /// With these keys of the issuer instead of those that it publishes.
    #[must_use]
    pub fn with_keys(mut self, keys: Arc<dyn KeySource>) -> Self {
        self.keys = Some(keys);
        self.rebuilt()
    }

    /// With tables for the issuer's keys, as [`Verifier::with_key_tables`] has it.
    #[must_use]
    pub fn with_key_tables(mut self, tables: KeyTables) -> Self {
        self.key_tables = tables;
        self.rebuilt()
    }

    /// With another clock, also for the age of fetched keys.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self.rebuilt()
    }

    fn rebuilt(mut self) -> Self {
        let verifier = verifier(&self.pins, &self.http, self.keys.clone(), &self.clock);
        self.verifier = verifier.with_key_tables(self.key_tables.clone());
        self
    }

    /// As [`Attestor::attest`], and beside the identity what the workload wrote into its token itself. None of
    /// that is attested, and it decides nothing here.
    ///
    /// # Errors
    /// [`AttestError`]; here `request_tags` that are doubled or not text are refused too.
    pub async fn attest_with_request_tags(
        &self,
        evidence: &Evidence,
    ) -> Result<(AttestedIdentity, RequestTags), AttestError> {
        let verified = self.verify::<Tags>(evidence).await?;
        let identity = self.appraise(&verified)?;
        let tags = verified.into_claims().sts.and_then(|sts| sts.request_tags);
        Ok((identity, RequestTags::new(tags.unwrap_or_default())))
    }

    async fn verify<T: DeserializeOwned>(
        &self,
        evidence: &Evidence,
    ) -> Result<VerifiedToken<Claims<T>>, AttestError> {
        if evidence.kind() != self.kind() {
            return Err(AttestError::WrongKind);
        }
        let token = std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("not text"))?;
        Ok(self.verifier.verify(token).await?)
    }

    fn check_organization<T>(&self, sts: &StsClaims<T>) -> Result<(), AttestError> {
        if let Some(organization) = &self.organization {
            let found = sts.org_id.as_deref().ok_or(AttestError::Missing("org_id"))?;
            if found != organization.as_str() {
                return Err(AttestError::Pin("organization"));
            }
        }
        if let Some(unit) = &self.unit {
            let found = sts.ou_path.as_ref().ok_or(AttestError::Missing("ou_path"))?.as_slice();
            if found.is_empty() {
                return Err(AttestError::Missing("ou_path"));
            }
            for path in found {
                let path = OuPath::parse(path).map_err(|_| AttestError::Malformed("ou_path"))?;
                if !unit.holds(&path) {
                    return Err(AttestError::Pin("organizational unit"));
                }
            }
        }
        Ok(())
    }

    fn appraise<T>(&self, token: &VerifiedToken<Claims<T>>) -> Result<AttestedIdentity, AttestError> {
        let pins = &self.pins;
        let sub = token.subject();
        if sub != pins.role.as_str() {
            return Err(AttestError::Pin("role"));
        }
        let sts = token.claims().sts.as_ref().ok_or(AttestError::Missing("claims of STS"))?;
        let account = sts.aws_account.as_deref().ok_or(AttestError::Missing("aws_account"))?;
        if account != pins.account.as_str() {
            return Err(AttestError::Pin("account"));
        }
        if sts.principal_id.as_deref().is_some_and(|principal| principal != sub) {
            return Err(AttestError::Malformed("principal_id is not the subject"));
        }
        self.check_organization(sts)?;
        let tags = sts.principal_tags.as_ref().ok_or(AttestError::Missing("principal_tags"))?;
        let pod = tags.required("kubernetes-pod-name")?;
        let uid = tags.required("kubernetes-pod-uid")?;
        let namespace = tags.required("kubernetes-namespace")?;
        let service_account = tags.required("kubernetes-service-account")?;
        let cluster_name = tags.required("eks-cluster-name")?;
        let cluster = tags.required("eks-cluster-arn")?;
        if cluster != pins.cluster.as_str() {
            return Err(AttestError::Pin("cluster"));
        }
        if cluster_name != pins.cluster.name() {
            return Err(AttestError::Malformed("eks-cluster-name is not that of eks-cluster-arn"));
        }
        if namespace != pins.namespace.as_str() {
            return Err(AttestError::Pin("namespace"));
        }
        if service_account != pins.service_account.as_str() {
            return Err(AttestError::Pin("service account"));
        }
        let agent = pins.pod_suffix.strip(pod).ok_or(AttestError::Pin("pod suffix"))?;

        let mut identity = AttestedIdentity::assertion(
            AWS_STSWEB,
            TrustRoot::parse(cluster)?,
            AgentId::parse(agent)?,
            Assurance::PlatformAttested,
            self.clock.now()?,
            token.expires_at(),
        )?
        .with_instance(InstanceId::parse(uid)?)
        .with_fact("account", account)?
        .with_fact("cluster", cluster)?
        .with_fact("namespace", namespace)?
        .with_fact("pod", pod)?
        .with_fact("role", sub)?
        .with_fact("service-account", service_account)?;
        if let Some(region) = &sts.source_region {
            identity = identity.with_fact("region", region)?;
        }
        if let Some(source_identity) = &sts.source_identity {
            identity = identity.with_fact("source-identity", source_identity)?;
        }
        Ok(identity)
    }
}

#[async_trait]
impl Attestor for StsWebAttestor {
    fn kind(&self) -> &EvidenceKind {
        const { &AWS_STSWEB }
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        self.appraise(&self.verify::<IgnoredAny>(evidence).await?)
    }
}

/// Whose tokens pass. Every field decides, none has a default, and one more would break the build of
/// whoever has not thought about it (W11).
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct StsWebPins {
    /// The account's own issuer, from `iam:GetOutboundWebIdentityFederationInfo` (R9).
    pub issuer: Issuer,
    /// The one audience that the evidence is for (R6, W21).
    pub audience: Audience,
    /// The account, as STS says it in `aws_account`.
    pub account: AccountId,
    /// The role of the pods, as STS says it in `sub`: only EKS may assume it.
    pub role: RoleArn,
    /// The cluster, in the role's account.
    pub cluster: ClusterArn,
    /// The namespace of the pods.
    pub namespace: Namespace,
    /// The service account of the pods.
    pub service_account: ServiceAccount,
    /// What the pods' names have behind the agents' names (R11).
    pub pod_suffix: PodSuffix,
}

/// Which pins contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StsWebPinsError {
    /// The cluster is in another account: its pods' own role cannot be the pinned one.
    #[error("the cluster is not in the pinned account")]
    ClusterAccount,
    /// Role and cluster are in two partitions.
    #[error("the role and the cluster are in two partitions")]
    Partition,
    /// The role is in another account.
    #[error("the role is not in the pinned account")]
    RoleAccount,
}

fn verifier(
    pins: &StsWebPins,
    http: &Arc<dyn HttpClient>,
    keys: Option<Arc<dyn KeySource>>,
    clock: &Arc<dyn Clock>,
) -> Verifier {
    let published = || -> Arc<dyn KeySource> {
        let (http, clock) = (Arc::clone(http), Arc::clone(clock));
        Arc::new(JwksCache::with_settings(pins.issuer.clone(), http, clock, CacheAges::default()))
    };
    let keys = keys.unwrap_or_else(published);
    Verifier::new(Profile::oidc(pins.issuer.clone(), keys), pins.audience.clone())
        .with_algorithms(ALGORITHMS)
        .with_max_lifetime(MAX_LIFETIME)
        .with_clock(Arc::clone(clock))
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>
const ALGORITHMS: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Es384];
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
