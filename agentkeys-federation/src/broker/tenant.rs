use std::collections::BTreeMap;

use agentkeys_core::{AttestedIdentity, ErrorKind, TenantId, TokenLifetime, TrustRoot};

use super::BrokerError;
use crate::actor::Wallet;
use crate::alibaba::AlibabaSession;
use crate::audit::AuditId;
use crate::aws::{
    AttributedSession, RoleArn, RoleSession, SessionDuration, SessionTags, SourceIdentity,
    SourceIdentityError, TagsForm,
};
use crate::cloud::{CloudRole, CloudSession, Federated};
use crate::data_class::DataClass;
use crate::gcp::GcpSession;
use crate::source::{KeyParts, SessionKey};
use crate::tencent::TencentSession;

/// Whose agents a policy is for: a tenant as one trust root names it. What another trust root calls by the
/// same name is another tenant (W29).
///
/// The root is [`AttestedIdentity::trust_root`] as it stands: an EKS cluster's ARN, a role's ARN, an issuer's
/// URL, `spiffe://` and a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant {
    root: TrustRoot,
    name: Option<TenantId>,
}

impl Tenant {
    /// The tenant that `root` calls `name`.
    #[must_use]
    pub const fn new(root: TrustRoot, name: TenantId) -> Self {
        Self { root, name: Some(name) }
    }

    /// All agents of which `root` names no tenant.
    #[must_use]
    pub const fn unnamed(root: TrustRoot) -> Self {
        Self { root, name: None }
    }

    fn of(identity: &AttestedIdentity) -> Self {
        Self { root: identity.trust_root().clone(), name: identity.tenant().cloned() }
    }
}

/// What a tenant's agents may have: a role for each class of data, and nothing else (R57).
///
/// Unattributed unless said otherwise (R107).
#[derive(Clone, Debug)]
pub struct TenantPolicy {
    roles: BTreeMap<DataClass, RoleArn>,
    session_role: Option<RoleArn>,
    alibaba: BTreeMap<DataClass, AlibabaSession>,
    gcp: BTreeMap<DataClass, GcpSession>,
    tencent: BTreeMap<DataClass, TencentSession>,
    attribution: AttributionPolicy,
    duration: SessionDuration,
    token_lifetime: TokenLifetime,
    tags_form: TagsForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttributionPolicy {
    Unattributed,
    Attributed,
    WithDigests,
}

impl TenantPolicy {
    /// Nothing is allowed yet; sessions last [`SessionDuration::MIN`].
    #[must_use]
    pub const fn new() -> Self {
        let (duration, tags_form) = (SessionDuration::MIN, TagsForm::Nested);
        let (attribution, token_lifetime) = (AttributionPolicy::Unattributed, TokenLifetime::DEFAULT);
        Self {
            roles: BTreeMap::new(),
            session_role: None,
            alibaba: BTreeMap::new(),
            gcp: BTreeMap::new(),
            tencent: BTreeMap::new(),
            attribution,
            duration,
            token_lifetime,
            tags_form,
        }
    }

    /// With `role` for `class`; a role said before for this class is replaced.
    #[must_use]
    pub fn with_role(mut self, class: DataClass, role: RoleArn) -> Self {
        self.roles.insert(class, role);
        self
    }

    /// With the role that the tenant's agents may be given by AssumeRole ([`crate::Broker::assume`]). The tenant
    /// must be attributed.
    #[must_use]
    pub fn with_session_role(mut self, role: RoleArn) -> Self {
        self.session_role = Some(role);
        self
    }

    /// With a session of Alibaba Cloud for `class` ([`crate::Broker::cloud_credentials`]). As on every cloud but
    /// AWS no tag tells the tenant's agents apart there, so no other tenant may have its role, and the tenant
    /// cannot be attributed.
    #[must_use]
    pub fn with_alibaba(mut self, class: DataClass, session: AlibabaSession) -> Self {
        self.alibaba.insert(class, session);
        self
    }

    /// The same of Google Cloud.
    #[must_use]
    pub fn with_gcp(mut self, class: DataClass, session: GcpSession) -> Self {
        self.gcp.insert(class, session);
        self
    }

    /// The same of Tencent Cloud.
    #[must_use]
    pub fn with_tencent(mut self, class: DataClass, session: TencentSession) -> Self {
        self.tencent.insert(class, session);
        self
    }

    pub(crate) fn alibaba(&self, class: DataClass) -> Option<&AlibabaSession> {
        self.alibaba.get(&class)
    }

    pub(crate) fn gcp(&self, class: DataClass) -> Option<&GcpSession> {
        self.gcp.get(&class)
    }

    pub(crate) fn tencent(&self, class: DataClass) -> Option<&TencentSession> {
        self.tencent.get(&class)
    }

    /// What the tenant's agents become in the other clouds.
    fn cloud_roles(&self) -> impl Iterator<Item = CloudRole> {
        let alibaba = self.alibaba.values().map(Federated::cloud_role);
        let gcp = self.gcp.values().map(Federated::cloud_role);
        alibaba.chain(gcp).chain(self.tencent.values().map(Federated::cloud_role))
    }

    /// Every session has the source identity `agent+<tenant>+<agent>`
    /// ([`SourceIdentity::agent`]), as a claim of its token (R99). Where that is impossible, because the two
    /// are too long for it or the agent has no tenant, there are no credentials (R109). The roles' trust
    /// policies must allow `sts:SetSourceIdentity`.
    ///
    /// A pod's own role (EKS Pod Identity) and IRSA cannot carry a source identity: only a session that comes
    /// from a token of ours, or from [`crate::SessionRole`]'s AssumeRole, has one (R106).
    #[must_use]
    pub const fn attributed(mut self) -> Self {
        self.attribution = AttributionPolicy::Attributed;
        self
    }

    /// The same, and [`SourceIdentity::digest`] stands for what is too long: no pattern in a trust policy
    /// matches it, so it needs an exact list.
    #[must_use]
    pub const fn attributed_with_digests(mut self) -> Self {
        self.attribution = AttributionPolicy::WithDigests;
        self
    }

    /// With another duration of sessions.
    #[must_use]
    pub const fn with_duration(mut self, duration: SessionDuration) -> Self {
        self.duration = duration;
        self
    }

    /// With tokens of another lifetime.
    #[must_use]
    pub const fn with_token_lifetime(mut self, lifetime: TokenLifetime) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// With the tags written as this tenant's STS reads them.
    #[must_use]
    pub const fn with_tags_form(mut self, form: TagsForm) -> Self {
        self.tags_form = form;
        self
    }

    fn all_roles(&self) -> impl Iterator<Item = &RoleArn> {
        self.roles.values().chain(&self.session_role)
    }

    const fn is_attributed(&self) -> bool {
        !matches!(self.attribution, AttributionPolicy::Unattributed)
    }

    fn session(
        &self,
        identity: &AttestedIdentity,
        request: &CredentialRequest,
    ) -> Result<RoleSession, BrokerError> {
        let role = self.roles.get(&request.class).ok_or(BrokerError::ClassNotAllowed)?;
        let mut tags = SessionTags::of(identity).with_data_class(request.class);
        if let Some(wallet) = &request.wallet {
            tags = tags.with_wallet(wallet);
        }
        let session = RoleSession::new(role.clone())
            .with_tags(tags)
            .with_tags_form(self.tags_form)
            .with_duration(self.duration)
            .with_token_lifetime(self.token_lifetime);
        Ok(match self.source_identity(identity)? {
            Some(source_identity) => session.with_source_identity(source_identity),
            None => session,
        })
    }

    fn attributed_session(
        &self,
        identity: &AttestedIdentity,
        id: AuditId,
    ) -> Result<AttributedSession, BrokerError> {
        let role = self.session_role.as_ref().ok_or(BrokerError::NoSessionRole)?;
        let source_identity = self.source_identity(identity)?.ok_or(SourceIdentityError::Empty)?;
        Ok(AttributedSession::new(role.clone(), id, source_identity).with_duration(self.duration))
    }

    fn source_identity(&self, identity: &AttestedIdentity) -> Result<Option<SourceIdentity>, BrokerError> {
        if !self.is_attributed() {
            return Ok(None);
        }
        let tenant = identity.tenant().ok_or(SourceIdentityError::Empty)?;
        let (tenant, agent) = (tenant.as_str(), identity.agent().as_str());
        match SourceIdentity::agent(tenant, agent) {
            Err(SourceIdentityError::Length) if self.attribution == AttributionPolicy::WithDigests => {
                Ok(Some(SourceIdentity::digest(tenant, agent)?))
            }
            attributed => Ok(Some(attributed?)),
        }
    }
}

impl Default for TenantPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// What an agent asks for.
#[derive(Clone, Debug)]
pub struct CredentialRequest {
    class: DataClass,
    wallet: Option<Wallet>,
}

impl CredentialRequest {
    /// Credentials for one class of data.
    #[must_use]
    pub const fn new(class: DataClass) -> Self {
        Self { class, wallet: None }
    }

    /// With the wallet that the host itself knows to be this agent's: never one that the request names,
    /// because it opens that wallet's prefix (R41).
    #[must_use]
    pub fn with_wallet(mut self, wallet: Wallet) -> Self {
        self.wallet = Some(wallet);
        self
    }

    /// With a tenant's policy, which does not change, these parts decide the whole role session.
    pub(super) fn key(&self, identity: &AttestedIdentity) -> SessionKey {
        let Self { class, wallet } = self;
        let mut parts = KeyParts::of(identity);
        parts.text(class.as_str());
        parts.optional(wallet.as_ref().map(Wallet::as_str));
        parts.into()
    }
}

impl From<DataClass> for CredentialRequest {
    fn from(class: DataClass) -> Self {
        Self::new(class)
    }
}

/// The tenants that a broker serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenants(BTreeMap<Tenant, TenantPolicy>);

impl Tenants {
    pub(super) fn add(&mut self, tenant: Tenant, policy: TenantPolicy) -> Result<(), TenantError> {
        if policy.is_attributed() && tenant.name.is_none() {
            return Err(TenantError::Nameless);
        }
        if policy.session_role.is_some() && !policy.is_attributed() {
            return Err(TenantError::Unattributed);
        }
        if policy.is_attributed() && policy.cloud_roles().next().is_some() {
            return Err(TenantError::Unattributable);
        }
        if self.0.contains_key(&tenant) {
            return Err(TenantError::Doubled);
        }
        // unattributed tenants may share a role, whose policies tell agents apart by their tags
        let shares = |other: &TenantPolicy| {
            (policy.is_attributed() || other.is_attributed())
                && policy.all_roles().any(|role| other.all_roles().any(|theirs| theirs == role))
        };
        if self.0.values().any(shares) {
            return Err(TenantError::SharedRole);
        }
        // no tag tells tenants apart in another cloud
        let shares = |other: &TenantPolicy| {
            policy.cloud_roles().any(|role| other.cloud_roles().any(|theirs| theirs.is_same(&role)))
        };
        if self.0.values().any(shares) {
            return Err(TenantError::SharedRole);
        }
        self.0.insert(tenant, policy);
        Ok(())
    }

    pub(super) fn cloud_session<T: CloudSession>(
        &self,
        identity: &AttestedIdentity,
        class: DataClass,
    ) -> Result<&T, BrokerError> {
        T::allowed(self.policy(identity)?, class).ok_or(BrokerError::ClassNotAllowed)
    }

    pub(super) fn session(
        &self,
        identity: &AttestedIdentity,
        request: &CredentialRequest,
    ) -> Result<RoleSession, BrokerError> {
        self.policy(identity)?.session(identity, request)
    }

    pub(super) fn attributed_session(
        &self,
        identity: &AttestedIdentity,
        id: AuditId,
    ) -> Result<AttributedSession, BrokerError> {
        self.policy(identity)?.attributed_session(identity, id)
    }

    fn policy(&self, identity: &AttestedIdentity) -> Result<&TenantPolicy, BrokerError> {
        self.0.get(&Tenant::of(identity)).ok_or(BrokerError::UnknownTenant)
    }
}

/// Why a tenant's policy does not go with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// The tenant has a policy already.
    #[error("the tenant has a policy already")]
    Doubled,
    /// Attribution for agents of which no tenant is known: a source identity names one.
    #[error("agents without a tenant cannot be attributed")]
    Nameless,
    /// An attributed tenant's role is another one's as well: then its trust policy lets either set the
    /// other's source identity (R110). Or two tenants have one role of another cloud, where no tag tells them
    /// apart.
    #[error("a role of an attributed tenant or of another cloud is another tenant's as well")]
    SharedRole,
    /// Attribution for a tenant with sessions of other clouds: none of them sets a source identity (R109).
    #[error("sessions of other clouds than AWS cannot be attributed")]
    Unattributable,
    /// A session role for a tenant that is not attributed.
    #[error("a session role is for attributed tenants")]
    Unattributed,
}

impl TenantError {
    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Misconfigured
    }
}
