use std::sync::Arc;

use agentkeys_core::{CHALLENGE_LIFETIME, Evidence, Secret, Timestamp};
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize};

use super::kept_nowhere;
use crate::broker::app::App;
use crate::broker::input;
use crate::broker::refused::Refused;

pub(super) async fn challenge(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let now = app.clock.now().map_err(|_| Refused::internal("clock"))?;
    let challenge = app.challenge()?;
    Ok(kept_nowhere(ChallengeAnswer {
        challenge: challenge.as_str(),
        expiration: now.plus(CHALLENGE_LIFETIME),
    }))
}

pub(super) async fn attest(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let asked: Asked = input::json(&headers, body, app.body).await?;
    let kind = asked.kind.parse().map_err(|_| Refused::bad_request("evidence_kind", "the kind is none"))?;
    let evidence = Evidence::new(kind, asked.evidence.expose().as_bytes());
    let evidence =
        evidence.map_err(|_| Refused::bad_request("evidence_size", "the evidence is empty or too large"))?;
    let (identity, session) = app.attest(&evidence).await?;
    Ok(kept_nowhere(Registered {
        session: session.expose(),
        expiration: session.expires_at(),
        agent: identity.agent().as_str(),
        tenant: identity.tenant().map(agentkeys_core::TenantId::as_str),
        subject: identity.subject().as_str(),
        issuer: identity.kind().as_str(),
    }))
}

/// Not `Debug`: it holds evidence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    kind: String,
    #[serde(deserialize_with = "secret")]
    evidence: Secret,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

#[derive(Serialize)]
struct ChallengeAnswer<'a> {
    challenge: &'a str,
    expiration: Timestamp,
}

#[derive(Serialize)]
struct Registered<'a> {
    session: &'a str,
    expiration: Timestamp,
    agent: &'a str,
    tenant: Option<&'a str>,
    subject: &'a str,
    issuer: &'a str,
}
