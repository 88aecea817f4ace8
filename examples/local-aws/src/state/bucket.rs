//! Buckets and objects, as a state file spells them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::names::BucketName;
use crate::policy::ResourcePolicy;

/// A bucket.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// Its policy, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ResourcePolicy>,
    /// What is in it.
    #[serde(default)]
    pub objects: BTreeMap<String, Object>,
}

impl Bucket {
    /// An empty bucket.
    #[must_use]
    pub fn new(name: BucketName, policy: Option<ResourcePolicy>) -> Self {
        Self { name, policy, objects: BTreeMap::new() }
    }
}

/// An object in a bucket.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Object {
    /// Its content: `{"text": "…"}` or `{"base64": "…"}`.
    pub body: Body,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its metadata: the headers `x-amz-meta-…`, by the rest of their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// The content of an object.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    /// UTF-8 text, as it is.
    Text(String),
    /// Bytes in base64.
    Base64(Base64),
}

impl Body {
    /// The shorter way to write some bytes down.
    #[must_use]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(Base64(bytes.to_vec())),
        }
    }

    /// The bytes themselves.
    #[must_use]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Base64(bytes) => bytes.0,
        }
    }
}

/// Bytes that a state file spells in base64.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Base64(Vec<u8>);

impl TryFrom<String> for Base64 {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Base64> for String {
    fn from(bytes: Base64) -> String {
        STANDARD.encode(bytes.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_writing() {
        for bytes in [&b"plain"[..], &[0xff, 0x00][..]] {
            let text = serde_json::to_string(&Body::of(bytes)).unwrap();
            let back: Body = serde_json::from_str(&text).unwrap();
            assert_eq!(back.into_bytes(), bytes);
        }
    }
}
