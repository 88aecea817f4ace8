use std::fmt;
use std::sync::Arc;

use agentkeys_core::{Secret, Timestamp};

/// Temporary Tencent Cloud credentials: a secret id, its key, the token, and when they end.
///
/// A type of their own, so that none is ever handed to an AWS client. Clones share one copy. `Debug` shows the
/// secret id, which is a name whatever it is called, and the end; never the secrets.
#[derive(Clone)]
pub struct TencentCredentials {
    secret_id: Arc<str>,
    secret_key: Secret,
    token: Secret,
    expires_at: Timestamp,
}

impl TencentCredentials {
    /// What a [`crate::TencentExchanger`] got.
    #[must_use]
    pub fn new(
        secret_id: impl Into<Arc<str>>,
        secret_key: Secret,
        token: Secret,
        expires_at: Timestamp,
    ) -> Self {
        Self { secret_id: secret_id.into(), secret_key, token, expires_at }
    }

    /// The secret id (`TmpSecretId`): not a secret.
    #[must_use]
    pub fn secret_id(&self) -> &str {
        &self.secret_id
    }

    /// The secret key (`TmpSecretKey`).
    #[must_use]
    pub const fn secret_key(&self) -> &Secret {
        &self.secret_key
    }

    /// The token.
    #[must_use]
    pub const fn token(&self) -> &Secret {
        &self.token
    }

    /// When they end.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl fmt::Debug for TencentCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TencentCredentials")
            .field("secret_id", &self.secret_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
