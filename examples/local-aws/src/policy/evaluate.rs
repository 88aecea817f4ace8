//! The decision.

use super::context::Request;
use super::document::{Document, IdentityPolicy, ResourcePolicy, TrustPolicy};
use super::one_or_many::OneOrMany;
use super::principal::Grant;
use super::statement::{Element, Statement};
use super::template::{Template, matches_str};

/// What a statement does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an access decision is matched on in full")]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allow,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement allows it.
    ImplicitDeny,
}

impl Decision {
    /// Whether the request may go ahead.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        self == Self::Allow
    }
}

/// What the policies of one place say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Denied,
    Granted(Grant),
    Silent,
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Denied => Self::ExplicitDeny,
            Verdict::Granted(_) => Self::Allow,
            Verdict::Silent => Self::ImplicitDeny,
        }
    }
}

/// Decides by the policies of an identity alone, or of a session alone.
#[must_use]
pub fn evaluate_identity(policies: &[IdentityPolicy], request: &Request) -> Decision {
    identity_verdict(policies, request).into()
}

/// Decides by the policy of a resource alone.
///
/// A principal that the policy names by its account alone counts as allowed, as it is for a
/// request from another account, whose identity policies then have to allow it too.
#[must_use]
pub fn evaluate_resource(policy: &ResourcePolicy, request: &Request) -> Decision {
    verdict(std::iter::once(&policy.0), request).into()
}

/// Decides by the trust policy of a role alone; the request's resource is not looked at.
///
/// This is the whole decision for a caller that has no identity policies: a federated identity
/// or a service. For an AWS principal see [`decide_assume_role`].
#[must_use]
pub fn evaluate_trust(policy: &TrustPolicy, request: &Request) -> Decision {
    verdict(std::iter::once(&policy.0), request).into()
}

/// Decides a request on a resource of the principal's own account.
///
/// A deny in any policy is final. Otherwise the identity policies or the resource policy have to
/// allow the request, and so have the session policies if there are any: `Some(&[])` allows
/// nothing. A resource policy that names the session itself is not limited by them; one that
/// names the role or everyone is. One that names only the account leaves the decision to the
/// identity policies.
#[must_use]
pub fn decide_same_account(
    identity: &[IdentityPolicy],
    resource: Option<&ResourcePolicy>,
    session: Option<&[IdentityPolicy]>,
    request: &Request,
) -> Decision {
    decide(identity, resource.map(|policy| &policy.0), session, request)
}

/// Decides whether an AWS principal may assume a role of its own account.
///
/// As [`decide_same_account`], with the trust policy for the resource policy, except that the
/// trust policy has to allow the request whatever the identity policies allow.
#[must_use]
pub fn decide_assume_role(
    identity: &[IdentityPolicy],
    trust: &TrustPolicy,
    session: Option<&[IdentityPolicy]>,
    request: &Request,
) -> Decision {
    let decision = decide(identity, Some(&trust.0), session, request);
    if decision.is_allowed() { evaluate_trust(trust, request) } else { decision }
}

fn decide(
    identity: &[IdentityPolicy],
    resource: Option<&Document>,
    session: Option<&[IdentityPolicy]>,
    request: &Request,
) -> Decision {
    let by_identity = identity_verdict(identity, request);
    let by_resource = verdict(resource.into_iter(), request);
    let by_session = session.map(|policies| identity_verdict(policies, request));
    if by_identity == Verdict::Denied || by_resource == Verdict::Denied || by_session == Some(Verdict::Denied)
    {
        return Decision::ExplicitDeny;
    }
    if by_resource == Verdict::Granted(Grant::Session) {
        return Decision::Allow;
    }
    let granted =
        by_resource == Verdict::Granted(Grant::Identity) || matches!(by_identity, Verdict::Granted(_));
    let limited = by_session == Some(Verdict::Silent);
    if granted && !limited { Decision::Allow } else { Decision::ImplicitDeny }
}

fn identity_verdict(policies: &[IdentityPolicy], request: &Request) -> Verdict {
    verdict(policies.iter().map(|policy| &policy.0), request)
}

fn verdict<'a>(documents: impl Iterator<Item = &'a Document>, request: &Request) -> Verdict {
    if !request.is_within_bounds() {
        return Verdict::Silent;
    }
    let mut best: Option<Grant> = None;
    for statement in documents.flat_map(|document| document.statements.iter()) {
        match (statement.applies(request), statement.effect) {
            (None, _) => {}
            (Some(_), Effect::Deny) => return Verdict::Denied,
            (Some(grant), Effect::Allow) => best = best.max(Some(grant)),
        }
    }
    best.map_or(Verdict::Silent, Verdict::Granted)
}

impl Statement {
    /// How directly the statement names the principal, if it applies to the request.
    fn applies(&self, request: &Request) -> Option<Grant> {
        let grant = match &self.principal {
            None => Grant::Identity,
            Some(element) if element.negated => {
                if element.value.exempts(&request.principal) {
                    return None;
                }
                Grant::Identity
            }
            Some(element) => element.value.matches(&request.principal)?,
        };
        let applies = self.action_matches(&request.action)
            && self.resource.as_ref().is_none_or(|resource| self.resource_matches(resource, request))
            && self.condition.as_ref().is_none_or(|condition| condition.holds(self.effect, &request.context));
        applies.then_some(grant)
    }

    fn action_matches(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let listed = self.action.value.iter().any(|pattern| matches_str(&pattern.tokens, &action));
        listed != self.action.negated
    }

    fn resource_matches(&self, element: &Element<OneOrMany<Template>>, request: &Request) -> bool {
        let mut unknown = false;
        for template in element.value.iter() {
            match template.resolve(&request.context) {
                Some(pattern) if matches_str(&pattern, &request.resource) => {
                    return !element.negated;
                }
                Some(_) => {}
                None => unknown = true,
            }
        }
        // A variable without a value matches nothing. That a `NotResource` therefore covers the
        // resource is enough only to deny.
        element.negated && (!unknown || self.effect == Effect::Deny)
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::{Context, Principal};
    use super::*;

    #[test]
    fn nothing_allows_an_oversized_request() {
        let policy =
            IdentityPolicy::parse(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#).unwrap();
        let mut request = Request {
            principal: Principal::Anonymous,
            action: "s3:GetObject".to_owned(),
            resource: format!("arn:aws:s3:::b/{}", "x".repeat(4000)),
            context: Context::new(),
        };
        let policies = [policy];
        assert_eq!(evaluate_identity(&policies, &request), Decision::Allow);
        request.resource.push_str(&"x".repeat(100));
        assert_eq!(evaluate_identity(&policies, &request), Decision::ImplicitDeny);
        request.resource = "arn:aws:s3:::b".to_owned();
        request.context.insert("aws:x", ["x".repeat(4097)]);
        assert_eq!(evaluate_identity(&policies, &request), Decision::ImplicitDeny);
    }
}
