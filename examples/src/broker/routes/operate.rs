use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::broker::app::App;
use crate::broker::ready::Readiness;
use crate::broker::refused::Refused;

pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Strangers learn whether, and not why not.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let ready = Readiness::of(&app).await.ready;
    (status(ready), Json(json!({ "ready": ready }))).into_response()
}

pub(super) async fn ready_in_detail(State(app): State<Arc<App>>) -> Response {
    let readiness = Readiness::of(&app).await;
    (status(readiness.ready), Json(readiness)).into_response()
}

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let text = app.metrics.text(&app.tables()).map_err(|_| Refused::internal("metrics"))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

const fn status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
