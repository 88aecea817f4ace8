//! KMS keys, as a state file spells them.

use serde::{Deserialize, Serialize};

use crate::names::KmsKeyId;

/// A KMS key. Its material is made when the server starts and is in no file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KmsKey {
    /// Its id, the last part of its ARN.
    pub key_id: KmsKeyId,
    /// What kind of key it is; `ECC_NIST_P256` if not given.
    #[serde(default)]
    pub spec: KmsKeySpec,
    /// Whether it can be used; `Enabled` if not given.
    #[serde(default)]
    pub state: KmsKeyState,
}

impl KmsKey {
    /// An enabled P-256 key that signs.
    #[must_use]
    pub fn new(key_id: KmsKeyId) -> Self {
        Self { key_id, spec: KmsKeySpec::default(), state: KmsKeyState::default() }
    }

    /// Of another kind.
    #[must_use]
    pub fn with_spec(mut self, spec: KmsKeySpec) -> Self {
        self.spec = spec;
        self
    }

    /// In another state.
    #[must_use]
    pub fn with_state(mut self, state: KmsKeyState) -> Self {
        self.state = state;
        self
    }
}

/// The kinds of keys here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum KmsKeySpec {
    /// P-256, for signing.
    #[default]
    #[serde(rename = "ECC_NIST_P256")]
    EccNistP256,
    /// P-384, for signing.
    #[serde(rename = "ECC_NIST_P384")]
    EccNistP384,
    /// Signs nothing.
    SymmetricDefault,
}

/// The states of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub enum KmsKeyState {
    /// It can be used.
    #[default]
    Enabled,
    /// Somebody has switched it off.
    Disabled,
    /// It will be gone.
    PendingDeletion,
}
