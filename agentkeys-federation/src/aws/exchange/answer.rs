use agentkeys_core::{Timestamp, Token};
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityOutput;
use serde::Deserialize;

use crate::aws::role::{RoleArn, RoleSession, RoleSessionName};
use crate::aws::sts::{Asked, Started, said};
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Sent, claims};

/// Takes the answer only where it is for what was asked (W81). The token's audience, issuer and subject are
/// compared where the STS names them, because S3-compatible servers leave them out.
pub(super) fn check(
    answer: AssumeRoleWithWebIdentityOutput,
    token: &Token,
    target: &RoleSession,
    name: &RoleSessionName,
    now: Timestamp,
) -> Result<AwsCredentials, ExchangeError> {
    let wrong = ExchangeError::Answer;
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
    let (role, duration) = (target.role(), target.duration());
    let asked = Asked { role, name, source_identity: target.source_identity(), duration };
    Started::from(answer).check(&asked, now)
}

/// The same where an answer names the subject alone, and no role: whose credentials they are is what the token
/// says, so the subject must be there.
pub(super) fn check_subject(
    answer: AssumeRoleWithWebIdentityOutput,
    token: &Token,
    target: &RoleSession,
    name: &RoleSessionName,
    now: Timestamp,
) -> Result<AwsCredentials, ExchangeError> {
    let wrong = ExchangeError::Answer;
    let sent = Sent::of(token).ok_or(wrong("a token that is none"))?;
    if answer.subject_from_web_identity_token() != Some(&sent.sub) {
        return Err(wrong("another subject"));
    }
    let asked = Asked { role: target.role(), name, source_identity: None, duration: target.duration() };
    Started::from(answer).check_unnamed(&asked, now)
}

/// Whether the token names this role and no other.
pub(super) fn is_for(token: &Token, role: &RoleArn) -> bool {
    claims::<Pinned>(token).is_some_and(|pinned| pinned.roles == [role.as_str()])
}

#[derive(Deserialize)]
struct Pinned {
    #[serde(rename = "https://aws.amazon.com/roles")]
    roles: Vec<String>,
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
