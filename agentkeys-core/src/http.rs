use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::ErrorKind;
use crate::secret::Secret;

#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "reqwest")]
pub use reqwest::{HttpSettings, ReqwestClient, TrustStore};

/// Sends one HTTP request and reads the answer.
///
/// # Contract
/// Follows no redirect: a 3xx is an answer like any other. Uses no proxy that the host did not pass as
/// a value, and takes no setting from the environment. Reads at most `max_body` bytes of the body and stops within
/// its time limit (W4).
///
/// # Security
/// Keys and credentials come through here. A client that follows redirects, trusts a proxy from the
/// environment or skips TLS checks hands the choice of keys to somebody else: that is a stolen identity.
///
/// # Errors
/// [`HttpError`]; never the URL, a header or any of the body.
#[async_trait]
pub trait HttpClient: fmt::Debug + Send + Sync {
    /// Sends `request`.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}

/// A request. `Debug` shows the method and nothing else: URLs may carry signatures, headers tokens.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: HttpMethod,
    /// The absolute URL.
    pub url: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Secret<Vec<u8>>,
    /// How much of the answer's body is read before the answer is refused, in bytes.
    pub max_body: usize,
}

impl HttpRequest {
    /// `GET url`, answer up to `max_body` bytes.
    #[must_use]
    pub fn get(url: impl Into<String>, max_body: usize) -> Self {
        let body = Secret::new(Vec::new());
        Self { method: HttpMethod::Get, url: url.into(), headers: Vec::new(), body, max_body }
    }

    /// `POST url` with `body`, answer up to `max_body` bytes.
    #[must_use]
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>, max_body: usize) -> Self {
        let body = Secret::new(body.into());
        Self { method: HttpMethod::Post, url: url.into(), headers: Vec::new(), body, max_body }
    }

    /// Adds a header; `name` in lower case.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An answer. `Debug` shows the status and the body's length.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and values that are visible ASCII.
    pub headers: Vec<(String, String)>,
    /// The body, within the request's limit.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// An answer, for implementers of [`HttpClient`].
    #[must_use]
    pub fn new(status: u16, headers: Vec<(String, String)>, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers, body: body.into() }
    }

    /// The first header of this lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The two methods that this family needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// Why a request got no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The answer's body is larger than the request allowed.
    #[error("the answer is larger than allowed")]
    BodyTooLarge,
    /// No connection, or it broke.
    #[error("the other side cannot be reached")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request itself cannot be sent.
    #[error("the request is malformed")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the other side did not answer in time")]
    Timeout,
    /// The trust store could not be read, a certificate or a proxy is malformed.
    #[error("the HTTP client cannot be built: {what}")]
    Settings {
        /// Which setting.
        what: &'static str,
        /// What the library underneath says.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl HttpError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::BodyTooLarge | Self::Connection(_) | Self::Timeout => ErrorKind::Unavailable,
            Self::Request(_) | Self::Settings { .. } => ErrorKind::Misconfigured,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.kind().is_retryable().then_some(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l29_debug_shows_neither_url_nor_header_nor_body() {
        let request = HttpRequest::post("https://h/?X-Amz-Signature=MARKED", "MARKED", 1)
            .with_header("authorization", "MARKED");
        let response = HttpResponse::new(200, vec![("x".to_owned(), "MARKED".to_owned())], "MARKED");
        assert!(!format!("{request:?}{response:?}").contains("MARKED"));
    }
}
