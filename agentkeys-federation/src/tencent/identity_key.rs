use std::fmt;

use agentkeys_core::{KeyRing, Oidc};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The `IdentityKey` of `CreateOIDCConfig` and `UpdateOIDCConfig`: our published JWKS as base64.
/// <https://cloud.tencent.com/document/api/598/73470>
///
/// Tencent Cloud verifies with this copy. With `AutoRotateKey` off, its default, each change of the ring must be
/// uploaded before a key is promoted: it holds the next key as soon as that is staged.
///
/// ```
/// # use agentkeys_core::{KeyRing, Oidc};
/// # use agentkeys_federation::TencentIdentityKey;
/// # fn example(ring: &KeyRing<Oidc>) {
/// println!("{}", TencentIdentityKey::of(ring));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TencentIdentityKey(String);

impl TencentIdentityKey {
    /// That of all keys of the ring, public halves only.
    #[must_use]
    pub fn of(ring: &KeyRing<Oidc>) -> Self {
        // public keys are JSON, so there is always a document
        let document = serde_json::to_vec(&ring.jwks()).unwrap_or_default();
        Self(STANDARD.encode(document))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TencentIdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
