use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::broker::app::App;

/// The issuer is a setting: whatever host a request names, these are the same bytes (L22).
pub(super) async fn discovery(State(app): State<Arc<App>>) -> Response {
    let signing = app.signing();
    let headers = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, signing.jwks.cache_control())];
    (headers, signing.discovery.clone()).into_response()
}

pub(super) async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let signing = app.signing();
    let kept = [(ETAG, signing.jwks.etag()), (CACHE_CONTROL, signing.jwks.cache_control())];
    let known =
        headers.get(IF_NONE_MATCH).is_some_and(|etag| etag.as_bytes() == signing.jwks.etag().as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(CONTENT_TYPE, JSON)], signing.jwks.body().to_vec()).into_response()
}

const JSON: &str = "application/json";
