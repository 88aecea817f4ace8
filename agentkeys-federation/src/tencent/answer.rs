use agentkeys_core::{HttpResponse, Secret, Timestamp};
use serde::Deserialize;

use super::TencentCredentials;
use crate::aws::SessionDuration;
use crate::cloud::{is_success, json, of_status, secret};
use crate::exchanger::{ExchangeError, ends_in_time};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    response: Response,
}

/// Either of two, and both come with the status 200.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    error: Option<Refusal>,
    credentials: Option<Keys>,
    expired_time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    tmp_secret_id: String,
    #[serde(deserialize_with = "secret")]
    tmp_secret_key: Secret,
    #[serde(deserialize_with = "secret")]
    token: Secret,
}

pub(super) struct Started {
    keys: Keys,
    expired_time: u64,
}

pub(super) fn read(answer: &HttpResponse) -> Result<Started, ExchangeError> {
    if !is_success(answer) {
        return Err(of_status(answer.status));
    }
    let Answer { response } = json(answer)?;
    if let Some(Refusal { code }) = response.error {
        return Err(of_code(&code));
    }
    let keys = response.credentials.ok_or(ExchangeError::Answer("no credentials"))?;
    let expired_time = response.expired_time.ok_or(ExchangeError::Answer("an impossible expiry"))?;
    Ok(Started { keys, expired_time })
}

impl Started {
    /// Takes the credentials where they are whole and end in time (W81); the answer says no more of what it is
    /// for.
    pub(super) fn check(
        self,
        asked: SessionDuration,
        now: Timestamp,
    ) -> Result<TencentCredentials, ExchangeError> {
        let Self { keys, expired_time } = self;
        let secrets = [&keys.tmp_secret_key, &keys.token];
        if keys.tmp_secret_id.is_empty() || secrets.iter().any(|secret| secret.expose().is_empty()) {
            return Err(ExchangeError::Answer("empty credentials"));
        }
        let end = ends_in_time(Timestamp::from_unix(expired_time), now, asked.as_duration())?;
        Ok(TencentCredentials::new(keys.tmp_secret_id, keys.tmp_secret_key, keys.token, end))
    }
}

/// <https://cloud.tencent.com/document/product/1312/73070> and
/// <https://cloud.tencent.com/document/product/1312/48198>
fn of_code(code: &str) -> ExchangeError {
    match code {
        "InvalidParameter.WebIdentityTokenError" => ExchangeError::TokenInvalid,
        "InvalidParameter.OverLimit" => ExchangeError::Throttled,
        // a role that is not there is somebody's to mend
        "InternalError.GetRoleError" | "InternalError.IllegalRole" => ExchangeError::Refused,
        "AuthFailure.UnauthorizedOperation" => ExchangeError::Denied,
        code => match code.split('.').next().unwrap_or_default() {
            "InternalError" | "ServiceUnavailable" => ExchangeError::Unavailable,
            "RequestLimitExceeded" => ExchangeError::Throttled,
            "UnauthorizedOperation" => ExchangeError::Denied,
            _ => ExchangeError::Refused,
        },
    }
}
