use std::fmt;

use agentkeys_core::AttestedIdentity;
use agentkeys_core::jose::sha256;

use crate::aws::RoleSession;

/// What credentials are kept under: everything that decides what they may do and for whom.
///
/// The identity's kind, trust root, tenant, agent, instance and assurance, and all of the role session: the
/// role with its partition and account, tags and their form, source identity, duration. Each part with its length before it,
/// so that no two differ in their parts and not in their key (W29). The assurance is a part because an agent
/// that named itself must not be served what was minted for one that the platform named (W9); the instance,
/// because one that is revoked must not live on what its successor renews.
///
/// It is the SHA-256 of all that: 32 bytes for each that is kept, however long the names are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key of `session` for `identity`.
    #[must_use]
    pub fn of(identity: &AttestedIdentity, session: &RoleSession) -> Self {
        let mut parts = KeyParts::of(identity);
        session.key_parts(&mut parts);
        Self::from(parts)
    }
}

impl From<KeyParts> for SessionKey {
    fn from(parts: KeyParts) -> Self {
        Self(sha256(&parts.0))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").finish_non_exhaustive()
    }
}

/// Bytes that can be taken apart again in one way.
pub(crate) struct KeyParts(Vec<u8>);

impl KeyParts {
    /// All that tells this identity from another, but for its times.
    pub(crate) fn of(identity: &AttestedIdentity) -> Self {
        let mut parts = Self(Vec::with_capacity(ROOM));
        parts.text(identity.kind().as_str());
        parts.text(identity.trust_root().as_str());
        parts.optional(identity.tenant().map(|tenant| tenant.as_str()));
        parts.text(identity.agent().as_str());
        parts.optional(identity.instance().map(|instance| instance.as_str()));
        parts.text(identity.assurance().as_str());
        parts
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn optional(&mut self, text: Option<&str>) {
        self.number(u64::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }
}

/// Of an ordinary key, so that it is written without growing.
const ROOM: usize = 512;
