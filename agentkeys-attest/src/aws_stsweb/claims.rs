use std::collections::BTreeMap;
use std::fmt;

use agentkeys_core::AttestError;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// The private claims that are read, and no others.
///
/// `request_tags` is not among them: whoever asks for the token writes it (R12, L18).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html>
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(default, deserialize_with = "present", rename = "https://sts.amazonaws.com/")]
    pub(super) sts: Option<StsClaims>,
}

#[derive(Deserialize)]
pub(super) struct StsClaims {
    #[serde(default, deserialize_with = "present")]
    pub(super) aws_account: Option<String>,
    /// Not documented by AWS, always the same as `sub` so far.
    #[serde(default, deserialize_with = "present")]
    pub(super) principal_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) principal_tags: Option<PrincipalTags>,
    #[serde(default, deserialize_with = "present")]
    pub(super) source_region: Option<String>,
}

/// `principal_tags` by their name in lower case, with the name as it was written.
///
/// A tag that stands twice, even in another spelling of upper and lower case, is refused: IAM takes both
/// for one. So is a value that is not text (W15).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html#id_tags_rules>
pub(super) struct PrincipalTags(BTreeMap<String, (String, String)>);

impl PrincipalTags {
    /// The value of the tag with exactly this name, which is in lower case.
    pub(super) fn required(&self, name: &'static str) -> Result<&str, AttestError> {
        match self.0.get(name) {
            Some((written, value)) if written == name && !value.is_empty() => Ok(value),
            _ => Err(AttestError::Missing(name)),
        }
    }
}

impl<'de> Deserialize<'de> for PrincipalTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TagsVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = PrincipalTags;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PrincipalTags, A::Error> {
        let mut tags = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if tags.insert(name.to_ascii_lowercase(), (name, value)).is_some() {
                return Err(de::Error::custom("a tag is doubled"));
            }
        }
        Ok(PrincipalTags(tags))
    }
}

/// A claim of its right type: `null` is a wrong one, not an absent claim.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
