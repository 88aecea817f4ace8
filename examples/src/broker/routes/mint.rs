use std::sync::Arc;

use agentkeys_core::{AttestedIdentity, Timestamp};
use agentkeys_federation::DataClass;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;

use super::kept_nowhere;
use crate::broker::app::App;
use crate::broker::input;
use crate::broker::refused::Refused;

pub(super) async fn data_token(
    app: State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    mint_token(&app, &headers, body, DataClass::Data).await
}

pub(super) async fn token(
    app: State<Arc<App>>,
    class: Class,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    mint_token(&app, &headers, body, named(class)?).await
}

pub(super) async fn data_credentials(
    app: State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    mint_credentials(&app, &headers, body, DataClass::Data).await
}

pub(super) async fn credentials(
    app: State<Arc<App>>,
    class: Class,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    mint_credentials(&app, &headers, body, named(class)?).await
}

async fn mint_token(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    class: DataClass,
) -> Result<Response, Refused> {
    let identity = asking(app, headers, body).await?;
    let token = app.token(&identity, class).await?;
    let wallet = wallet(app, &identity);
    Ok(kept_nowhere(Minted { jwt: token.expose(), wallet, expiration: token.expires_at() }))
}

async fn mint_credentials(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    class: DataClass,
) -> Result<Response, Refused> {
    let identity = asking(app, headers, body).await?;
    let credentials = app.credentials(&identity, class).await?;
    Ok(kept_nowhere(Vended {
        access_key_id: credentials.access_key_id(),
        secret_access_key: credentials.secret_access_key().expose(),
        session_token: credentials.session_token().expose(),
        expiration: credentials.expires_at(),
        wallet: wallet(app, &identity),
    }))
}

/// Whose session it is, of a request without a body.
async fn asking(app: &App, headers: &HeaderMap, body: Body) -> Result<AttestedIdentity, Refused> {
    let shown = input::bearer(headers)?;
    let body = input::read(headers, body, app.body).await?;
    if body.trim_ascii_start().starts_with(b"{") {
        let message = "signed intents are not taken here: send no body";
        return Err(Refused::bad_request("signed_intent_unsupported", message));
    }
    if !body.is_empty() {
        return Err(Refused::bad_request("body_unexpected", "this route takes no body"));
    }
    Ok(app.resume(input::text(&shown)).await?)
}

/// What stands in the path, in UTF-8 or not.
type Class = Result<Path<String>, PathRejection>;

fn named(class: Class) -> Result<DataClass, Refused> {
    let Path(class) = class.map_err(|_| Refused::not_found())?;
    class.parse().map_err(|_| Refused::not_found())
}

fn wallet<'a>(app: &'a App, identity: &AttestedIdentity) -> Option<&'a str> {
    app.wallet(identity).map(agentkeys_federation::Wallet::as_str)
}

#[derive(Serialize)]
struct Minted<'a> {
    jwt: &'a str,
    wallet: Option<&'a str>,
    expiration: Timestamp,
}

#[derive(Serialize)]
struct Vended<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: Timestamp,
    wallet: Option<&'a str>,
}
