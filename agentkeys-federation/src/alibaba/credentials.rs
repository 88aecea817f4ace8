use std::fmt;
use std::sync::Arc;

use agentkeys_core::{Secret, Timestamp};

/// Temporary Alibaba Cloud credentials: a key, its secret, the security token, and when they end.
///
/// A type of their own, so that none is ever handed to an AWS client. Clones share one copy. `Debug` shows the
/// access key id, which ActionTrail shows as well, and the end; never the secrets.
#[derive(Clone)]
pub struct AlibabaCredentials {
    access_key_id: Arc<str>,
    access_key_secret: Secret,
    security_token: Secret,
    expires_at: Timestamp,
}

impl AlibabaCredentials {
    /// What an [`crate::AlibabaExchanger`] got.
    #[must_use]
    pub fn new(
        access_key_id: impl Into<Arc<str>>,
        access_key_secret: Secret,
        security_token: Secret,
        expires_at: Timestamp,
    ) -> Self {
        Self { access_key_id: access_key_id.into(), access_key_secret, security_token, expires_at }
    }

    /// The access key id: not a secret.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The access key's secret.
    #[must_use]
    pub const fn access_key_secret(&self) -> &Secret {
        &self.access_key_secret
    }

    /// The security token.
    #[must_use]
    pub const fn security_token(&self) -> &Secret {
        &self.security_token
    }

    /// When they end.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl fmt::Debug for AlibabaCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlibabaCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
