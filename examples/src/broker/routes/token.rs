//! OAuth 2.0's token endpoint: <https://www.rfc-editor.org/rfc/rfc8693>, and client assertions of
//! <https://www.rfc-editor.org/rfc/rfc7523> under <https://www.rfc-editor.org/rfc/rfc6749#section-4.4>.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, Evidence, Token};
use agentkeys_federation::{BrokerError, DataClass};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::kept_nowhere;
use crate::broker::app::App;
use crate::broker::input::{self, Form};
use crate::broker::refused::{Refused, dress};

pub(super) async fn token(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, OAuth> {
    let form = input::form(&headers, body, app.body).await?;
    match form.get("grant_type") {
        Some(EXCHANGE) => exchange(&app, &form).await,
        Some("client_credentials") => client(&app, &form).await,
        Some(_) => Err(OAuth::new("unsupported_grant_type", "this grant type is not served")),
        None => Err(OAuth::invalid("there is no grant_type")),
    }
}

/// A proof of an identity for a token, or for a session.
async fn exchange(app: &App, form: &Form) -> Result<Response, OAuth> {
    for unserved in ["actor_token", "actor_token_type", "client_assertion", "client_assertion_type"] {
        if form.get(unserved).is_some() {
            return Err(OAuth::invalid(
                "the subject token stands for the client: no actor, no client assertion",
            ));
        }
    }
    let subject_token = form.get("subject_token").ok_or(OAuth::invalid("there is no subject_token"))?;
    let wanted = Wanted::of(form)?;
    match form.get("subject_token_type") {
        Some(SESSION) => {
            let identity = app.resume(subject_token).await.map_err(OAuth::of_subject)?;
            wanted.of_session(app, &identity).await
        }
        Some(JWT) => {
            let evidence = assertion(app, subject_token).ok_or(OAuth::invalid("evidence is no JWT here"))?;
            let (identity, session) = app.attest(&evidence).await.map_err(OAuth::of_subject)?;
            match wanted {
                Wanted::Session => Ok(issued(app, &session, Some(SESSION), "Bearer", None)),
                wanted => wanted.of_session(app, &identity).await,
            }
        }
        Some(_) => Err(OAuth::invalid("the subject_token_type is none that is taken here")),
        None => Err(OAuth::invalid("there is no subject_token_type")),
    }
}

/// A client that proves itself with evidence: it gets a session.
async fn client(app: &App, form: &Form) -> Result<Response, OAuth> {
    match form.get("client_assertion_type") {
        Some(ASSERTION) => {}
        Some(_) => return Err(OAuth::client("the client_assertion_type is none that is taken here")),
        None => return Err(OAuth::client("a client shows a client_assertion")),
    }
    if form.get("scope").is_some() {
        return Err(OAuth::new("invalid_scope", "a session has no scope"));
    }
    let shown = form.get("client_assertion").ok_or(OAuth::client("a client shows a client_assertion"))?;
    let evidence = assertion(app, shown).ok_or(OAuth::client("evidence is no JWT here"))?;
    let (_, session) = app.attest(&evidence).await.map_err(OAuth::of_client)?;
    Ok(issued(app, &session, None, "Bearer", None))
}

/// Evidence of the one kind here that is a JWT: the type says so, and nothing is tried in turn (W58).
fn assertion(app: &App, jwt: &str) -> Option<Evidence> {
    Evidence::new(app.assertions.clone()?, jwt).ok()
}

/// What is asked for.
enum Wanted {
    Session,
    Token(DataClass),
}

impl Wanted {
    fn of(form: &Form) -> Result<Self, OAuth> {
        let scope = form.get("scope");
        match form.get("requested_token_type").unwrap_or(JWT) {
            JWT => {}
            SESSION if scope.is_some() => return Err(OAuth::new("invalid_scope", "a session has no scope")),
            SESSION if form.get("audience").or(form.get("resource")).is_some() => return Err(OAuth::target()),
            SESSION => return Ok(Self::Session),
            _ => return Err(OAuth::invalid("the requested_token_type is none that is given here")),
        }
        if form.get("audience").is_some_and(|audience| audience != STS)
            || form.get("resource").is_some_and(|resource| resource.strip_prefix("https://") != Some(STS))
        {
            return Err(OAuth::target());
        }
        let class = scope.unwrap_or(DataClass::Data.as_str()).parse();
        class.map(Self::Token).map_err(|_| OAuth::new("invalid_scope", "a scope is one class of data"))
    }

    async fn of_session(self, app: &App, identity: &AttestedIdentity) -> Result<Response, OAuth> {
        let Self::Token(class) = self else {
            return Err(OAuth::invalid("a session is not exchanged for another"));
        };
        let token = app.token(identity, class).await.map_err(OAuth::of_subject)?;
        Ok(issued(app, &token, Some(JWT), "N_A", Some(class)))
    }
}

fn issued(
    app: &App,
    token: &Token,
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    class: Option<DataClass>,
) -> Response {
    let left = app.clock.now().map_or(Duration::ZERO, |now| token.expires_at().since(now));
    kept_nowhere(Issued {
        access_token: token.expose(),
        issued_token_type,
        token_type,
        expires_in: left.as_secs(),
        scope: class.map(DataClass::as_str),
    })
}

#[derive(Serialize)]
struct Issued<'a> {
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

/// An error as <https://www.rfc-editor.org/rfc/rfc6749#section-5.2> has it.
pub(super) struct OAuth {
    status: StatusCode,
    error: &'static str,
    reason: &'static str,
    description: String,
    retry_after: Option<Duration>,
}

impl OAuth {
    fn new(error: &'static str, description: &str) -> Self {
        let (status, description) = (StatusCode::BAD_REQUEST, description.to_owned());
        Self { status, error, reason: error, description, retry_after: None }
    }

    fn invalid(description: &str) -> Self {
        Self::new("invalid_request", description)
    }

    fn client(description: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, ..Self::new("invalid_client", description) }
    }

    fn target() -> Self {
        Self::new("invalid_target", "tokens are for sts.amazonaws.com alone")
    }

    /// <https://www.rfc-editor.org/rfc/rfc8693#section-2.2.2>: whatever is wrong with a subject token is an
    /// invalid request.
    fn of_subject(error: BrokerError) -> Self {
        Self::of(error, StatusCode::BAD_REQUEST, "invalid_request")
    }

    fn of_client(error: BrokerError) -> Self {
        Self::of(error, StatusCode::UNAUTHORIZED, "invalid_client")
    }

    fn of(error: BrokerError, status: StatusCode, name: &'static str) -> Self {
        let Refused { status: general, reason, message, retry_after, .. } = Refused::from(error);
        let (status, error) = match general.as_u16() {
            401 | 403 => (status, name),
            502 | 503 => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        };
        Self { status, error, reason, description: message, retry_after }
    }
}

impl From<Refused> for OAuth {
    fn from(refused: Refused) -> Self {
        let Refused { status, reason, message, retry_after, .. } = refused;
        let error = if status.is_server_error() { "server_error" } else { "invalid_request" };
        Self { status, error, reason, description: message, retry_after }
    }
}

impl IntoResponse for OAuth {
    fn into_response(self) -> Response {
        let body = OAuthBody { error: self.error, error_description: &self.description };
        let mut response = (self.status, Json(body)).into_response();
        dress(&mut response, self.status, self.reason, self.retry_after);
        response
    }
}

#[derive(Serialize)]
struct OAuthBody<'b> {
    error: &'static str,
    error_description: &'b str,
}

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SESSION: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const STS: &str = "sts.amazonaws.com";
