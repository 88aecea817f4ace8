use super::document::{PolicyDocument, Principal, Statement};
use super::trust::with_source_identity;
use crate::aws::role::RoleArn;
use crate::aws::source_identity::SourceIdentityPattern;
use crate::aws::tags::TAG_ACTOR_OMNI;

/// A tenant's session role, which the tenant's runtime role assumes once for each session with
/// `sts:SourceIdentity` (R104). Both halves are needed: the session role must trust the caller, and the
/// caller must be allowed to set a source identity (R115).
///
/// No session of it is unattributed: the source identity is required in both halves (R105, R109).
#[derive(Clone, Debug)]
pub struct SessionRole {
    role: RoleArn,
    caller: RoleArn,
    source_identity: SourceIdentityPattern,
    caller_is_tagged: bool,
}

impl SessionRole {
    /// `role`, for the sessions that `caller` starts with one of these source identities.
    #[must_use]
    pub const fn new(role: RoleArn, caller: RoleArn, source_identity: SourceIdentityPattern) -> Self {
        Self { role, caller, source_identity, caller_is_tagged: false }
    }

    /// For a caller whose own session came from a token: its transitive tags go along, which needs
    /// `sts:TagSession`, and a caller without the agent's tag is refused.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_role-chaining>
    #[must_use]
    pub const fn for_tagged_caller(mut self) -> Self {
        self.caller_is_tagged = true;
        self
    }

    /// The session role's trust policy.
    #[must_use]
    pub fn trust_policy(&self) -> PolicyDocument {
        let statement = self.statement("AttributedSessions").to(Principal::Aws(self.caller.to_string()));
        PolicyDocument::new(vec![statement])
    }

    /// The policy of the caller.
    #[must_use]
    pub fn caller_policy(&self) -> PolicyDocument {
        PolicyDocument::new(vec![self.statement("StartAttributedSessions").on(self.role.to_string())])
    }

    fn statement(&self, sid: &str) -> Statement {
        let statement =
            with_source_identity(Statement::allow(sid, ["sts:AssumeRole"]), &self.source_identity);
        if !self.caller_is_tagged {
            return statement;
        }
        let tag = format!("aws:PrincipalTag/{TAG_ACTOR_OMNI}");
        statement.and_action("sts:TagSession").when("Null", tag, ["false"])
    }
}
