//! Credentials in the forms that AWS's SDKs take them in: the container endpoint's JSON, a
//! `credential_process`'s JSON, and an environment. Here alone are their secrets exposed, and each form is a
//! [`Secret`] again.
//!
//! ```
//! # use agentkeys_core::{Secret, Timestamp};
//! # use agentkeys_federation::{AwsCredentials, vend};
//! # fn example(credentials: &AwsCredentials) -> Result<(), vend::VendError> {
//! let body = vend::container(credentials)?;
//! // the host writes body.expose() to the socket and nowhere else
//! # Ok(())
//! # }
//! ```

use agentkeys_core::{Secret, Timestamp};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::Serialize;

mod environment;

pub use environment::{Environment, UNSET};

use crate::credentials::AwsCredentials;
use crate::source::SourceError;

/// What a container credentials endpoint answers: `AccessKeyId`, `SecretAccessKey`, `Token`, `Expiration`.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
///
/// # Errors
/// [`VendError`].
pub fn container(credentials: &AwsCredentials) -> Result<Secret, VendError> {
    json(&Container {
        access_key_id: credentials.access_key_id(),
        secret_access_key: credentials.secret_access_key().expose(),
        token: credentials.session_token().expose(),
        expiration: rfc3339(credentials.expires_at())?,
    })
}

/// What a `credential_process` prints: the same with `Version` 1 and the token as `SessionToken`. The
/// expiration is always there: without it an SDK would never ask again.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>
///
/// A process that has none prints nothing here, says why on stderr and exits with another status than 0;
/// SDKs put its stderr into their logs.
///
/// # Errors
/// [`VendError`].
pub fn process(credentials: &AwsCredentials) -> Result<Secret, VendError> {
    json(&Process {
        version: 1,
        access_key_id: credentials.access_key_id(),
        secret_access_key: credentials.secret_access_key().expose(),
        session_token: credentials.session_token().expose(),
        expiration: rfc3339(credentials.expires_at())?,
    })
}

/// What a container credentials endpoint answers where there are none: the status and the JSON of `code` and
/// `message`. SDKs try again at 5xx and at nothing else. Both texts are ours; nothing of the STS is in them.
#[must_use]
pub fn container_error(error: &SourceError) -> (u16, String) {
    let body = serde_json::json!({ "code": error.code(), "message": error.to_string() });
    (error.kind().http_status(), body.to_string())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Container<'c> {
    access_key_id: &'c str,
    secret_access_key: &'c str,
    token: &'c str,
    expiration: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Process<'c> {
    version: u8,
    access_key_id: &'c str,
    secret_access_key: &'c str,
    session_token: &'c str,
    expiration: String,
}

/// Why credentials cannot be vended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VendError {
    /// Their end has no RFC 3339 form: it lies past the year 9999.
    #[error("the end of the credentials cannot be written as a date")]
    Expiration,
    /// A value is not printable ASCII.
    #[error("a value of the credentials is not printable ASCII")]
    Value,
}

/// Written at once with room for all of it, so that no outgrown copy stays behind in memory.
fn json(value: &impl Serialize) -> Result<Secret, VendError> {
    let mut text = Vec::with_capacity(MAX_JSON);
    serde_json::to_writer(&mut text, value).map_err(|_| VendError::Value)?;
    String::from_utf8(text).map(Secret::new).map_err(|_| VendError::Value)
}

/// <https://www.rfc-editor.org/rfc/rfc3339>
fn rfc3339(at: Timestamp) -> Result<String, VendError> {
    let seconds = i64::try_from(at.as_unix()).map_err(|_| VendError::Expiration)?;
    DateTime::from_secs(seconds).fmt(Format::DateTime).map_err(|_| VendError::Expiration)
}

/// A session token is about 1 KiB, 4 KiB at most.
const MAX_JSON: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(ends: u64) -> AwsCredentials {
        AwsCredentials::new(
            "ASIAEXAMPLE",
            "se/cret+".into(),
            "to\"ken\\==".into(),
            Timestamp::from_unix(ends),
        )
    }

    #[test]
    fn the_containers_json_is_awss_to_the_byte() {
        let golden = "{\"AccessKeyId\":\"ASIAEXAMPLE\",\"SecretAccessKey\":\"se/cret+\",\
                      \"Token\":\"to\\\"ken\\\\==\",\"Expiration\":\"2027-01-15T08:15:00Z\"}";
        assert_eq!(container(&credentials(1_800_000_900)).unwrap().expose(), golden);
    }

    #[test]
    fn the_processs_json_is_awss_to_the_byte() {
        let golden = "{\"Version\":1,\"AccessKeyId\":\"ASIAEXAMPLE\",\"SecretAccessKey\":\"se/cret+\",\
                      \"SessionToken\":\"to\\\"ken\\\\==\",\"Expiration\":\"2027-01-15T08:15:00Z\"}";
        assert_eq!(process(&credentials(1_800_000_900)).unwrap().expose(), golden);
    }

    #[test]
    fn an_end_that_is_no_date_is_an_error_and_never_left_out() {
        for (seconds, text) in [(0, "1970-01-01T00:00:00Z"), (253_402_300_799, "9999-12-31T23:59:59Z")] {
            assert_eq!(rfc3339(Timestamp::from_unix(seconds)).unwrap(), text);
        }
        for seconds in [253_402_300_800, i64::MAX as u64, u64::MAX] {
            assert_eq!(container(&credentials(seconds)).unwrap_err(), VendError::Expiration, "{seconds}");
            assert_eq!(process(&credentials(seconds)).unwrap_err(), VendError::Expiration, "{seconds}");
        }
    }

    #[test]
    fn w60_an_error_has_a_code_and_a_message_of_ours_and_its_kinds_status() {
        use crate::exchanger::ExchangeError;
        let golden = "{\"code\":\"sts_access_denied\",\"message\":\"the token was not exchanged\"}";
        assert_eq!(container_error(&ExchangeError::Denied.into()), (403, golden.to_owned()));
        let (status, body) = container_error(&SourceError::Timeout);
        assert_eq!((status, body.contains("\"source_timeout\"")), (503, true));
        assert_eq!(container_error(&SourceError::IdentityExpired).0, 401);
    }
}
