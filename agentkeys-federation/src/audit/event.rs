use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use agentkeys_core::{
    AgentId, Assurance, AttestedIdentity, ErrorKind, EvidenceKind, InstanceId, Random, RandomError, Subject,
    TenantId, Timestamp, Token,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::aws::{
    AssumeError, AttributedSession, BaseCredentials, RoleArn, RoleSession, RoleSessionName, SessionDuration,
    SourceIdentity,
};
use crate::cloud::{CloudRole, CloudSession, is_name};
use crate::credentials::AwsCredentials;
use crate::exchanger::ExchangeError;

/// The name of one mint in the audit log: `ak-` and 128 random bits as 22 characters of base64url.
///
/// It is a role session's name as it stands, so that a row joins to CloudTrail (W54).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditId(Arc<str>);

impl AuditId {
    /// A fresh one.
    ///
    /// # Errors
    /// [`RandomError`].
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut bits = [0; 16];
        random.fill(&mut bits)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits)).into()))
    }

    /// The name of the one mint that gave this token: [`RoleSessionName::of_token`].
    #[must_use]
    pub fn of_token(token: &Token) -> Self {
        Self(RoleSessionName::of_token(token).as_str().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AuditId {
    type Err = AuditTextError;

    fn from_str(text: &str) -> Result<Self, AuditTextError> {
        let bits = text.strip_prefix(PREFIX).ok_or(AuditTextError::Id)?;
        match URL_SAFE_NO_PAD.decode(bits) {
            Ok(bits) if bits.len() == 16 => Ok(Self(text.into())),
            _ => Err(AuditTextError::Id),
        }
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By which way a token or credentials came about (R66, W55).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MintPath {
    /// A token alone, which the caller exchanges itself.
    OidcJwt,
    /// A token, exchanged here.
    OidcJwtSts,
    /// AssumeRole under what such an exchange gave, which has rows of its own.
    OidcJwtStsAssumeRole,
    /// AssumeRole under credentials of the host's own.
    LegacyAssumeRole,
    /// A token, exchanged at Alibaba Cloud's STS.
    OidcJwtAlibaba,
    /// A token, exchanged at Google Cloud's STS, and what it gave for a service account's token.
    OidcJwtGcp,
    /// A token, exchanged at Tencent Cloud's STS.
    OidcJwtTencent,
}

impl MintPath {
    /// A stable label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OidcJwt => "oidc_jwt",
            Self::OidcJwtSts => "oidc_jwt+sts",
            Self::OidcJwtStsAssumeRole => "oidc_jwt+sts+assume_role",
            Self::LegacyAssumeRole => "legacy_assume_role",
            Self::OidcJwtAlibaba => "oidc_jwt+alibaba_sts",
            Self::OidcJwtGcp => "oidc_jwt+gcp_sts",
            Self::OidcJwtTencent => "oidc_jwt+tencent_sts",
        }
    }

    /// The value that older readers of `requested_role` know this way by; none for the oldest, where they
    /// expect the role's ARN, and for the other clouds, which they do not know.
    #[must_use]
    pub const fn requested_role(self) -> Option<&'static str> {
        match self {
            Self::OidcJwt => Some("oidc_jwt"),
            Self::OidcJwtSts | Self::OidcJwtStsAssumeRole => Some("data-role-via-jwt"),
            Self::LegacyAssumeRole | Self::OidcJwtAlibaba | Self::OidcJwtGcp | Self::OidcJwtTencent => None,
        }
    }
}

/// Whose source identity the session has: nobody's is a value of its own (R108).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribution {
    /// The tenant has no attribution.
    Unattributed,
    /// This one, as AWS logs it (R103).
    Attributed(SourceIdentity),
}

impl Attribution {
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Unattributed => "unattributed",
            Self::Attributed(_) => "source_identity",
        }
    }

    pub(super) const fn identity(&self) -> Option<&SourceIdentity> {
        match self {
            Self::Unattributed => None,
            Self::Attributed(identity) => Some(identity),
        }
    }
}

impl From<Option<&SourceIdentity>> for Attribution {
    fn from(identity: Option<&SourceIdentity>) -> Self {
        identity.cloned().map_or(Self::Unattributed, Self::Attributed)
    }
}

/// An error's stable code: known when the program was written, so that no upstream text becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuditCode(&'static str);

impl AuditCode {
    /// A code: 1 to 64 characters of `a-z 0-9 _`.
    ///
    /// # Errors
    /// [`AuditTextError::Code`].
    pub fn new(code: &'static str) -> Result<Self, AuditTextError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=64).contains(&code.len()) && code.bytes().all(allowed) {
            Ok(Self(code))
        } else {
            Err(AuditTextError::Code)
        }
    }

    /// A code of this family's own errors.
    pub(crate) const fn of(code: &'static str) -> Self {
        Self(code)
    }

    /// The code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<ExchangeError> for AuditCode {
    fn from(error: ExchangeError) -> Self {
        Self(error.code())
    }
}

impl From<AssumeError> for AuditCode {
    fn from(error: AssumeError) -> Self {
        Self(error.code())
    }
}

/// One thing to make durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditEvent<'e> {
    /// What is about to be done.
    Intent(&'e Intent),
    /// How the intent of this id ended.
    Outcome(&'e AuditId, &'e Outcome),
    /// What was refused before there was an intent.
    Refusal(&'e Refusal),
}

impl<'e> AuditEvent<'e> {
    /// Whose row it is.
    #[must_use]
    pub const fn id(&self) -> &'e AuditId {
        match self {
            Self::Intent(intent) => &intent.id,
            Self::Outcome(id, _) => id,
            Self::Refusal(refusal) => &refusal.id,
        }
    }

    /// A stable label of what it is.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Intent(_) => "intent",
            Self::Outcome(..) => "outcome",
            Self::Refusal(_) => "refusal",
        }
    }
}

/// Who it is for, as it was attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) subject: Subject,
    pub(super) agent: AgentId,
    pub(super) tenant: Option<TenantId>,
    pub(super) instance: Option<InstanceId>,
    pub(super) kind: EvidenceKind,
    pub(super) assurance: Assurance,
}

impl Who {
    fn of(identity: &AttestedIdentity) -> Self {
        Self {
            subject: identity.subject(),
            agent: identity.agent().clone(),
            tenant: identity.tenant().cloned(),
            instance: identity.instance().cloned(),
            kind: identity.kind().clone(),
            assurance: identity.assurance(),
        }
    }
}

/// What may be told of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Minted {
    pub(super) jti: String,
    pub(super) kid: String,
    pub(super) expires_at: Timestamp,
}

impl Minted {
    fn of(token: &Token) -> Self {
        Self { jti: token.jti().to_owned(), kid: token.kid().to_owned(), expires_at: token.expires_at() }
    }
}

/// What is asked of the STS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) role: CloudRole,
    /// None where that cloud's sessions have no name.
    pub(super) name: Option<RoleSessionName>,
    pub(super) duration: SessionDuration,
}

/// What is about to be done, for whom. It holds nothing of a token but its `jti`, `kid` and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    id: AuditId,
    pub(super) at: Timestamp,
    pub(super) path: MintPath,
    pub(super) who: Who,
    pub(super) minted: Option<Minted>,
    pub(super) asked: Option<Asked>,
    pub(super) attribution: Attribution,
}

impl Intent {
    /// To let go of `token` itself: [`MintPath::OidcJwt`].
    #[must_use]
    pub fn release(
        id: AuditId,
        at: Timestamp,
        identity: &AttestedIdentity,
        token: &Token,
        attribution: Attribution,
    ) -> Self {
        let (who, minted) = (Who::of(identity), Some(Minted::of(token)));
        Self { id, at, path: MintPath::OidcJwt, who, minted, asked: None, attribution }
    }

    /// To exchange `token` for `session`: [`MintPath::OidcJwtSts`]. The session's name is
    /// [`RoleSessionName::of_token`], its source identity the session's own.
    #[must_use]
    pub fn exchange(
        id: AuditId,
        at: Timestamp,
        identity: &AttestedIdentity,
        token: &Token,
        session: &RoleSession,
    ) -> Self {
        let asked = Asked {
            role: session.role().clone().into(),
            name: Some(RoleSessionName::of_token(token)),
            duration: session.duration(),
        };
        let (who, minted) = (Who::of(identity), Some(Minted::of(token)));
        let attribution = session.source_identity().into();
        Self { id, at, path: MintPath::OidcJwtSts, who, minted, asked: Some(asked), attribution }
    }

    /// To exchange `token` for `session` of another cloud: [`MintPath::OidcJwtAlibaba`] and its like. The
    /// session's name, where that cloud has one, is [`RoleSessionName::of_token`]; no other cloud attributes.
    #[must_use]
    pub fn federate<T: CloudSession>(
        id: AuditId,
        at: Timestamp,
        identity: &AttestedIdentity,
        token: &Token,
        session: &T,
    ) -> Self {
        let asked = Asked {
            role: session.cloud_role(),
            name: T::NAMED.then(|| RoleSessionName::of_token(token)),
            duration: session.lasts(),
        };
        let (who, minted, attribution) =
            (Who::of(identity), Some(Minted::of(token)), Attribution::Unattributed);
        Self { id, at, path: T::PATH, who, minted, asked: Some(asked), attribution }
    }

    /// To assume `role` under credentials of the host's own: [`MintPath::LegacyAssumeRole`]. The session's
    /// name is the audit id.
    #[must_use]
    pub fn assume_role(
        id: AuditId,
        at: Timestamp,
        identity: &AttestedIdentity,
        role: RoleArn,
        duration: SessionDuration,
        attribution: Attribution,
    ) -> Self {
        let asked = Some(Asked { role: role.into(), name: Some(RoleSessionName::from(&id)), duration });
        let (path, who) = (MintPath::LegacyAssumeRole, Who::of(identity));
        Self { id, at, path, who, minted: None, asked, attribution }
    }

    /// To start `session`, signed with `base`: [`MintPath::OidcJwtStsAssumeRole`] where that came out of a
    /// token's exchange, otherwise [`MintPath::LegacyAssumeRole`]. Id, session name and source identity are
    /// the session's own.
    #[must_use]
    pub fn assume(
        at: Timestamp,
        identity: &AttestedIdentity,
        session: &AttributedSession,
        base: &BaseCredentials,
    ) -> Self {
        let path = Self::path_of(base);
        let (role, name, duration) = (session.role().clone().into(), session.name(), session.duration());
        let (who, asked) = (Who::of(identity), Some(Asked { role, name: Some(name), duration }));
        let attribution = Attribution::Attributed(session.source_identity().clone());
        Self { id: session.id().clone(), at, path, who, minted: None, asked, attribution }
    }

    pub(crate) const fn path_of(base: &BaseCredentials) -> MintPath {
        if base.are_exchanged() { MintPath::OidcJwtStsAssumeRole } else { MintPath::LegacyAssumeRole }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &AuditId {
        &self.id
    }
}

/// How an intent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub(super) at: Timestamp,
    pub(super) kind: OutcomeKind,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) access_key_id: Option<String>,
    pub(super) code: Option<AuditCode>,
}

/// How an intent ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutcomeKind {
    /// There are credentials or a token, about to be let go.
    Issued,
    /// The STS understood and refused.
    Refused,
    /// There was no answer, or none of use.
    Failed,
    /// There were credentials, and they are not let go.
    Withheld,
}

impl OutcomeKind {
    /// A stable label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Withheld => "withheld",
        }
    }
}

impl Outcome {
    /// Something that ends at `expires_at` is about to be let go.
    #[must_use]
    pub const fn issued(at: Timestamp, expires_at: Timestamp) -> Self {
        let (kind, expires_at) = (OutcomeKind::Issued, Some(expires_at));
        Self { at, kind, expires_at, access_key_id: None, code: None }
    }

    /// These credentials are about to be let go. Their access key id joins to CloudTrail; one that does not
    /// have AWS's form, 16 to 128 letters, digits and `_`, is left out.
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html>
    #[must_use]
    pub fn credentials(at: Timestamp, credentials: &AwsCredentials) -> Self {
        let mut outcome = Self::issued(at, credentials.expires_at());
        let key = credentials.access_key_id();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if (16..=128).contains(&key.len()) && key.bytes().all(allowed) {
            outcome.access_key_id = Some(key.to_owned());
        }
        outcome
    }

    /// Another cloud's credentials are about to be let go. What names them in that cloud's log is kept where it
    /// is 16 to 128 letters, digits and `_ - .`.
    #[must_use]
    pub fn federated<T: CloudSession>(at: Timestamp, credentials: &T::Credentials) -> Self {
        let (expires_at, name) = T::told(credentials);
        let access_key_id = name.filter(|name| name.len() >= 16 && is_name(name, 128, b"_-."));
        Self { access_key_id: access_key_id.map(str::to_owned), ..Self::issued(at, expires_at) }
    }

    /// The exchange did not succeed: refused where nothing but a change on AWS's side or ours mends it,
    /// failed where it may mend itself.
    #[must_use]
    pub fn of_exchange(at: Timestamp, error: ExchangeError) -> Self {
        Self::of_kind(at, error.kind(), error.into())
    }

    /// The assumption did not succeed: the same, and withheld where the identity ended while the STS gave
    /// credentials.
    #[must_use]
    pub fn of_assumption(at: Timestamp, error: AssumeError) -> Self {
        match error {
            AssumeError::IdentityEnded => Self::withheld(at, error.into()),
            _ => Self::of_kind(at, error.kind(), error.into()),
        }
    }

    const fn of_kind(at: Timestamp, kind: ErrorKind, code: AuditCode) -> Self {
        match kind {
            ErrorKind::Unavailable => Self::failed(at, code),
            _ => Self::refused(at, code),
        }
    }

    /// It was refused.
    #[must_use]
    pub const fn refused(at: Timestamp, code: AuditCode) -> Self {
        Self::nothing(at, OutcomeKind::Refused, code)
    }

    /// It came to nothing.
    #[must_use]
    pub const fn failed(at: Timestamp, code: AuditCode) -> Self {
        Self::nothing(at, OutcomeKind::Failed, code)
    }

    /// There were credentials, and they are not let go.
    #[must_use]
    pub const fn withheld(at: Timestamp, code: AuditCode) -> Self {
        Self::nothing(at, OutcomeKind::Withheld, code)
    }

    const fn nothing(at: Timestamp, kind: OutcomeKind, code: AuditCode) -> Self {
        Self { at, kind, expires_at: None, access_key_id: None, code: Some(code) }
    }

    /// How it ended.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        self.kind
    }
}

/// What was refused before there was an intent. What is not known stays unknown: nothing stands in for it
/// (W61).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    id: AuditId,
    pub(super) at: Timestamp,
    pub(super) code: AuditCode,
    pub(super) path: Option<MintPath>,
    pub(super) who: Option<Who>,
    pub(super) role: Option<CloudRole>,
}

impl Refusal {
    /// A refusal for the reason of this code.
    #[must_use]
    pub const fn new(id: AuditId, at: Timestamp, code: AuditCode) -> Self {
        Self { id, at, code, path: None, who: None, role: None }
    }

    /// With the identity, where one was attested.
    #[must_use]
    pub fn with_identity(mut self, identity: &AttestedIdentity) -> Self {
        self.who = Some(Who::of(identity));
        self
    }

    /// With what was wanted.
    #[must_use]
    pub const fn with_path(mut self, path: MintPath) -> Self {
        self.path = Some(path);
        self
    }

    /// With the role that was wanted.
    #[must_use]
    pub fn with_role(mut self, role: impl Into<CloudRole>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &AuditId {
        &self.id
    }
}

/// Why a text cannot stand in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditTextError {
    /// Not a code.
    #[error("a code is 1 to 64 characters of a-z 0-9 _")]
    Code,
    /// Not an audit id.
    #[error("an audit id is ak- and 22 characters of base64url")]
    Id,
}

const PREFIX: &str = "ak-";

#[cfg(test)]
mod tests {
    use agentkeys_core::testing::SeededRandom;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn w54_an_audit_id_is_128_bits_and_a_role_sessions_name() {
        let id = AuditId::generate(&*SeededRandom::new(7)).unwrap();
        assert_eq!(id.as_str(), "ak-AAAAAAAAAAgAAAAAAAAACQ");
        let name: RoleSessionName = id.as_str().parse().unwrap();
        assert_eq!((name.as_str(), RoleSessionName::from(&id)), (id.as_str(), name.clone()));
        assert_eq!(id.as_str().parse(), Ok(id));
        for bad in [
            "",
            "ak-",
            "AAAAAAAAAAgAAAAAAAAACQ",
            "AK-AAAAAAAAAAgAAAAAAAAACQ",
            "ak-AAAAAAAAAAgAAAAAAAAAC",
            "ak-AAAAAAAAAAgAAAAAAAAACQA",
            "ak-AAAAAAAAAAgAAAAAAAAACR",
            "ak-AAAAAAAAAAgAAAAAAAAA+Q",
            "ak-AAAAAAAAAAgAAAAAAAAACQ==",
        ] {
            assert_eq!(bad.parse::<AuditId>(), Err(AuditTextError::Id), "{bad}");
        }
    }

    #[test]
    fn w55_the_ways_of_minting_are_told_apart() {
        let all = [
            MintPath::OidcJwt,
            MintPath::OidcJwtSts,
            MintPath::OidcJwtStsAssumeRole,
            MintPath::LegacyAssumeRole,
            MintPath::OidcJwtAlibaba,
            MintPath::OidcJwtGcp,
            MintPath::OidcJwtTencent,
        ];
        let told = all.map(|path| (path.as_str(), path.requested_role()));
        assert_eq!(
            told,
            [
                ("oidc_jwt", Some("oidc_jwt")),
                ("oidc_jwt+sts", Some("data-role-via-jwt")),
                ("oidc_jwt+sts+assume_role", Some("data-role-via-jwt")),
                ("legacy_assume_role", None),
                ("oidc_jwt+alibaba_sts", None),
                ("oidc_jwt+gcp_sts", None),
                ("oidc_jwt+tencent_sts", None),
            ]
        );
    }

    #[test]
    fn r103_r108_attribution_is_stated() {
        let identity = SourceIdentity::agent("acme", "01JZ:7").unwrap();
        for (attribution, label, value) in [
            (Attribution::from(None), "unattributed", None),
            (Attribution::from(Some(&identity)), "source_identity", Some("agent+acme+01JZ=3A7")),
        ] {
            assert_eq!(attribution.as_str(), label);
            assert_eq!(attribution.identity().map(SourceIdentity::as_str), value);
        }
    }

    #[test]
    fn w61_codes_are_stable_words() {
        assert!(AuditCode::new("sts_access_denied").is_ok());
        for bad in ["", "(unauthenticated)", "A", "a-b", "a b"] {
            assert_eq!(AuditCode::new(bad), Err(AuditTextError::Code), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn w54_only_what_generate_gives_is_an_audit_id(text in "ak-[A-Za-z0-9_-]{20,24}", bits: [u8; 16]) {
            let good = AuditId(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits)).into());
            prop_assert_eq!(good.as_str().parse(), Ok(good));
            let read = text.parse::<AuditId>();
            prop_assert_eq!(read.is_ok(), URL_SAFE_NO_PAD.decode(&text[3..]).is_ok_and(|bits| bits.len() == 16));
        }
    }
}
