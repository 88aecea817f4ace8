use std::time::Duration;

use agentkeys_core::ErrorKind;
use agentkeys_federation::{BrokerError, SourceError};
use axum::Json;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A request that is refused: the name and status that callers know, the stable code, a sentence of ours.
/// Nothing of the request and nothing of an upstream's answer has a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) error: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

impl Refused {
    fn new(status: StatusCode, error: &'static str, reason: &'static str, message: &str) -> Self {
        Self { status, error, reason, message: message.to_owned(), retry_after: None }
    }

    pub(crate) fn bad_request(reason: &'static str, message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", reason, message)
    }

    pub(crate) fn unauthorized(reason: &'static str, message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", reason, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "not_found", "there is nothing here")
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "this route has no such method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "method_not_allowed", message)
    }

    pub(crate) fn timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", "body_slow", "the body comes too slowly")
    }

    pub(crate) fn too_large() -> Self {
        let message = "the body is larger than is taken here";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "body_large", message)
    }

    pub(crate) fn media_type(message: &str) -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Self::new(status, "unsupported_media_type", "media_type", message)
    }

    pub(crate) fn overloaded() -> Self {
        let message = "there are too many requests at once";
        let refused = Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "overloaded", message);
        Self { retry_after: Some(Duration::from_secs(1)), ..refused }
    }

    pub(crate) fn internal(reason: &'static str) -> Self {
        let message = "something is not set up rightly here";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", reason, message)
    }
}

impl From<BrokerError> for Refused {
    fn from(error: BrokerError) -> Self {
        let (status, name) = match &error {
            BrokerError::Audit(_) | BrokerError::Source(SourceError::Audit(_)) => (500, "audit_error"),
            // a failed exchange has a name and a status of its own (R65)
            error if error.wire_name() == STS_ERROR => (error.wire_status(), STS_ERROR),
            error => match error.kind() {
                ErrorKind::Invalid => (401, "unauthorized"),
                ErrorKind::Denied => (403, "forbidden"),
                ErrorKind::Unavailable => (502, "backend_unreachable"),
                // what is not known yet is ours to mend
                _ => (500, "internal"),
            },
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = error.retry_after();
        Self { status, error: name, reason: error.code(), message: error.to_string(), retry_after }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Body { error: self.error, reason: self.reason, message: &self.message };
        let mut response = (self.status, Json(body)).into_response();
        dress(&mut response, self.status, self.reason, self.retry_after);
        response
    }
}

/// The headers of a refusal, and its code for the log.
pub(super) fn dress(
    response: &mut Response,
    status: StatusCode,
    reason: &'static str,
    retry_after: Option<Duration>,
) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wait) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response.extensions_mut().insert(Reason(reason));
}

/// Why a response is a refusal, for the log and the metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reason(pub(crate) &'static str);

#[derive(Serialize)]
struct Body<'b> {
    error: &'static str,
    reason: &'static str,
    message: &'b str,
}

const STS_ERROR: &str = "sts_error";

#[cfg(test)]
mod tests {
    use agentkeys_core::{AttestError, SessionError, VerifyError};
    use agentkeys_federation::{AuditError, ExchangeError};

    use super::*;

    #[test]
    fn r88_each_kind_of_error_has_the_name_and_status_that_callers_know() {
        let exchange = |error: ExchangeError| BrokerError::from(SourceError::from(error));
        let attest = |error: AttestError| BrokerError::from(error);
        for (error, status, name, reason) in [
            (BrokerError::ClassNotAllowed, 403, "forbidden", "class_not_allowed"),
            (BrokerError::UnknownTenant, 403, "forbidden", "tenant_unknown"),
            (BrokerError::NoSessions, 500, "internal", "session_not_served"),
            (AuditError::Full.into(), 500, "audit_error", "audit_full"),
            (SourceError::from(AuditError::Closed).into(), 500, "audit_error", "audit_closed"),
            (SourceError::IdentityExpired.into(), 401, "unauthorized", "source_identity_expired"),
            (SourceError::Timeout.into(), 502, "backend_unreachable", "source_timeout"),
            (exchange(ExchangeError::Denied), 502, "sts_error", "sts_access_denied"),
            (exchange(ExchangeError::Unavailable), 502, "sts_error", "sts_unavailable"),
            (attest(AttestError::Expired), 401, "unauthorized", "evidence_expired"),
            (attest(AttestError::Pin("role")), 403, "forbidden", "evidence_pin"),
            (attest(AttestError::UnknownKind), 401, "unauthorized", "evidence_kind_unknown"),
            (SessionError::from(VerifyError::Expired).into(), 401, "unauthorized", "token_expired"),
        ] {
            let refused = Refused::from(error);
            assert_eq!((refused.status.as_u16(), refused.error, refused.reason), (status, name, reason));
        }
    }
}
