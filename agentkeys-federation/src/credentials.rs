use std::fmt;
use std::sync::Arc;

use agentkeys_core::{Secret, Timestamp};

use crate::aws::{PackedSize, SourceIdentity};

/// Temporary AWS credentials (R119): a key, its secret, the session token, and when they end.
///
/// Clones share one copy. `Debug` shows the access key id, which CloudTrail shows as well, and the end; never the secrets.
#[derive(Clone)]
pub struct AwsCredentials {
    access_key_id: Arc<str>,
    secret_access_key: Secret,
    session_token: Secret,
    expires_at: Timestamp,
    source_identity: Option<Arc<SourceIdentity>>,
    packed: Option<PackedSize>,
}

impl AwsCredentials {
    /// What an [`crate::Exchanger`] got.
    #[must_use]
    pub fn new(
        access_key_id: impl Into<Arc<str>>,
        secret_access_key: Secret,
        session_token: Secret,
        expires_at: Timestamp,
    ) -> Self {
        let (access_key_id, source_identity, packed) = (access_key_id.into(), None, None);
        Self { access_key_id, secret_access_key, session_token, expires_at, source_identity, packed }
    }

    /// With the source identity that their session carries: it stays, in every session that is chained to
    /// this one (R102).
    #[must_use]
    pub fn with_source_identity(mut self, source_identity: SourceIdentity) -> Self {
        self.source_identity = Some(Arc::new(source_identity));
        self
    }

    /// With what the STS says of the session that they are for.
    pub(crate) fn of_session(mut self, identity: Option<SourceIdentity>, packed: Option<PackedSize>) -> Self {
        (self.source_identity, self.packed) = (identity.map(Arc::new), packed);
        self
    }

    /// The access key id: not a secret.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret access key.
    #[must_use]
    pub const fn secret_access_key(&self) -> &Secret {
        &self.secret_access_key
    }

    /// The session token.
    #[must_use]
    pub const fn session_token(&self) -> &Secret {
        &self.session_token
    }

    /// When they end.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Who acts with them, where their session carries a source identity.
    #[must_use]
    pub fn source_identity(&self) -> Option<&SourceIdentity> {
        self.source_identity.as_deref()
    }

    /// What the session's policies and tags, those that it inherited included, took of what AWS allows, where
    /// the STS says so: near the limit a host should warn, because one tag more is a refusal.
    #[must_use]
    pub const fn packed_size(&self) -> Option<PackedSize> {
        self.packed
    }
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
