use std::fmt;
use std::str::FromStr;

use agentkeys_core::{AttestError, VerifiedToken};
use serde_json::{Map, Value};

/// Where a claim is: the names of members from the claims set down, written as a JSON Pointer.
/// <https://www.rfc-editor.org/rfc/rfc6901>
///
/// `/sub`, `/kubernetes.io/pod/name`, `/https:~1~1example.com~1tenant`: names hold dots and slashes, so a `/`
/// in a name is `~1` and a `~` is `~0`. It never leads into an array, names are not empty, and at most
/// 8 stand in a row. Of the registered claims only `/sub` can be named: the verifier decides about the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimPath {
    text: String,
    names: Vec<String>,
}

impl ClaimPath {
    /// Reads one.
    ///
    /// # Errors
    /// [`ClaimPathError`].
    pub fn parse(text: &str) -> Result<Self, ClaimPathError> {
        let rest = text.strip_prefix('/').ok_or(ClaimPathError::Form)?;
        let names = rest.split('/').map(unescape).collect::<Result<Vec<_>, _>>()?;
        if text.len() > MAX_PATH || names.len() > MAX_NAMES {
            return Err(ClaimPathError::Length);
        }
        let subject = names == ["sub"];
        if !subject && names.first().is_some_and(|name| REGISTERED.contains(&name.as_str())) {
            return Err(ClaimPathError::Registered);
        }
        Ok(Self { text: text.to_owned(), names })
    }

    /// The path, exactly as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The claim, of whatever type it is.
    fn find<'c>(&self, token: &'c Verified, what: &'static str) -> Result<Found<'c>, AttestError> {
        if self.names == ["sub"] {
            return Ok(Found::Subject(token.subject()));
        }
        let mut names = self.names.iter();
        let first = names.next().ok_or(AttestError::Missing(what))?;
        let mut value = token.claims().get(first).ok_or(AttestError::Missing(what))?;
        for name in names {
            let object = value.as_object().ok_or(AttestError::Malformed(WRONG_TYPE))?;
            value = object.get(name).ok_or(AttestError::Missing(what))?;
        }
        Ok(Found::Claim(value))
    }

    /// The claim, which must be text.
    pub(super) fn text<'c>(&self, token: &'c Verified, what: &'static str) -> Result<&'c str, AttestError> {
        match self.find(token, what)? {
            Found::Subject(subject) => Ok(subject),
            Found::Claim(value) => value.as_str().ok_or(AttestError::Malformed(WRONG_TYPE)),
        }
    }

    /// Refuses unless the claim is `wanted`, type and all.
    pub(super) fn require(
        &self,
        wanted: &ClaimValue,
        token: &Verified,
        what: &'static str,
    ) -> Result<(), AttestError> {
        let same = match (wanted, self.find(token, what)?) {
            (ClaimValue::Text(wanted), Found::Subject(subject)) => subject == wanted,
            (ClaimValue::Text(wanted), Found::Claim(Value::String(found))) => found == wanted,
            (ClaimValue::Bool(wanted), Found::Claim(Value::Bool(found))) => found == wanted,
            (ClaimValue::Number(wanted), Found::Claim(Value::Number(found))) => {
                found.as_u64() == Some(*wanted)
            }
            _ => return Err(AttestError::Malformed(WRONG_TYPE)),
        };
        if same { Ok(()) } else { Err(AttestError::Pin(what)) }
    }
}

impl FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<Self, ClaimPathError> {
        Self::parse(text)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no path to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimPathError {
    /// Not a JSON Pointer, or a name is empty.
    #[error("a claim's path is a JSON Pointer such as /kubernetes.io/pod/name, a / in a name written ~1")]
    Form,
    /// More than 512 bytes or 8 names.
    #[error("a claim's path is at most {MAX_PATH} bytes and {MAX_NAMES} names")]
    Length,
    /// It names a registered claim that is not `sub`.
    #[error("of the registered claims only /sub can be named")]
    Registered,
}

/// What a claim must be, type and all: `"true"` is not `true`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// Text, byte for byte.
    Text(String),
}

impl From<&str> for ClaimValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for ClaimValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for ClaimValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for ClaimValue {
    fn from(value: u64) -> Self {
        Self::Number(value)
    }
}

impl fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

pub(super) type Verified = VerifiedToken<Map<String, Value>>;

enum Found<'c> {
    Subject(&'c str),
    Claim(&'c Value),
}

fn unescape(name: &str) -> Result<String, ClaimPathError> {
    let mut parts = name.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', part.strip_prefix('0')),
            Some(b'1') => ('/', part.strip_prefix('1')),
            _ => return Err(ClaimPathError::Form),
        };
        text.push(escaped);
        text.push_str(rest.unwrap_or_default());
    }
    if text.is_empty() { Err(ClaimPathError::Form) } else { Ok(text) }
}

const WRONG_TYPE: &str = "a claim is of the wrong type";

/// <https://www.rfc-editor.org/rfc/rfc7519#section-4.1>
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

const MAX_PATH: usize = 512;
const MAX_NAMES: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_json_pointers() {
        for (text, names) in [
            ("/sub", &["sub"][..]),
            ("/kubernetes.io/pod/name", &["kubernetes.io", "pod", "name"]),
            ("/https:~1~1example.com~1tenant", &["https://example.com/tenant"]),
            ("/~01", &["~1"]),
            ("/~0~1", &["~/"]),
            ("/a b/\u{e9}", &["a b", "\u{e9}"]),
            ("/Sub", &["Sub"]),
            ("/a/sub", &["a", "sub"]),
        ] {
            let path = ClaimPath::parse(text).unwrap();
            assert_eq!(
                (path.names.as_slice(), path.to_string().as_str()),
                (&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()[..], text)
            );
        }
        let long = format!("/{}", "a".repeat(MAX_PATH));
        for (bad, error) in [
            ("", ClaimPathError::Form),
            ("/", ClaimPathError::Form),
            ("sub", ClaimPathError::Form),
            ("kubernetes.io/pod", ClaimPathError::Form),
            ("/a/", ClaimPathError::Form),
            ("/a//b", ClaimPathError::Form),
            ("/~", ClaimPathError::Form),
            ("/~2", ClaimPathError::Form),
            ("/a~", ClaimPathError::Form),
            ("/~~0", ClaimPathError::Form),
            ("#/a", ClaimPathError::Form),
            (&long, ClaimPathError::Length),
            (&"/a".repeat(MAX_NAMES + 1), ClaimPathError::Length),
            ("/iss", ClaimPathError::Registered),
            ("/aud", ClaimPathError::Registered),
            ("/exp", ClaimPathError::Registered),
            ("/nbf", ClaimPathError::Registered),
            ("/iat", ClaimPathError::Registered),
            ("/jti", ClaimPathError::Registered),
            ("/sub/a", ClaimPathError::Registered),
            ("/aud/0", ClaimPathError::Registered),
        ] {
            assert_eq!(ClaimPath::parse(bad), Err(error), "{bad}");
        }
        assert!(ClaimPath::parse(&"/a".repeat(MAX_NAMES)).is_ok());
    }

    proptest! {
        #[test]
        fn any_names_have_one_path_and_any_path_these_names(
            names in proptest::collection::vec("[a-z.~/01 \\PC]{1,8}", 1..=MAX_NAMES),
        ) {
            let text: String =
                names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect();
            match ClaimPath::parse(&text) {
                Ok(path) => {
                    prop_assert_eq!(path.as_str(), text);
                    prop_assert_eq!(path.names, names);
                }
                Err(ClaimPathError::Registered) => prop_assert!(REGISTERED.contains(&names[0].as_str())),
                Err(error) => prop_assert!(error == ClaimPathError::Length && text.len() > MAX_PATH, "{}", text),
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_and_two_texts_are_two_paths(a in "(/|~|~0|~1|[ab.]|\\PC){0,6}", b in "(/|~0|~1|[ab.]){0,6}") {
            if let (Ok(one), Ok(other)) = (ClaimPath::parse(&a), ClaimPath::parse(&b)) {
                prop_assert_eq!(one.names == other.names, a == b);
            }
        }
    }
}
