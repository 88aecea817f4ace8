use std::sync::Arc;

use crate::clock::Timestamp;
use crate::secret::Secret;

/// A token that we minted: the JWT as a secret, what may be logged of it in the clear.
#[derive(Clone, Debug)]
pub struct Token {
    jwt: Secret,
    jti: String,
    kid: Arc<str>,
    expires_at: Timestamp,
}

impl Token {
    pub(crate) const fn new(jwt: Secret, jti: String, kid: Arc<str>, expires_at: Timestamp) -> Self {
        Self { jwt, jti, kid, expires_at }
    }

    /// Reveals the compact JWT.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.jwt.expose()
    }

    /// Its `jti`: 128 random bits, for the audit row (W45).
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// The signing key's name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When it expires.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}
