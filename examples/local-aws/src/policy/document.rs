//! Policy documents: parsing, and what each kind may hold.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::one_or_many::{OneOrMany, Text};
use super::statement::{RawStatement, Statement};
use super::template::Version;

/// The longest text that `parse` takes, in bytes: the largest quota of any of the three kinds.
const MAX_POLICY: usize = 20 * 1024;

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PolicyError(#[from] serde_json::Error);

impl PolicyError {
    /// The line of the error, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.0.line()
    }

    /// The column of the error, from 1; 0 right after a line's end.
    #[must_use]
    pub fn column(&self) -> usize {
        self.0.column()
    }
}

/// Where a policy is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Identity,
    Resource,
    Trust,
}

macro_rules! policy_type {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(pub(super) Document);

        impl $name {
            /// Parses the JSON text of a policy, of at most 20 KiB.
            ///
            /// # Errors
            ///
            /// Whatever is not JSON, not of the language, or not for this kind of policy.
            pub fn parse(text: &str) -> Result<Self, PolicyError> {
                if text.len() > MAX_POLICY {
                    let error = format!("a policy of more than {MAX_POLICY} bytes");
                    return Err(PolicyError(serde_json::Error::custom(error)));
                }
                Ok(serde_json::from_str(text)?)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(PolicyVisitor($kind)).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
    };
}

policy_type! {
    /// A policy of an identity, or of a session: it names resources and no principals.
    IdentityPolicy, Kind::Identity
}
policy_type! {
    /// A policy of a resource, such as a bucket: it names principals and resources.
    ResourcePolicy, Kind::Resource
}
policy_type! {
    /// The trust policy of a role: it names principals, and the resource is the role.
    TrustPolicy, Kind::Trust
}

/// A whole policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    version: Option<Version>,
    id: Option<String>,
    pub(super) statements: OneOrMany<Statement>,
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::V2008 => "2008-10-17",
            Self::V2012 => "2012-10-17",
        })
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(version) = &self.version {
            map.serialize_entry("Version", version)?;
        }
        if let Some(id) = &self.id {
            map.serialize_entry("Id", id)?;
        }
        map.serialize_entry("Statement", &self.statements)?;
        map.end()
    }
}

/// Sets what a member of an object may set once.
pub(super) fn fill<T, E: Error>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format!("duplicate or conflicting element `{name}`"))),
    }
}

struct PolicyVisitor(Kind);

impl<'de> Visitor<'de> for PolicyVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut version = None;
        let mut id: Option<Text> = None;
        let mut statements: Option<OneOrMany<RawStatement>> = None;
        while let Some(Text(name)) = map.next_key()? {
            match name.as_str() {
                "Version" => fill(&mut version, &name, map.next_value()?)?,
                "Id" => fill(&mut id, &name, map.next_value()?)?,
                "Statement" => fill(&mut statements, &name, map.next_value()?)?,
                other => {
                    const NAMES: &[&str] = &["Version", "Id", "Statement"];
                    return Err(A::Error::unknown_field(other, NAMES));
                }
            }
        }
        let statements = statements.ok_or_else(|| A::Error::missing_field("Statement"))?;
        let mut number = 0;
        let mut sids: Vec<String> = Vec::new();
        let statements = statements.try_map(|raw| {
            number += 1;
            let fail = |error| A::Error::custom(format!("statement {number}: {error}"));
            if let Some(sid) = &raw.sid {
                if sids.contains(sid) {
                    return Err(fail(format!("duplicate Sid {sid:?}")));
                }
                sids.push(sid.clone());
            }
            raw.build(self.0, version.unwrap_or(Version::V2008)).map_err(fail)
        })?;
        Ok(Document { version, id: id.map(|Text(id)| id), statements })
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(version) = Text::deserialize(deserializer)?;
        match version.as_str() {
            "2008-10-17" => Ok(Self::V2008),
            "2012-10-17" => Ok(Self::V2012),
            other => Err(D::Error::unknown_variant(other, &["2008-10-17", "2012-10-17"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct State {
        name: String,
        policy: IdentityPolicy,
    }

    #[test]
    fn an_error_in_an_embedded_policy_has_its_position() {
        let text = r#"{
  "name": "a",
  "policy": {
    "Version": "2012-10-17",
    "Statement": {
      "Effect": "Allow",
      "Action": "s3:*",
      "Resource": "*",
      "Condition": { "StringSame": {} }
    }
  }
}"#;
        let error = serde_json::from_str::<State>(text).unwrap_err();
        assert_eq!(error.line(), 9, "{error}");
        assert!(error.to_string().contains("StringSame"), "{error}");
        let text = text.replace("StringSame\": {}", "Bool\": { \"aws:x\": \"maybe\" }");
        let error = serde_json::from_str::<State>(&text).unwrap_err();
        assert_eq!(error.line(), 11, "{error}");
        assert!(error.to_string().contains("statement 1"), "{error}");
    }

    #[test]
    fn a_policy_is_written_as_it_was() {
        for text in [
            r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#,
            r#"{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"s","Effect":"Deny","NotAction":["s3:*"],"NotResource":["arn:aws:s3:::b/${aws:x, 'y'}"],"Condition":{"ForAllValues:StringLikeIfExists":{"aws:TagKeys":["a*"]},"Null":{"aws:y":"true"}}}]}"#,
        ] {
            let policy = IdentityPolicy::parse(text).unwrap();
            assert_eq!(serde_json::to_string(&policy).unwrap(), text);
        }
        let text = r#"{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["123456789012","arn:aws:iam::123456789012:root"],"Service":"s3.amazonaws.com"},"Action":"s3:*","Resource":"*"}}"#;
        let policy = ResourcePolicy::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
    }

    #[test]
    fn sizes_are_bounded() {
        let policy = |resource: &str| {
            format!(r#"{{"Statement":{{"Effect":"Allow","Action":"s3:*","Resource":{resource}}}}}"#)
        };
        let long = policy(&format!("\"arn:aws:s3:::{}\"", "x".repeat(2048)));
        let error = IdentityPolicy::parse(&long).unwrap_err();
        assert!(error.to_string().contains("2048 bytes"), "{error}");
        let many = policy(&serde_json::to_string(&vec!["*"; 513]).unwrap());
        let error = IdentityPolicy::parse(&many).unwrap_err();
        assert!(error.to_string().contains("more than 512"), "{error}");
        let spaces = policy("\"*\"") + &" ".repeat(MAX_POLICY);
        let error = IdentityPolicy::parse(&spaces).unwrap_err();
        assert!(error.to_string().contains("20480 bytes"), "{error}");
    }
}
