use agentkeys_core::{HttpResponse, Secret, Timestamp};
use serde::Deserialize;

use super::{ACCESS_TOKEN, GcpAccessToken};
use crate::aws::SessionDuration;
use crate::cloud::{is_success, json, moment, of_status, secret};
use crate::exchanger::{ExchangeError, ends_in_time};

/// <https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1>
#[derive(Deserialize)]
struct Exchanged {
    #[serde(deserialize_with = "secret")]
    access_token: Secret,
    issued_token_type: String,
    token_type: String,
    expires_in: u64,
}

/// The federated token, where the answer is one: a bearer access token that can stand in a header.
pub(super) fn federated(answer: &HttpResponse) -> Result<Secret, ExchangeError> {
    if !is_success(answer) {
        return Err(refusal(answer));
    }
    let wrong = ExchangeError::Answer;
    let exchanged: Exchanged = json(answer)?;
    if exchanged.issued_token_type != ACCESS_TOKEN {
        return Err(wrong("another type of token"));
    }
    // RFC 6749, section 5.1: without regard to case
    if !exchanged.token_type.eq_ignore_ascii_case("Bearer") {
        return Err(wrong("not a bearer token"));
    }
    if exchanged.expires_in == 0 {
        return Err(wrong("an expired token"));
    }
    if is_bearer(&exchanged.access_token) {
        Ok(exchanged.access_token)
    } else {
        Err(wrong("not a bearer token"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Generated {
    #[serde(deserialize_with = "secret")]
    access_token: Secret,
    expire_time: String,
}

pub(super) fn access_token(answer: &HttpResponse) -> Result<Generated, ExchangeError> {
    if is_success(answer) { json(answer) } else { Err(refusal(answer)) }
}

impl Generated {
    /// Takes the token where it is one and ends in time (W81); the answer says no more of what it is for.
    pub(super) fn check(
        self,
        asked: SessionDuration,
        now: Timestamp,
    ) -> Result<GcpAccessToken, ExchangeError> {
        if !is_bearer(&self.access_token) {
            return Err(ExchangeError::Answer("not a bearer token"));
        }
        let end = moment(&self.expire_time).ok_or(ExchangeError::Answer("an impossible expiry"))?;
        let end = ends_in_time(end, now, asked.as_duration())?;
        Ok(GcpAccessToken::new(self.access_token, end))
    }
}

/// One word of visible ASCII, so that it is a header's value and nothing more.
fn is_bearer(token: &Secret) -> bool {
    !token.expose().is_empty() && token.expose().bytes().all(|byte| byte.is_ascii_graphic())
}

/// What the STS says in OAuth's form, and both services in Google's own.
#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reason {
    OAuth(String),
    Google { status: String },
}

/// The code decides; the status only where there is none that is known.
/// <https://www.rfc-editor.org/rfc/rfc8693#section-2.2.2>,
/// <https://docs.cloud.google.com/apis/design/errors#handling_errors>
fn refusal(answer: &HttpResponse) -> ExchangeError {
    let Ok(Refusal { error }) = json(answer) else { return of_status(answer.status) };
    let code = match &error {
        Reason::OAuth(code) => code,
        Reason::Google { status } => status,
    };
    match code.as_str() {
        "invalid_grant" => ExchangeError::TokenInvalid,
        // an attribute condition of the provider
        "unauthorized_client" => ExchangeError::TokenRejected,
        "access_denied" | "PERMISSION_DENIED" => ExchangeError::Denied,
        "RESOURCE_EXHAUSTED" => ExchangeError::Throttled,
        "server_error" | "temporarily_unavailable" | "INTERNAL" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" => {
            ExchangeError::Unavailable
        }
        _ => of_status(answer.status),
    }
}
