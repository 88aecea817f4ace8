use std::fmt;
use std::str::FromStr;

use agentkeys_core::ErrorKind;

/// The name of a chain: 1 to 63 characters of `a-z 0-9 . _ -`, of which the first is a letter or digit.
///
/// A replica keeps its name when it is started again: the pod's name of a StatefulSet, not of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainName(String);

impl ChainName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChainName {
    type Err = ChainNameError;

    fn from_str(text: &str) -> Result<Self, ChainNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first = text.bytes().next().is_some_and(plain);
        let allowed = text.bytes().all(|byte| plain(byte) || b"._-".contains(&byte));
        if first && allowed && text.len() <= MAX_NAME {
            Ok(Self(text.to_owned()))
        } else {
            Err(ChainNameError)
        }
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not a chain's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("a chain's name is 1 to 63 characters of a-z 0-9 . _ - and begins with a letter or digit")]
pub struct ChainNameError;

impl ChainNameError {
    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Misconfigured
    }
}

/// As long as a DNS label: <https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4>
const MAX_NAME: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chains_name_is_a_short_plain_word() {
        for good in ["a", "0", "broker-0", "eu-1.broker_2", &"a".repeat(63)] {
            assert_eq!(good.parse::<ChainName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "_a", "A", "a b", "a\n", "ä", "a/b", "a'", &"a".repeat(64)] {
            assert_eq!(bad.parse::<ChainName>(), Err(ChainNameError), "{bad}");
        }
    }
}
