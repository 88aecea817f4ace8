//! The workload's half of the broker's protocol: see the broker for the shapes of the bodies.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{ErrorKind, Evidence, HttpClient, HttpError, HttpRequest, HttpResponse, Issuer, Secret};
use agentkeys_core::{MAX_CHALLENGE, Timestamp};
use agentkeys_federation::{AwsCredentials, DataClass};
use serde::Deserialize;
use serde_json::json;

/// Speaks to one broker.
#[derive(Clone, Debug)]
pub struct BrokerClient {
    address: String,
    http: Arc<dyn HttpClient>,
}

impl BrokerClient {
    /// The broker at `address`: `https://`, or `http://` on loopback, which is what an [`Issuer`] can be.
    #[must_use]
    pub fn new(address: &Issuer, http: Arc<dyn HttpClient>) -> Self {
        let address = address.as_str();
        Self { address: address.strip_suffix('/').unwrap_or(address).to_owned(), http }
    }

    /// Asks for a challenge, for evidence that is signed with one.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn challenge(&self) -> Result<String, BrokerError> {
        let answer: ChallengeAnswer = self.ask("/v1/attest/challenge", None, Vec::new()).await?;
        let plain = answer.challenge.len() <= MAX_CHALLENGE && answer.challenge.is_ascii();
        if plain { Ok(answer.challenge) } else { Err(BrokerError::Malformed) }
    }

    /// Presents evidence and gets a session.
    ///
    /// # Errors
    /// [`BrokerError`]; `Misconfigured` for evidence that is no text, which no source gives.
    pub async fn attest(&self, evidence: &Evidence) -> Result<BrokerSession, BrokerError> {
        let text = std::str::from_utf8(evidence.expose()).map_err(|_| BrokerError::Evidence)?;
        let body = json!({ "kind": evidence.kind().as_str(), "evidence": text });
        let answer: SessionAnswer = self.ask("/v1/attest", None, body.to_string().into_bytes()).await?;
        if answer.session.is_empty() || !answer.session.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BrokerError::Malformed);
        }
        Ok(BrokerSession {
            token: answer.session.into(),
            expires_at: Timestamp::from_unix(answer.expiration),
        })
    }

    /// Gets AWS credentials of the role of a class.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn credentials(
        &self,
        session: &BrokerSession,
        class: DataClass,
    ) -> Result<AwsCredentials, BrokerError> {
        let path = format!("/v1/mint-aws-creds/{class}");
        let answer: CredentialsAnswer = self.ask(&path, Some(session), Vec::new()).await?;
        let values = [&answer.access_key_id, &answer.secret_access_key, &answer.session_token];
        // they go on into headers, lines and variables
        if !values.iter().all(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(BrokerError::Malformed);
        }
        Ok(AwsCredentials::new(
            answer.access_key_id,
            answer.secret_access_key.into(),
            answer.session_token.into(),
            Timestamp::from_unix(answer.expiration),
        ))
    }

    async fn ask<A: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        session: Option<&BrokerSession>,
        body: Vec<u8>,
    ) -> Result<A, BrokerError> {
        let has_body = !body.is_empty();
        let mut request = HttpRequest::post(format!("{}{path}", self.address), body, MAX_ANSWER);
        if has_body {
            request = request.with_header("content-type", "application/json");
        }
        if let Some(session) = session {
            request = request.with_header("authorization", format!("Bearer {}", session.token.expose()));
        }
        let answer = self.http.send(request).await.map_err(|error| BrokerError::Http(Arc::new(error)))?;
        if answer.status != 200 {
            return Err(BrokerError::refused(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| BrokerError::Malformed)
    }
}

/// A session at the broker: a secret and its end.
#[derive(Clone, Debug)]
pub struct BrokerSession {
    token: Secret,
    expires_at: Timestamp,
}

impl BrokerSession {
    /// When it ends.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// Why the broker gave nothing. Nothing of its answer is in it but the status and a reason that is one plain word.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The evidence is no text.
    #[error("the evidence is no text")]
    Evidence,
    /// It cannot be reached.
    #[error("the broker cannot be reached")]
    Http(#[source] Arc<HttpError>),
    /// It answered something that is not the broker's.
    #[error("the broker's answer is not one")]
    Malformed,
    /// It refused.
    #[error("the broker refused with status {status}{reason}")]
    Refused {
        /// The status.
        status: u16,
        /// Its stable code.
        reason: Reason,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
}

impl BrokerError {
    /// What an embedder must know.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Evidence => ErrorKind::Misconfigured,
            Self::Http(error) => error.kind(),
            Self::Malformed => ErrorKind::Unavailable,
            Self::Refused { status, .. } => match status {
                401 => ErrorKind::Invalid,
                403 => ErrorKind::Denied,
                408 | 425 | 429 | 500.. => ErrorKind::Unavailable,
                _ => ErrorKind::Misconfigured,
            },
        }
    }

    /// How long to wait before the next try, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(error) => error.retry_after(),
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Evidence | Self::Malformed => None,
        }
    }

    /// A stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Evidence => "evidence_malformed",
            Self::Http(_) => "broker_unreachable",
            Self::Malformed => "broker_malformed",
            Self::Refused { .. } => "broker_refused",
        }
    }

    fn refused(answer: &HttpResponse) -> Self {
        let said: Option<ErrorAnswer> = serde_json::from_slice(&answer.body).ok();
        let reason = said.and_then(|said| Reason::parse(said.reason.or(said.error)?));
        let retry_after = answer.header("retry-after").and_then(|value| value.parse().ok());
        Self::Refused {
            status: answer.status,
            reason: reason.unwrap_or_default(),
            retry_after: retry_after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
        }
    }
}

/// A broker's stable code: lower-case letters, digits and underscores, so that nothing else can hide in it. As text
/// it stands in parentheses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    fn parse(text: String) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_code = !text.is_empty() && text.len() <= MAX_REASON && text.bytes().all(plain);
        is_code.then_some(Self(text))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

#[derive(Deserialize)]
struct ChallengeAnswer {
    challenge: String,
}

#[derive(Deserialize)]
struct SessionAnswer {
    session: String,
    expiration: u64,
}

#[derive(Deserialize)]
struct CredentialsAnswer {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: u64,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: Option<String>,
    reason: Option<String>,
}

/// An answer holds a session's token of a few KiB at most.
const MAX_ANSWER: usize = 64 * 1024;
const MAX_REASON: usize = 48;
/// A broker that says more is asked again all the same.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
