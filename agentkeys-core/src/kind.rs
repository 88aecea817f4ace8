use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What sort of evidence this is, and so which attestor appraises it: `aws-stsweb`, `spiffe-svid`, …
///
/// The workload declares it, the attestor carries it, and the identity keeps it as the label of who
/// vouches (R17). 1 to 32 characters of `a-z`, `0-9` and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EvidenceKind(Cow<'static, str>);

impl EvidenceKind {
    /// A kind known when the program was written.
    ///
    /// # Panics
    /// Where `label` is not a valid kind: in a `const`, that is when the program is compiled.
    #[must_use]
    #[expect(clippy::panic, reason = "evaluated at compile time in a const; documented otherwise")]
    pub const fn from_static(label: &'static str) -> Self {
        if !is_kind(label.as_bytes()) {
            panic!("not an evidence kind");
        }
        Self(Cow::Borrowed(label))
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EvidenceKind {
    type Err = KindError;

    fn from_str(label: &str) -> Result<Self, KindError> {
        if is_kind(label.as_bytes()) { Ok(Self(Cow::Owned(label.to_owned()))) } else { Err(KindError) }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not an evidence kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("an evidence kind is 1 to 32 characters of a-z, 0-9 and '-', beginning with a letter")]
pub struct KindError;

#[expect(
    clippy::indexing_slicing,
    reason = "const fn: the index is below the length by the loop's condition"
)]
const fn is_kind(label: &[u8]) -> bool {
    if label.is_empty() || label.len() > MAX_KIND || !label[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 0;
    while at < label.len() {
        if !(label[at].is_ascii_lowercase() || label[at].is_ascii_digit() || label[at] == b'-') {
            return false;
        }
        at += 1;
    }
    true
}

const MAX_KIND: usize = 32;

#[cfg(test)]
mod tests {
    use super::EvidenceKind;

    #[test]
    fn kinds_are_short_lower_case_labels() {
        assert_eq!("aws-stsweb".parse::<EvidenceKind>().unwrap(), EvidenceKind::from_static("aws-stsweb"));
        for bad in ["", "-x", "1x", "AWS", "a b", "a/b", "a\u{e9}", &"a".repeat(33)] {
            assert!(bad.parse::<EvidenceKind>().is_err(), "{bad:?}");
        }
    }
}
