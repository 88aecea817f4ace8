use std::sync::Arc;

use crate::clock::Timestamp;
use crate::secret::Secret;

/// A token that we minted: the JWT as a secret, what may be logged of it in the clear.
#[derive(Clone, Debug)]
pub struct Token {
    jwt: Secret,
    jti: JtiText,
    kid: Arc<str>,
    expires_at: Timestamp,
}

/// 128 bits in base64url: 22 characters.
pub(crate) type JtiText = [u8; 22];

impl Token {
    pub(crate) const fn new(jwt: Secret, jti: JtiText, kid: Arc<str>, expires_at: Timestamp) -> Self {
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
        // base64url is ASCII
        std::str::from_utf8(&self.jti).unwrap_or_default()
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
