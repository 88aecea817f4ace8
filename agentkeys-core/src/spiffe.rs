use std::fmt;
use std::str::FromStr;

/// A SPIFFE trust domain.
/// <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#21-trust-domain>
///
/// 1 to 255 characters of `a-z`, `0-9`, `.`, `-` and `_`; upper case is refused, not folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// A trust domain by its name, without `spiffe://`.
    ///
    /// # Errors
    /// [`SpiffeIdError`].
    pub fn parse(name: &str) -> Result<Self, SpiffeIdError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if name.is_empty() || name.len() > MAX_TRUST_DOMAIN || !name.bytes().all(allowed) {
            return Err(SpiffeIdError::TrustDomain);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(name: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(name)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SPIFFE ID.
/// <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>
///
/// `spiffe://<trust domain>/<segment>/…`, at most 2048 bytes; segments of `A-Z a-z 0-9 . - _`, none
/// empty, `.` or `..`, no trailing slash, no percent-encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    trust_domain: TrustDomain,
}

impl SpiffeId {
    /// Reads an ID.
    ///
    /// # Errors
    /// [`SpiffeIdError`].
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_SPIFFE_ID {
            return Err(SpiffeIdError::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = match rest.split_once('/') {
            Some((domain, path)) => (domain, Some(path)),
            None => (rest, None),
        };
        let trust_domain = TrustDomain::parse(domain)?;
        let segment_ok = |segment: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
        };
        if path.is_some_and(|path| !path.split('/').all(segment_ok)) {
            return Err(SpiffeIdError::Path);
        }
        Ok(Self { text: text.to_owned(), trust_domain })
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its path with the slash that begins it, or nothing where the ID names the trust domain itself.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(SCHEME.len() + self.trust_domain.0.len()..).unwrap_or_default()
    }

    /// Its trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// Longer than 2048 bytes.
    #[error("a SPIFFE ID is at most {MAX_SPIFFE_ID} bytes")]
    Length,
    /// An empty segment, a dot segment, a trailing slash or a character that is not allowed.
    #[error("the SPIFFE ID's path is malformed")]
    Path,
    /// Not `spiffe://`.
    #[error("a SPIFFE ID begins with spiffe://")]
    Scheme,
    /// The trust domain is empty, too long or has a character that is not allowed.
    #[error("the trust domain is malformed")]
    TrustDomain,
}

const SCHEME: &str = "spiffe://";
const MAX_TRUST_DOMAIN: usize = 255;
const MAX_SPIFFE_ID: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w28_spiffe_ids_are_read_by_the_standard() {
        let id = SpiffeId::parse("spiffe://example.org/agent/acme/blue").unwrap();
        assert_eq!(id.trust_domain().as_str(), "example.org");
        assert_eq!(id.path(), "/agent/acme/blue");
        assert_eq!(SpiffeId::parse("spiffe://example.org").unwrap().path(), "");
        for bad in [
            "SPIFFE://example.org/a",
            "https://example.org/a",
            "spiffe://Example.org/a",
            "spiffe:///a",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/./a",
            "spiffe://example.org/../a",
            "spiffe://example.org/a%2fb",
            "spiffe://example.org:80/a",
            "spiffe://u@example.org/a",
            "spiffe://example.org/a?x",
            "spiffe://example.org/a#x",
            "spiffe://example.org/é",
            "spiffe://",
            "",
        ] {
            assert!(SpiffeId::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(SpiffeId::parse(&format!("spiffe://e/{}", "a".repeat(2048))), Err(SpiffeIdError::Length));
    }
}
