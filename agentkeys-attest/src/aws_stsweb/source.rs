use std::error::Error;
use std::fmt;
use std::time::Duration;

use agentkeys_core::{Audience, Evidence, EvidenceSource, SourceError};
use async_trait::async_trait;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{self, BehaviorVersion};
use aws_sdk_sts::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sts::operation::get_web_identity_token::GetWebIdentityTokenError;
use aws_types::SdkConfig;

use super::AWS_STSWEB;
use crate::aws::Region;

/// Fetches this workload's evidence with `sts:GetWebIdentityToken`.
///
/// # Contract
/// As [`EvidenceSource`]'s: one audience, fixed here (W23), five minutes unless told otherwise (W22).
/// Each call asks STS anew.
///
/// # Security
/// There is no way to pass tags: what a caller writes ends in `request_tags`, which proves nothing
/// (R7). Only a regional endpoint is asked, or the one that the host's configuration names.
///
/// # Errors
/// [`SourceError`]. The SDK's own errors, which can hold the whole answer, are not kept: `source()` tells
/// the kind of failure, STS's error code where it is a known one, and the HTTP status.
#[derive(Clone)]
pub struct StsWebSource {
    client: Client,
    audience: Audience,
    algorithm: StsWebAlgorithm,
    lifetime: StsWebLifetime,
}

impl StsWebSource {
    /// A source that asks `region`'s STS with the credentials and the HTTP client of `sdk`; each fetch is
    /// tried three times at most and ends within 14 seconds. This crate brings no HTTP client of its own.
    #[must_use]
    pub fn new(sdk: &SdkConfig, region: &Region, audience: Audience) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(FETCH_TIMEOUT)
            .build();
        let settings = config::Builder::from(sdk)
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(config::Region::new(region.as_str().to_owned()))
            .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
            .timeout_config(timeouts)
            .build();
        let client = Client::from_conf(settings);
        Self { client, audience, algorithm: StsWebAlgorithm::default(), lifetime: StsWebLifetime::default() }
    }

    /// Signed with `algorithm`.
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: StsWebAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Good for `lifetime`.
    #[must_use]
    pub const fn with_lifetime(mut self, lifetime: StsWebLifetime) -> Self {
        self.lifetime = lifetime;
        self
    }
}

#[async_trait]
impl EvidenceSource for StsWebSource {
    async fn fetch(&self) -> Result<Evidence, SourceError> {
        let asked = self.client.get_web_identity_token();
        let asked = asked.audience(self.audience.as_str()).signing_algorithm(self.algorithm.as_str());
        let answer = asked.duration_seconds(self.lifetime.0).send().await.map_err(|error| refusal(&error))?;
        let token = answer.web_identity_token.ok_or(SourceError::Malformed)?;
        Evidence::new(AWS_STSWEB, token).map_err(|_| SourceError::Malformed)
    }
}

impl fmt::Debug for StsWebSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StsWebSource")
            .field("audience", &self.audience)
            .field("algorithm", &self.algorithm)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// What STS signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StsWebAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[default]
    Rs256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
}

impl StsWebAlgorithm {
    /// The name in the request and in the token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es384 => "ES384",
        }
    }
}

/// How long evidence is good: 60 to 3600 seconds, by default 300 (W22).
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StsWebLifetime(i32);

impl StsWebLifetime {
    /// So many seconds.
    ///
    /// # Errors
    /// [`StsWebLifetimeError`].
    pub fn from_seconds(seconds: u16) -> Result<Self, StsWebLifetimeError> {
        if (60..=3600).contains(&seconds) { Ok(Self(i32::from(seconds))) } else { Err(StsWebLifetimeError) }
    }
}

impl Default for StsWebLifetime {
    fn default() -> Self {
        Self(300)
    }
}

/// Not a lifetime that STS grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the evidence lives 60 to 3600 seconds")]
pub struct StsWebLifetimeError;

/// What is kept of an error of the SDK: words and numbers of ours, nothing of the answer.
#[derive(Debug)]
struct StsFailure {
    what: &'static str,
    code: Option<&'static str>,
    status: Option<u16>,
}

impl fmt::Display for StsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        match (self.status, self.code) {
            (Some(status), Some(code)) => write!(f, " (status {status}, code {code})"),
            (Some(status), None) => write!(f, " (status {status})"),
            (None, _) => Ok(()),
        }
    }
}

impl Error for StsFailure {}

fn refusal(error: &SdkError<GetWebIdentityTokenError>) -> SourceError {
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let code = error.as_service_error().and_then(|error| error.code());
    let known = CODES.iter().find(|(name, _)| code == Some(*name));
    let failure = |what| Box::new(StsFailure { what, code: known.map(|(name, _)| *name), status });
    let misconfigured =
        |what| SourceError::Misconfigured { what, source: Some(failure("STS refuses the request")) };
    let busy = status.is_some_and(|status| status >= 500 || status == 429);
    match (error, known) {
        (SdkError::ConstructionFailure(_), _) => misconfigured("the SDK cannot build the request"),
        (SdkError::DispatchFailure(cause), _) if cause.is_user() => {
            misconfigured("the SDK cannot send the request")
        }
        // "other" and no kind of it: what went wrong before anything was sent
        (SdkError::DispatchFailure(cause), _) if cause.is_other() && cause.as_other().is_none() => {
            SourceError::Unavailable(failure("the request cannot be signed; are there credentials?"))
        }
        (SdkError::DispatchFailure(_), _) => SourceError::Unavailable(failure("STS cannot be reached")),
        (SdkError::TimeoutError(_), _) => SourceError::Unavailable(failure("STS takes too long")),
        (_, Some((_, Meaning::Misconfigured(what)))) => misconfigured(what),
        (_, Some((_, Meaning::Transient))) => SourceError::Unavailable(failure("STS cannot answer now")),
        (_, Some((_, Meaning::Denied))) => SourceError::Denied(failure("STS denies the request")),
        _ if busy => SourceError::Unavailable(failure("STS cannot answer now")),
        _ if matches!(status, Some(401 | 403)) => SourceError::Denied(failure("STS denies the request")),
        (SdkError::ServiceError(_), _) if status != Some(200) => {
            misconfigured("STS does not take the request")
        }
        _ => SourceError::Malformed,
    }
}

#[derive(Clone, Copy)]
enum Meaning {
    Denied,
    Misconfigured(&'static str),
    Transient,
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html#API_GetWebIdentityToken_Errors>
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
const CODES: &[(&str, Meaning)] = &[
    (
        "OutboundWebIdentityFederationDisabledException",
        Meaning::Misconfigured("outbound web identity federation is not enabled in this account"),
    ),
    (
        "SessionDurationEscalationException",
        Meaning::Misconfigured("the evidence would outlive the session that asks for it"),
    ),
    (
        "JWTPayloadSizeExceededException",
        Meaning::Misconfigured("the role's and the session's tags do not fit into a token"),
    ),
    ("AccessDenied", Meaning::Denied),
    ("AccessDeniedException", Meaning::Denied),
    ("InvalidClientTokenId", Meaning::Denied),
    ("SignatureDoesNotMatch", Meaning::Denied),
    // the credentials are renewed before the next try
    ("ExpiredToken", Meaning::Transient),
    ("ExpiredTokenException", Meaning::Transient),
    ("Throttling", Meaning::Transient),
    ("ThrottlingException", Meaning::Transient),
    ("RequestLimitExceeded", Meaning::Transient),
    ("InternalFailure", Meaning::Transient),
    ("ServiceUnavailable", Meaning::Transient),
];

const MAX_ATTEMPTS: u32 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const FETCH_TIMEOUT: Duration = Duration::from_secs(14);
