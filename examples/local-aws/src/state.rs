//! The state file: what the account holds when the server starts.
//!
//! Every member is documented at its field. Unknown members are refused, and so is every name that AWS would not take,
//! with the line and the column of the mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::names::{
    AccessKeyId, AccountId, BucketName, IamPath, ProviderUrl, Region, RoleName, SessionName,
    SourceIdentity, UniqueId, UserName,
};
use crate::policy::{IdentityPolicy, ResourcePolicy, TrustPolicy};
use crate::secret::Secret;
use crate::tags::Tags;

/// Everything that one account holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct State {
    /// The account id.
    pub account: AccountId,
    /// The one region that requests must be signed for.
    pub region: Region,
    /// What `aws:SecureTransport` says. The server speaks plain HTTP, so by default it says `false`; set it to `true`
    /// to try policies that deny requests without TLS.
    #[serde(default)]
    pub secure_transport: bool,
    /// The organization, if the account is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<Organization>,
    /// Outbound identity federation: `GetWebIdentityToken`.
    #[serde(default)]
    pub outbound_federation: OutboundFederation,
    /// The registered OIDC providers.
    #[serde(default)]
    pub oidc_providers: Vec<OidcProvider>,
    /// The roles.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// The IAM users.
    #[serde(default)]
    pub users: Vec<User>,
    /// The buckets.
    #[serde(default)]
    pub buckets: Vec<Bucket>,
    /// Sessions that exist already, as EKS Pod Identity makes them for a workload.
    #[serde(default)]
    pub workload_sessions: Vec<WorkloadSession>,
}

/// The organization that the account is in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Organization {
    /// Its id, `o-…`.
    pub org_id: String,
    /// The account's paths in it, each ending in `/`.
    pub ou_path: Vec<String>,
}

/// Whether the account issues tokens of its own, and under which issuer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OutboundFederation {
    /// Whether `GetWebIdentityToken` answers.
    pub enabled: bool,
    /// The path of the issuer; random if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_uuid: Option<Uuid>,
}

impl Default for OutboundFederation {
    fn default() -> Self {
        Self {
            enabled: true,
            issuer_uuid: None,
        }
    }
}

/// An OIDC provider of the account.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OidcProvider {
    /// Equal byte for byte to the `iss` of its tokens.
    pub url: ProviderUrl,
    /// The audiences that its tokens may have.
    pub client_ids: BTreeSet<String>,
}

/// A role.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Role {
    /// Its name, without the path.
    pub name: RoleName,
    /// Its path, `/` if not given.
    #[serde(default = "IamPath::root")]
    pub path: IamPath,
    /// Its unique id, `AROA…`; derived from the name if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_id: Option<UniqueId>,
    /// Who may assume it.
    pub trust_policy: TrustPolicy,
    /// What its sessions may do.
    #[serde(default)]
    pub policies: Vec<IdentityPolicy>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
    /// The longest session, 3600 to 43200 seconds; 3600 if not given.
    #[serde(default)]
    pub max_session_duration: MaxSessionDuration,
}

impl Role {
    /// A role at the path `/` with no policies, no tags and sessions of at most an hour.
    #[must_use]
    pub fn new(name: RoleName, trust_policy: TrustPolicy) -> Self {
        Self {
            name,
            path: IamPath::root(),
            role_id: None,
            trust_policy,
            policies: Vec::new(),
            tags: Tags::default(),
            max_session_duration: MaxSessionDuration::default(),
        }
    }
}

/// The longest session of a role in seconds: 3600 to 43200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct MaxSessionDuration(u32);

impl MaxSessionDuration {
    /// The duration in seconds.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl Default for MaxSessionDuration {
    fn default() -> Self {
        Self(3600)
    }
}

impl TryFrom<u32> for MaxSessionDuration {
    type Error = &'static str;

    fn try_from(seconds: u32) -> Result<Self, Self::Error> {
        if (3600..=43200).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err("max_session_duration must be 3600 to 43200 seconds")
        }
    }
}

impl From<MaxSessionDuration> for u32 {
    fn from(duration: MaxSessionDuration) -> u32 {
        duration.0
    }
}

/// An IAM user.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct User {
    /// Its name, without the path.
    pub name: UserName,
    /// Its path, `/` if not given.
    #[serde(default = "IamPath::root")]
    pub path: IamPath,
    /// Its unique id, `AIDA…`; derived from the name if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UniqueId>,
    /// What it may do.
    #[serde(default)]
    pub policies: Vec<IdentityPolicy>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
    /// Its long-lived keys.
    #[serde(default)]
    pub access_keys: Vec<AccessKey>,
}

/// A long-lived key of a user.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AccessKey {
    /// `AKIA…`
    pub access_key_id: AccessKeyId,
    /// The secret.
    pub secret_access_key: Secret,
}

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
        Self {
            name,
            policy,
            objects: BTreeMap::new(),
        }
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

/// A session of a role that exists when the server starts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct WorkloadSession {
    /// The role.
    pub role: RoleName,
    /// The name of the session.
    pub session_name: SessionName,
    /// `ASIA…`
    pub access_key_id: AccessKeyId,
    /// The secret.
    pub secret_access_key: Secret,
    /// The session token.
    pub session_token: Secret,
    /// The session tags.
    #[serde(default)]
    pub tags: Tags,
    /// The keys of the tags that later hops inherit. EKS Pod Identity makes all of its tags transitive.
    #[serde(default)]
    pub transitive_tag_keys: BTreeSet<String>,
    /// The source identity, if one is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<SourceIdentity>,
    /// When it ends (RFC 3339); six hours after the start if not given.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

/// A state that the server cannot start from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a state.
    #[error("{path}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        path: String,
        /// The line of the mistake, from 1.
        line: usize,
        /// The column of the mistake, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// Parts of the state contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

impl State {
    /// An account with nothing in it, outbound federation switched on.
    #[must_use]
    pub fn new(account: AccountId, region: Region) -> Self {
        Self {
            account,
            region,
            secure_transport: false,
            organization: None,
            outbound_federation: OutboundFederation::default(),
            oidc_providers: Vec::new(),
            roles: Vec::new(),
            users: Vec::new(),
            buckets: Vec::new(),
            workload_sessions: Vec::new(),
        }
    }

    /// Parses the text of a state file; `origin` is how errors name it.
    ///
    /// # Errors
    ///
    /// [`StateError::Parse`] with the place of the first mistake.
    pub fn parse(text: &str, origin: &str) -> Result<Self, StateError> {
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let place = format!(" at line {line} column {column}");
            let message = text.strip_suffix(&place).unwrap_or(&text).to_owned();
            StateError::Parse {
                path: origin.to_owned(),
                line,
                column,
                message,
            }
        })
    }

    /// Reads a state file.
    ///
    /// # Errors
    ///
    /// [`StateError`] if it cannot be read or parsed.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| StateError::File {
            path: origin.clone(),
            source,
        })?;
        Self::parse(&text, &origin)
    }

    /// Writes a state file: a new file beside the old one, then a rename.
    ///
    /// # Errors
    ///
    /// [`StateError::File`] if that fails.
    pub fn write(&self, path: &Path) -> Result<(), StateError> {
        let failed = |source| StateError::File {
            path: path.display().to_string(),
            source,
        };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        text.push('\n');
        let beside = path.with_extension("json.new");
        std::fs::write(&beside, text).map_err(failed)?;
        std::fs::rename(&beside, path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "{\n  \"account\": \"123456789012\",\n  \"region\": \"us-east-1\"\n}";

    #[test]
    fn a_small_state_is_enough() {
        let state = State::parse(SMALL, "s.json").unwrap();
        assert!(state.outbound_federation.enabled);
        assert!(state.roles.is_empty());
    }

    #[test]
    fn mistakes_are_reported_with_their_place() {
        for (text, expected) in [
            (
                "{\n  \"account\": \"123\"}",
                "s.json:2:19: an account id must be twelve digits",
            ),
            (
                "{\n  \"acount\": \"123456789012\"}",
                "s.json:2:10: unknown field `acount`",
            ),
            ("{", "s.json:1:1: EOF while parsing an object"),
            ("[1", "s.json:1:"),
            ("", "s.json:1:0: EOF while parsing a value"),
        ] {
            let error = State::parse(text, "s.json").unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn a_session_duration_has_bounds() {
        let role = |seconds: u32| {
            serde_json::from_value::<MaxSessionDuration>(serde_json::json!(seconds))
                .map(MaxSessionDuration::seconds)
        };
        assert_eq!(role(43200).unwrap(), 43200);
        assert!(role(3599).is_err());
        assert!(role(43201).is_err());
    }

    #[test]
    fn bytes_survive_writing() {
        for bytes in [&b"plain"[..], &[0xff, 0x00][..]] {
            let text = serde_json::to_string(&Body::of(bytes)).unwrap();
            let back: Body = serde_json::from_str(&text).unwrap();
            assert_eq!(back.into_bytes(), bytes);
        }
    }
}
