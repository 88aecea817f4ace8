mod access;
mod condition;
mod json;
mod parse;
mod trust;

use std::fmt;

use self::parse::{Document, Kind, Principals, Statement};

/// Reads a policy document that somebody else wrote and says what is wrong with it, in the order of its
/// statements. None is no proof that it is right: only that nothing on this list was found.
///
/// It takes trust policies, bucket policies and the policies of roles. Operators, `NotAction`, wildcards and
/// `Deny` mean here what they mean to AWS; what it does not understand is a finding itself
/// ([`FindingCode::UnknownOperator`], [`FindingCode::Unreadable`]).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>
///
/// ```
/// # use agentkeys_federation::{FindingCode, lint};
/// let findings = lint(r#"{"Version": "2012-10-17", "Statement": [{
///     "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"
/// }]}"#);
/// let codes: Vec<_> = findings.iter().map(|finding| finding.code()).collect();
/// assert_eq!(codes, [FindingCode::AnyPrincipal, FindingCode::ObjectsUnscoped]);
/// ```
#[must_use]
pub fn lint(json: &str) -> Vec<Finding> {
    let Some(document) = Document::parse(json) else {
        return vec![Finding { code: FindingCode::Unreadable, statement: None }];
    };
    let mut found = Findings::default();
    if !document.has_variables {
        found.put(FindingCode::OldVersion, None);
    }
    for (at, statement) in document.statements.iter().enumerate() {
        general(at, statement, &mut found);
    }
    match document.kind {
        Kind::Trust => trust::lint(&document, &mut found),
        Kind::Identity | Kind::Resource => access::lint(&document, &mut found),
    }
    found.0.sort();
    found.0.dedup();
    found.0
}

/// What is wrong in every kind of policy.
fn general(at: usize, statement: &Statement, found: &mut Findings) {
    if statement.tests.iter().any(|test| test.operator.is_none()) {
        found.put(FindingCode::UnknownOperator, Some(at));
    }
    if !statement.allows {
        return;
    }
    if statement.principals.as_ref().is_some_and(|principals| principals.anybody) {
        found.put(FindingCode::AnyPrincipal, Some(at));
    }
    if statement
        .principals
        .as_ref()
        .is_some_and(|principals| principals.aws.iter().any(|aws| is_account(aws)))
    {
        found.put(FindingCode::WholeAccount, Some(at));
    }
    if statement.principals.as_ref().is_some_and(Principals::has_wildcard) {
        found.put(FindingCode::WildcardPrincipal, Some(at));
    }
    if statement.actions.negated {
        found.put(FindingCode::NotAction, Some(at));
    } else if statement.actions.patterns.iter().any(|action| action.contains(['*', '?'])) {
        found.put(FindingCode::WildcardAction, Some(at));
    }
    if statement.resources.as_ref().is_some_and(|resources| resources.negated) {
        found.put(FindingCode::NotResource, Some(at));
    }
    let arns = statement.resources.iter().flat_map(|resources| &resources.patterns);
    if arns.into_iter().any(|arn| has_wildcard_head(arn)) {
        found.put(FindingCode::WildcardArn, Some(at));
    }
    let holds_when_missing = |test: &condition::Test| {
        test.holds_when_missing()
            && !statement.tests.iter().any(|other| other.key == test.key && other.requires())
    };
    if statement.tests.iter().any(holds_when_missing) {
        found.put(FindingCode::HoldsWhenMissing, Some(at));
    }
}

/// Whether a wildcard stands before the resource's own part of an ARN.
fn has_wildcard_head(arn: &str) -> bool {
    arn != "*" && arn.splitn(6, ':').take(5).any(|part| part.contains(['*', '?']))
}

/// `123456789012` or `arn:aws:iam::123456789012:root`: every principal of the account that its own policies
/// let.
fn is_account(principal: &str) -> bool {
    principal.ends_with(":root")
        || principal.len() == 12 && principal.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn put(&mut self, code: FindingCode, statement: Option<usize>) {
        self.0.push(Finding { code, statement });
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Nobody gets in by it, but something does not work, or does not mean what it seems to.
    Warning,
    /// Somebody gets in who should not, or that cannot be told.
    Error,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong with a policy. `Display` is the statement's number, the severity, the code and the
/// sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    statement: Option<usize>,
    code: FindingCode,
}

impl Finding {
    /// What it is.
    #[must_use]
    pub const fn code(&self) -> FindingCode {
        self.code
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// Which statement, counted from zero; none where it is the whole document.
    #[must_use]
    pub const fn statement(&self) -> Option<usize> {
        self.statement
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.statement {
            Some(at) => write!(f, "statement {}: ", at + 1)?,
            None => f.write_str("document: ")?,
        }
        write!(f, "{}: {}: {}", self.severity().as_str(), self.code.as_str(), self.code.sentence())
    }
}

macro_rules! codes {
    ($($code:ident $severity:ident $name:literal $sentence:literal)*) => {
        /// What can be wrong with a policy. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FindingCode {
            $(#[doc = $sentence] $code,)*
        }

        impl FindingCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$code => $sentence,)* }
            }
        }
    };
}

codes! {
    Unreadable Error "unreadable" "This is not one JSON policy document of the elements that AWS documents, each at most once."
    OldVersion Error "old_version" "Without Version 2012-10-17 a policy variable is plain text."
    UnknownOperator Error "unknown_operator" "What this condition operator asks is not known, so nothing is said about its key."
    AnyPrincipal Error "any_principal" "Everybody is a principal here."
    WholeAccount Error "whole_account" "Whoever in this account is allowed to by his own policies is a principal here."
    WildcardPrincipal Error "wildcard_principal" "A wildcard is part of a principal's name: AWS refuses that, and others may take it for a pattern."
    NotAction Error "not_action" "NotAction allows every action that is not listed, those of the future too."
    WildcardAction Error "wildcard_action" "A wildcard allows more actions than are written."
    NotResource Error "not_resource" "NotResource opens everything that is not listed."
    WildcardArn Warning "wildcard_arn" "A wildcard stands where an ARN has its partition, service, region or account."
    HoldsWhenMissing Error "holds_when_missing" "A test that a missing key satisfies (IfExists, ForAllValues, Not…) stands without one that requires the key."
    SeveralProviders Error "several_providers" "A role trusts exactly one identity provider."
    MixedPrincipals Error "mixed_principals" "A role that is entered by tokens has no AWS principal beside them."
    PodsShared Error "pods_shared" "Beside EKS somebody else may start and tag the pods' sessions, and so name himself after any pod."
    AudienceOpen Error "audience_open" "Tokens for any audience of the provider are taken."
    SubjectOpen Error "subject_open" "Tokens about any subject of the provider are taken."
    SubjectRootOpen Error "subject_root_open" "A wildcard stands in the kind or the root of a subject: any attestor, or any of its platforms, vouches for it."
    RoleNotPinned Error "role_not_pinned" "Tokens are taken that do not name this role."
    TagNotTested Error "tag_not_tested" "A session without the agent's tag, or with an empty one, gets through."
    TagSessionMissing Warning "tag_session_missing" "Without sts:TagSession every token with tags is refused."
    SourceIdentityNotRequired Error "source_identity_not_required" "The role can be entered without a source identity."
    SourceIdentityUnpinned Error "source_identity_unpinned" "Any source identity is taken."
    SourceIdentityForbidden Warning "source_identity_forbidden" "A source identity is mentioned only to be refused."
    SourceIdentityNotAllowed Warning "source_identity_not_allowed" "A source identity is required, and sts:SetSourceIdentity is not allowed."
    ListingUnscoped Error "listing_unscoped" "The bucket can be listed beyond the agent's own prefix."
    ObjectsUnscoped Error "objects_unscoped" "Objects beyond the agent's own prefix are opened."
    VariableDefault Error "variable_default" "A policy variable with a default gives a session without the tag somebody's prefix."
    AnyRole Error "any_role" "Roles that are not named can be assumed."
    TokenAudienceOpen Error "token_audience_open" "A token can be had for any audience."
    TokenTags Warning "token_tags" "The caller may put tags of his own into the token."
}
