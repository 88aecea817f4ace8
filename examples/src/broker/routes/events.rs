use std::sync::Arc;

use agentkeys_core::{AgentId, Evidence};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use subtle::ConstantTimeEq as _;

use super::kept_nowhere;
use crate::broker::app::App;
use crate::broker::events::Told;
use crate::broker::input;
use crate::broker::refused::Refused;

/// An agent reads its own events, the operator everybody's. To an agent the others do not exist.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    agent: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let shown = input::bearer(&headers)?;
    let Path(agent) = agent.map_err(|_| Refused::not_found())?;
    let named = AgentId::parse(&agent);
    let events = if is_operator(&app, &shown) {
        let named = named.map_err(|_| Refused::not_found())?;
        let events = app.events.of_all_named(&named);
        if events.is_empty() {
            return Err(Refused::not_found());
        }
        events
    } else {
        let identity = app.resume(input::text(&shown)).await?;
        // its own subject's, not its name's: another root may have an agent of this name (W29)
        match named {
            Ok(named) if named == *identity.agent() => app.events.of(&identity.subject()),
            _ => return Err(Refused::not_found()),
        }
    };
    Ok(kept_nowhere(Timeline { agent: &agent, events }))
}

fn is_operator(app: &App, shown: &Evidence) -> bool {
    let token = app.operator_token.as_ref().map(|token| token.expose().as_bytes());
    token.is_some_and(|token| bool::from(token.ct_eq(shown.expose())))
}

#[derive(Serialize)]
struct Timeline<'a> {
    agent: &'a str,
    events: Vec<Told>,
}
