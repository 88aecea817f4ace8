//! The Security Token Service: the query protocol of version 2011-06-15.

mod answer;
mod assume_role;
mod caller_identity;
mod error;
mod session;
mod token;
mod web_identity;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};

use crate::caller::authenticate;
use crate::form::{Params, decode_pairs};
use crate::idp::Idp;
use crate::record::ActingSlot;
use crate::world::World;

use self::answer::{Fields, Format};
use self::error::StsError;

/// The largest body that is read.
pub(crate) const MAX_BODY: usize = 128 * 1024;

const VERSION: &str = "2011-06-15";

/// Whether a request is for this service, as its path and method say.
pub(crate) fn is_for_us(parts: &Parts) -> bool {
    parts.uri.path() == "/"
        && (parts.method == Method::POST
            || decode_pairs(parts.uri.query().unwrap_or_default()).iter().any(|(key, _)| key == "Action"))
}

/// The action that a request asks for, if it can be read.
pub(crate) fn action(parts: &Parts, body: &[u8]) -> Option<String> {
    params(parts, body).ok()?.get("Action").map(str::to_owned)
}

/// Answers one request.
pub(crate) async fn call(
    world: &World,
    idp: &Idp,
    parts: &Parts,
    body: &Bytes,
    acting: &ActingSlot,
) -> Response<String> {
    let format = Format::of(&parts.headers);
    match dispatch(world, idp, parts, body, acting).await {
        Ok((action, fields)) => format.success(action, &fields),
        Err(error) => format.failure(&error),
    }
}

/// The answer to a request whose body is larger than [`MAX_BODY`].
pub(crate) fn too_large(parts: &Parts) -> Response<String> {
    let error =
        StsError::RequestEntityTooLarge(format!("the body of a request has at most {MAX_BODY} bytes"));
    Format::of(&parts.headers).failure(&error)
}

async fn dispatch(
    world: &World,
    idp: &Idp,
    parts: &Parts,
    body: &Bytes,
    acting: &ActingSlot,
) -> Result<(&'static str, Fields), StsError> {
    let params = params(parts, body)?;
    let action =
        params.get("Action").ok_or_else(|| StsError::MissingParameter("Action is missing".to_owned()))?;
    let unknown = || {
        StsError::InvalidAction(format!(
            "Could not find operation {action} for version {}",
            params.get("Version").unwrap_or("NO_VERSION_SPECIFIED")
        ))
    };
    if params.get("Version") != Some(VERSION) {
        return Err(unknown());
    }
    match action {
        "GetCallerIdentity" => {
            let caller = authenticate(world, parts, body, "sts", acting)?;
            Ok(("GetCallerIdentity", caller_identity::get_caller_identity(world, &caller)))
        }
        "GetWebIdentityToken" => {
            let caller = authenticate(world, parts, body, "sts", acting)?;
            Ok(("GetWebIdentityToken", token::get_web_identity_token(world, &caller, &params)?))
        }
        "AssumeRole" => {
            let caller = authenticate(world, parts, body, "sts", acting)?;
            Ok(("AssumeRole", assume_role::assume_role(world, &caller, &params)?))
        }
        "AssumeRoleWithWebIdentity" => {
            let fields = web_identity::assume_role_with_web_identity(world, idp, &params).await?;
            Ok(("AssumeRoleWithWebIdentity", fields))
        }
        _ => Err(unknown()),
    }
}

/// The parameters, from the query and, in a POST, from the body.
fn params(parts: &Parts, body: &[u8]) -> Result<Params, StsError> {
    let mut pairs = decode_pairs(parts.uri.query().unwrap_or_default());
    if parts.method == Method::POST {
        let body = std::str::from_utf8(body)
            .map_err(|_| StsError::MalformedQueryString("the body is not UTF-8".to_owned()))?;
        pairs.extend(decode_pairs(body));
    }
    Params::new(pairs).ok_or_else(|| StsError::MalformedQueryString("a parameter occurs twice".to_owned()))
}
