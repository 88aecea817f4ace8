use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{Clock, HttpClient, Random, SystemClock, SystemRandom, Token};
use async_trait::async_trait;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Config};
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityOutput;

mod answer;
mod refusal;

use super::connector::Connector;
use super::role::{Region, RoleSession, RoleSessionName};
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

/// `sts:AssumeRoleWithWebIdentity` through aws-sdk-sts: unsigned, with no credentials to sign with.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
///
/// The session's name is `ak-` and the token's `jti`, so CloudTrail joins to the audit row.
///
/// What may mend itself is tried again ([`ExchangeError::tries`]), after a wait that is drawn at random
/// between half and all of 200 ms, then of 400 ms; of 1 s and 2 s where the STS asks to slow down. All of it
/// together takes 20 seconds at most, and then the STS is [`ExchangeError::Unavailable`].
#[derive(Clone, Debug)]
pub struct AwsExchanger {
    client: aws_sdk_sts::Client,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
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

    /// With another source of the jitter between tries.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    fn build(region: Region, http: Arc<dyn HttpClient>, url: Option<&str>) -> Self {
        // built by hand and not by aws-config, which reads the environment and files
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(aws_sdk_sts::config::Region::new(region.as_str().to_owned()))
            .allow_no_auth()
            .http_client(Connector(http))
            // tries and the time for them are ours
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled());
        if let Some(url) = url {
            config = config.endpoint_url(url);
        }
        let client = aws_sdk_sts::Client::from_conf(config.build());
        Self { client, clock: Arc::new(SystemClock::new()), random: Arc::new(SystemRandom::new()) }
    }

    async fn ask(
        &self,
        token: &Token,
        target: &RoleSession,
        name: &RoleSessionName,
    ) -> Result<AssumeRoleWithWebIdentityOutput, ExchangeError> {
        let mut tried = 0;
        loop {
            let answer = self
                .client
                .assume_role_with_web_identity()
                .role_arn(target.role().as_str())
                .role_session_name(name.as_str())
                .web_identity_token(token.expose())
                .duration_seconds(target.duration().as_secs().cast_signed())
                .send()
                .await;
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => refusal::explain(&error),
            };
            tried += 1;
            if tried >= error.tries() {
                return Err(error);
            }
            let first = if error == ExchangeError::Throttled { THROTTLED_WAIT } else { WAIT };
            tokio::time::sleep(self.random.jittered(first * tried)).await;
        }
    }
}

#[async_trait]
impl Exchanger for AwsExchanger {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        let name = RoleSessionName::of_token(token);
        let asked = tokio::time::timeout(OPERATION_TIMEOUT, self.ask(token, target, &name)).await;
        let answer = asked.unwrap_or(Err(ExchangeError::Unavailable))?;
        let now = self.clock.now().map_err(|_| ExchangeError::Unavailable)?;
        answer::check(answer, token, target, &name, now)
    }
}

/// For all tries together.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// The most that is waited before the second try; before the third it is twice that.
const WAIT: Duration = Duration::from_millis(200);

/// The same where the STS asks to slow down.
const THROTTLED_WAIT: Duration = Duration::from_secs(1);
