//! The `Principal` and `NotPrincipal` elements.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::context::Principal;
use super::one_or_many::{OneOrMany, Text};

/// How directly an element names the principal of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grant {
    /// By its account. That delegates to the account: its identity policies still decide.
    Account,
    /// By its identity, or by naming everyone.
    Identity,
    /// By the session itself, which no session policy then limits.
    Session,
}

/// An entry under `AWS`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AwsEntry {
    Everyone,
    Account { source: String, id: String },
    Arn { source: String, session: bool },
}

/// Who a statement is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PrincipalSet {
    /// `"*"`.
    Everyone,
    /// By kind.
    Named {
        aws: Option<OneOrMany<AwsPrincipal>>,
        federated: Option<OneOrMany<Named>>,
        service: Option<OneOrMany<Named>>,
    },
}

/// An entry under `AWS`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AwsPrincipal(AwsEntry);

/// An entry under `Federated` or `Service`: matched exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named(String);

impl AwsPrincipal {
    fn parse(source: String) -> Option<Self> {
        if source == "*" {
            return Some(Self(AwsEntry::Everyone));
        }
        if is_account(&source) {
            let id = source.clone();
            return Some(Self(AwsEntry::Account { source, id }));
        }
        let mut parts = source.splitn(6, ':');
        let mut next = || parts.next();
        let (arn, partition, service, region) = (next()?, next()?, next()?, next()?);
        let (account, resource) = (next()?, next()?);
        let plain = |c: char| c.is_ascii_alphanumeric() || "+=,.@_/-".contains(c);
        if arn != "arn"
            || !partition.starts_with("aws")
            || !region.is_empty()
            || !is_account(account)
            || !resource.chars().all(plain)
        {
            return None;
        }
        let named = |prefix: &str| {
            resource
                .strip_prefix(prefix)
                .filter(|name| !name.is_empty() && !name.starts_with('/') && !name.ends_with('/'))
        };
        let session = match service {
            "iam" if resource == "root" => {
                let id = account.to_owned();
                return Some(Self(AwsEntry::Account { source, id }));
            }
            "iam" if named("user/").or(named("role/")).is_some() => false,
            "sts" if named("assumed-role/").is_some_and(|name| name.contains('/')) => true,
            "sts" if named("federated-user/").is_some() => true,
            _ => return None,
        };
        Some(Self(AwsEntry::Arn { source, session }))
    }

    fn source(&self) -> &str {
        match &self.0 {
            AwsEntry::Everyone => "*",
            AwsEntry::Account { source, .. } | AwsEntry::Arn { source, .. } => source,
        }
    }

    fn matches(&self, account: &str, arns: &[String]) -> Option<Grant> {
        match &self.0 {
            AwsEntry::Everyone => Some(Grant::Identity),
            AwsEntry::Account { id, .. } => (id == account).then_some(Grant::Account),
            AwsEntry::Arn { source, session } => {
                arns.contains(source).then_some(if *session { Grant::Session } else { Grant::Identity })
            }
        }
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

impl PrincipalSet {
    /// How the element names the principal, at its most direct; `None` where it does not.
    pub(super) fn matches(&self, principal: &Principal) -> Option<Grant> {
        let Self::Named { aws, federated, service } = self else {
            return Some(Grant::Identity);
        };
        match principal {
            Principal::Aws { account, arns } => {
                aws.iter().flat_map(OneOrMany::iter).filter_map(|entry| entry.matches(account, arns)).max()
            }
            Principal::Federated(name) => listed(federated.as_ref(), name),
            Principal::Service(name) => listed(service.as_ref(), name),
            Principal::Anonymous => self.has_everyone().then_some(Grant::Identity),
        }
    }

    /// Whether a `NotPrincipal` with this list leaves the principal out.
    ///
    /// An AWS principal must be listed under every name it has: its account and each of its ARNs.
    pub(super) fn exempts(&self, principal: &Principal) -> bool {
        match (self, principal) {
            (Self::Named { aws: Some(aws), .. }, Principal::Aws { account, arns }) => {
                let account_listed =
                    aws.iter().any(|entry| entry.matches(account, &[]) == Some(Grant::Account));
                let arn_listed = |arn: &String| aws.iter().any(|entry| entry.source() == arn);
                account_listed && arns.iter().all(arn_listed)
            }
            (_, Principal::Aws { .. }) => false,
            _ => self.matches(principal).is_some(),
        }
    }

    /// Whether the element has a `*`, alone or under `AWS`.
    pub(super) fn has_everyone(&self) -> bool {
        match self {
            Self::Everyone => true,
            Self::Named { aws, .. } => {
                aws.iter().flat_map(OneOrMany::iter).any(|entry| entry.0 == AwsEntry::Everyone)
            }
        }
    }
}

fn listed(names: Option<&OneOrMany<Named>>, name: &str) -> Option<Grant> {
    names?.iter().any(|entry| entry.0 == name).then_some(Grant::Identity)
}

impl Serialize for AwsPrincipal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.source())
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for PrincipalSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self {
            Self::Everyone => serializer.serialize_str("*"),
            Self::Named { aws, federated, service } => {
                let mut map = serializer.serialize_map(None)?;
                if let Some(aws) = aws {
                    map.serialize_entry("AWS", aws)?;
                }
                if let Some(federated) = federated {
                    map.serialize_entry("Federated", federated)?;
                }
                if let Some(service) = service {
                    map.serialize_entry("Service", service)?;
                }
                map.end()
            }
        }
    }
}

struct SetVisitor;

impl<'de> Visitor<'de> for SetVisitor {
    type Value = PrincipalSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"*\" or an object of principals")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PrincipalSet, E> {
        if text == "*" {
            Ok(PrincipalSet::Everyone)
        } else {
            Err(E::custom("a principal that is a string can only be \"*\""))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PrincipalSet, A::Error> {
        let (mut aws, mut federated, mut service) = (None, None, None);
        while let Some(Text(kind)) = map.next_key()? {
            let duplicate = match kind.as_str() {
                "AWS" => aws.replace(map.next_value()?).is_some(),
                "Federated" => federated.replace(map.next_value()?).is_some(),
                "Service" => service.replace(map.next_value()?).is_some(),
                other => {
                    const KINDS: &[&str] = &["AWS", "Federated", "Service"];
                    return Err(A::Error::unknown_field(other, KINDS));
                }
            };
            if duplicate {
                return Err(A::Error::custom(format!("duplicate principal kind {kind:?}")));
            }
        }
        if aws.is_none() && federated.is_none() && service.is_none() {
            return Err(A::Error::custom("a principal element that names nobody"));
        }
        Ok(PrincipalSet::Named { aws, federated, service })
    }
}

impl<'de> Deserialize<'de> for PrincipalSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SetVisitor)
    }
}

impl<'de> Deserialize<'de> for AwsPrincipal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(source) = Text::deserialize(deserializer)?;
        let error = format!("unsupported AWS principal {source:?}");
        Self::parse(source).ok_or_else(|| D::Error::custom(error))
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        let plain = |c: char| c.is_ascii_graphic() && !"*?${}".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(D::Error::custom(format!("{name:?} is no name of a service or identity provider")));
        }
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_principals() {
        for good in [
            "*",
            "123456789012",
            "arn:aws:iam::123456789012:root",
            "arn:aws-cn:iam::123456789012:root",
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam::123456789012:role/path/to/a",
            "arn:aws:sts::123456789012:assumed-role/a/b@c",
            "arn:aws:sts::123456789012:federated-user/a",
        ] {
            let parsed = AwsPrincipal::parse(good.to_owned()).unwrap();
            assert_eq!(parsed.source(), good);
        }
        for bad in [
            "",
            "**",
            "12345678901",
            "1234567890123",
            "AROA1234567890EXAMPLE",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:iam::*:root",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/${aws:x}",
            "arn:aws:iam::123456789012:group/a",
            "arn:aws:iam:r:123456789012:role/a",
            "arn:aws:iam::123456789012:role/a:b",
            "arn:aws:sts::123456789012:assumed-role/a",
            "arn:aws:sts::123456789012:assumed-role/a/",
            "arn:aws:s3:::bucket",
            "arn:evil:iam::123456789012:role/a",
        ] {
            assert_eq!(AwsPrincipal::parse(bad.to_owned()), None, "{bad}");
        }
    }

    #[test]
    fn the_most_direct_name_counts() {
        let set: PrincipalSet = serde_json::from_str(
            r#"{"AWS":["123456789012","arn:aws:sts::123456789012:assumed-role/a/b","*"]}"#,
        )
        .unwrap();
        let principal =
            |arn: &str| Principal::Aws { account: "123456789012".to_owned(), arns: vec![arn.to_owned()] };
        assert_eq!(
            set.matches(&principal("arn:aws:sts::123456789012:assumed-role/a/b")),
            Some(Grant::Session)
        );
        assert_eq!(
            set.matches(&principal("arn:aws:sts::123456789012:assumed-role/a/c")),
            Some(Grant::Identity)
        );
        assert_eq!(set.matches(&Principal::Service("s".to_owned())), None);
    }
}
