use std::fmt;
use std::str::FromStr;

/// A class of data, such as `data`, `vault` or `memory`: each has a role and a bucket of its own (R57, R58).
///
/// 1 to 32 characters of `a-z`, `0-9` and `-`, beginning with a letter and not ending with `-`, so that it
/// stands in role names, bucket names and object keys as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataClass(String);

impl DataClass {
    /// The class's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DataClass {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let bounded = text.starts_with(|first: char| first.is_ascii_lowercase()) && !text.ends_with('-');
        if bounded && text.len() <= MAX_CLASS && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClassError)
        }
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a class of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("a data class is 1 to {MAX_CLASS} characters of a-z, 0-9 and -, from a letter to no dash")]
pub struct ClassError;

const MAX_CLASS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w68_a_class_is_one_plain_lower_case_word() {
        for good in ["data", "vault", "memory", "a", "v2", "long-term", &"a".repeat(32)] {
            assert_eq!(good.parse::<DataClass>().unwrap().as_str(), good);
        }
        for bad in ["", "Vault", "vault ", "v/x", "v*", "-v", "v-", "1v", "v_x", "é", "${x}", &"a".repeat(33)]
        {
            assert_eq!(bad.parse::<DataClass>(), Err(ClassError), "{bad}");
        }
    }
}
