//! The issuers of web identity tokens: their documents, their keys and what their tokens say.

pub(crate) mod claims;
pub(crate) mod keys;
pub(crate) mod token;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use self::keys::ProviderKeys;
use crate::names::{ProviderUrl, is_loopback};

const MAX_DOCUMENT: usize = 512 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a token or its issuer is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdpError {
    /// The issuer does not answer.
    #[error("Error communicating with the identity provider: {0}")]
    Unreachable(String),
    /// It answers with something that is no discovery document or key set.
    #[error(
        "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity \
         documentation for requirements ({0})"
    )]
    NoKeys(String),
    /// The token is over.
    #[error("Token expired: current date/time {now} must be before the expiration date/time {exp}")]
    Expired { now: i64, exp: i64 },
    /// The token cannot be accepted.
    #[error("{0}")]
    Invalid(String),
    /// The subject is `null`, which AWS answers with a failure of its own.
    #[error("We encountered an internal error. Please try again.")]
    NullSubject,
}

impl IdpError {
    fn invalid(message: &str) -> Self {
        Self::Invalid(message.to_owned())
    }
}

/// Fetches the documents of issuers: plain HTTP to loopback, no proxy, no redirect, bounded in size and time.
#[derive(Clone, Debug)]
pub(crate) struct Idp {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Idp {
    pub(crate) fn new() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The keys of a provider, fetched anew for every token.
    pub(crate) async fn keys(&self, provider: &ProviderUrl) -> Result<ProviderKeys, IdpError> {
        let base = provider.as_str().trim_end_matches('/');
        let discovery = self.document(&format!("{base}/.well-known/openid-configuration")).await?;
        let member = |name: &str| discovery.get(name).and_then(Value::as_str);
        if member("issuer") != Some(provider.as_str()) {
            return Err(IdpError::NoKeys("the discovery document is of another issuer".to_owned()));
        }
        let jwks_uri = member("jwks_uri")
            .ok_or_else(|| IdpError::NoKeys("the discovery document has no jwks_uri".to_owned()))?;
        ProviderKeys::parse(&self.document(jwks_uri).await?)
    }

    async fn document(&self, url: &str) -> Result<Value, IdpError> {
        let url: Uri =
            url.parse().map_err(|_| IdpError::NoKeys("a URL of the provider is no URL".to_owned()))?;
        match (url.scheme_str(), url.host()) {
            (Some("http"), Some(host)) if is_loopback(host) => {}
            (Some("https"), Some(_)) => {
                return Err(IdpError::Unreachable(
                    "this server fetches from http://127.0.0.1 only".to_owned(),
                ));
            }
            _ => {
                return Err(IdpError::NoKeys(
                    "a URL of the provider is neither https nor loopback".to_owned(),
                ));
            }
        }
        tokio::time::timeout(TIMEOUT, self.fetch(url))
            .await
            .map_err(|_| IdpError::Unreachable("it took too long to answer".to_owned()))?
    }

    async fn fetch(&self, url: Uri) -> Result<Value, IdpError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url;
        request
            .headers_mut()
            .insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
        let response = self
            .client
            .request(request)
            .await
            .map_err(|_| IdpError::Unreachable("it does not answer".to_owned()))?;
        if response.status() != StatusCode::OK {
            return Err(IdpError::NoKeys(format!("it answered with status {}", response.status().as_u16())));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await.map_err(|_| {
            IdpError::NoKeys(format!("its answer broke off or is longer than {MAX_DOCUMENT} bytes"))
        })?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|_| IdpError::NoKeys("its answer is not JSON".to_owned()))
    }
}
