//! What a policy is evaluated against.

use std::collections::BTreeMap;

/// The request context: condition keys and their values.
///
/// Key names are not case-sensitive, and that includes the tag key of
/// `aws:PrincipalTag/tag-key`; values are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    /// An empty context.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the values of `key`, in place of any that it had under any spelling of its case.
    ///
    /// A key without values is the same as a missing key.
    pub fn insert(&mut self, key: impl AsRef<str>, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        let key = fold(key.as_ref());
        if values.is_empty() {
            self.values.remove(&key);
        } else {
            self.values.insert(key, values);
        }
    }

    /// The values of `key`, never empty, or `None` where the request does not have the key.
    #[must_use]
    pub fn get(&self, key: impl AsRef<str>) -> Option<&[String]> {
        self.values.get(&fold(key.as_ref())).map(Vec::as_slice)
    }

    /// The value of a key that has exactly one: only such a key can be a policy variable.
    pub(super) fn single(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some([value]) => Some(value),
            _ => None,
        }
    }
}

/// The longest string of a request that is decided on, in bytes, and the most values of a key.
const MAX_TEXT: usize = 4096;
const MAX_VALUES: usize = 512;

impl Request {
    /// Whether everything in the request is of a length that patterns are matched against.
    /// Nothing allows a request that is not.
    pub(super) fn is_within_bounds(&self) -> bool {
        self.action.len() <= MAX_TEXT
            && self.resource.len() <= MAX_TEXT
            && self.context.values.values().all(|values| {
                values.len() <= MAX_VALUES && values.iter().all(|value| value.len() <= MAX_TEXT)
            })
    }
}

/// How key names are compared.
fn fold(key: &str) -> String {
    key.to_lowercase()
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a caller says which kind of principal it authenticated, and there are these four"
)]
pub enum Principal {
    /// An identity of an AWS account.
    Aws {
        /// The account's twelve digits.
        account: String,
        /// Every ARN that names the principal: for a role session both the role's
        /// (`arn:aws:iam::…:role/…`) and the session's (`arn:aws:sts::…:assumed-role/…/…`).
        arns: Vec<String>,
    },
    /// A federated identity, by its provider's ARN or domain name.
    Federated(String),
    /// An AWS service, such as `s3.amazonaws.com`.
    Service(String),
    /// An unauthenticated caller.
    Anonymous,
}

/// One request to be decided on.
///
/// A request with a string of more than 4 KiB, or with more than 512 values of a key, is never
/// allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "principal, action, resource and context are the whole of a request"
)]
pub struct Request {
    /// Who asks.
    pub principal: Principal,
    /// The action, such as `s3:GetObject`.
    pub action: String,
    /// The ARN of the resource; trust policies do not look at it.
    pub resource: String,
    /// The condition keys.
    pub context: Context,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_case_insensitive() {
        let mut context = Context::new();
        context.insert("aws:PrincipalTag/Team", ["a".to_owned()]);
        context.insert("AWS:principaltag/team", ["b".to_owned()]);
        assert_eq!(context.get("aws:principalTAG/TEAM"), Some(&["b".to_owned()][..]));
        assert_eq!(context.single("aws:PrincipalTag/TEAM"), Some("b"));
    }

    #[test]
    fn no_values_is_no_key() {
        let mut context = Context::new();
        context.insert("aws:TagKeys", []);
        assert_eq!(context.get("aws:TagKeys"), None);
        context.insert("aws:TagKeys", ["a".to_owned(), "b".to_owned()]);
        assert_eq!(context.single("aws:TagKeys"), None);
        context.insert("aws:tagkeys", []);
        assert_eq!(context.get("aws:TagKeys"), None);
    }
}
