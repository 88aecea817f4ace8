use std::collections::BTreeMap;

use agentkeys_core::{AttestedIdentity, ExtraClaims, MintError};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::actor::{ActorOmni, Wallet};
use crate::data_class::DataClass;
use crate::source::KeyParts;

mod form;
mod packed;

pub use form::TagsForm;
pub use packed::{PACKED_WARNING, PackedSize};

/// Session tags, as the token carries them: each limit of AWS is checked here, before anything is signed.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>
///
/// At most [`MAX_TAGS`]; keys 1 to 128 and values 0 to 256 characters of letters, spaces, numbers and
/// `_ . : / = + - @`; keys unique without regard to case; nothing begins with `aws:`. A tag has one value by
/// construction: two would open both actors' data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTags(BTreeMap<String, Tag>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    value: String,
    transitive: bool,
}

impl SessionTags {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The tag that says who this agent is, [`TAG_ACTOR_OMNI`], transitive.
    #[must_use]
    pub fn of(identity: &AttestedIdentity) -> Self {
        Self::new().with_actor(&ActorOmni::of(identity))
    }

    /// With [`TAG_ACTOR_OMNI`], transitive.
    #[must_use]
    pub fn with_actor(self, actor: &ActorOmni) -> Self {
        self.put(TAG_ACTOR_OMNI, actor.as_str(), true)
    }

    /// With [`TAG_USER_WALLET`], transitive; from the host's own context. Without it there is no such tag:
    /// a missing wallet stays missing, and a policy's `Null` test denies (W53).
    #[must_use]
    pub fn with_wallet(self, wallet: &Wallet) -> Self {
        self.put(TAG_USER_WALLET, wallet.as_str(), true)
    }

    /// With [`TAG_DATA_CLASS`], transitive, for roles and buckets that are of one class (W68).
    #[must_use]
    pub fn with_data_class(self, class: DataClass) -> Self {
        self.put(TAG_DATA_CLASS, class.as_str(), true)
    }

    /// With a tag of the host's own, transitive or not.
    ///
    /// # Errors
    /// [`TagError`]; `agentkeys_` keys have methods of their own (W52).
    pub fn with(self, key: &str, value: &str, transitive: bool) -> Result<Self, TagError> {
        let folded = key.to_lowercase();
        if folded.starts_with(OWN_PREFIX) {
            return Err(TagError::OwnKey);
        }
        if folded.starts_with(AWS_PREFIX) || value.to_lowercase().starts_with(AWS_PREFIX) {
            return Err(TagError::AwsPrefix);
        }
        if !(1..=MAX_KEY).contains(&key.chars().count()) || !key.chars().all(is_tag_char) {
            return Err(TagError::Key);
        }
        if value.chars().count() > MAX_VALUE || !value.chars().all(is_tag_char) {
            return Err(TagError::Value);
        }
        if self.0.keys().any(|known| known.to_lowercase() == folded) {
            return Err(TagError::Doubled);
        }
        // the keys of ours have their room kept
        if self.0.keys().filter(|known| !known.starts_with(OWN_PREFIX)).count() >= MAX_TAGS - OWN_KEYS {
            return Err(TagError::TooMany);
        }
        Ok(self.put(key, value, transitive))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What these tags take of what AWS allows. It is an estimate: see [`PackedSize`].
    #[must_use]
    pub fn packed_size_estimate(&self) -> PackedSize {
        PackedSize::of(self.0.iter().map(|(key, tag)| (key.as_str(), tag.value.as_str())))
    }

    /// The claims that carry them in this form.
    pub(super) fn write(&self, form: TagsForm, claims: ExtraClaims) -> Result<ExtraClaims, MintError> {
        match form {
            TagsForm::Nested => claims.with(TAGS_CLAIM, self),
            TagsForm::Flat => {
                let tags: BTreeMap<&str, &str> =
                    self.0.iter().map(|(key, tag)| (key.as_str(), tag.value.as_str())).collect();
                claims.with(FLAT_TAGS_CLAIM, tags)?.with(FLAT_TRANSITIVE_CLAIM, self.transitive())
            }
        }
    }

    pub(super) fn key_parts(&self, parts: &mut KeyParts) {
        parts.number(self.0.len() as u64);
        for (key, tag) in &self.0 {
            parts.text(key);
            parts.text(&tag.value);
            parts.number(tag.transitive.into());
        }
    }

    fn transitive(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, tag)| tag.transitive).map(|(key, _)| key.as_str()).collect()
    }

    fn put(mut self, key: &str, value: &str, transitive: bool) -> Self {
        self.0.insert(key.to_owned(), Tag { value: value.to_owned(), transitive });
        self
    }
}

impl Serialize for SessionTags {
    /// `{"principal_tags": {"k": ["v"]}, "transitive_tag_keys": ["k"]}`: one-element arrays, as measured.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tags: BTreeMap<&str, [&str; 1]> =
            self.0.iter().map(|(key, tag)| (key.as_str(), [tag.value.as_str()])).collect();
        let mut claim = serializer.serialize_struct("SessionTags", 2)?;
        claim.serialize_field("principal_tags", &tags)?;
        claim.serialize_field("transitive_tag_keys", &self.transitive())?;
        claim.end()
    }
}

/// Why a tag is not one that AWS takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// A key or value begins with `aws:`.
    #[error("tag keys and values do not begin with aws:")]
    AwsPrefix,
    /// The key is there already, in this or another case.
    #[error("a tag key stands twice; case makes no difference")]
    Doubled,
    /// Not a key.
    #[error("a tag key is 1 to {MAX_KEY} letters, spaces, numbers or _ . : / = + - @")]
    Key,
    /// A key that begins with `agentkeys_`.
    #[error("tag keys that begin with agentkeys_ are set by methods of their own")]
    OwnKey,
    /// One too many.
    #[error("a session has at most {MAX_TAGS} tags, {OWN_KEYS} of them ours")]
    TooMany,
    /// Not a value.
    #[error("a tag value is at most {MAX_VALUE} letters, spaces, numbers or _ . : / = + - @")]
    Value,
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`
fn is_tag_char(c: char) -> bool {
    let group = c.general_category_group();
    matches!(
        group,
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Separator | GeneralCategoryGroup::Number
    ) || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
}

/// The claim that AWS reads session tags from.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp>
pub const TAGS_CLAIM: &str = "https://aws.amazon.com/tags";

/// The key that policies scope an agent by (R52).
pub const TAG_ACTOR_OMNI: &str = "agentkeys_actor_omni";

/// The key of the older scope (R52, R54).
pub const TAG_USER_WALLET: &str = "agentkeys_user_wallet";

/// The key of the class of data that a session is for (W68).
pub const TAG_DATA_CLASS: &str = "agentkeys_data_class";

/// The most tags in a session.
pub const MAX_TAGS: usize = 50;

const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;
const AWS_PREFIX: &str = "aws:";
const OWN_PREFIX: &str = "agentkeys_";
const OWN_KEYS: usize = 3;

/// <https://github.com/seaweedfs/seaweedfs> reads these two.
const FLAT_TAGS_CLAIM: &str = "https://aws.amazon.com/tags/principal_tags";
const FLAT_TRANSITIVE_CLAIM: &str = "https://aws.amazon.com/tags/transitive_tag_keys";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r52_w47_the_claim_has_one_element_arrays_and_the_transitive_keys() {
        let tags = SessionTags::new()
            .with_actor(&"a".repeat(64).parse().unwrap())
            .with("team", "blue sky/9", false)
            .unwrap();
        let json = serde_json::to_value(&tags).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "principal_tags": { "agentkeys_actor_omni": ["a".repeat(64)], "team": ["blue sky/9"] },
                "transitive_tag_keys": ["agentkeys_actor_omni"],
            })
        );
    }

    #[test]
    fn w53_a_missing_wallet_stays_missing() {
        let tags = SessionTags::new().with_actor(&"a".repeat(64).parse().unwrap());
        assert!(!serde_json::to_string(&tags).unwrap().contains("wallet"));
        let wallet = format!("0x{}", "b".repeat(40)).parse().unwrap();
        assert!(serde_json::to_string(&tags.with_wallet(&wallet)).unwrap().contains("agentkeys_user_wallet"));
    }

    #[test]
    fn l24_every_limit_of_aws_is_checked_before_signing() {
        let tags = || SessionTags::new().with("Team", "x", false).unwrap();
        for (key, value, error) in [
            ("team", "x", TagError::Doubled),
            ("TEAM", "x", TagError::Doubled),
            ("aws:x", "x", TagError::AwsPrefix),
            ("AWS:x", "x", TagError::AwsPrefix),
            ("k", "aws:x", TagError::AwsPrefix),
            ("k", "Aws:x", TagError::AwsPrefix),
            ("agentkeys_actor_omni", "x", TagError::OwnKey),
            ("AgentKeys_User_Wallet", "x", TagError::OwnKey),
            ("agentkeys_data_class", "vault", TagError::OwnKey),
            ("aws:", "x", TagError::AwsPrefix),
            ("k", "AWS:", TagError::AwsPrefix),
            ("k", "\t", TagError::Value),
            ("", "x", TagError::Key),
            ("k*", "x", TagError::Key),
            ("k\u{301}", "x", TagError::Key),
            ("k\n", "x", TagError::Key),
            ("k", "a,b", TagError::Value),
            ("k", "a*", TagError::Value),
            ("k", "${aws", TagError::Value),
            ("k", "\u{1f600}", TagError::Value),
        ] {
            assert_eq!(tags().with(key, value, false), Err(error), "{key} {value}");
        }
        assert_eq!(tags().with(&"k".repeat(129), "x", false), Err(TagError::Key));
        assert_eq!(tags().with("k", &"v".repeat(257), false), Err(TagError::Value));
        assert!(tags().with(&"é".repeat(128), &"日".repeat(256), false).is_ok());
        assert!(tags().with("empty", "", false).is_ok());
        let mut full = SessionTags::new();
        for at in 0..MAX_TAGS - OWN_KEYS {
            full = full.with(&format!("k{at}"), "v", false).unwrap();
        }
        assert_eq!(full.clone().with("one-more", "v", false), Err(TagError::TooMany));
        let wallet = format!("0x{}", "b".repeat(40)).parse().unwrap();
        let full = full.with_actor(&"a".repeat(64).parse().unwrap()).with_wallet(&wallet);
        let full = full.with_data_class("vault".parse().unwrap());
        assert_eq!(full.0.len(), MAX_TAGS);
        assert_eq!(full.with("one-more", "v", false), Err(TagError::TooMany));
    }

    #[test]
    fn l24_the_longest_keys_and_values_are_counted_in_characters() {
        let tags = SessionTags::new();
        for (key, value, error) in [
            ("é".repeat(129), String::new(), TagError::Key),
            ("k".to_owned(), "日".repeat(257), TagError::Value),
        ] {
            assert_eq!(tags.clone().with(&key, &value, false), Err(error));
        }
    }

    #[test]
    fn w68_the_class_of_data_is_a_transitive_tag_and_one_value() {
        let tags = SessionTags::new()
            .with_data_class("memory".parse().unwrap())
            .with_data_class("vault".parse().unwrap());
        assert_eq!(
            serde_json::to_value(&tags).unwrap(),
            serde_json::json!({
                "principal_tags": { "agentkeys_data_class": ["vault"] },
                "transitive_tag_keys": ["agentkeys_data_class"],
            })
        );
    }

    #[test]
    fn w47_each_form_writes_its_own_claims_and_not_the_others() {
        let tags = SessionTags::new().with_actor(&"a".repeat(64).parse().unwrap());
        let names = |form| format!("{:?}", tags.write(form, ExtraClaims::new()).unwrap());
        let (nested, flat) = (names(TagsForm::Nested), names(TagsForm::Flat));
        assert!(nested.contains("amazon.com/tags\\\"") && !nested.contains("principal_tags"), "{nested}");
        for claim in [FLAT_TAGS_CLAIM, FLAT_TRANSITIVE_CLAIM] {
            assert!(flat.contains(claim), "{flat}");
        }
        assert!(!flat.contains("amazon.com/tags\\\""), "{flat}");
    }
}
