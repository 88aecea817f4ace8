use std::collections::BTreeMap;
use std::fmt;

use agentkeys_core::AttestError;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The private claims that are read, and no others.
///
/// `request_tags` is read as `T`, which for an identity is [`IgnoredAny`]: whoever asks for the token writes
/// it (R12, L18).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html>
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Claims<T = IgnoredAny> {
    #[serde(default, deserialize_with = "present", rename = "https://sts.amazonaws.com/")]
    pub(super) sts: Option<StsClaims<T>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct StsClaims<T> {
    #[serde(default, deserialize_with = "present")]
    pub(super) aws_account: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) org_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) ou_path: Option<OuPaths>,
    /// Not documented by AWS, always the same as `sub` so far.
    #[serde(default, deserialize_with = "present")]
    pub(super) principal_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) principal_tags: Option<PrincipalTags>,
    #[serde(default, deserialize_with = "present")]
    pub(super) request_tags: Option<T>,
    #[serde(default, deserialize_with = "present")]
    pub(super) source_identity: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) source_region: Option<String>,
}

/// `ou_path`: text in the documentation, an array of texts in real tokens.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OuPaths {
    One(String),
    Several(Vec<String>),
}

impl OuPaths {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

/// What the session and its role are tagged with.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct PrincipalTags(Tags);

/// What the caller of `sts:GetWebIdentityToken` wrote into its own token. **It proves nothing** but that
/// whoever asked for the token wrote it, be it `kubernetes-pod-name` of a victim or a name that begins with
/// `aws:` (L18).
///
/// It comes from [`StsWebAttestor::attest_with_request_tags`](super::StsWebAttestor::attest_with_request_tags)
/// alone, beside the identity and never in it.
pub struct RequestTags(Tags);

impl RequestTags {
    pub(super) const fn new(tags: Tags) -> Self {
        Self(tags)
    }

    /// What the caller says under exactly this name.
    #[must_use]
    pub fn claimed(&self, name: &str) -> Option<&str> {
        let (written, value) = self.0.0.get(&name.to_ascii_lowercase())?;
        (written == name).then_some(value.as_str())
    }

    /// All of it: names and values, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.0.values().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for RequestTags {
    /// The caller's text does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTags").field("tags", &self.0.0.len()).finish_non_exhaustive()
    }
}

/// Tags by their name in lower case, with the name as it was written.
///
/// A tag that stands twice, even in another spelling of upper and lower case, is refused: IAM takes both
/// for one. So is a value that is not text (W15).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html#id_tags_rules>
#[derive(Default)]
pub(super) struct Tags(BTreeMap<String, (String, String)>);

impl PrincipalTags {
    /// The value of the tag with exactly this name, which is in lower case.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, AttestError> {
        match self.0.0.get(name) {
            Some((written, value)) if written == name && !value.is_empty() => Ok(value),
            _ => Err(AttestError::Missing(name)),
        }
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TagsVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Tags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
        let mut tags = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if tags.insert(name.to_ascii_lowercase(), (name, value)).is_some() {
                return Err(de::Error::custom("a tag is doubled"));
            }
        }
        Ok(Tags(tags))
    }
}

/// A claim of its right type: `null` is a wrong one, not an absent claim.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
