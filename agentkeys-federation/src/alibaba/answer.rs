use agentkeys_core::{HttpResponse, Secret, Timestamp};
use serde::Deserialize;

use super::{AlibabaCredentials, AlibabaSession};
use crate::audit::AuditId;
use crate::cloud::{is_success, json, moment, of_status, secret};
use crate::exchanger::{ExchangeError, Sent, ends_in_time};

/// <https://www.alibabacloud.com/help/en/ram/api-assumerolewithoidc>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Started {
    assumed_role_user: User,
    credentials: Keys,
    #[serde(rename = "OIDCTokenInfo")]
    token: Option<TokenInfo>,
    source_identity: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct User {
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    #[serde(deserialize_with = "secret")]
    access_key_secret: Secret,
    #[serde(deserialize_with = "secret")]
    security_token: Secret,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TokenInfo {
    subject: Option<String>,
    issuer: Option<String>,
    client_ids: Option<String>,
}

pub(super) fn read(answer: &HttpResponse) -> Result<Started, ExchangeError> {
    if is_success(answer) { json(answer) } else { Err(refusal(answer)) }
}

impl Started {
    /// Takes the credentials only where they are for what was asked (W81): role and session name, which every
    /// answer names; subject, issuer and client ID where it repeats them; no source identity, because none was
    /// asked for.
    pub(super) fn check(
        self,
        sent: &Sent,
        asked: &AlibabaSession,
        name: &AuditId,
        now: Timestamp,
    ) -> Result<AlibabaCredentials, ExchangeError> {
        let wrong = ExchangeError::Answer;
        if !asked.role.is_of_session(&self.assumed_role_user.arn, name) {
            return Err(wrong("another role"));
        }
        if let Some(token) = &self.token {
            let differs = |said: &Option<String>, sent: &str| said.as_ref().is_some_and(|said| said != sent);
            if differs(&token.subject, &sent.sub) {
                return Err(wrong("another subject"));
            }
            if differs(&token.issuer, &sent.iss) {
                return Err(wrong("another issuer"));
            }
            if differs(&token.client_ids, &sent.aud) {
                return Err(wrong("another audience"));
            }
        }
        if self.source_identity.is_some_and(|identity| !identity.is_empty()) {
            return Err(wrong("a source identity that was not asked for"));
        }
        let keys = self.credentials;
        let secrets = [&keys.access_key_secret, &keys.security_token];
        if keys.access_key_id.is_empty() || secrets.iter().any(|secret| secret.expose().is_empty()) {
            return Err(wrong("empty credentials"));
        }
        let end = moment(&keys.expiration).ok_or(wrong("an impossible expiry"))?;
        let end = ends_in_time(end, now, asked.duration.as_duration())?;
        Ok(AlibabaCredentials::new(keys.access_key_id, keys.access_key_secret, keys.security_token, end))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
}

/// The code decides; the status only where there is none that is known.
/// <https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/user-guide/use-rrsa-to-authorize-pods-to-access-different-cloud-services>
fn refusal(answer: &HttpResponse) -> ExchangeError {
    let Ok(Refusal { code }) = json(answer) else { return of_status(answer.status) };
    let family = code.split('.').next().unwrap_or_default();
    match (code.as_str(), family) {
        ("AuthenticationFail.NoPermission", _) => ExchangeError::Denied,
        ("AuthenticationFail.OIDCToken.Expired", _) => ExchangeError::TokenExpired,
        ("AuthenticationFail.OIDCToken.IssuerConfigurationBroken", _) => ExchangeError::IssuerUnreachable,
        (token, _) if token.starts_with("AuthenticationFail.OIDCToken.") => ExchangeError::TokenInvalid,
        (_, "Throttling") => ExchangeError::Throttled,
        (_, "InternalError" | "ServiceUnavailable") => ExchangeError::Unavailable,
        _ => of_status(answer.status),
    }
}
