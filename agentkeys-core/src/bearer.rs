use std::fmt;
use std::mem;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::ErrorKind;
use crate::evidence::{bearer_token, is_bearer};
use crate::verifier::{CachedVerifier, VerifiedToken, Verifier, VerifyError};

/// Lets a request through to the service behind it only with a bearer token that a [`Verifier`] accepts: a
/// `tower` layer, for axum and whatever else is built of `tower` services.
///
/// # Contract
/// A request that gets through carries a [`Verified<C>`] among its extensions (`axum::Extension<Verified<C>>` is
/// the extractor) and no `Authorization` header any more. Every other request is answered here, and the service
/// behind never sees it:
///
/// | the request | status | `WWW-Authenticate` |
/// |---|---|---|
/// | no `Authorization`, or another scheme | 401 | `Bearer realm="…"` |
/// | several, or `Bearer` and something that is no token | 400 | `…, error="invalid_request"` |
/// | a token that is refused | 401 | `…, error="invalid_token", error_description="code"` |
/// | the issuer's keys cannot be had | 503, with `Retry-After` | |
/// | our own clock or settings are wrong | 500 | |
///
/// The realm is the verifier's audience, the description [`VerifyError::code`]; the body is empty.
/// <https://www.rfc-editor.org/rfc/rfc6750#section-3>
///
/// # Security
/// A token proves who calls and not what he may do: that is the service's to decide by subject and claims. Where
/// keys are too old to trust the answer is 503 and never a pass. What is routed around this layer is open, and a
/// handler there finds no [`Verified`]; answers to CORS preflights, which carry no token, belong outside of it. The
/// token itself is in no extension, no answer and no `Debug`.
///
/// # Errors
/// None of its own: the error is that of the service behind it.
///
/// ```
/// # use agentkeys_core::{NoClaims, Verifier, VerifyLayer};
/// # fn example(verifier: Verifier) {
/// let layer: VerifyLayer<NoClaims> = VerifyLayer::new(verifier);
/// // axum: Router::new().route("/orders", get(orders)).layer(layer)
/// // async fn orders(Extension(caller): Extension<Verified<NoClaims>>) { … }
/// # }
/// ```
pub struct VerifyLayer<C>(Arc<How<C>>);

impl<C> VerifyLayer<C> {
    /// Verifies each request's token anew.
    #[must_use]
    pub fn new(verifier: Verifier) -> Self {
        Self(Arc::new(How::Anew(verifier)))
    }

    /// Remembers the tokens that were accepted, as [`CachedVerifier`] says.
    #[must_use]
    pub fn remembering(verifier: CachedVerifier<C>) -> Self {
        Self(Arc::new(How::Remembering(verifier)))
    }
}

impl<C> Clone for VerifyLayer<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for VerifyLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyLayer").field(self.0.verifier()).finish()
    }
}

impl<S, C> Layer<S> for VerifyLayer<C> {
    type Service = VerifyService<S, C>;

    fn layer(&self, behind: S) -> Self::Service {
        VerifyService { how: Arc::clone(&self.0), behind }
    }
}

/// A service behind a [`VerifyLayer`].
pub struct VerifyService<S, C> {
    how: Arc<How<C>>,
    behind: S,
}

impl<S: Clone, C> Clone for VerifyService<S, C> {
    fn clone(&self) -> Self {
        Self { how: Arc::clone(&self.how), behind: self.behind.clone() }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for VerifyService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verifier = self.how.verifier();
        f.debug_struct("VerifyService").field("verifier", verifier).field("behind", &self.behind).finish()
    }
}

impl<S, C, B, R> Service<Request<B>> for VerifyService<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    C: DeserializeOwned + Send + Sync + 'static,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.behind.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let how = Arc::clone(&self.how);
        // the one that is ready, not its clone
        let clone = self.behind.clone();
        let mut behind = mem::replace(&mut self.behind, clone);
        Box::pin(async move {
            match how.caller(request.headers_mut()).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    behind.call(request).await
                }
                Err(refusal) => Ok(refusal.answer(how.realm())),
            }
        })
    }
}

/// Who calls: what a [`VerifyLayer`] puts into the extensions of a request that it lets through, and nobody else
/// can make. Cheap to clone.
pub struct Verified<C>(Arc<VerifiedToken<C>>);

impl<C> Deref for Verified<C> {
    type Target = VerifiedToken<C>;

    fn deref(&self) -> &VerifiedToken<C> {
        &self.0
    }
}

impl<C> Clone for Verified<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: fmt::Debug> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(&self.0).finish()
    }
}

enum How<C> {
    Anew(Verifier),
    Remembering(CachedVerifier<C>),
}

impl<C> How<C> {
    fn verifier(&self) -> &Verifier {
        match self {
            Self::Anew(verifier) => verifier,
            Self::Remembering(cached) => cached.verifier(),
        }
    }

    fn realm(&self) -> &str {
        self.verifier().audience().as_str()
    }
}

impl<C: DeserializeOwned> How<C> {
    /// Takes the token out of the headers and verifies it.
    async fn caller(&self, headers: &mut HeaderMap) -> Result<Verified<C>, Refusal> {
        if headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Refusal::Request);
        }
        let header = headers.remove(AUTHORIZATION).ok_or(Refusal::NoToken)?;
        let text = header.to_str().map_err(|_| Refusal::Request)?;
        if !is_bearer(text) {
            return Err(Refusal::NoToken);
        }
        let token = bearer_token(text).ok_or(Refusal::Request)?;
        Ok(Verified(match self {
            Self::Anew(verifier) => Arc::new(verifier.verify(token).await?),
            Self::Remembering(cached) => cached.verify(token).await?,
        }))
    }
}

enum Refusal {
    NoToken,
    Request,
    Token(VerifyError),
}

impl From<VerifyError> for Refusal {
    fn from(refused: VerifyError) -> Self {
        Self::Token(refused)
    }
}

impl Refusal {
    /// <https://www.rfc-editor.org/rfc/rfc6750#section-3>
    fn answer<R: Default>(&self, realm: &str) -> Response<R> {
        let (status, error) = match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, Some(String::new())),
            Self::Request => (StatusCode::BAD_REQUEST, Some(", error=\"invalid_request\"".to_owned())),
            Self::Token(refused) if refused.kind() == ErrorKind::Invalid => {
                let error = format!(", error=\"invalid_token\", error_description=\"{}\"", refused.code());
                (StatusCode::UNAUTHORIZED, Some(error))
            }
            Self::Token(refused) => {
                let status = StatusCode::from_u16(refused.kind().http_status());
                (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), None)
            }
        };
        let mut answer = Response::new(R::default());
        *answer.status_mut() = status;
        if let Some(error) = error {
            let challenge = format!("Bearer realm={}{error}", quoted(realm));
            let challenge = HeaderValue::from_str(&challenge);
            answer
                .headers_mut()
                .insert(WWW_AUTHENTICATE, challenge.unwrap_or(HeaderValue::from_static("Bearer")));
        }
        if let Self::Token(refused) = self
            && let Some(after) = refused.retry_after()
        {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        answer
    }
}

/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.4>
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

/// No earlier than that, and never at once.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_cannot_end_its_quotes() {
        assert_eq!(quoted("orders-api"), "\"orders-api\"");
        assert_eq!(quoted("a\"b\\c"), "\"a\\\"b\\\\c\"");
    }

    #[test]
    fn a_caller_is_never_told_to_come_back_too_early() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}
