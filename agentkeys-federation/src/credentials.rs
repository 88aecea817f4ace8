use std::fmt;
use std::sync::Arc;

use agentkeys_core::{Secret, Timestamp};

/// Temporary AWS credentials (R119): a key, its secret, the session token, and when they end.
///
/// Clones share one copy. `Debug` shows the access key id, which CloudTrail shows as well, and the end; never the secrets.
#[derive(Clone)]
pub struct AwsCredentials {
    access_key_id: Arc<str>,
    secret_access_key: Secret,
    session_token: Secret,
    expires_at: Timestamp,
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
        Self { access_key_id: access_key_id.into(), secret_access_key, session_token, expires_at }
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
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
