use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentkeys_core::{Audience, Clock, Evidence, EvidenceSource, SourceError, SystemClock, Timestamp};
use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningInstructions, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;

use super::wire::{
    ACTION, AUDIENCE_HEADER, CHALLENGE_HEADER, Content, MAX_AGE, SERVICE, VERSION, is_challenge,
    presigned_url,
};
use super::{AWS_STS, MAX_CONTENT_BYTES};
use crate::aws::StsEndpoint;

/// Signs this workload's evidence with the credentials of its role. Nothing is sent to anybody.
///
/// # Contract
/// As [`EvidenceSource`]'s: one audience and one endpoint, fixed here (W23), good for one minute unless told
/// otherwise. The verifier must have the same endpoint among its own. Each call asks for credentials and
/// signs anew, because each piece of evidence is taken once. A signature tells seconds apart and no less, so
/// what is signed in a second that is taken already is dated one ahead: this source and its clones sign one
/// piece a second in the long run and 10 at once, and two sources with one session can sign the same.
///
/// # Security
/// Whoever holds the evidence can present it, at the verifier of its audience and nowhere else. It holds the
/// session's token and no secret key.
///
/// # Errors
/// [`SourceError`]. The credentials provider's own errors are not kept: `source()` tells the kind of failure.
#[derive(Clone)]
pub struct AwsStsSource {
    endpoint: StsEndpoint,
    audience: Audience,
    credentials: SharedCredentialsProvider,
    lifetime: AwsStsLifetime,
    clock: Arc<dyn Clock>,
    /// The date of what was signed last.
    latest: Arc<AtomicU64>,
}

impl AwsStsSource {
    /// A source that signs for `endpoint` with what `credentials` gives: credentials of a role's session,
    /// because those of a user are let in nowhere.
    #[must_use]
    pub fn new(
        credentials: impl ProvideCredentials + 'static,
        endpoint: StsEndpoint,
        audience: Audience,
    ) -> Self {
        let (credentials, lifetime) =
            (SharedCredentialsProvider::new(credentials), AwsStsLifetime::default());
        let (clock, latest) = (Arc::new(SystemClock::new()), Arc::default());
        Self { endpoint, audience, credentials, lifetime, clock, latest }
    }

    /// Good for `lifetime`.
    #[must_use]
    pub const fn with_lifetime(mut self, lifetime: AwsStsLifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Signs evidence that holds the verifier's challenge.
    ///
    /// # Errors
    /// [`SourceError`]; `Misconfigured` where `challenge` is none.
    pub async fn fetch_with_challenge(&self, challenge: &str) -> Result<Evidence, SourceError> {
        if !is_challenge(challenge) {
            return Err(misconfigured("the verifier's challenge is none"));
        }
        self.presign(Some(challenge)).await
    }

    async fn presign(&self, challenge: Option<&str>) -> Result<Evidence, SourceError> {
        let credentials = self.credentials.provide_credentials().await.map_err(|error| refusal(&error))?;
        if credentials.session_token().is_none_or(str::is_empty) {
            return Err(misconfigured("the credentials are a user's own, and only roles are let in"));
        }
        let unsigned = [("Action", ACTION), ("Version", VERSION)];
        let url = presigned_url(&self.endpoint, unsigned);
        let mut headers = vec![(AUDIENCE_HEADER, self.audience.as_str())];
        headers.extend(challenge.map(|challenge| (CHALLENGE_HEADER, challenge)));
        let signed = self.sign(credentials, &url, headers)?;
        let parameters =
            unsigned.into_iter().chain(signed.params().iter().map(|(name, value)| (*name, &**value)));
        let url = presigned_url(&self.endpoint, parameters);
        let content = Content { url: url.into(), challenge: challenge.map(Into::into) };
        let content = serde_json::to_vec(&content).map_err(|_| SourceError::Malformed)?;
        if content.len() > MAX_CONTENT_BYTES {
            return Err(misconfigured(
                "the session's token is too long for evidence; give the session fewer tags",
            ));
        }
        Evidence::new(AWS_STS, content).map_err(|_| SourceError::Malformed)
    }

    fn sign(
        &self,
        credentials: Credentials,
        url: &str,
        headers: Vec<(&str, &str)>,
    ) -> Result<SigningInstructions, SourceError> {
        let date = self.date()?.to_system_time().ok_or_else(|| misconfigured("the clock is not set"))?;
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(self.lifetime.0));
        let identity = Identity::from(credentials);
        let unsigned = || misconfigured("the request cannot be signed");
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.endpoint.region().as_str())
            .name(SERVICE)
            .time(date)
            .settings(settings)
            .build()
            .map_err(|_| unsigned())?
            .into();
        let request = SignableRequest::new("GET", url, headers.into_iter(), SignableBody::Bytes(&[]))
            .map_err(|_| unsigned())?;
        Ok(sign(request, &parameters).map_err(|_| unsigned())?.into_parts().0)
    }

    /// Now, or the first second behind it that nothing was signed in.
    fn date(&self) -> Result<Timestamp, SourceError> {
        let now = self.clock.now().map_err(|_| misconfigured("the clock is not set"))?;
        let free = |latest: u64| {
            let date = now.as_unix().max(latest.saturating_add(1));
            (date < now.plus(MAX_AHEAD).as_unix()).then_some(date)
        };
        match self.latest.fetch_update(Ordering::SeqCst, Ordering::SeqCst, free) {
            Ok(latest) => Ok(Timestamp::from_unix(now.as_unix().max(latest.saturating_add(1)))),
            Err(_) => Err(SourceError::Unavailable(Box::new(NotNow("too much was signed in these seconds")))),
        }
    }
}

#[async_trait]
impl EvidenceSource for AwsStsSource {
    async fn fetch(&self) -> Result<Evidence, SourceError> {
        self.presign(None).await
    }
}

impl fmt::Debug for AwsStsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsStsSource")
            .field("endpoint", &self.endpoint)
            .field("audience", &self.audience)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// How long evidence can be presented: 1 to 300 seconds, by default 60. Verifiers take none that is older
/// than five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AwsStsLifetime(u64);

impl AwsStsLifetime {
    /// So many seconds.
    ///
    /// # Errors
    /// [`AwsStsLifetimeError`].
    pub fn from_seconds(seconds: u16) -> Result<Self, AwsStsLifetimeError> {
        let seconds = u64::from(seconds);
        if (1..=MAX_AGE.as_secs()).contains(&seconds) { Ok(Self(seconds)) } else { Err(AwsStsLifetimeError) }
    }
}

impl Default for AwsStsLifetime {
    fn default() -> Self {
        Self(60)
    }
}

/// Not a lifetime that verifiers grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the evidence lives 1 to 300 seconds")]
pub struct AwsStsLifetimeError;

/// Why evidence cannot be had now, and all that is kept of the credentials provider's error.
#[derive(Debug)]
struct NotNow(&'static str);

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for NotNow {}

fn misconfigured(what: &'static str) -> SourceError {
    SourceError::Misconfigured { what, source: None }
}

fn refusal(error: &CredentialsError) -> SourceError {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => misconfigured("there are no AWS credentials here"),
        CredentialsError::InvalidConfiguration(_) => {
            misconfigured("the AWS credentials are not set up rightly")
        }
        CredentialsError::ProviderTimedOut(_) => {
            SourceError::Unavailable(Box::new(NotNow("the credentials provider takes too long")))
        }
        _ => SourceError::Unavailable(Box::new(NotNow("the credentials provider fails"))),
    }
}

/// How far ahead of the clock is dated; verifiers allow 30 seconds, and clocks differ.
const MAX_AHEAD: Duration = Duration::from_secs(10);
