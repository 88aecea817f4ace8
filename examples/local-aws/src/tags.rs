//! Tags: of a principal, of a session, of a request.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most tags that one principal or one session carries.
pub const MAX_TAGS: usize = 50;
const MAX_KEY_CHARS: usize = 128;
const MAX_VALUE_CHARS: usize = 256;

/// A set of tags that AWS would not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTags {
    /// More than [`MAX_TAGS`].
    #[error("a principal or session has at most 50 tags")]
    TooMany,
    /// A key of a wrong length or with a wrong character.
    #[error("a tag key has 1 to 128 letters, digits, spaces and _.:/=+-@")]
    Key,
    /// A value of a wrong length or with a wrong character.
    #[error("a tag value has at most 256 letters, digits, spaces and _.:/=+-@")]
    Value,
    /// A key or value that begins with `aws:`.
    #[error("the prefix aws: is reserved in tag keys and values")]
    Reserved,
    /// Two keys that differ at most in case.
    #[error("duplicate tag keys: tag keys are compared without regard to case")]
    Duplicate,
}

/// Tags by key. Keys keep their spelling and are compared without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, (String, String)>);

impl Tags {
    /// Parses tags under the rules of session tags.
    ///
    /// # Errors
    ///
    /// [`InvalidTags`] says which rule is broken.
    pub fn parse<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, InvalidTags>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut tags = BTreeMap::new();
        for (key, value) in pairs {
            let (key, value) = (key.into(), value.into());
            if tags.len() == MAX_TAGS {
                return Err(InvalidTags::TooMany);
            }
            if !(1..=MAX_KEY_CHARS).contains(&key.chars().count()) || !key.chars().all(is_tag_char) {
                return Err(InvalidTags::Key);
            }
            if value.chars().count() > MAX_VALUE_CHARS || !value.chars().all(is_tag_char) {
                return Err(InvalidTags::Value);
            }
            if is_reserved(&key) || is_reserved(&value) {
                return Err(InvalidTags::Reserved);
            }
            if tags.insert(key.to_lowercase(), (key, value)).is_some() {
                return Err(InvalidTags::Duplicate);
            }
        }
        Ok(Self(tags))
    }

    /// Whether there is no tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tags with their keys as spelt.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.values().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of a key, whatever its case.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(&key.to_lowercase()).map(|(_, value)| value.as_str())
    }

    /// These tags laid over others: where both have a key, whatever its case, these win with their spelling.
    #[must_use]
    pub(crate) fn over(&self, others: &Self) -> Self {
        let mut merged = others.0.clone();
        merged.extend(self.0.clone());
        Self(merged)
    }

    /// The tags whose lower-case key is in the set.
    #[must_use]
    pub(crate) fn only(&self, keys: &BTreeSet<String>) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(key, _)| keys.contains(*key))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        )
    }

    /// The sum of the lengths of keys and values.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// The tags as a map from key to value.
    #[must_use]
    pub(crate) fn to_map(&self) -> BTreeMap<&str, &str> {
        self.iter().collect()
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = BTreeMap::<String, String>::deserialize(deserializer)?;
        Self::parse(pairs).map_err(serde::de::Error::custom)
    }
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`
fn is_tag_char(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || (!c.is_control() && c.is_whitespace()) || "_.:/=+-@".contains(c)
}

fn is_reserved(text: &str) -> bool {
    text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("aws:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_iam() {
        let fifty = (0..50).map(|n| (format!("k{n}"), "v"));
        assert!(Tags::parse(fifty.clone()).is_ok());
        assert_eq!(Tags::parse(fifty.chain([("more".to_owned(), "v")])), Err(InvalidTags::TooMany));
        assert!(Tags::parse([("k".repeat(128), "v".repeat(256))]).is_ok());
        assert_eq!(Tags::parse([("k".repeat(129), "v")]), Err(InvalidTags::Key));
        assert_eq!(Tags::parse([("", "v")]), Err(InvalidTags::Key));
        assert_eq!(Tags::parse([("k", "v".repeat(257))]), Err(InvalidTags::Value));
        assert_eq!(Tags::parse([("k", "a*b")]), Err(InvalidTags::Value));
        assert_eq!(Tags::parse([("k,", "v")]), Err(InvalidTags::Key));
        assert_eq!(Tags::parse([("AWS:k", "v")]), Err(InvalidTags::Reserved));
        assert_eq!(Tags::parse([("k", "aws:v")]), Err(InvalidTags::Reserved));
        assert_eq!(Tags::parse([("Team", "a"), ("team", "b")]), Err(InvalidTags::Duplicate));
        assert!(Tags::parse([("Größe über alles", "ja: 10/2=5 @x_y-z.+")]).is_ok());
    }

    #[test]
    fn a_session_tag_wins_over_a_role_tag_whatever_its_case() {
        let role = Tags::parse([("Team", "role"), ("Stage", "prod")]).unwrap();
        let session = Tags::parse([("team", "session")]).unwrap();
        let merged = session.over(&role);
        assert_eq!(merged.iter().collect::<Vec<_>>(), [("Stage", "prod"), ("team", "session")]);
    }
}
