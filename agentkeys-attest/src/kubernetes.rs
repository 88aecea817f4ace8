//! Names of things in Kubernetes.

use crate::text::text;

/// A namespace: 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

/// A service account: 1 to 253 characters, labels like a namespace's with dots between them.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount(String);

/// What an agent's pod has in its name behind the agent's own: `-pod`. 2 to 63 characters of `a-z`,
/// `0-9`, `-` and `.`, beginning with `-` or `.` and ending with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodSuffix(String);

impl Namespace {
    /// Reads one.
    ///
    /// # Errors
    /// [`KubernetesNameError::Namespace`].
    pub fn parse(text: &str) -> Result<Self, KubernetesNameError> {
        if is_label(text) { Ok(Self(text.to_owned())) } else { Err(KubernetesNameError::Namespace) }
    }
}

impl ServiceAccount {
    /// Reads one.
    ///
    /// # Errors
    /// [`KubernetesNameError::ServiceAccount`].
    pub fn parse(text: &str) -> Result<Self, KubernetesNameError> {
        let good = text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label);
        if good { Ok(Self(text.to_owned())) } else { Err(KubernetesNameError::ServiceAccount) }
    }
}

impl PodSuffix {
    /// Reads one.
    ///
    /// # Errors
    /// [`KubernetesNameError::PodSuffix`]: never empty, so that no pod is an agent by accident (W13).
    pub fn parse(text: &str) -> Result<Self, KubernetesNameError> {
        let rest = text.strip_prefix(['-', '.']).ok_or(KubernetesNameError::PodSuffix)?;
        let good = text.len() <= MAX_LABEL && rest.split('.').all(is_label);
        if good { Ok(Self(text.to_owned())) } else { Err(KubernetesNameError::PodSuffix) }
    }

    /// `pod` without the suffix, taken off exactly once; none where it does not end with it or nothing
    /// is left.
    #[must_use]
    pub fn strip<'p>(&self, pod: &'p str) -> Option<&'p str> {
        pod.strip_suffix(self.0.as_str()).filter(|rest| !rest.is_empty())
    }
}

text!(Namespace, KubernetesNameError, 0);
text!(ServiceAccount, KubernetesNameError, 0);
text!(PodSuffix, KubernetesNameError, 0);

/// Why a text is not a name in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KubernetesNameError {
    /// Not a namespace.
    #[error("a namespace is 1 to 63 characters of a-z 0-9 -, with a letter or digit at both ends")]
    Namespace,
    /// Not a pod suffix.
    #[error("a pod suffix begins with - or . and goes on like a name, at most 63 characters")]
    PodSuffix,
    /// Not a service account.
    #[error("a service account is 1 to 253 characters: labels of a-z 0-9 - with dots between them")]
    ServiceAccount,
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_LABEL).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// <https://www.rfc-editor.org/rfc/rfc1123>
const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn w13_the_suffix_comes_off_exactly_once(agent in "[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", times in 0_usize..4) {
            let suffix = PodSuffix::parse("-pod").unwrap();
            let bare = agent.trim_end_matches("-pod");
            let pod = format!("{bare}{}", "-pod".repeat(times));
            let left = format!("{bare}{}", "-pod".repeat(times.saturating_sub(1)));
            let expected = (times > 0 && !left.is_empty()).then_some(left.as_str());
            prop_assert_eq!(suffix.strip(&pod), expected);
        }
    }

    #[test]
    fn names_are_those_of_kubernetes() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        for good in ["a", "agents", "kube-system", "0", &long] {
            assert!(Namespace::parse(good).is_ok() && ServiceAccount::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a b", "é", "*", &longer] {
            assert!(Namespace::parse(bad).is_err() && ServiceAccount::parse(bad).is_err(), "{bad}");
        }
        assert!(Namespace::parse("a.b").is_err() && ServiceAccount::parse("a.b").is_ok());
        for bad in ["a..b", ".a", "a.", &format!("{long}.{long}.{long}.{long}")] {
            assert!(ServiceAccount::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn w13_a_suffix_is_never_empty() {
        for good in ["-pod", "-0", ".pod", "-agent-pod"] {
            assert!(PodSuffix::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "pod", "-pod-", "-Pod", "--pod", "-p d", "*", &format!("-{}", "a".repeat(63))] {
            assert!(PodSuffix::parse(bad).is_err(), "{bad}");
        }
    }
}
