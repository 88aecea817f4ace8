use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

/// A policy document. It can only be made by this crate's generators, and the same input gives the same
/// bytes (R86).
///
/// `Display` is one line, as servers that are fussy about spaces want it; `{:#}` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: Version,
    statement: Vec<Statement>,
}

impl PolicyDocument {
    pub(super) fn new(statement: Vec<Statement>) -> Self {
        Self { version: Version::V2012, statement }
    }
}

impl fmt::Display for PolicyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json =
            if f.alternate() { serde_json::to_string_pretty(self) } else { serde_json::to_string(self) };
        f.write_str(&json.map_err(|_| fmt::Error)?)
    }
}

/// The only one with policy variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Version {
    #[serde(rename = "2012-10-17")]
    V2012,
}

/// Nothing here denies: what no statement allows is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Effect {
    Allow,
}

/// One statement. Its conditions must all hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Statement {
    sid: String,
    effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Principal>,
    #[serde(serialize_with = "one_or_many")]
    action: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<String, Values>>,
}

/// One principal: a statement never names two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Principal {
    #[serde(rename = "AWS")]
    Aws(String),
    Federated(String),
    Service(&'static str),
}

impl Statement {
    pub(super) fn allow(sid: impl Into<String>, action: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            sid: sid.into(),
            effect: Effect::Allow,
            principal: None,
            action: action.into_iter().collect(),
            resource: None,
            condition: BTreeMap::new(),
        }
    }

    pub(super) fn to(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    pub(super) fn on(mut self, resource: String) -> Self {
        self.resource = Some(resource);
        self
    }

    pub(super) fn and_action(mut self, action: &'static str) -> Self {
        self.action.push(action);
        self
    }

    /// With one more condition; a key stands once under an operator.
    pub(super) fn when(
        mut self,
        operator: &'static str,
        key: impl Into<String>,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.condition.entry(operator).or_default().insert(key.into(), Values(values));
        self
    }
}

/// A single value is written bare.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Values(Vec<String>);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        one_or_many(&self.0, serializer)
    }
}

fn one_or_many<T: Serialize, S: Serializer>(all: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    match all {
        [one] => one.serialize(serializer),
        all => all.serialize(serializer),
    }
}

/// Why a part of a policy is not what AWS takes, or not what is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// An audience that would be read as a policy variable.
    #[error("an audience in a policy has no ${{")]
    Audience,
    /// Not a bucket's name.
    #[error("a bucket name is 3 to 63 of a-z 0-9 . - and begins and ends with a letter or digit")]
    Bucket,
    /// Not a chain of certificates, leaf first, with at least one above the leaf.
    #[error(
        "a certificate chain is DER, leaf first, each issued by the next, with at least two certificates"
    )]
    Chain,
    /// An issuer that AWS does not register.
    #[error("AWS registers issuers without a port, and without characters that are wildcards in a policy")]
    Issuer,
    /// Not a deployment's name.
    #[error("a deployment's name is 2 to 20 of a-z 0-9 and begins with a letter")]
    Name,
    /// No stack.
    #[error("a stack is production or test")]
    Stack,
    /// Not a pattern of subjects.
    #[error(
        "a subject pattern is <kind>/<root>/<tenant>/<agent>; only tenant and agent may be *, as a whole"
    )]
    Subject,
    /// A tenant that no role can be named after.
    #[error("a tenant in a role's name is 1 to 24 of a-z 0-9 - and begins and ends with a letter or digit")]
    Tenant,
    /// Not a thumbprint.
    #[error("a thumbprint is 40 lower-case hex digits")]
    Thumbprint,
    /// One too many.
    #[error("a provider has at most five thumbprints")]
    Thumbprints,
}
