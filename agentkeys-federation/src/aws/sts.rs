use std::sync::Arc;
use std::time::SystemTime;

use agentkeys_core::{Clock, ClockError, HttpClient, Random, SystemClock, SystemRandom, Timestamp};
use aws_sdk_sts::config::http::HttpResponse;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Builder, Config, Credentials};
use aws_sdk_sts::error::SdkError;
use aws_smithy_async::time::TimeSource;

mod answer;
mod refusal;

pub(super) use answer::{Asked, Started, said};

use super::connector::Connector;
use super::role::Region;
use crate::exchanger::{ExchangeError, tried};

/// One STS, with what its calls have in common: how they are sent, tried again and given up.
#[derive(Clone, Debug)]
pub(super) struct Sts {
    pub(super) client: aws_sdk_sts::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl Sts {
    /// The STS of `region`, or the one at `url`. It has nothing to sign with: a call that needs a signature
    /// brings [`Sts::signing`], or is not sent.
    pub(super) fn new(region: Region, http: Arc<dyn HttpClient>, url: Option<&str>) -> Self {
        // built by hand and not by aws-config, which reads the environment and files
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(aws_sdk_sts::config::Region::new(region.as_str().to_owned()))
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

    /// What signs one request, by our clock.
    pub(super) fn signing(&self, credentials: Credentials) -> Builder {
        let clock = SigningClock(Arc::clone(&self.clock));
        Config::builder().credentials_provider(credentials).time_source(clock)
    }

    pub(super) fn now(&self) -> Result<Timestamp, ClockError> {
        self.clock.now()
    }

    /// Sends until there is an answer, an error that stands, or no time left. `of_code` knows the codes that
    /// mean something of their own in this call.
    pub(super) async fn ask<T, E, F>(
        &self,
        of_code: fn(&str) -> Option<ExchangeError>,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T, ExchangeError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        tried(&*self.random, || async { send().await.map_err(|error| refusal::explain(&error, of_code)) })
            .await
    }
}

/// Dates signatures. A clock that fails gives 1970, which no STS takes.
#[derive(Debug)]
pub(super) struct SigningClock(pub(super) Arc<dyn Clock>);

impl TimeSource for SigningClock {
    fn now(&self) -> SystemTime {
        self.0.now().ok().and_then(Timestamp::to_system_time).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}
