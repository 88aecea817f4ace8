use std::time::Duration;

use agentkeys_core::jose::Compact;
use agentkeys_core::{Secret, Timestamp, Token};
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityOutput;
use serde::Deserialize;

use crate::aws::SourceIdentity;
use crate::aws::role::{RoleArn, RoleSession, RoleSessionName};
use crate::credentials::AwsCredentials;
use crate::exchanger::ExchangeError;

/// Takes the answer only where it is for what was asked (W81). AWS names role and session in every answer;
/// the token's audience, issuer and subject are compared where it names them, because S3-compatible servers
/// leave them out.
pub(super) fn check(
    answer: AssumeRoleWithWebIdentityOutput,
    token: &Token,
    target: &RoleSession,
    name: &RoleSessionName,
    now: Timestamp,
) -> Result<AwsCredentials, ExchangeError> {
    let wrong = ExchangeError::Answer;
    let user = answer.assumed_role_user().ok_or(wrong("no assumed role"))?;
    if user.arn() != target.role().session_arn(name) {
        return Err(wrong("another role"));
    }
    let sent = Sent::of(token).ok_or(wrong("a token that is none"))?;
    let differs = |answered: Option<&str>, sent: &str| said(answered).is_some_and(|text| text != sent);
    if differs(answer.audience(), &sent.aud) {
        return Err(wrong("another audience"));
    }
    if differs(answer.subject_from_web_identity_token(), &sent.sub) {
        return Err(wrong("another subject"));
    }
    if said(answer.provider()).is_some_and(|provider| !is_provider(provider, &sent.iss, target.role())) {
        return Err(wrong("another provider"));
    }
    if said(answer.source_identity()) != target.source_identity().map(SourceIdentity::as_str) {
        return Err(wrong("another source identity"));
    }
    let credentials = answer.credentials.ok_or(wrong("no credentials"))?;
    if credentials.access_key_id.is_empty()
        || credentials.secret_access_key.is_empty()
        || credentials.session_token.is_empty()
    {
        return Err(wrong("empty credentials"));
    }
    let seconds = u64::try_from(credentials.expiration.secs()).map_err(|_| wrong("an impossible expiry"))?;
    let expires_at = Timestamp::from_unix(seconds);
    if expires_at <= now || expires_at > now.plus(target.duration().as_duration()).plus(CLOCK_TOLERANCE) {
        return Err(wrong("an expiry that was not asked for"));
    }
    Ok(AwsCredentials::new(
        credentials.access_key_id,
        Secret::new(credentials.secret_access_key),
        Secret::new(credentials.session_token),
        expires_at,
    ))
}

/// What the token says that an answer may repeat.
#[derive(Deserialize)]
struct Sent {
    iss: String,
    sub: String,
    aud: String,
}

impl Sent {
    fn of(token: &Token) -> Option<Self> {
        let payload = Compact::split(token.expose()).ok()?.payload().ok()?;
        serde_json::from_slice(&payload).ok()
    }
}

/// An element that is there and not empty.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The IAM provider of this issuer in the role's own account, which is what AWS answers, or the issuer, which
/// is what its reference says.
fn is_provider(provider: &str, issuer: &str, role: &RoleArn) -> bool {
    let (partition, account) = (role.partition(), role.account());
    let named = provider.strip_prefix(&format!("arn:{partition}:iam::{account}:oidc-provider/"));
    // an IAM provider is named by its URL without the scheme
    let host = issuer.split_once("://").map(|(_, host)| host);
    provider == issuer || named.is_some_and(|named| host == Some(named))
}

/// How far the STS's clock may be ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
