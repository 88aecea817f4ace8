use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use agentkeys_core::{AttestError, Audience, HttpRequest, MAX_CHALLENGE, SKEW, Secret, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize};
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::MAX_CONTENT_BYTES;
use crate::aws::{Region, StsEndpoint};

/// The content of evidence: a JSON object of these members and no other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content<'e> {
    #[serde(borrow)]
    pub(super) url: Cow<'e, str>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) challenge: Option<Cow<'e, str>>,
}

impl<'e> Content<'e> {
    pub(super) fn read(content: &'e [u8]) -> Result<Self, AttestError> {
        if content.len() > MAX_CONTENT_BYTES {
            return Err(AttestError::Malformed("it is too long"));
        }
        // a derived reader would also take an array, member by member
        if content.first() != Some(&b'{') {
            return Err(AttestError::Malformed("it is no object"));
        }
        serde_json::from_slice(content)
            .map_err(|_| AttestError::Malformed("it is not an object with a url and at most a challenge"))
    }
}

/// A member of its right type: `null` is a wrong one, not an absent member.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is taken from a presigned URL: each signed parameter, parsed. The URL itself is not kept.
pub(super) struct Presigned<'s> {
    /// The configured endpoint that it is signed for, and that will be called.
    pub(super) endpoint: &'s StsEndpoint,
    signed_at: Timestamp,
    pub(super) challenge: Option<String>,
    access_key: String,
    date: String,
    expires: u64,
    session_token: Secret,
    signature: String,
}

impl<'s> Presigned<'s> {
    /// Reads evidence; nothing is asked of anybody.
    pub(super) fn parse(content: &[u8], endpoints: &'s [StsEndpoint]) -> Result<Self, AttestError> {
        let Content { url, challenge } = Content::read(content)?;
        let malformed = |what| Err(AttestError::Malformed(what));
        let (address, query) = url.split_once('?').ok_or(AttestError::Missing("parameters"))?;
        let origin = address.strip_suffix('/').ok_or(AttestError::Malformed("its path is not /"))?;
        let named = endpoints.iter().find(|endpoint| endpoint.origin() == origin);
        if named.is_none() {
            check_origin(origin)?;
        }
        let mut parameters = Parameters::read(query)?;

        if parameters.take("Action")? != ACTION {
            return malformed("its action is another one");
        }
        if parameters.take("Version")? != VERSION {
            return malformed("its version is another one");
        }
        if parameters.take("X-Amz-Algorithm")? != ALGORITHM {
            return malformed("its algorithm is another one");
        }
        let credential = parameters.take("X-Amz-Credential")?;
        let parts: Vec<_> = credential.split('/').collect();
        let [access_key, day, region, service, TERMINATOR] = *parts.as_slice() else {
            return malformed("its credential has no scope of this form");
        };
        let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if !ACCESS_KEY_LENGTH.contains(&access_key.len()) || !access_key.bytes().all(upper) {
            return malformed("its access key is none");
        }
        if service != SERVICE {
            return malformed("it is signed for another service");
        }
        let region =
            Region::parse(region).map_err(|_| AttestError::Malformed("it is signed for no region"))?;
        let date = parameters.take("X-Amz-Date")?;
        let signed_at = parse_date(&date).ok_or(AttestError::Malformed("its date is none"))?;
        if !date.starts_with(day) || day.len() != DAY_LENGTH {
            return malformed("its scope is of another day");
        }
        let expires = parse_expires(&parameters.take("X-Amz-Expires")?)
            .ok_or(AttestError::Malformed("it expires after none of 1 to 900 seconds"))?;
        let session_token = Secret::new(parameters.take("X-Amz-Security-Token")?);
        if session_token.expose().is_empty()
            || !session_token.expose().bytes().all(|byte| byte.is_ascii_graphic())
        {
            return malformed("its session token is none");
        }
        let signed_headers = parameters.take("X-Amz-SignedHeaders")?;
        let expected = if challenge.is_some() { HEADERS_AND_CHALLENGE } else { HEADERS };
        if signed_headers != expected {
            return malformed("its signed headers are others");
        }
        let signature = parameters.take("X-Amz-Signature")?;
        if signature.len() != SIGNATURE_LENGTH || !signature.bytes().all(is_lower_hex) {
            return malformed("its signature is none");
        }
        if challenge.as_deref().is_some_and(|challenge| !is_challenge(challenge)) {
            return malformed("its challenge is none");
        }
        let endpoint = named
            .filter(|endpoint| *endpoint.region() == region)
            .ok_or_else(|| misdirected(&region, origin, endpoints))?;
        Ok(Self {
            endpoint,
            signed_at,
            challenge: challenge.map(Cow::into_owned),
            access_key: access_key.to_owned(),
            date,
            expires,
            session_token,
            signature,
        })
    }

    /// Whether it may be presented now: not before its date, and no later than it says itself or
    /// [`MAX_AGE`], whichever comes first.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), AttestError> {
        if self.signed_at > now.plus(SKEW) {
            return Err(AttestError::NotYetValid);
        }
        if now >= self.signed_at.plus(Duration::from_secs(self.expires).min(MAX_AGE)) {
            return Err(AttestError::Expired);
        }
        Ok(())
    }

    /// When STS itself will have stopped taking it.
    pub(super) const fn good_until(&self) -> Timestamp {
        self.signed_at.plus(STS_LIFETIME)
    }

    /// What no other evidence has.
    pub(super) const fn signature(&self) -> &str {
        self.signature.as_str()
    }

    /// The request that was signed, written anew: our method, our URL, our headers (W3, L1).
    pub(super) fn request(&self, audience: &Audience) -> HttpRequest {
        let scope_day = self.date.get(..DAY_LENGTH).unwrap_or_default();
        let region = self.endpoint.region();
        let signed_headers = if self.challenge.is_some() { HEADERS_AND_CHALLENGE } else { HEADERS };
        let url = presigned_url(
            self.endpoint,
            [
                ("Action", ACTION),
                ("Version", VERSION),
                ("X-Amz-Algorithm", ALGORITHM),
                (
                    "X-Amz-Credential",
                    &format!("{}/{scope_day}/{region}/{SERVICE}/{TERMINATOR}", self.access_key),
                ),
                ("X-Amz-Date", &self.date),
                ("X-Amz-Expires", &self.expires.to_string()),
                ("X-Amz-Security-Token", self.session_token.expose()),
                ("X-Amz-Signature", &self.signature),
                ("X-Amz-SignedHeaders", signed_headers),
            ],
        );
        let mut request = HttpRequest::get(url, MAX_ANSWER_BYTES)
            .with_header("accept", "text/xml")
            .with_header(AUDIENCE_HEADER, audience.as_str());
        if let Some(challenge) = &self.challenge {
            request = request.with_header(CHALLENGE_HEADER, challenge);
        }
        request
    }
}

/// `GET`'s URL with these parameters, each encoded as Signature Version 4 wants it.
pub(super) fn presigned_url<'p>(
    endpoint: &StsEndpoint,
    parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
) -> String {
    let mut url = format!("{}/", endpoint.origin());
    let mut mark = '?';
    for (name, value) in parameters {
        url.push(mark);
        url.extend([name, "="]);
        url.extend(utf8_percent_encode(value, RESERVED));
        mark = '&';
    }
    url
}

/// Whether `text` can be a challenge: what may stand in a header, and nothing that a signer would fold.
pub(super) fn is_challenge(text: &str) -> bool {
    (1..=MAX_CHALLENGE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte))
}

/// The parameters of a query that may be there, each once.
struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    fn read(query: &str) -> Result<Self, AttestError> {
        let mut found = BTreeMap::new();
        for pair in query.split('&') {
            let (name, value) =
                pair.split_once('=').ok_or(AttestError::Malformed("a parameter has no value"))?;
            // names are compared byte for byte, so no two of them can be one to STS (L2)
            let name = *PARAMETERS
                .iter()
                .find(|known| **known == name)
                .ok_or(AttestError::Malformed("it has a parameter of another name"))?;
            let value =
                decode(value).ok_or(AttestError::Malformed("a parameter is not encoded as AWS encodes"))?;
            if found.insert(name, value).is_some() {
                return Err(AttestError::Malformed("a parameter is doubled"));
            }
        }
        Ok(Self(found))
    }

    fn take(&mut self, name: &'static str) -> Result<String, AttestError> {
        self.0.remove(name).ok_or(AttestError::Missing(name))
    }
}

/// A value in the one encoding that Signature Version 4 allows: another would decode to the same and be
/// signed as something else.
fn decode(value: &str) -> Option<String> {
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    let again: Cow<'_, str> = utf8_percent_encode(&decoded, RESERVED).into();
    (again == value).then(|| decoded.into_owned())
}

/// The form of an origin that is not ours, so that the refusal can say more than that.
fn check_origin(origin: &str) -> Result<(), AttestError> {
    let host = origin.strip_prefix("https://").ok_or(AttestError::Malformed("its scheme is not https"))?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return Err(AttestError::Malformed("its host is not a plain host's name"));
    }
    Ok(())
}

/// Names only what was parsed or is published: never the evidence's own words.
fn misdirected(region: &Region, origin: &str, endpoints: &[StsEndpoint]) -> AttestError {
    let signed_for = match StsEndpoint::published(region).find(|known| known.origin() == origin) {
        Some(known) => format!("region {region} at {}", known.host()),
        None => format!("region {region} at another host"),
    };
    let ours: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    AttestError::Misdirected { signed_for, would_call: ours.join(" or ") }
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let digits_at = |at: usize| !matches!(at, 8 | 15);
    let shaped = text.len() == DATE_LENGTH
        && text.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() == digits_at(at));
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let parsed = shaped.then(|| PrimitiveDateTime::parse(text, format).ok()).flatten()?;
    u64::try_from(parsed.assume_utc().unix_timestamp()).ok().map(Timestamp::from_unix)
}

fn parse_expires(text: &str) -> Option<u64> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|seconds| plain && (1..=STS_LIFETIME.as_secs()).contains(seconds))
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Who the evidence is for; every request that counts has signed it (W7, L8).
pub(super) const AUDIENCE_HEADER: &str = "x-agentkeys-audience";
/// What the verifier asked to see signed.
pub(super) const CHALLENGE_HEADER: &str = "x-agentkeys-challenge";
const HEADERS: &str = "host;x-agentkeys-audience";
const HEADERS_AND_CHALLENGE: &str = "host;x-agentkeys-audience;x-agentkeys-challenge";

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
pub(super) const ACTION: &str = "GetCallerIdentity";
pub(super) const VERSION: &str = "2011-06-15";
pub(super) const SERVICE: &str = "sts";

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PARAMETERS: [&str; 9] = [
    "Action",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];
const DATE_LENGTH: usize = 16;
const DAY_LENGTH: usize = 8;
const SIGNATURE_LENGTH: usize = 64;

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html>
const ACCESS_KEY_LENGTH: std::ops::RangeInclusive<usize> = 16..=128;

/// How old evidence may be when it is presented, whatever it says of itself (L8).
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);

/// How long STS takes a signed request, whatever its `X-Amz-Expires` says.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
const STS_LIFETIME: Duration = Duration::from_secs(900);

/// The largest answer of STS that is read; its answers have about 500 bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
