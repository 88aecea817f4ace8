use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{Clock, HttpClient, Secret, SystemClock, Timestamp, Token};
use async_trait::async_trait;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Config};
use aws_sdk_sts::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_sts::operation::assume_role_with_web_identity::{
    AssumeRoleWithWebIdentityError, AssumeRoleWithWebIdentityOutput,
};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::connector::Connector;
use super::role::{Region, RoleSession, RoleSessionName};
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

/// `sts:AssumeRoleWithWebIdentity` through aws-sdk-sts: unsigned, with no credentials to sign with.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
///
/// The session's name is `ak-` and the token's `jti`, so CloudTrail joins to the audit row.
#[derive(Clone, Debug)]
pub struct AwsExchanger {
    client: aws_sdk_sts::Client,
    clock: Arc<dyn Clock>,
}

impl AwsExchanger {
    /// Exchanges at the STS of `region`, over `http`.
    #[must_use]
    pub fn new(region: Region, http: Arc<dyn HttpClient>) -> Self {
        Self::build(region, http, None)
    }

    /// The same at another address: a VPC endpoint, an S3-compatible server's STS, a stand-in for tests.
    #[must_use]
    pub fn with_endpoint(region: Region, http: Arc<dyn HttpClient>, url: &str) -> Self {
        Self::build(region, http, Some(url))
    }

    /// With another clock, to check the answer's expiry by.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn build(region: Region, http: Arc<dyn HttpClient>, url: Option<&str>) -> Self {
        // built by hand and not by aws-config, which reads the environment and files
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(aws_sdk_sts::config::Region::new(region.as_str().to_owned()))
            .allow_no_auth()
            .http_client(Connector(http))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build());
        if let Some(url) = url {
            config = config.endpoint_url(url);
        }
        Self { client: aws_sdk_sts::Client::from_conf(config.build()), clock: Arc::new(SystemClock::new()) }
    }
}

#[async_trait]
impl Exchanger for AwsExchanger {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        let name = RoleSessionName::of_token(token);
        let answer = self
            .client
            .assume_role_with_web_identity()
            .role_arn(target.role().as_str())
            .role_session_name(name.as_str())
            .web_identity_token(token.expose())
            .duration_seconds(target.duration().as_secs().cast_signed())
            .send()
            .await
            .map_err(|error| explain(&error))?;
        let now = self.clock.now().map_err(|_| ExchangeError::Unavailable)?;
        check(answer, target, &name, now)
    }
}

/// Takes the answer only where it is for what was asked (W81).
fn check(
    answer: AssumeRoleWithWebIdentityOutput,
    target: &RoleSession,
    name: &RoleSessionName,
    now: Timestamp,
) -> Result<AwsCredentials, ExchangeError> {
    let wrong = ExchangeError::Answer;
    let user = answer.assumed_role_user().ok_or(wrong("no assumed role"))?;
    if user.arn() != target.role().session_arn(name) {
        return Err(wrong("another role"));
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
    let secret = Secret::new(credentials.secret_access_key);
    Ok(AwsCredentials::new(
        credentials.access_key_id,
        secret,
        Secret::new(credentials.session_token),
        expires_at,
    ))
}

/// AWS's code to our error. The SDK's own error holds the raw answer, so it goes no further than this.
fn explain(error: &SdkError<AssumeRoleWithWebIdentityError, HttpResponse>) -> ExchangeError {
    let SdkError::ServiceError(service) = error else {
        return match error {
            SdkError::ConstructionFailure(_) => ExchangeError::Refused,
            SdkError::ResponseError(_) => ExchangeError::Answer("not an STS answer"),
            _ => ExchangeError::Unavailable,
        };
    };
    let Some(code) = service.err().code() else {
        return match service.raw().status() {
            status if status.is_success() => ExchangeError::Answer("not an STS answer"),
            status if status.is_server_error() => ExchangeError::Unavailable,
            _ => ExchangeError::Refused,
        };
    };
    match code {
        "AccessDenied" | "AccessDeniedException" => ExchangeError::Denied,
        "ExpiredToken" | "ExpiredTokenException" => ExchangeError::TokenExpired,
        "IDPCommunicationError" => ExchangeError::IssuerUnreachable,
        "IDPRejectedClaim" => ExchangeError::TokenRejected,
        "InvalidIdentityToken" => ExchangeError::TokenInvalid,
        "MalformedPolicyDocument" => ExchangeError::PolicyMalformed,
        "PackedPolicyTooLarge" => ExchangeError::PolicyTooLarge,
        "RegionDisabledException" | "RegionDisabled" => ExchangeError::RegionDisabled,
        "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => ExchangeError::Throttled,
        "InternalFailure" | "InternalError" | "ServiceUnavailable" => ExchangeError::Unavailable,
        _ => ExchangeError::Refused,
    }
}

/// One try and two more, as the SDK's standard mode does, for what may mend itself.
const ATTEMPTS: u32 = 3;

/// For all attempts together.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// How far the STS's clock may be ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
