use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::redirect;

use super::{HttpClient, HttpError, HttpMethod, HttpRequest, HttpResponse};
use crate::secret::Secret;

/// The [`HttpClient`] port over `reqwest`: rustls with aws-lc-rs, HTTP/1.1, no redirects, no proxy but
/// one that the host passes, [`HttpSettings::TIMEOUT`] for everything.
#[derive(Clone)]
pub struct ReqwestClient {
    client: reqwest::Client,
}

impl ReqwestClient {
    /// A client.
    ///
    /// # Errors
    /// [`HttpError::Settings`] where the trust store cannot be read, an extra certificate is not PEM, or
    /// the proxy's URL is malformed. It never panics and never goes on with fewer roots than asked for.
    pub fn new(settings: HttpSettings) -> Result<Self, HttpError> {
        let unreadable = |source: reqwest::Error| HttpError::Settings {
            what: "no TLS trust store could be read; pass certificates or mend the system's store",
            source: Some(source.without_url().into()),
        };
        if let Trust::SystemAnd(_) = settings.trust.0 {
            // with extra certificates the library underneath forgives a system store that it cannot read
            reqwest::Client::builder().no_proxy().build().map_err(unreadable)?;
        }
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(settings.timeout)
            .timeout(settings.timeout);
        builder = match settings.trust.0 {
            Trust::System => builder,
            Trust::SystemAnd(pem) => builder.tls_certs_merge(certificates(&pem)?),
            Trust::Only(pem) => builder.tls_certs_only(certificates(&pem)?),
            Trust::Nothing => builder.tls_certs_only([]),
        };
        if let Some(proxy) = settings.proxy {
            // the proxy's URL may hold a password: it is dropped from the error
            let proxy = reqwest::Proxy::all(proxy.expose())
                .map_err(|_| HttpError::Settings { what: "the proxy's URL is malformed", source: None })?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(unreadable)?;
        Ok(Self { client })
    }
}

impl fmt::Debug for ReqwestClient {
    /// The client underneath would show its proxy's URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestClient").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut outgoing = match request.method {
            HttpMethod::Get => self.client.get(request.url.as_str()),
            HttpMethod::Post => self.client.post(request.url.as_str()).body(request.body.expose().clone()),
        };
        for (name, value) in &request.headers {
            outgoing = outgoing.header(name, value);
        }
        let mut answer = outgoing.send().await.map_err(explain)?;
        let status = answer.status().as_u16();
        let visible = |value: &reqwest::header::HeaderValue| value.to_str().ok().map(str::to_owned);
        let headers = answer
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), visible(value)?)))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(explain)? {
            if body.len() + chunk.len() > request.max_body {
                return Err(HttpError::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status, headers, body })
    }
}

/// What a [`ReqwestClient`] is built from. Every setting is a value.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    trust: TrustStore,
    proxy: Option<Secret>,
    timeout: Duration,
}

impl HttpSettings {
    /// How long a whole exchange may take unless told otherwise: 5 seconds (W4).
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// Trusts `trust`, no proxy, [`HttpSettings::TIMEOUT`].
    #[must_use]
    pub const fn new(trust: TrustStore) -> Self {
        Self { trust, proxy: None, timeout: Self::TIMEOUT }
    }

    /// Sends everything through this proxy. Its URL may hold a password, so it is kept as a secret.
    #[must_use]
    pub fn with_proxy(mut self, url: impl Into<Secret>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// How long a whole exchange may take, at most.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Which certificate authorities vouch for servers.
#[derive(Clone, Debug)]
pub struct TrustStore(Trust);

impl TrustStore {
    /// The operating system's, which on Unix is also where `SSL_CERT_FILE` and `SSL_CERT_DIR` point.
    #[must_use]
    pub const fn system() -> Self {
        Self(Trust::System)
    }

    /// The operating system's and those in `pem`.
    #[must_use]
    pub fn system_and(pem: impl Into<Vec<u8>>) -> Self {
        Self(Trust::SystemAnd(pem.into()))
    }

    /// Those in `pem` and no other: a private issuer's.
    #[must_use]
    pub fn only(pem: impl Into<Vec<u8>>) -> Self {
        Self(Trust::Only(pem.into()))
    }

    /// Nobody: every TLS connection fails. For plain HTTP on loopback, on a machine without any store.
    #[must_use]
    pub const fn nobody() -> Self {
        Self(Trust::Nothing)
    }
}

#[derive(Clone, Debug)]
enum Trust {
    System,
    SystemAnd(Vec<u8>),
    Only(Vec<u8>),
    Nothing,
}

fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, HttpError> {
    let refused = |source| HttpError::Settings { what: "an extra CA certificate is not PEM", source };
    let certificates =
        reqwest::Certificate::from_pem_bundle(pem).map_err(|source| refused(Some(source.into())))?;
    if certificates.is_empty() { Err(refused(None)) } else { Ok(certificates) }
}

fn explain(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if error.is_timeout() {
        HttpError::Timeout
    } else if error.is_builder() {
        HttpError::Request(error.into())
    } else {
        HttpError::Connection(error.into())
    }
}
