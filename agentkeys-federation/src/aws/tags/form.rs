/// How the token writes session tags: whoever exchanges it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TagsForm {
    /// AWS's own: one claim, `https://aws.amazon.com/tags`, each value in an array of one.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp>
    Nested,
    /// For S3-compatible servers that read nothing else: `https://aws.amazon.com/tags/principal_tags`, each
    /// value a string, and `https://aws.amazon.com/tags/transitive_tag_keys`.
    Flat,
}

impl TagsForm {
    /// A stable label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Flat => "flat",
        }
    }
}
