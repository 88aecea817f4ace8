use agentkeys_core::{AgentId, Assurance, AttestError, Audience, TrustRoot};

use super::answer::Caller;
use crate::aws::{AccountId, Partition, RoleArn, RoleUniqueId, StsEndpoint};

/// Whose requests pass. Every field decides, none has a default, and one more would break the build of
/// whoever has not thought about it.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct AwsStsPins {
    /// The endpoints that may be called; at least one, and no host twice (W2, L4).
    pub endpoints: Vec<StsEndpoint>,
    /// Whom the evidence is for: what its signed header must say (W7).
    pub audience: Audience,
    /// The roles that are let in; at least one, and no role twice (W6).
    pub roles: Vec<StsRole>,
}

/// A role that is let in, and who its sessions are. There are no wildcards.
///
/// A role is its partition, its account and its name together, never the name alone (L3). STS does not say
/// a role's path, and an account has no two roles of one name: the path of the ARN given here is not
/// compared (L30).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StsRole {
    role: RoleArn,
    agent: Option<AgentId>,
    unique_id: Option<RoleUniqueId>,
}

impl StsRole {
    /// Whoever has a session of `role` is `agent`, and AWS vouches for that.
    ///
    /// The name is as good as the role's trust policy: whoever may assume the role is the agent.
    #[must_use]
    pub const fn named(role: RoleArn, agent: AgentId) -> Self {
        Self { role, agent: Some(agent), unique_id: None }
    }

    /// Whoever has a session of `role` is the agent that **it says it is**: the name of the session is the
    /// agent's name, and whoever may assume the role writes there what it likes (W9, L7, R20).
    ///
    /// Such identities are [`Assurance::SelfAsserted`] and get no token, unless the host's minter accepts
    /// them too. They can be believed only where the role's trust policy lets nobody but a trusted launcher
    /// assume it, or ties `sts:RoleSessionName` to who asks.
    #[must_use]
    pub const fn with_self_asserted_session_names(role: RoleArn) -> Self {
        Self { role, agent: None, unique_id: None }
    }

    /// And only while the role is the one with this unique id: a role that was deleted and made again under
    /// the same name, perhaps by somebody else, is refused (L30).
    #[must_use]
    pub fn with_unique_id(mut self, unique_id: RoleUniqueId) -> Self {
        self.unique_id = Some(unique_id);
        self
    }

    fn key(&self) -> (&Partition, &AccountId, &str) {
        (self.role.partition(), self.role.account(), self.role.name())
    }
}

impl AwsStsPins {
    pub(super) fn check(&self) -> Result<(), AwsStsPinsError> {
        if self.endpoints.is_empty() {
            return Err(AwsStsPinsError::NoEndpoint);
        }
        if self.roles.is_empty() {
            return Err(AwsStsPinsError::NoRole);
        }
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            if self.endpoints.iter().skip(at + 1).any(|other| other.origin() == endpoint.origin()) {
                return Err(AwsStsPinsError::EndpointTwice);
            }
        }
        for (at, role) in self.roles.iter().enumerate() {
            let mut others = self.roles.iter().skip(at + 1);
            if others.clone().any(|other| other.key() == role.key()) {
                return Err(AwsStsPinsError::RoleTwice);
            }
            if others.any(|other| role.agent.is_some() && other.agent == role.agent) {
                return Err(AwsStsPinsError::AgentTwice);
            }
            if !self.endpoints.iter().any(|endpoint| endpoint.partition() == role.role.partition()) {
                return Err(AwsStsPinsError::Partition);
            }
        }
        Ok(())
    }

    /// Who a caller is whom the STS at `endpoint` named, if it is let in.
    pub(super) fn appraise(&self, caller: &Caller, endpoint: &StsEndpoint) -> Result<Found, AttestError> {
        let arn = &caller.arn;
        // one partition's STS knows nothing of another's principals
        if arn.partition() != endpoint.partition() {
            return Err(AttestError::Pin("partition"));
        }
        let named = (arn.partition(), arn.account(), arn.role_name());
        let rule = self.roles.iter().find(|rule| rule.key() == named).ok_or(AttestError::Pin("role"))?;
        if rule.unique_id.as_ref().is_some_and(|pinned| *pinned != caller.unique_id) {
            return Err(AttestError::Pin("role of the same name"));
        }
        let (partition, account, name) = named;
        let trust_root = TrustRoot::parse(&format!("arn:{partition}:iam::{account}:role/{name}"))?;
        let (agent, assurance) = match &rule.agent {
            Some(agent) => (agent.clone(), Assurance::PlatformAttested),
            None => (AgentId::parse(arn.session_name())?, Assurance::SelfAsserted),
        };
        Ok(Found { trust_root, agent, assurance })
    }
}

/// Who a caller is.
pub(super) struct Found {
    pub(super) trust_root: TrustRoot,
    pub(super) agent: AgentId,
    pub(super) assurance: Assurance,
}

/// Which pins contradict each other, or are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AwsStsPinsError {
    /// Two roles would be one agent.
    #[error("two roles are given one agent's name")]
    AgentTwice,
    /// Two endpoints are one.
    #[error("one endpoint is given twice")]
    EndpointTwice,
    /// There is none.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// There is none.
    #[error("no role is given")]
    NoRole,
    /// No endpoint can vouch for a role.
    #[error("a role is in a partition that no endpoint is in")]
    Partition,
    /// Two rules are for one role.
    #[error("two rules are given for one role")]
    RoleTwice,
}
