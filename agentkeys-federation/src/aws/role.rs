use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use agentkeys_core::{Audience, ExtraClaims, IssuerError, MintError, MintRequest, Token, TokenLifetime};

use super::account::{ACCOUNT_DIGITS, AccountId, Partition};
use super::source_identity::{SOURCE_IDENTITY_CLAIM, SourceIdentity};
use super::tags::{PackedSize, SessionTags, TagsForm};
use crate::audit::AuditId;
use crate::source::KeyParts;

/// An IAM role's ARN: `arn:<partition>:iam::<12 digits>:role/<path><name>`, compared as a whole (W79, L3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    text: String,
    account_at: usize,
    name_at: usize,
}

impl RoleArn {
    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The partition: `aws`, `aws-cn`, `aws-us-gov`, …
    #[must_use]
    pub fn partition(&self) -> &str {
        self.text.split(':').nth(1).unwrap_or_default()
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &str {
        self.text.get(self.account_at..self.account_at + ACCOUNT_DIGITS).unwrap_or_default()
    }

    /// The role's name without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(self.name_at..).unwrap_or_default()
    }

    /// The ARN that STS gives a session of this role: the path is not in it.
    #[must_use]
    pub fn session_arn(&self, session: &RoleSessionName) -> String {
        let (partition, account, name) = (self.partition(), self.account(), self.name());
        format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}")
    }
}

impl FromStr for RoleArn {
    type Err = RoleError;

    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns>
    fn from_str(text: &str) -> Result<Self, RoleError> {
        if text.len() > MAX_ROLE_ARN {
            return Err(RoleError::Arn);
        }
        let rest = text.strip_prefix("arn:").ok_or(RoleError::Arn)?;
        let (partition, rest) = rest.split_once(":iam::").ok_or(RoleError::Arn)?;
        let (account, role) = rest.split_once(":role/").ok_or(RoleError::Arn)?;
        let partition_ok = partition.parse::<Partition>().is_ok();
        let account_ok = account.parse::<AccountId>().is_ok();
        let name = role.rsplit('/').next().unwrap_or_default();
        let name_ok = (1..=64).contains(&name.len()) && name.bytes().all(is_session_byte);
        let path = role.strip_suffix(name).unwrap_or_default();
        let path_ok = path.len() < 512
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b':')
            && !path.contains("//")
            && !path.starts_with('/');
        if !(partition_ok && account_ok && name_ok && path_ok) {
            return Err(RoleError::Arn);
        }
        let account_at = "arn:".len() + partition.len() + ":iam::".len();
        Ok(Self { text: text.to_owned(), account_at, name_at: text.len() - name.len() })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A role session's name: 2 to 64 characters of `A-Z a-z 0-9 _ + = , . @ -`. Never cut (W54).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleSessionName(String);

impl RoleSessionName {
    /// `ak-` and the token's `jti`: unique, and the same in our audit row and in CloudTrail (W45).
    #[must_use]
    pub fn of_token(token: &Token) -> Self {
        // a jti of ours is 22 base64url characters
        Self(format!("ak-{}", token.jti()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&AuditId> for RoleSessionName {
    /// The same text: every audit id has a session name's form, so that CloudTrail joins to the row (W54).
    fn from(id: &AuditId) -> Self {
        Self(id.as_str().to_owned())
    }
}

impl From<&SourceIdentity> for RoleSessionName {
    /// The same text: both have one charset and one length, so nothing is replaced or cut (W72).
    fn from(identity: &SourceIdentity) -> Self {
        Self(identity.as_str().to_owned())
    }
}

impl FromStr for RoleSessionName {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        if (2..=64).contains(&text.len()) && text.bytes().all(is_session_byte) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RoleError::SessionName)
        }
    }
}

impl fmt::Display for RoleSessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a role session lasts: 900 to 43,200 seconds, and no longer than the role allows (W62).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionDuration(u32);

impl SessionDuration {
    /// The least that AWS gives: 15 minutes. What ends soon is stolen for little.
    pub const MIN: Self = Self(900);

    /// As long as AWS lets a chained session last: an hour.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>
    pub const MAX_CHAINED: Self = Self(3600);

    /// As long as AWS lets a role's session last at all: twelve hours.
    pub const MAX: Self = Self(43_200);

    /// A duration.
    ///
    /// # Errors
    /// [`RoleError::Duration`].
    pub const fn from_secs(seconds: u32) -> Result<Self, RoleError> {
        if seconds < Self::MIN.0 || seconds > Self::MAX.0 {
            return Err(RoleError::Duration);
        }
        Ok(Self(seconds))
    }

    /// Seconds.
    #[must_use]
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    pub(crate) const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

/// A region's name: what the STS endpoint is made of. There is no default (R74).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let shaped = text.split('-').count() >= 3 && text.split('-').all(|part| !part.is_empty());
        // `aws-global` is how the SDK spells the global endpoint, which is not a region
        if text.len() <= 32 && text.bytes().all(allowed) && shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err(RoleError::Region)
        }
    }
}

/// What is wanted of AWS for an agent: the role, its tags, how long.
///
/// It writes both halves: the claims that the token must carry ([`RoleSession::mint_request`]) and what
/// [`crate::AwsExchanger`] asks for. The token names the role, so that it opens no other (L25).
#[derive(Clone, Debug)]
pub struct RoleSession {
    role: RoleArn,
    tags: SessionTags,
    tags_form: TagsForm,
    source_identity: Option<SourceIdentity>,
    duration: SessionDuration,
    token_lifetime: TokenLifetime,
}

impl RoleSession {
    /// A session of `role` without tags and unattributed, for [`SessionDuration::MIN`].
    #[must_use]
    pub fn new(role: RoleArn) -> Self {
        let (tags, tags_form) = (SessionTags::new(), TagsForm::Nested);
        let (duration, token_lifetime) = (SessionDuration::MIN, TokenLifetime::DEFAULT);
        Self { role, tags, tags_form, source_identity: None, duration, token_lifetime }
    }

    /// With these session tags.
    #[must_use]
    pub fn with_tags(mut self, tags: SessionTags) -> Self {
        self.tags = tags;
        self
    }

    /// With the tags written as this target reads them.
    #[must_use]
    pub const fn with_tags_form(mut self, form: TagsForm) -> Self {
        self.tags_form = form;
        self
    }

    /// With a source identity: AWS writes it on every call of this session and of those chained to it (R99).
    /// The role's trust policy must allow `sts:SetSourceIdentity`, otherwise AWS refuses the token.
    #[must_use]
    pub fn with_source_identity(mut self, source_identity: SourceIdentity) -> Self {
        self.source_identity = Some(source_identity);
        self
    }

    /// With another duration.
    #[must_use]
    pub const fn with_duration(mut self, duration: SessionDuration) -> Self {
        self.duration = duration;
        self
    }

    /// With a token of another lifetime: how long it can be exchanged.
    #[must_use]
    pub const fn with_token_lifetime(mut self, lifetime: TokenLifetime) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> &RoleArn {
        &self.role
    }

    /// Who acts in it, or none where it is unattributed (R108).
    #[must_use]
    pub const fn source_identity(&self) -> Option<&SourceIdentity> {
        self.source_identity.as_ref()
    }

    /// How long the session lasts.
    #[must_use]
    pub const fn duration(&self) -> SessionDuration {
        self.duration
    }

    /// What its tags take of what AWS allows.
    #[must_use]
    pub fn packed_size_estimate(&self) -> PackedSize {
        self.tags.packed_size_estimate()
    }

    /// All that tells this role session from another: a field that is not here would be shared by mistake.
    pub(crate) fn key_parts(&self, parts: &mut KeyParts) {
        // how long a token can be exchanged says nothing of what it is exchanged for
        let Self { role, tags, tags_form, source_identity, duration, token_lifetime: _ } = self;
        parts.text(role.as_str());
        tags.key_parts(parts);
        parts.text(tags_form.as_str());
        parts.optional(source_identity.as_ref().map(SourceIdentity::as_str));
        parts.number(duration.as_secs().into());
    }

    /// What to mint: a token for AWS's STS with the tags, the source identity and the role pin inside.
    ///
    /// # Errors
    /// [`MintError`] never in practice: the claims are ours and well formed.
    pub fn mint_request(&self) -> Result<MintRequest, MintError> {
        let audience = Audience::parse(STS_AUDIENCE).map_err(|_: IssuerError| MintError::Claim)?;
        let mut claims = ExtraClaims::new().with(ROLES_CLAIM, [self.role.as_str()])?;
        if !self.tags.is_empty() {
            claims = self.tags.write(self.tags_form, claims)?;
        }
        if let Some(identity) = &self.source_identity {
            claims = claims.with(SOURCE_IDENTITY_CLAIM, identity.as_str())?;
        }
        Ok(MintRequest::new(audience).with_lifetime(self.token_lifetime).with_claims(claims))
    }
}

/// Why a text or number is not what AWS takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// Not an account.
    #[error("an account is twelve digits")]
    Account,
    /// Not a role's ARN.
    #[error("a role ARN is arn:<partition>:iam::<12 digits>:role/<path and name>")]
    Arn,
    /// Not a session's duration.
    #[error("a session lasts 900 to 43200 seconds")]
    Duration,
    /// Not a KMS key's ARN.
    #[error("a key ARN is arn:<partition>:kms:<region>:<12 digits>:key/<id>")]
    KeyArn,
    /// Not a partition.
    #[error("a partition is named like aws or aws-cn")]
    Partition,
    /// Not a region.
    #[error("a region is named like us-east-1")]
    Region,
    /// Not a session's name.
    #[error("a role session name is 2 to 64 characters of A-Z a-z 0-9 _ + = , . @ -")]
    SessionName,
}

/// `[\w+=,.@-]`, ASCII.
pub(super) const fn is_session_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}

/// The audience of tokens for AWS (R38).
pub(super) const STS_AUDIENCE: &str = "sts.amazonaws.com";

/// The claim that pins the token to its role.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html>
const ROLES_CLAIM: &str = "https://aws.amazon.com/roles";

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
const MAX_ROLE_ARN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w79_l3_role_arns_are_parsed_whole() {
        let arn: RoleArn = "arn:aws-cn:iam::123456789012:role/a/b/name".parse().unwrap();
        assert_eq!((arn.partition(), arn.account(), arn.name()), ("aws-cn", "123456789012", "name"));
        let session = "ak-x".parse().unwrap();
        assert_eq!(arn.session_arn(&session), "arn:aws-cn:sts::123456789012:assumed-role/name/ak-x");
        for bad in [
            "",
            "role/x",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role//x",
            "arn:aws:iam::123456789012:role/a//x",
            "arn:aws:iam::12345678901:role/x",
            "arn:aws:iam::1234567890123:role/x",
            "arn:aws:iam::12345678901a:role/x",
            "arn:aws:iam::123456789012:user/x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
            "arn:aws:iam:us-east-1:123456789012:role/x",
            "arn:gcp:iam::123456789012:role/x",
            "arn:aws-:iam::123456789012:role/x",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:iam::123456789012:role/x y",
            "arn:aws:iam::123456789012:role/x:role/y",
            "arn:aws:iam::123456789012:role/é",
            " arn:aws:iam::123456789012:role/x",
        ] {
            assert!(bad.parse::<RoleArn>().is_err(), "{bad}");
        }
        let long = format!("arn:aws:iam::123456789012:role/{}", "n".repeat(65));
        assert!(long.parse::<RoleArn>().is_err());
    }

    #[test]
    fn w54_session_names_have_awss_form_and_are_never_cut() {
        assert!("ak-_+=,.@9".parse::<RoleSessionName>().is_ok());
        for bad in ["", "a", "a b", "a:b", "a/b", "é-", &"a".repeat(65)] {
            assert!(bad.parse::<RoleSessionName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn w72_a_session_name_may_be_the_source_identity_as_it_is() {
        let identity = SourceIdentity::agent("a:b", &"s".repeat(51)).unwrap();
        let name = RoleSessionName::from(&identity);
        assert_eq!(name.as_str(), identity.as_str());
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
    }

    #[test]
    fn w62_durations_are_awss() {
        assert!(SessionDuration::from_secs(900).is_ok() && SessionDuration::from_secs(43_200).is_ok());
        for bad in [0, 899, 43_201, u32::MAX] {
            assert_eq!(SessionDuration::from_secs(bad), Err(RoleError::Duration));
        }
    }

    #[test]
    fn r74_regions_are_named_and_never_the_global_endpoint() {
        for good in ["us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1"] {
            assert!(good.parse::<Region>().is_ok(), "{good}");
        }
        for bad in ["", "us-east", "aws-global", "US-EAST-1", "us-east-1.evil.example", "us--1", "a/b-c-d"] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }
}
