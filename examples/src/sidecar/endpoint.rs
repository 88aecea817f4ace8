use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use agentkeys_core::Secret;
use agentkeys_federation::vend;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use prometheus::IntGauge;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::keeper::Keeper;
use super::peer::PeerCheck;
use crate::Failure;
use crate::broker::listener;

/// The container credentials endpoint, on 127.0.0.1 and nowhere else.
///
/// In this order each request is asked who it is for (`Host` is our own address, so that no web page reaches it
/// under a name of its own), who it is from (the token, compared in constant time; and the user, where one is
/// named), and what it wants. Refusals have AWS's shape, `code` and `message`, and are ours to the word.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Endpoint {
    /// Takes `port`, or any free one for 0.
    ///
    /// # Errors
    /// Where the port is taken.
    pub async fn bind(port: u16) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// What `AWS_CONTAINER_CREDENTIALS_FULL_URI` must be.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Answers who has the token, until it is dropped.
    ///
    /// # Errors
    /// None while the listener works.
    pub async fn run(self, keeper: Keeper, token: Secret, peer: Option<PeerCheck>) -> Result<(), Failure> {
        let gate = Arc::new(Gate { keeper, token, authority: self.address.to_string(), peer });
        let routes = Router::new().fallback(answer).with_state(gate);
        let open = IntGauge::new("agentkeys_sidecar_connections", "Open connections")?;
        // it ends when it is dropped
        let (_never, stop) = watch::channel(false);
        listener::serve(self.listener, None, routes, open, stop).await;
        Ok(())
    }
}

struct Gate {
    keeper: Keeper,
    token: Secret,
    authority: String,
    peer: Option<PeerCheck>,
}

async fn answer(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if let Err(refused) = gate.admit(&request, peer) {
        return refused.into_response();
    }
    let credentials = match gate.keeper.credentials().await {
        Ok(credentials) => credentials,
        Err(error) => {
            let status = StatusCode::from_u16(error.kind().http_status());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Refusal { status, code: error.code(), message: error.to_string() }.into_response();
        }
    };
    match vend::container(&credentials) {
        Ok(body) => json_answer(StatusCode::OK, body.expose().clone()),
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Refusal { status, code: "credentials_malformed", message: error.to_string() }.into_response()
        }
    }
}

impl Gate {
    fn admit(&self, request: &Request, peer: SocketAddr) -> Result<(), Refusal> {
        let headers = request.headers();
        let for_us = only(headers, &HOST).is_some_and(|host| host == self.authority.as_bytes());
        let elsewhere = request.uri().authority().is_some();
        if !for_us || elsewhere {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "host", "the request is not for this address"));
        }
        let sent = only(headers, &AUTHORIZATION).unwrap_or_default();
        if !bool::from(sent.ct_eq(self.token.expose().as_bytes())) {
            let message = "the authorization token is missing or wrong";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
        }
        if self.peer.is_some_and(|check| !check.allows(peer, &self.authority)) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "peer", "the request is another user's"));
        }
        if request.uri().path() != PATH {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here"));
        }
        if request.method() != Method::GET {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Err(Refusal::new(status, "method", "credentials are asked for with GET"));
        }
        let empty = headers.get_all(CONTENT_LENGTH).iter().all(|length| length.as_bytes() == b"0");
        if !empty || headers.contains_key(TRANSFER_ENCODING) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "body", "a request here has no body"));
        }
        Ok(())
    }
}

/// The value of a header that comes once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(|value| value.as_bytes())
}

struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self { status, code, message: message.to_owned() }
    }

    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message });
        let mut answer = json_answer(self.status, body.to_string());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, 1.into());
        }
        answer
    }
}

fn json_answer(status: StatusCode, body: String) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (status, headers, Body::from(body)).into_response()
}

const PATH: &str = "/v1/credentials";
