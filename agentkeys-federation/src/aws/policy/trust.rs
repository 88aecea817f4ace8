use std::fmt;
use std::str::FromStr;

use agentkeys_core::Subject;

use super::document::{PolicyDocument, PolicyError, Principal, Statement};
use super::provider::OidcProvider;
use crate::aws::source_identity::SourceIdentityPattern;
use crate::aws::tags::{TAG_ACTOR_OMNI, TAG_DATA_CLASS, TAG_USER_WALLET};
use crate::data_class::DataClass;

/// The trust policy of a class's role: who may become it with a token (R48, R50, W65).
///
/// One provider, and of its tokens only those that are for STS (`aud`), are about these subjects (`sub`),
/// name this very role (`sts:RoleAuthorizedByIdp`) and carry the agent's tag. There is no way to add another
/// principal (R49). A source identity is refused unless [`WebIdentityTrust::with_source_identity`] says
/// which.
#[derive(Clone, Debug)]
pub struct WebIdentityTrust {
    provider: OidcProvider,
    subjects: Vec<SubjectPattern>,
    tag: &'static str,
    class: Option<DataClass>,
    source_identity: Option<SourceIdentityPattern>,
}

impl WebIdentityTrust {
    /// Trust in this provider's tokens about these subjects.
    #[must_use]
    pub fn new(provider: OidcProvider, subject: SubjectPattern) -> Self {
        Self { provider, subjects: vec![subject], tag: TAG_ACTOR_OMNI, class: None, source_identity: None }
    }

    /// Or about these.
    #[must_use]
    pub fn or_subject(mut self, subject: SubjectPattern) -> Self {
        self.subjects.push(subject);
        self
    }

    /// For a role whose objects are still scoped by the older [`TAG_USER_WALLET`] (R54): that tag is tested.
    #[must_use]
    pub const fn for_legacy_wallets(mut self) -> Self {
        self.tag = TAG_USER_WALLET;
        self
    }

    /// For servers that do not read which role a token names and have no `Null`, such as the Ceph Object
    /// Gateway: the token must carry this class in [`TAG_DATA_CLASS`] instead. One role of the account has
    /// the class, and no other.
    #[must_use]
    pub const fn pinned_by_class(mut self, class: DataClass) -> Self {
        self.class = Some(class);
        self
    }

    /// With a source identity, which then every token must carry, and which must be one of these (R105).
    #[must_use]
    pub fn with_source_identity(mut self, pattern: SourceIdentityPattern) -> Self {
        self.source_identity = Some(pattern);
        self
    }

    /// The document. The same subjects in another order give the same bytes.
    #[must_use]
    pub fn document(&self) -> PolicyDocument {
        let mut subjects: Vec<_> = self.subjects.iter().map(SubjectPattern::as_str).collect();
        subjects.sort_unstable();
        subjects.dedup();
        // without TagSession a tagged token is refused, and without a test of the tag an untagged one taken
        let statement =
            Statement::allow("AgentsOfThisIssuer", ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"])
                .to(Principal::Federated(self.provider.arn()))
                .when("StringEquals", self.provider.key("aud"), [self.provider.client_id()])
                .when("StringLike", self.provider.key("sub"), subjects);
        let tag = |key: &str| format!("aws:RequestTag/{key}");
        let statement = match self.class {
            None => statement.when("Bool", ROLE_PIN, ["true"]).when("Null", tag(self.tag), ["false"]),
            Some(class) => statement.when("StringEquals", tag(TAG_DATA_CLASS), [class.as_str()]).when(
                "StringLike",
                tag(self.tag),
                ["?*"],
            ),
        };
        PolicyDocument::new(vec![match &self.source_identity {
            Some(pattern) => with_source_identity(statement, pattern),
            None => statement,
        }])
    }
}

/// The action and the condition go together: one without the other attributes to anybody (W76).
pub(super) fn with_source_identity(statement: Statement, pattern: &SourceIdentityPattern) -> Statement {
    let (operator, values) = pattern.condition();
    statement.and_action("sts:SetSourceIdentity").when(operator, SOURCE_IDENTITY, values)
}

/// Which subjects a role trusts: `<kind>/<root>/<tenant>/<agent>` as [`Subject`] writes them, where tenant
/// and agent may each be `*`. Kind and root never are: an attestor is trusted by name (R79).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectPattern(String);

impl SubjectPattern {
    /// This subject alone.
    #[must_use]
    pub fn exactly(subject: &Subject) -> Self {
        Self(subject.as_str().to_owned())
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubjectPattern {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let parts: Vec<_> = text.split('/').collect();
        let [kind, root, tenant, agent] = parts.as_slice() else { return Err(PolicyError::Subject) };
        let literal =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:%".contains(&byte));
        let name = |part: &str| part == "*" || literal(part);
        if kind.is_empty() || root.is_empty() || agent.is_empty() || text.len() > MAX_SUBJECT {
            return Err(PolicyError::Subject);
        }
        if literal(kind) && literal(root) && name(tenant) && name(agent) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PolicyError::Subject)
        }
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// True where the token names this role in its roles claim.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html>
const ROLE_PIN: &str = "sts:RoleAuthorizedByIdp";

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html>
const SOURCE_IDENTITY: &str = "sts:SourceIdentity";

/// A trust policy has 2,048 characters by default.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MAX_SUBJECT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r79_a_subject_pattern_names_kind_and_root() {
        for good in [
            "aws-stsweb/arn:aws:eks:us-east-1:123456789012:cluster%2Fdemo//*",
            "spiffe-svid/spiffe:%2F%2Fexample.org/acme/*",
            "spiffe-svid/r/acme/blue",
            "oidc/r/*/*",
        ] {
            assert_eq!(good.parse::<SubjectPattern>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "*",
            "a/b/*",
            "aws-stsweb/*",
            "aws-stsweb/*/acme/*",
            "*/root/acme/*",
            "/root/acme/*",
            "kind//acme/*",
            "kind/root/acme/",
            "kind/root/acme/blue/x",
            "kind/root/acme/b*",
            "kind/root/acme/**",
            "kind/root/ac?e/blue",
            "kind/root/${aws:x}/blue",
            "kind/root/acme/b e",
            "kind/root/acme/é",
        ] {
            assert_eq!(bad.parse::<SubjectPattern>(), Err(PolicyError::Subject), "{bad}");
        }
    }
}
