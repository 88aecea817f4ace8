/// What an embedder must know about a refusal: which HTTP status answers it, and whether to retry.
///
/// Every verb's error in this family answers `kind()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was presented is understood and not allowed. 403; retrying changes nothing.
    Denied,
    /// What was presented is malformed, forged, expired or unknown. 401; retrying the same bytes
    /// changes nothing. (A host that parses a request body around it may answer 400.)
    Invalid,
    /// The host's own configuration or environment is wrong. 500; fix the code or the deployment.
    Misconfigured,
    /// Something that this depends on does not answer now. 503; retry later.
    Unavailable,
}

impl ErrorKind {
    /// The HTTP status that a host answers with.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Denied => 403,
            Self::Invalid => 401,
            Self::Misconfigured => 500,
            Self::Unavailable => 503,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    #[test]
    fn only_unavailable_may_be_retried() {
        for kind in [ErrorKind::Denied, ErrorKind::Invalid, ErrorKind::Misconfigured] {
            assert!(!kind.is_retryable());
        }
        assert!(ErrorKind::Unavailable.is_retryable());
        assert_eq!(ErrorKind::Unavailable.http_status(), 503);
    }
}
