use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::ErrorKind;
use crate::kind::EvidenceKind;
use crate::secret::Secret;

/// What a workload presents to prove who it is (RFC 9334): a declared kind and secret bytes.
///
/// Untrusted until an attestor has appraised it; whoever holds it can present it, so it is a secret.
#[derive(Clone, Debug)]
pub struct Evidence {
    kind: EvidenceKind,
    content: Secret<Vec<u8>>,
}

impl Evidence {
    /// Evidence of a declared kind.
    ///
    /// # Errors
    /// [`EvidenceError`] where it is empty or larger than [`MAX_EVIDENCE_BYTES`].
    pub fn new(kind: EvidenceKind, content: impl Into<Vec<u8>>) -> Result<Self, EvidenceError> {
        let content = Secret::new(content.into());
        match content.expose().len() {
            0 => Err(EvidenceError::Empty),
            size if size > MAX_EVIDENCE_BYTES => Err(EvidenceError::TooLarge),
            _ => Ok(Self { kind, content }),
        }
    }

    /// The token of an `Authorization` header as evidence of `kind`: the scheme `Bearer` in any letters, one
    /// space, and nothing but the characters of a token (W34).
    /// <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>
    ///
    /// # Errors
    /// [`EvidenceError::Scheme`] for every other header, [`EvidenceError::TooLarge`].
    pub fn from_authorization(kind: EvidenceKind, header: &str) -> Result<Self, EvidenceError> {
        let token = bearer_token(header).ok_or(EvidenceError::Scheme)?;
        Self::new(kind, token)
    }

    /// The declared kind.
    #[must_use]
    pub const fn kind(&self) -> &EvidenceKind {
        &self.kind
    }

    /// Reveals the content.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.content.expose()
    }
}

/// The token of an `Authorization` header: see [`Evidence::from_authorization`].
pub(crate) fn bearer_token(header: &str) -> Option<&str> {
    let (_, token) = header.split_once(' ').filter(|_| is_bearer(header))?;
    let token68 = |byte: u8| {
        // `-./` lie in a row with the digits
        byte.is_ascii_alphabetic()
            | (b'-'..=b'9').contains(&byte)
            | (byte == b'_')
            | (byte == b'~')
            | (byte == b'+')
    };
    let body = token.trim_end_matches('=');
    // without a way out in between, so that the compiler looks at many bytes at once
    let allowed = body.bytes().fold(true, |allowed, byte| allowed & token68(byte));
    (!body.is_empty() && allowed).then_some(token)
}

/// Whether the scheme of an `Authorization` header is `Bearer`, in any letters.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-11.1>
pub(crate) fn is_bearer(header: &str) -> bool {
    header.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("Bearer"))
}

/// Gathers this workload's own evidence.
///
/// # Contract
/// Gives evidence that is good for one audience, fixed when the source was built (W23), and that is
/// as short-lived as the platform allows. Fetches anew on each call or answers from its own cache while
/// that is fresh.
///
/// # Security
/// The source decides nothing: a wrong answer here is refused by the attestor. It must not let the
/// caller put words into the evidence that an attestor could take for the platform's (R7).
///
/// # Errors
/// [`SourceError`]; nothing of the platform's answer is echoed.
#[async_trait]
pub trait EvidenceSource: fmt::Debug + Send + Sync {
    /// Fetches evidence.
    async fn fetch(&self) -> Result<Evidence, SourceError>;
}

/// Why evidence cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// There is none.
    #[error("the evidence is empty")]
    Empty,
    /// The header is not `Bearer` and a token.
    #[error("the header is not Bearer and a token")]
    Scheme,
    /// Larger than [`MAX_EVIDENCE_BYTES`].
    #[error("the evidence is larger than {MAX_EVIDENCE_BYTES} bytes")]
    TooLarge,
}

impl EvidenceError {
    /// Always [`ErrorKind::Invalid`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Why evidence could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The platform refuses this workload.
    #[error("the platform refuses evidence to this workload")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the platform gave cannot be evidence.
    #[error("the platform's answer is not evidence")]
    Malformed,
    /// A setting of the platform or of this source forbids it; the text says which.
    #[error("evidence cannot be had: {what}")]
    Misconfigured {
        /// What to mend.
        what: &'static str,
        /// The platform's own error.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The platform does not answer now.
    #[error("the platform does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SourceError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied(_) => ErrorKind::Denied,
            Self::Malformed | Self::Misconfigured { .. } => ErrorKind::Misconfigured,
            Self::Unavailable(_) => ErrorKind::Unavailable,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.kind().is_retryable().then_some(Duration::from_secs(1))
    }
}

/// The largest evidence that is taken in: 32 KiB, twice the longest token.
pub const MAX_EVIDENCE_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_bounded_and_never_shown() {
        let kind = EvidenceKind::from_static("aws-stsweb");
        let evidence = Evidence::new(kind.clone(), "MARKED-token").unwrap();
        assert!(!format!("{evidence:?}").contains("MARKED"));
        assert_eq!(Evidence::new(kind.clone(), "").err(), Some(EvidenceError::Empty));
        let large = vec![b'a'; MAX_EVIDENCE_BYTES + 1];
        assert_eq!(Evidence::new(kind, large).err(), Some(EvidenceError::TooLarge));
    }

    #[test]
    fn w34_a_bearer_token_comes_behind_its_scheme() {
        let of = |header: &str| Evidence::from_authorization(EvidenceKind::from_static("oidc"), header);
        for good in ["Bearer aG.k-_", "bearer aG.k-_", "BEARER aG.k-_"] {
            assert_eq!(of(good).unwrap().expose(), b"aG.k-_", "{good}");
        }
        assert_eq!(of("Bearer aGk=").unwrap().expose(), b"aGk=");
        for bad in [
            "",
            "aG.k-_",
            "Bearer",
            "Bearer ",
            "Bearer  aGk",
            " Bearer aGk",
            "Bearer aGk ",
            "Bearer aGk\n",
            "Bearer\taGk",
            "BeareraGk",
            "Basic aGk",
            "Bearer aG=k",
            "Bearer =",
            "Bearer aGk,Bearer aGk",
            "Bearer \"aGk\"",
            "Bearer \u{e9}",
        ] {
            assert_eq!(of(bad).err(), Some(EvidenceError::Scheme), "{bad:?}");
        }
        let large = format!("Bearer {}", "a".repeat(MAX_EVIDENCE_BYTES + 1));
        assert_eq!(of(&large).err(), Some(EvidenceError::TooLarge));
    }
}
