use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentkeys_core::{HttpClient, HttpError, HttpRequest, HttpResponse, Issuer, Secret};
use async_trait::async_trait;

/// Sends the token in a file with requests to one host, and to no other: the API server of a cluster gives its
/// keys to service accounts only.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
///
/// # Contract
/// As [`HttpClient`]'s. The file is read for each request, because the platform renews it; one newline at its
/// end is left out. Reading is done off the async threads, so this needs a Tokio runtime.
///
/// # Security
/// A request has the token only where its URL has the scheme, host and port of `origin`, byte for byte; any
/// other goes out as it is. The client underneath follows no redirect, so the token goes no further.
///
/// # Errors
/// [`HttpError::Request`] over [`BearerTokenError`] where the file is not what it should be; nothing is sent
/// then.
#[derive(Clone)]
pub struct BearerTokenFile {
    inner: Arc<dyn HttpClient>,
    origin: String,
    path: PathBuf,
}

impl BearerTokenFile {
    /// Over `inner`, the token in the file at `path` for the host of `origin`, whose path counts for nothing.
    #[must_use]
    pub fn new(inner: Arc<dyn HttpClient>, origin: &Issuer, path: impl Into<PathBuf>) -> Self {
        let scheme = if origin.is_loopback_http() { "http" } else { "https" };
        Self { inner, origin: format!("{scheme}://{}", origin.authority()), path: path.into() }
    }

    fn is_for(&self, url: &str) -> bool {
        let rest = url.strip_prefix(self.origin.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }
}

impl fmt::Debug for BearerTokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerTokenFile").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for BearerTokenFile {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if self.is_for(&request.url) {
            let path = self.path.clone();
            let read = tokio::task::spawn_blocking(move || read(&path)).await;
            let token = read.unwrap_or(Err(BearerTokenError::Unreadable));
            let token = token.map_err(|error| HttpError::Request(error.into()))?;
            request = request.with_header("authorization", format!("Bearer {}", token.expose()));
        }
        self.inner.send(request).await
    }
}

/// Why a file holds no bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BearerTokenError {
    /// It is empty, larger than [`MAX_BEARER_TOKEN`], or has a character that a token cannot have.
    #[error("the file does not hold one bearer token")]
    Malformed,
    /// It is not there, not a plain file, or cannot be read.
    #[error("the bearer token's file cannot be read")]
    Unreadable,
}

fn read(path: &Path) -> Result<Secret, BearerTokenError> {
    let unreadable = |_| BearerTokenError::Unreadable;
    // a pipe would be waited for
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(BearerTokenError::Unreadable);
    }
    let mut text = String::with_capacity(MAX_BEARER_TOKEN + 2);
    let file = File::open(path).map_err(unreadable)?;
    let read = file.take(MAX_BEARER_TOKEN as u64 + 2).read_to_string(&mut text);
    let text = Secret::new(text);
    read.map_err(unreadable)?;
    let token = text.expose();
    let token = token.strip_suffix('\n').unwrap_or(token);
    let sized = (1..=MAX_BEARER_TOKEN).contains(&token.len());
    if sized && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::from(token))
    } else {
        Err(BearerTokenError::Malformed)
    }
}

/// The longest token that is sent, in bytes.
pub const MAX_BEARER_TOKEN: usize = 16 * 1024;
