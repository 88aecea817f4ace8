//! Signature Version 4, the checking side.
//!
//! The canonical request is built anew from what arrived. Clients of the official SDKs are the oracle of this module:
//! the integration tests sign with them.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use http::request::Parts;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::clock::rfc3339;
use crate::form::{decode_pairs, encode};
use crate::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

/// How far the date of a signature may lie from now, either way.
pub(crate) const MAX_SKEW: time::Duration = time::Duration::minutes(15);

/// Why a request does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    /// There is no signature at all.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// Parts of it are missing or unreadable.
    #[error("{0}")]
    Incomplete(String),
    /// It was made for another region, service or day.
    #[error("{0}")]
    Scope(String),
    /// A header that has to be covered is not.
    #[error("'{0}' must be a 'SignedHeader' in the AWS Authorization.")]
    UnsignedHeader(String),
    /// Its date is too long ago.
    #[error("Signature expired: {at} is now earlier than {limit} ({now} - 15 min.)")]
    Expired { at: String, limit: String, now: String },
    /// Its date is yet to come.
    #[error("Signature not yet current: {at} is still later than {limit} ({now} + 15 min.)")]
    NotYetCurrent { at: String, limit: String, now: String },
    /// The secret or the request is another one.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// Where a signature stands in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header,
    Query,
}

/// A signature as the request claims it; nothing is verified yet.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) place: Place,
    pub(crate) access_key_id: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) signed_headers: Vec<String>,
    pub(crate) session_token: Option<String>,
    scope_date: String,
    at: OffsetDateTime,
    date_text: String,
    signature: String,
}

impl Signature {
    /// Reads the signature of a request, from its headers or its query.
    pub(crate) fn parse(parts: &Parts) -> Result<Self, SignatureError> {
        Self::read(parts.uri.query().unwrap_or_default(), &parts.headers)
    }

    /// The same from the two places where a signature can stand.
    pub(crate) fn read(query: &str, headers: &http::HeaderMap) -> Result<Self, SignatureError> {
        let query = decode_pairs(query);
        let in_query =
            |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let in_header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match (headers.contains_key(http::header::AUTHORIZATION), in_query("X-Amz-Signature")) {
            (true, Some(_)) => Err(incomplete("Only one authentication mechanism is allowed")),
            (false, None) => Err(SignatureError::Missing),
            (true, None) => {
                let text = in_header("authorization")
                    .ok_or_else(|| incomplete("Authorization header is not text"))?;
                let date = in_header("x-amz-date").ok_or_else(|| {
                    incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
                })?;
                let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
                let member = |name: &str| {
                    rest.split(',')
                        .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
                        .ok_or_else(|| {
                            incomplete(&format!("Authorization header requires '{name}' parameter."))
                        })
                };
                Self::new(
                    Place::Header,
                    algorithm,
                    member("Credential")?,
                    date,
                    member("SignedHeaders")?,
                    member("Signature")?,
                    in_header("x-amz-security-token"),
                )
            }
            (false, Some(signature)) => {
                let member = |name: &str| {
                    in_query(name).ok_or_else(|| {
                        incomplete(&format!("AWS query-string parameters must include '{name}'."))
                    })
                };
                Self::new(
                    Place::Query,
                    member("X-Amz-Algorithm")?,
                    member("X-Amz-Credential")?,
                    member("X-Amz-Date")?,
                    member("X-Amz-SignedHeaders")?,
                    signature,
                    in_query("X-Amz-Security-Token"),
                )
            }
        }
    }

    fn new(
        place: Place,
        algorithm: &str,
        credential: &str,
        date: &str,
        signed_headers: &str,
        signature: &str,
        session_token: Option<&str>,
    ) -> Result<Self, SignatureError> {
        if algorithm != ALGORITHM {
            return Err(incomplete(&format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let scope: Vec<&str> = credential.split('/').collect();
        let &[access_key_id, scope_date, region, service, TERMINATOR] = scope.as_slice() else {
            return Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term",
            ));
        };
        let at =
            PrimitiveDateTime::parse(date, format_description!("[year][month][day]T[hour][minute][second]Z"))
                .map_err(|_| incomplete("Date must be in ISO-8601 'basic format'."))?
                .assume_utc();
        Ok(Self {
            place,
            access_key_id: access_key_id.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            session_token: session_token.map(str::to_owned),
            scope_date: scope_date.to_owned(),
            at,
            date_text: date.to_owned(),
            signature: signature.to_owned(),
        })
    }

    /// Whether a header is covered by the signature.
    pub(crate) fn covers(&self, header: &str) -> bool {
        self.signed_headers.iter().any(|signed| signed == header)
    }

    /// The first header that has to be signed and is not: `host` and everything that begins with `x-amz-`.
    pub(crate) fn uncovered<'h>(&self, headers: &'h http::HeaderMap) -> Option<&'h str> {
        if !self.covers("host") {
            return Some("host");
        }
        headers
            .keys()
            .map(http::HeaderName::as_str)
            .find(|name| name.starts_with("x-amz-") && !self.covers(name))
    }

    /// Verifies everything but the session token.
    pub(crate) fn verify(
        &self,
        secret: &Secret,
        parts: &Parts,
        body: &[u8],
        scope: (&str, &str),
        now: OffsetDateTime,
    ) -> Result<(), SignatureError> {
        let (region, service) = scope;
        if self.region != region {
            return Err(SignatureError::Scope("Credential should be scoped to a valid region.".to_owned()));
        }
        if self.service != service {
            return Err(SignatureError::Scope(format!(
                "Credential should be scoped to correct service: '{service}'."
            )));
        }
        if !self.date_text.starts_with(&self.scope_date) || self.scope_date.len() != 8 {
            return Err(SignatureError::Scope(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP"
                    .to_owned(),
            ));
        }
        if self.at < now - MAX_SKEW {
            return Err(SignatureError::Expired {
                at: self.date_text.clone(),
                limit: rfc3339(now - MAX_SKEW),
                now: rfc3339(now),
            });
        }
        if self.at > now + MAX_SKEW {
            return Err(SignatureError::NotYetCurrent {
                at: self.date_text.clone(),
                limit: rfc3339(now + MAX_SKEW),
                now: rfc3339(now),
            });
        }
        if let Some(header) = self.uncovered(&parts.headers) {
            return Err(SignatureError::UnsignedHeader(header.to_owned()));
        }
        let to_sign = self.string_to_sign(&self.canonical_request(parts, body)?);
        let expected = decode_hex(&self.signature).ok_or(SignatureError::Mismatch)?;
        hmac::verify(&self.signing_key(secret), to_sign.as_bytes(), &expected)
            .map_err(|_| SignatureError::Mismatch)
    }

    /// The hash is that of the body that arrived, whatever `x-amz-content-sha256` says of it.
    fn canonical_request(&self, parts: &Parts, body: &[u8]) -> Result<String, SignatureError> {
        let mut query: Vec<(String, String)> = decode_pairs(parts.uri.query().unwrap_or_default())
            .into_iter()
            .filter(|(key, _)| key != "X-Amz-Signature")
            .map(|(key, value)| (encode(&key), encode(&value)))
            .collect();
        query.sort();
        let query: Vec<String> = query.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut headers = String::new();
        for name in &self.signed_headers {
            let values: Vec<String> = parts
                .headers
                .get_all(name)
                .iter()
                .map(|value| {
                    let text = String::from_utf8_lossy(value.as_bytes());
                    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
                })
                .collect();
            if values.is_empty() {
                return Err(SignatureError::Mismatch);
            }
            let _ = writeln!(headers, "{name}:{}", values.join(","));
        }
        let hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        Ok(format!(
            "{}\n{}\n{}\n{headers}\n{}\n{hash}",
            parts.method,
            parts.uri.path(),
            query.join("&"),
            self.signed_headers.join(";"),
        ))
    }

    fn string_to_sign(&self, canonical_request: &str) -> String {
        let hash = hex(digest::digest(&digest::SHA256, canonical_request.as_bytes()).as_ref());
        let scope = format!("{}/{}/{}/{TERMINATOR}", self.scope_date, self.region, self.service);
        format!("{ALGORITHM}\n{}\n{scope}\n{hash}", self.date_text)
    }

    fn signing_key(&self, secret: &Secret) -> hmac::Key {
        let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", secret.expose()).as_bytes());
        [self.scope_date.as_str(), &self.region, &self.service, TERMINATOR]
            .into_iter()
            .fold(first, |key, part| {
                hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
            })
    }
}

fn incomplete(message: &str) -> SignatureError {
    SignatureError::Incomplete(message.to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the documentation of Signature Version 4 (`ListUsers` of IAM).
    fn example() -> (Parts, OffsetDateTime) {
        let request = http::Request::get("/?Action=ListUsers&Version=2010-05-08")
            .header("host", "iam.amazonaws.com")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("x-amz-date", "20150830T123600Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date, \
                 Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            )
            .body(())
            .unwrap();
        (request.into_parts().0, time::macros::datetime!(2015-08-30 12:36:00 UTC))
    }

    fn secret() -> Secret {
        Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    }

    #[test]
    fn the_documented_example_verifies() {
        let (parts, now) = example();
        let signature = Signature::parse(&parts).unwrap();
        assert_eq!(signature.access_key_id, "AKIDEXAMPLE");
        assert_eq!(signature.verify(&secret(), &parts, b"", ("us-east-1", "iam"), now), Ok(()));
    }

    #[test]
    fn every_change_breaks_it() {
        let (parts, now) = example();
        let signature = Signature::parse(&parts).unwrap();
        let scope = ("us-east-1", "iam");
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(signature.verify(&Secret::new("other"), &parts, b"", scope, now), mismatch);
        assert_eq!(signature.verify(&secret(), &parts, b"x", scope, now), mismatch);
        for uri in ["/", "/?Action=ListUsers&Version=2010-05-09", "/x?Action=ListUsers&Version=2010-05-08"] {
            let (mut other, _) = example();
            other.uri = uri.parse().unwrap();
            assert_eq!(signature.verify(&secret(), &other, b"", scope, now), mismatch);
        }
        let (mut other, _) = example();
        other.headers.insert("host", "iam.example.com".parse().unwrap());
        assert_eq!(signature.verify(&secret(), &other, b"", scope, now), mismatch);
        let (mut other, _) = example();
        other.headers.remove("content-type");
        assert_eq!(signature.verify(&secret(), &other, b"", scope, now), mismatch);
    }

    #[test]
    fn the_date_has_a_quarter_of_an_hour_either_way() {
        let (parts, now) = example();
        let signature = Signature::parse(&parts).unwrap();
        let at = |now| signature.verify(&secret(), &parts, b"", ("us-east-1", "iam"), now);
        assert_eq!(at(now + MAX_SKEW), Ok(()));
        assert_eq!(at(now - MAX_SKEW), Ok(()));
        let second = time::Duration::SECOND;
        assert!(matches!(at(now + MAX_SKEW + second), Err(SignatureError::Expired { .. })));
        assert!(matches!(at(now - MAX_SKEW - second), Err(SignatureError::NotYetCurrent { .. })));
    }

    #[test]
    fn the_scope_must_be_ours() {
        let (parts, now) = example();
        let signature = Signature::parse(&parts).unwrap();
        for scope in [("eu-west-1", "iam"), ("us-east-1", "sts")] {
            assert!(matches!(
                signature.verify(&secret(), &parts, b"", scope, now),
                Err(SignatureError::Scope(_))
            ));
        }
    }

    #[test]
    fn aws_headers_must_be_signed() {
        let (mut parts, now) = example();
        parts.headers.insert("x-amz-security-token", "t".parse().unwrap());
        let signature = Signature::parse(&parts).unwrap();
        assert_eq!(
            signature.verify(&secret(), &parts, b"", ("us-east-1", "iam"), now),
            Err(SignatureError::UnsignedHeader("x-amz-security-token".to_owned()))
        );
    }

    #[test]
    fn half_a_signature_is_incomplete() {
        let whole =
            "AWS4-HMAC-SHA256 Credential=A/20150830/r/s/aws4_request, SignedHeaders=host, Signature=00";
        for text in [
            "",
            "Basic abc",
            "Bearer abc",
            "AWS4-HMAC-SHA256",
            &whole.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            &whole.replace(", Signature=00", ""),
            &whole.replace("SignedHeaders=host, ", ""),
            &whole.replace("/aws4_request", ""),
            &whole.replace("Credential", "Cred"),
        ] {
            let (mut parts, _) = example();
            parts.headers.insert("authorization", text.parse().unwrap());
            assert!(matches!(Signature::parse(&parts), Err(SignatureError::Incomplete(_))), "{text}");
        }
        let (mut parts, _) = example();
        parts.headers.remove("authorization");
        assert!(matches!(Signature::parse(&parts), Err(SignatureError::Missing)));
    }
}
