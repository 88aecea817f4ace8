use agentkeys_core::Audience;

use super::document::{PolicyDocument, PolicyError, Principal, Statement};

/// The role that the agents' pods have: EKS starts its sessions, and all that they may do is ask for a token
/// (R27).
#[derive(Clone, Debug)]
pub struct PodRole {
    audience: Audience,
}

impl PodRole {
    /// For evidence to this audience.
    ///
    /// # Errors
    /// [`PolicyError::Audience`] where a policy would take it for a variable.
    pub fn new(audience: Audience) -> Result<Self, PolicyError> {
        if audience.as_str().contains("${") { Err(PolicyError::Audience) } else { Ok(Self { audience }) }
    }

    /// The trust policy: nobody but EKS may start its sessions. Otherwise whoever may tag a session could
    /// name himself after another pod (W12, L17).
    #[must_use]
    pub fn trust_policy(&self) -> PolicyDocument {
        let statement = Statement::allow("EksPodIdentity", ["sts:AssumeRole", "sts:TagSession"])
            .to(Principal::Service("pods.eks.amazonaws.com"));
        PolicyDocument::new(vec![statement])
    }

    /// The role's policy: a token for this one audience, and no tags of the caller's own (R7). The audience
    /// is a list, so it needs `ForAllValues`, which a request without one would satisfy: hence `Null` (L26).
    #[must_use]
    pub fn role_policy(&self) -> PolicyDocument {
        let statement = Statement::allow("Evidence", ["sts:GetWebIdentityToken"])
            .on("*".to_owned())
            .when("ForAllValues:StringEquals", TOKEN_AUDIENCE, [self.audience.as_str()])
            .when("Null", TOKEN_AUDIENCE, ["false"]);
        PolicyDocument::new(vec![statement])
    }
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html>
const TOKEN_AUDIENCE: &str = "sts:IdentityTokenAudience";
