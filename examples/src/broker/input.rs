//! What is read of a request: an `Authorization` header, a body of one type and size, a form.

use std::time::Duration;

use agentkeys_core::{Evidence, EvidenceKind};
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::refused::Refused;

/// How large a body may be and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// The one bearer token of a request (W34). Two headers are none: whoever stands in front may read the other.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Evidence, Refused> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let refused = |reason| Refused::unauthorized(reason, "there is no bearer token");
    let header = match (all.next(), all.next()) {
        (Some(header), None) => header.to_str().map_err(|_| refused("authorization_malformed"))?,
        (None, _) => return Err(refused("authorization_missing")),
        (Some(_), Some(_)) => return Err(refused("authorization_doubled")),
    };
    Evidence::from_authorization(SHOWN, header).map_err(|_| refused("authorization_malformed"))
}

/// The text of a bearer token, which is ASCII.
pub(crate) fn text(shown: &Evidence) -> &str {
    std::str::from_utf8(shown.expose()).unwrap_or_default()
}

/// The body as JSON: an object without unknown and doubled members.
pub(crate) async fn json<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    limits: BodyLimits,
) -> Result<T, Refused> {
    media_type(headers, "application/json")?;
    let body = read(headers, body, limits).await?;
    // a JSON array would be taken for the members in their order
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Refused::bad_request("body_malformed", "the body is not a JSON object"));
    }
    let malformed =
        |_| Refused::bad_request("body_malformed", "the body is not the JSON object of this route");
    serde_json::from_slice(&body).map_err(malformed)
}

/// The parameters of a form, each once and with a value (RFC 6749, section 3.2).
pub(crate) async fn form(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Form, Refused> {
    media_type(headers, "application/x-www-form-urlencoded")?;
    let body = read(headers, body, limits).await?;
    let body = std::str::from_utf8(&body).map_err(|_| Form::malformed())?;
    Form::parse(body).ok_or_else(Form::malformed)
}

/// The whole body; whose type it is nobody asks.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Vec<u8>, Refused> {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > limits.bytes as u64) {
        return Err(Refused::too_large());
    }
    match tokio::time::timeout(limits.time, Limited::new(body, limits.bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refused::too_large()),
        Ok(Err(_)) => Err(Refused::bad_request("body_broken", "the body breaks off")),
        Err(_) => Err(Refused::timeout()),
    }
}

/// A form's parameters.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &str) -> Option<Self> {
        let mut all: Vec<(String, String)> = Vec::new();
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if all.len() == MAX_PARAMETERS || all.iter().any(|(known, _)| *known == name) {
                return None;
            }
            all.push((name, value));
        }
        Some(Self(all))
    }

    fn malformed() -> Refused {
        Refused::bad_request("form_malformed", "the body is not a form with each parameter once")
    }

    /// A parameter; without a value it is not there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some(value)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut escapes = text.split('%').skip(1);
    let hex = |escape: &str| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !escapes.all(hex) {
        return None;
    }
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

fn media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Refused> {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (Some(given), None) = (all.next(), all.next()) else {
        return Err(Refused::media_type(&format!("the body must be {wanted}")));
    };
    let given = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(wanted) {
        Ok(())
    } else {
        Err(Refused::media_type(&format!("the body must be {wanted}")))
    }
}

/// A label for what a bearer token is here: nobody appraises it as evidence.
const SHOWN: EvidenceKind = EvidenceKind::from_static("bearer");

/// A `/token` request has about ten.
const MAX_PARAMETERS: usize = 32;

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_form_has_each_parameter_once_and_in_utf_8() {
        let form = Form::parse("a=1&b=x+y%2Bz&empty=&&c").unwrap();
        assert_eq!((form.get("a"), form.get("b")), (Some("1"), Some("x y+z")));
        assert!(form.get("empty").is_none() && form.get("c").is_none() && form.get("d").is_none());
        let many = (0..=MAX_PARAMETERS).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        for bad in ["a=1&a=1", "a=1&%61=2", "a=%ff", "a=%", "a=%4", "a=%zz", "%c3%28=1", &many] {
            assert!(Form::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn w34_there_is_one_authorization_header_and_it_is_a_bearer_token() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            bearer(&headers).map(|shown| text(&shown).to_owned()).map_err(|refused| refused.reason)
        };
        assert_eq!(of(&["Bearer aG.k-_"]).unwrap(), "aG.k-_");
        assert_eq!(of(&[]).unwrap_err(), "authorization_missing");
        assert_eq!(of(&["Bearer a", "Bearer a"]).unwrap_err(), "authorization_doubled");
        for bad in ["", "a", "Basic a", "Bearer", "Bearer  a", "Bearer a b", "Bearer \u{e9}"] {
            assert_eq!(of(&[bad]).unwrap_err(), "authorization_malformed", "{bad}");
        }
    }
}
