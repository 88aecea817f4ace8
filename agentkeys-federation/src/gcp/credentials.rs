use std::fmt;

use agentkeys_core::{Secret, Timestamp};

/// A service account's access token: a bearer token, and when it ends. It has neither a key nor an id.
///
/// Clones share one copy. `Debug` shows the end.
#[derive(Clone)]
pub struct GcpAccessToken {
    token: Secret,
    expires_at: Timestamp,
}

impl GcpAccessToken {
    /// What a [`crate::GcpExchanger`] got.
    #[must_use]
    pub const fn new(token: Secret, expires_at: Timestamp) -> Self {
        Self { token, expires_at }
    }

    /// The token, for `Authorization: Bearer`.
    #[must_use]
    pub const fn token(&self) -> &Secret {
        &self.token
    }

    /// When it ends.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl fmt::Debug for GcpAccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcpAccessToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
