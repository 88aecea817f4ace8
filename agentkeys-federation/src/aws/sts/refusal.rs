use aws_sdk_sts::config::http::HttpResponse;
use aws_sdk_sts::error::SdkError;

use crate::exchanger::ExchangeError;

/// What a call's own table of codes says.
type OfCode = fn(&str) -> Option<ExchangeError>;

/// What the SDK says to our error. The SDK's own error holds the raw answer, so it goes no further than this.
pub(super) fn explain<E>(error: &SdkError<E, HttpResponse>, of_code: OfCode) -> ExchangeError {
    match error {
        SdkError::ServiceError(service) => {
            let raw = service.raw();
            of_answer(raw.status().as_u16(), raw.body().bytes().unwrap_or_default(), of_code)
        }
        SdkError::ConstructionFailure(_) => ExchangeError::Refused,
        SdkError::ResponseError(_) => ExchangeError::Answer("not an STS answer"),
        _ => ExchangeError::Unavailable,
    }
}

/// The code decides; the status only where there is none, or none that is known.
fn of_answer(status: u16, body: &[u8], of_code: OfCode) -> ExchangeError {
    if (200..300).contains(&status) {
        return ExchangeError::Answer("not an STS answer");
    }
    let code = code_of(body);
    let plain = code.map(|code| code.strip_suffix("Exception").unwrap_or(code));
    if let Some(error) = plain.and_then(|code| of_code(code).or_else(|| of_common_code(code))) {
        return error;
    }
    match status {
        // a code that is not known says something else than that the role does not trust the token
        403 if code.is_none() => ExchangeError::Denied,
        429 => ExchangeError::Throttled,
        500..=599 => ExchangeError::Unavailable,
        _ => ExchangeError::Refused,
    }
}

/// The codes of every call, without their `Exception`.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
fn of_common_code(code: &str) -> Option<ExchangeError> {
    Some(match code {
        "AccessDenied" => ExchangeError::Denied,
        "MalformedPolicyDocument" => ExchangeError::PolicyMalformed,
        "PackedPolicyTooLarge" => ExchangeError::PolicyTooLarge,
        "RegionDisabled" => ExchangeError::RegionDisabled,
        "Throttling" | "Throttled" | "TooManyRequests" | "RequestLimitExceeded" | "SlowDown" => {
            ExchangeError::Throttled
        }
        "InternalFailure" | "InternalError" | "ServiceUnavailable" => ExchangeError::Unavailable,
        _ => return None,
    })
}

/// The first `<Code>` of an answer, within AWS's `<ErrorResponse>` or bare as S3-compatible servers write it.
/// It is only looked up, never shown.
fn code_of(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.trim()).filter(|code| !code.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_this_call(code: &str) -> Option<ExchangeError> {
        (code == "OfThisCall").then_some(ExchangeError::TokenExpired)
    }

    #[test]
    fn w64_the_code_decides_whatever_the_status_and_the_wrapping() {
        use ExchangeError as E;
        for (code, error) in [
            ("AccessDenied", E::Denied),
            ("AccessDeniedException", E::Denied),
            ("OfThisCall", E::TokenExpired),
            ("OfThisCallException", E::TokenExpired),
            ("MalformedPolicyDocument", E::PolicyMalformed),
            ("PackedPolicyTooLarge", E::PolicyTooLarge),
            ("PackedPolicyTooLargeException", E::PolicyTooLarge),
            ("RegionDisabledException", E::RegionDisabled),
            ("Throttling", E::Throttled),
            ("ThrottlingException", E::Throttled),
            ("ThrottledException", E::Throttled),
            ("TooManyRequestsException", E::Throttled),
            ("RequestLimitExceeded", E::Throttled),
            ("SlowDown", E::Throttled),
            ("InternalFailure", E::Unavailable),
            ("InternalError", E::Unavailable),
            ("ServiceUnavailable", E::Unavailable),
        ] {
            let aws =
                format!("<ErrorResponse xmlns=\"x\"><Error><Code>{code}</Code></Error></ErrorResponse>");
            let s3 =
                format!("<?xml version=\"1.0\"?><Error><Code> {code}\n</Code><Message></Message></Error>");
            for status in [400, 401, 403, 404, 429, 500, 503] {
                assert_eq!(of_answer(status, aws.as_bytes(), of_this_call), error, "{code} {status}");
                assert_eq!(
                    of_answer(status, s3.as_bytes(), of_this_call),
                    error,
                    "{code} {status}, S3's form"
                );
            }
        }
    }

    #[test]
    fn w64_without_a_known_code_the_status_decides() {
        use ExchangeError as E;
        let not_an_answer = E::Answer("not an STS answer");
        for (status, without, unknown) in [
            (200, not_an_answer, not_an_answer),
            (302, E::Refused, E::Refused),
            (400, E::Refused, E::Refused),
            (403, E::Denied, E::Refused),
            (404, E::Refused, E::Refused),
            (429, E::Throttled, E::Throttled),
            (500, E::Unavailable, E::Unavailable),
            (503, E::Unavailable, E::Unavailable),
            (599, E::Unavailable, E::Unavailable),
        ] {
            for body in ["", "<Error/>", "<Error><Code></Code></Error>", "<Error><Code>", "{}", "<Code"] {
                assert_eq!(of_answer(status, body.as_bytes(), of_this_call), without, "{status} {body}");
            }
            assert_eq!(of_answer(status, b"<Code>\xff</Code>", of_this_call), without, "{status}");
            for code in ["NobodyKnows", "accessdenied", "AccessDeniedX", "Exception", "ExpiredToken"] {
                let body = format!("<Error><Code>{code}</Code></Error>");
                assert_eq!(of_answer(status, body.as_bytes(), of_this_call), unknown, "{status} {code}");
            }
        }
    }
}
