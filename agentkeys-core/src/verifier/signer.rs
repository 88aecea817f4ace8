use std::sync::Arc;

use super::select;
use crate::clock::Timestamp;
use crate::jose::{Jwk, PublicKey};
use crate::keys::KeySource;

/// The key that verified a token, and whose it was.
pub(super) struct Signer {
    source: Arc<dyn KeySource>,
    /// What the token said.
    kid: Option<Box<str>>,
    key: PublicKey,
}

impl Signer {
    pub(super) fn new(source: &Arc<dyn KeySource>, kid: Option<&str>, jwk: &Jwk) -> Self {
        Self { source: Arc::clone(source), kid: kid.map(Into::into), key: jwk.key().without_table() }
    }

    /// Whether the same key would be chosen for the same token now, out of keys that are fresh enough.
    pub(super) fn is_trusted(&self, now: Timestamp) -> bool {
        let Ok(keys) = self.source.read(now) else { return false };
        let chosen = select(&keys, self.kid.as_deref(), self.key.algorithm());
        chosen.is_ok_and(|jwk| jwk.key().is_same_key(&self.key))
    }
}
