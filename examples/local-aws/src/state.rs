//! The state file: what the account holds when the server starts.
//!
//! Every member is documented at its field. Unknown members are refused, and so is every name that AWS would not take,
//! with the line and the column of the mistake.

mod bucket;
mod file;
mod kms_key;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::names::{
    AccessKeyId, AccountId, IamPath, ProviderUrl, Region, RoleName, SessionName, SourceIdentity, UniqueId,
    UserName,
};
use crate::policy::{IdentityPolicy, TrustPolicy};
use crate::secret::Secret;
use crate::tags::Tags;

pub use self::bucket::{Base64, Body, Bucket, Object};
pub use self::file::StateError;
pub use self::kms_key::{KmsKey, KmsKeySpec, KmsKeyState};

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
    /// The longest session that a role gets whatever it asks for, in seconds, so that a test sees credentials
    /// end. AWS gives none below 900.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_seconds: Option<NonZeroU32>,
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
    /// The KMS keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kms_keys: Vec<KmsKey>,
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
        Self { enabled: true, issuer_uuid: None }
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

    /// At another path than `/`.
    #[must_use]
    pub fn with_path(mut self, path: IamPath) -> Self {
        self.path = path;
        self
    }

    /// With one more policy.
    #[must_use]
    pub fn with_policy(mut self, policy: IdentityPolicy) -> Self {
        self.policies.push(policy);
        self
    }

    /// With these tags.
    #[must_use]
    pub fn with_tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// With sessions of up to this length.
    #[must_use]
    pub fn with_max_session_duration(mut self, duration: MaxSessionDuration) -> Self {
        self.max_session_duration = duration;
        self
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

impl User {
    /// A user at the path `/` with no policies, no tags and no keys.
    #[must_use]
    pub fn new(name: UserName) -> Self {
        Self {
            name,
            path: IamPath::root(),
            user_id: None,
            policies: Vec::new(),
            tags: Tags::default(),
            access_keys: Vec::new(),
        }
    }

    /// With one more policy.
    #[must_use]
    pub fn with_policy(mut self, policy: IdentityPolicy) -> Self {
        self.policies.push(policy);
        self
    }

    /// With one more access key.
    #[must_use]
    pub fn with_access_key(mut self, access_key_id: AccessKeyId, secret_access_key: Secret) -> Self {
        self.access_keys.push(AccessKey { access_key_id, secret_access_key });
        self
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

impl State {
    /// An account with nothing in it, outbound federation switched on.
    #[must_use]
    pub fn new(account: AccountId, region: Region) -> Self {
        Self {
            account,
            region,
            secure_transport: false,
            session_seconds: None,
            organization: None,
            outbound_federation: OutboundFederation::default(),
            oidc_providers: Vec::new(),
            roles: Vec::new(),
            users: Vec::new(),
            buckets: Vec::new(),
            kms_keys: Vec::new(),
            workload_sessions: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
