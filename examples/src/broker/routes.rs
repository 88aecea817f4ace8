use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus::IntGauge;
use serde::Serialize;

use super::app::App;
use super::refused::{Reason, Refused};

mod attest;
mod events;
mod mint;
mod operate;
mod publish;
mod token;

/// What anybody may ask.
pub(crate) fn public(app: &Arc<App>) -> Router {
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(publish::discovery))
        .route("/.well-known/jwks.json", get(publish::jwks))
        .route("/healthz", get(operate::health))
        .route("/readyz", get(operate::ready))
        .route("/v1/attest", post(attest::attest))
        .route("/v1/attest/challenge", post(attest::challenge))
        .route("/v1/mint-oidc-jwt", post(mint::data_token))
        .route("/v1/mint-oidc-jwt/{class}", post(mint::token))
        .route("/v1/mint-aws-creds", post(mint::data_credentials))
        .route("/v1/mint-aws-creds/{class}", post(mint::credentials))
        .route("/token", post(token::token))
        .route("/v1/events/{agent}", get(events::events));
    finished(routes, app)
}

/// What the operator may ask, on a listener of its own.
pub(crate) fn operator(app: &Arc<App>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(operate::health))
        .route("/readyz", get(operate::ready_in_detail))
        .route("/metrics", get(operate::metrics))
        .route("/v1/events/{agent}", get(events::events));
    finished(routes, app)
}

fn finished(routes: Router<Arc<App>>, app: &Arc<App>) -> Router {
    routes
        .fallback(|| async { Refused::not_found() })
        .method_not_allowed_fallback(|| async { Refused::method_not_allowed() })
        .layer(from_fn_with_state(Arc::clone(app), watched))
        .with_state(Arc::clone(app))
}

/// Lets in as many requests as may be answered at once, and writes down how each ended: the route and the code,
/// nothing else of the request.
#[expect(
    clippy::disallowed_methods,
    reason = "how long an answer took is no moment that anything depends on"
)]
async fn watched(
    State(app): State<Arc<App>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let response = match app.requests.try_acquire() {
        Ok(_permit) => {
            let _counted = Counted::new(&app.metrics.in_flight);
            next.run(request).await
        }
        Err(_) => Refused::overloaded().into_response(),
    };
    let (route, status) = (matched.as_ref().map_or("none", MatchedPath::as_str), response.status().as_u16());
    let took = begun.elapsed();
    app.metrics.answered(route, status, took);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    // a method can be any word of a stranger's
    let method = if ["GET", "HEAD", "POST"].contains(&method.as_str()) { method.as_str() } else { "other" };
    match response.extensions().get::<Reason>() {
        Some(Reason(reason)) => {
            app.metrics.refused(reason);
            tracing::info!(target: "broker", method, route, status, micros, reason, "refused");
        }
        None => tracing::info!(target: "broker", method, route, status, micros, "answered"),
    }
    response
}

/// Counted until dropped, also where the client is gone before its answer.
struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// An answer that no cache may keep: tokens, sessions, credentials, and what happened.
fn kept_nowhere(answer: impl Serialize) -> Response {
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
