use std::fmt;
use std::time::Duration;

use agentkeys_core::{ErrorKind, Token};
use async_trait::async_trait;

mod ends;
mod sent;
mod tries;

pub(crate) use ends::{CLOCK_TOLERANCE, ends_in_time};
pub(crate) use sent::{Sent, claims};
pub(crate) use tries::tried;

/// Exchanges a minted token for a cloud's credentials.
///
/// # Contract
/// Sends the token to the cloud's STS and to nobody else, with no credentials of this machine's own.
/// Answers only what the cloud gave for this token, this target and this session.
///
/// # Security
/// An implementation that signs the call with ambient credentials, or goes through a proxy that the host
/// did not pass, gives the token or the answer to somebody else (W70).
///
/// # Errors
/// [`ExchangeError`]; never the token or the cloud's own text.
#[async_trait]
pub trait Exchanger: fmt::Debug + Send + Sync {
    /// What is asked for beside the token: on AWS the role, the session's name and its duration.
    type Target: Send + Sync;
    /// What comes back.
    type Credentials: Clone + fmt::Debug + Send + Sync;

    /// Exchanges `token`.
    async fn exchange(
        &self,
        token: &Token,
        target: &Self::Target,
    ) -> Result<Self::Credentials, ExchangeError>;
}

/// Why there are no credentials. The variants of AWS's own codes are in
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors>,
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html#API_AssumeRole_Errors> and
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>. The codes of the other clouds become the
/// variants that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The answer is not for what was asked, or is not an answer.
    #[error("the STS's answer does not fit the request: {0}")]
    Answer(&'static str),
    /// The base credentials of an assumption have expired, as we or the STS find: `ExpiredToken`. Get new
    /// ones.
    #[error("the base credentials have expired")]
    BaseExpired,
    /// `InvalidClientTokenId`, `SignatureDoesNotMatch` and their like: the base credentials of an assumption
    /// are not what the STS knows, or our clock is off.
    #[error("the STS does not accept the base credentials")]
    BaseInvalid,
    /// `AccessDenied`: the role's trust policy does not let this token or these base credentials in, or lacks
    /// `sts:TagSession` or `sts:SetSourceIdentity`; or the policy of the base credentials' owner does.
    #[error("the policies do not allow this session")]
    Denied,
    /// `IDPCommunicationError`: the STS cannot reach our published keys.
    #[error("the STS cannot reach the issuer's keys")]
    IssuerUnreachable,
    /// `MalformedPolicyDocument`.
    #[error("the session policy is malformed")]
    PolicyMalformed,
    /// `PackedPolicyTooLarge`: drop tags or policies.
    #[error("tags and policies are too large together")]
    PolicyTooLarge,
    /// `RegionDisabled`: STS is off in this region.
    #[error("the STS is not enabled in this region")]
    RegionDisabled,
    /// Any other refusal, a malformed request among them.
    #[error("the STS refuses the request")]
    Refused,
    /// The STS asks to slow down.
    #[error("the STS asks to slow down")]
    Throttled,
    /// `ExpiredToken`: mint again.
    #[error("the token has expired: mint again")]
    TokenExpired,
    /// `InvalidIdentityToken`: no provider for this issuer in the account, a wrong audience, a key it does
    /// not know, or a role that the token is not for.
    #[error("the STS does not accept the token")]
    TokenInvalid,
    /// `IDPRejectedClaim`.
    #[error("the STS rejects a claim of the token")]
    TokenRejected,
    /// No answer, or an error of its own.
    #[error("the STS does not answer")]
    Unavailable,
}

impl ExchangeError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::Denied | Self::TokenRejected => ErrorKind::Denied,
            Self::BaseExpired | Self::TokenExpired => ErrorKind::Invalid,
            Self::IssuerUnreachable | Self::Throttled | Self::Unavailable | Self::Answer(_) => {
                ErrorKind::Unavailable
            }
            Self::BaseInvalid
            | Self::PolicyMalformed
            | Self::PolicyTooLarge
            | Self::RegionDisabled
            | Self::Refused
            | Self::TokenInvalid => ErrorKind::Misconfigured,
        }
    }

    /// How often the same request is sent before this error stands, the first time included.
    ///
    /// `IDPCommunicationError`, throttling and 5xx three times. `InvalidIdentityToken` twice: AWS answers it
    /// also where it could not fetch our keys in time ("Couldn't retrieve verification key"), and its Go,
    /// PHP and Ruby SDKs try it again; mostly, though, it means a provider or role that somebody must mend,
    /// so it costs one request more and no third. Everything else once: the same bytes get the same answer.
    #[must_use]
    pub const fn tries(self) -> u32 {
        match self {
            Self::IssuerUnreachable | Self::Throttled | Self::Unavailable => 3,
            Self::TokenInvalid => 2,
            _ => 1,
        }
    }

    /// The name of every failed exchange in a host's answer, whatever [`ExchangeError::code`] its logs have
    /// (R65).
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        "sts_error"
    }

    /// The HTTP status that goes with [`ExchangeError::wire_name`]: a gateway whose upstream failed.
    #[must_use]
    pub const fn wire_status(self) -> u16 {
        502
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(self) -> Option<Duration> {
        let wait = if self == Self::Throttled { 5 } else { 1 };
        self.kind().is_retryable().then_some(Duration::from_secs(wait))
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Answer(_) => "sts_answer",
            Self::BaseExpired => "sts_base_expired",
            Self::BaseInvalid => "sts_base_invalid",
            Self::Denied => "sts_access_denied",
            Self::IssuerUnreachable => "sts_issuer_unreachable",
            Self::PolicyMalformed => "sts_policy_malformed",
            Self::PolicyTooLarge => "sts_policy_too_large",
            Self::RegionDisabled => "sts_region_disabled",
            Self::Refused => "sts_refused",
            Self::Throttled => "sts_throttled",
            Self::TokenExpired => "sts_token_expired",
            Self::TokenInvalid => "sts_token_invalid",
            Self::TokenRejected => "sts_token_rejected",
            Self::Unavailable => "sts_unavailable",
        }
    }
}
