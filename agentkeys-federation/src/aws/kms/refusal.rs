use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

/// Why KMS did not do it. The SDK's own error holds the raw answer, so it goes no further than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another try may do.
    Again(&'static str),
    /// Later it may do; another try at once does not.
    Away(&'static str),
    /// Somebody has to look.
    Final(&'static str),
}

impl Refusal {
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::ServiceError(service) => {
                Self::of_answer(service.raw().status().as_u16(), service.err().code())
            }
            SdkError::ResponseError(_) => Self::Away("an answer that is none of KMS"),
            // no connection, or no credentials to sign with
            _ => Self::Again("KMS does not answer"),
        }
    }

    /// The code decides; the status only where there is none that is known.
    /// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html#API_Sign_Errors>,
    /// <https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html>
    fn of_answer(status: u16, code: Option<&str>) -> Self {
        let plain = code.map(|code| code.strip_suffix("Exception").unwrap_or(code));
        match (plain.unwrap_or_default(), status) {
            ("Throttling" | "Throttled" | "TooManyRequests" | "RequestLimitExceeded" | "SlowDown", _) => {
                Self::Again("KMS asks to slow down")
            }
            (
                "KMSInternal" | "InternalFailure" | "InternalError" | "DependencyTimeout" | "KeyUnavailable"
                | "ServiceUnavailable" | "RequestTimeout",
                _,
            ) => Self::Again("KMS fails"),
            // being deleted, being made, or in a key store that is not connected
            ("KMSInvalidState", _) => Self::Away("the key is in no state to sign"),
            ("AccessDenied", _) => Self::Final("the credentials may not use the key"),
            ("NotFound", _) => Self::Final("there is no such key"),
            ("Disabled", _) => Self::Final("the key is disabled"),
            ("InvalidKeyUsage" | "UnsupportedOperation", _) => Self::Final("the key is not one that signs"),
            (
                "UnrecognizedClient"
                | "InvalidClientTokenId"
                | "InvalidSignature"
                | "SignatureDoesNotMatch"
                | "MissingAuthenticationToken"
                | "IncompleteSignature",
                _,
            ) => Self::Final("the credentials are not valid"),
            ("ExpiredToken" | "RequestExpired", _) => Self::Final("the credentials have expired"),
            (_, 429) => Self::Again("KMS asks to slow down"),
            (_, 500..=599) => Self::Again("KMS fails"),
            _ => Self::Final("KMS refuses the request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r45_the_code_decides_whatever_the_status() {
        use Refusal as R;
        for (code, refusal) in [
            ("ThrottlingException", R::Again("KMS asks to slow down")),
            ("TooManyRequestsException", R::Again("KMS asks to slow down")),
            ("KMSInternalException", R::Again("KMS fails")),
            ("DependencyTimeoutException", R::Again("KMS fails")),
            ("KeyUnavailableException", R::Again("KMS fails")),
            ("InternalFailure", R::Again("KMS fails")),
            ("ServiceUnavailable", R::Again("KMS fails")),
            ("KMSInvalidStateException", R::Away("the key is in no state to sign")),
            ("AccessDeniedException", R::Final("the credentials may not use the key")),
            ("NotFoundException", R::Final("there is no such key")),
            ("DisabledException", R::Final("the key is disabled")),
            ("InvalidKeyUsageException", R::Final("the key is not one that signs")),
            ("UnsupportedOperationException", R::Final("the key is not one that signs")),
            ("UnrecognizedClientException", R::Final("the credentials are not valid")),
            ("InvalidSignatureException", R::Final("the credentials are not valid")),
            ("IncompleteSignatureException", R::Final("the credentials are not valid")),
            ("ExpiredTokenException", R::Final("the credentials have expired")),
        ] {
            for status in [400, 403, 404, 429, 500, 503] {
                assert_eq!(R::of_answer(status, Some(code)), refusal, "{code} {status}");
            }
        }
    }

    #[test]
    fn r45_without_a_known_code_the_status_decides() {
        use Refusal as R;
        for code in
            [None, Some("ValidationException"), Some("accessdenied"), Some("NobodyKnows"), Some("Exception")]
        {
            for (status, refusal) in [
                (400, R::Final("KMS refuses the request")),
                (403, R::Final("KMS refuses the request")),
                (429, R::Again("KMS asks to slow down")),
                (500, R::Again("KMS fails")),
                (599, R::Again("KMS fails")),
            ] {
                assert_eq!(R::of_answer(status, code), refusal, "{code:?} {status}");
            }
        }
    }
}
