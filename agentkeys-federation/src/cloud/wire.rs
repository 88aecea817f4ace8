use std::sync::Arc;

use agentkeys_core::{
    Audience, Clock, HttpClient, HttpRequest, HttpResponse, Random, Secret, SystemClock, SystemRandom,
    Timestamp, Token,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};

use crate::exchanger::{ExchangeError, Sent, tried};

/// What asks a cloud's STS: a client, a clock, jitter, and where the STS is.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    http: Arc<dyn HttpClient>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Caller {
    pub(crate) fn new(http: Arc<dyn HttpClient>) -> Self {
        Self { http, clock: Arc::new(SystemClock::new()), random: Arc::new(SystemRandom::new()) }
    }

    pub(crate) fn now(&self) -> Result<Timestamp, ExchangeError> {
        self.clock.now().map_err(|_| ExchangeError::Unavailable)
    }

    /// What `token` says, where it is for this audience and has not expired: no other is sent. A token that is
    /// for another cloud would be good there for whoever reads it here.
    pub(crate) fn sendable(&self, token: &Token, audience: &Audience) -> Result<Sent, ExchangeError> {
        if token.expires_at() <= self.now()? {
            return Err(ExchangeError::TokenExpired);
        }
        let sent = Sent::of(token).ok_or(ExchangeError::TokenInvalid)?;
        if sent.aud != audience.as_str() {
            return Err(ExchangeError::TokenInvalid);
        }
        Ok(sent)
    }

    /// Does `asking` until there is an answer, an error that stands or no time left.
    pub(crate) async fn ask<T, F>(&self, asking: impl Fn() -> F + Send) -> Result<T, ExchangeError>
    where
        F: Future<Output = Result<T, ExchangeError>> + Send,
    {
        tried(&*self.random, asking).await
    }

    /// One request and its answer, whatever its status.
    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ExchangeError> {
        self.http.send(request).await.map_err(|_| ExchangeError::Unavailable)
    }
}

/// `POST url` with `body` of this content type.
pub(crate) fn post(url: &str, content_type: &'static str, body: String) -> HttpRequest {
    HttpRequest::post(url, body, MAX_ANSWER_BYTES)
        .with_header("accept", JSON)
        .with_header("content-type", content_type)
}

/// `POST url` with these fields, form-encoded.
pub(crate) fn post_form(url: &str, fields: &[(&str, &str)]) -> HttpRequest {
    post(url, FORM, form(fields))
}

/// `POST url` with `body` as JSON.
pub(crate) fn post_json(url: &str, body: &serde_json::Value) -> HttpRequest {
    post(url, JSON, body.to_string())
}

/// `application/x-www-form-urlencoded`.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The body as `T`.
pub(crate) fn json<T: DeserializeOwned>(answer: &HttpResponse) -> Result<T, ExchangeError> {
    serde_json::from_slice(&answer.body).map_err(|_| ExchangeError::Answer("not an STS answer"))
}

/// A field that is a secret from here on.
pub(crate) fn secret<'de, D: Deserializer<'de>>(field: D) -> Result<Secret, D::Error> {
    String::deserialize(field).map(Secret::new)
}

pub(crate) const fn is_success(answer: &HttpResponse) -> bool {
    answer.status == 200
}

/// What a status says where no code does.
pub(crate) const fn of_status(status: u16) -> ExchangeError {
    match status {
        429 => ExchangeError::Throttled,
        500..=599 => ExchangeError::Unavailable,
        _ => ExchangeError::Refused,
    }
}

/// `2027-01-15T08:15:00Z`
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let moment = DateTime::from_str(text, Format::DateTime).ok()?;
    Some(Timestamp::from_unix(u64::try_from(moment.secs()).ok()?))
}

/// The same the other way.
pub(crate) fn written(moment: Timestamp) -> Result<String, ExchangeError> {
    let seconds = i64::try_from(moment.as_unix()).map_err(|_| ExchangeError::Unavailable)?;
    DateTime::from_secs(seconds).fmt(Format::DateTime).map_err(|_| ExchangeError::Unavailable)
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Tencent's tokens have up to 4096 bytes, Google's up to 16 KiB; Alibaba names no limit.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read_and_written_in_one_form() {
        let known = Timestamp::from_unix(1_800_000_900);
        assert_eq!(written(known).unwrap(), "2027-01-15T08:15:00Z");
        assert_eq!(moment("2027-01-15T08:15:00Z"), Some(known));
        assert_eq!(moment("2027-01-15T08:15:00.5Z"), Some(known));
        for bad in ["", "now", "1800000900", "2027-01-15", "2027-01-15T08:15:00", "1969-12-31T23:59:59Z"] {
            assert_eq!(moment(bad), None, "{bad}");
        }
        assert!(written(Timestamp::from_unix(u64::MAX)).is_err());
    }

    #[test]
    fn w64_without_a_known_code_the_status_decides_what_may_mend_itself() {
        use ExchangeError as E;
        for (status, error) in [(400, E::Refused), (403, E::Refused), (302, E::Refused), (201, E::Refused)] {
            assert_eq!(of_status(status), error, "{status}");
        }
        assert_eq!(of_status(429), E::Throttled);
        for status in [500, 503, 599] {
            assert_eq!(of_status(status), E::Unavailable, "{status}");
        }
    }

    /// Decodes as RFC 1866 says, with none of our encoder's code.
    fn decoded(text: &str) -> Vec<(String, String)> {
        let one = |text: &str| {
            let mut bytes = Vec::new();
            let mut rest = text.bytes();
            while let Some(byte) = rest.next() {
                bytes.push(match byte {
                    b'+' => b' ',
                    b'%' => {
                        let digits = [rest.next().unwrap(), rest.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    byte => byte,
                });
            }
            String::from_utf8(bytes).unwrap()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap()).map(|(name, value)| (one(name), one(value))).collect()
    }

    proptest! {
        #[test]
        fn r90_a_form_is_read_back_as_it_was_and_no_field_reaches_another(
            fields in proptest::collection::vec((".{1,12}", ".{0,24}"), 0..6)
        ) {
            let borrowed: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let text = form(&borrowed);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(decoded(&text), fields);
        }

        #[test]
        fn r90_a_moment_that_was_written_is_read_back(seconds in 0..253_402_300_800_u64) {
            let moment_of = Timestamp::from_unix(seconds);
            prop_assert_eq!(moment(&written(moment_of).unwrap()), Some(moment_of));
        }
    }
}
