//! What arrived: a bounded record that tests can look into.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;

use crate::caller::Caller;

/// The most requests that are remembered; older ones are forgotten first.
pub const MAX_RECORDS: usize = 1000;

/// Headers whose values are not kept.
const SECRET: [&str; 2] = ["x-amz-security-token", "proxy-authorization"];

/// One request as it arrived. It holds no secret: neither the query nor the values of credential headers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The headers in lower case; the value is `None` where it is a secret.
    pub headers: Vec<(String, Option<String>)>,
    /// Whether there was an `Authorization` header.
    pub has_authorization: bool,
    /// Whether the query carried a signature.
    pub is_presigned: bool,
    /// The `Action` of a call to STS.
    pub sts_action: Option<String>,
    acting: ActingSlot,
}

/// Who a request turned out to come from, once its signature and session token were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acting {
    arn: String,
    source_identity: Option<String>,
}

/// The place in a record that is filled in where the caller is authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ActingSlot(Arc<OnceLock<Acting>>);

impl ActingSlot {
    pub(crate) fn fill(&self, caller: &Caller) {
        let source_identity = caller.source_identity().map(ToString::to_string);
        let _ = self.0.set(Acting { arn: caller.arn.clone(), source_identity });
    }
}

impl RecordedRequest {
    pub(crate) fn new(parts: &Parts, sts_action: Option<String>) -> Self {
        let headers = parts.headers.iter().map(|(name, value)| {
            let secret = SECRET.contains(&name.as_str()) || name == AUTHORIZATION || name == COOKIE;
            let value = (!secret).then(|| String::from_utf8_lossy(value.as_bytes()).into_owned());
            (name.as_str().to_owned(), value)
        });
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            headers: headers.collect(),
            has_authorization: parts.headers.contains_key(AUTHORIZATION),
            is_presigned: parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature=")),
            sts_action,
            acting: ActingSlot::default(),
        }
    }

    pub(crate) fn acting(&self) -> ActingSlot {
        self.acting.clone()
    }

    /// CloudTrail's `userIdentity.arn`: who signed it. `None` where it was not signed, or not well.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        Some(&self.acting.0.get()?.arn)
    }

    /// CloudTrail's `userIdentity.sessionContext.sourceIdentity`: that of the session it was signed with.
    #[must_use]
    pub fn source_identity(&self) -> Option<&str> {
        self.acting.0.get()?.source_identity.as_deref()
    }

    /// Whether a header was there, whatever its value.
    #[must_use]
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name))
    }
}

/// The record of a server.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<VecDeque<RecordedRequest>>);

impl Records {
    pub(crate) fn add(&self, request: RecordedRequest) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == MAX_RECORDS {
            records.pop_front();
        }
        records.push_back(request);
    }

    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> RecordedRequest {
        let request = http::Request::get(path)
            .header("authorization", "AWS4-HMAC-SHA256 hunter2")
            .header("x-amz-security-token", "hunter2")
            .header("accept", "*/*")
            .body(())
            .unwrap();
        RecordedRequest::new(&request.into_parts().0, None)
    }

    #[test]
    fn secrets_are_not_kept() {
        let record = request("/a?X-Amz-Security-Token=hunter2&X-Amz-Signature=hunter2");
        assert!(!format!("{record:?}").contains("hunter2"));
        assert!(record.has_authorization && record.is_presigned && record.has_header("X-Amz-Security-Token"));
        assert!(record.headers.contains(&("accept".to_owned(), Some("*/*".to_owned()))));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let records = Records::default();
        for n in 0..=MAX_RECORDS {
            records.add(request(&format!("/{n}")));
        }
        let all = records.all();
        assert_eq!((all.len(), all[0].path.as_str()), (MAX_RECORDS, "/1"));
    }
}
