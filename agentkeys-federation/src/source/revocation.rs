use std::fmt;

use agentkeys_core::{AttestedIdentity, ErrorKind};
use async_trait::async_trait;

use crate::aws::RoleSession;
use crate::cloud::CloudRole;

/// Says whether an identity may still have credentials.
///
/// # Contract
/// Asked before every exchange, the first one and each refresh, with the identity and the role session that
/// they are for. It decides by what a [`crate::SessionKey`] holds, because that is what shares an answer. Not
/// asked for credentials that are kept: what is revoked is served for the time that it has
/// before its refresh at most, or until the host calls [`crate::CredentialCache::forget`].
///
/// # Security
/// A wrong `Ok` renews a revoked agent's credentials; a wrong error only costs availability. Where it cannot
/// tell, it must say [`RevocationError::Unavailable`].
///
/// # Errors
/// [`RevocationError`]. No exchange follows either of them, and after [`RevocationError::Revoked`] what is
/// kept is dropped.
#[async_trait]
pub trait RevocationCheck: fmt::Debug + Send + Sync {
    /// Asks about `identity`, for `session`.
    async fn check(&self, identity: &AttestedIdentity, session: &RoleSession) -> Result<(), RevocationError>;

    /// Asks about `identity`, for a session of another cloud in which it becomes `role`. A check that does not
    /// say is one that cannot tell.
    async fn check_cloud(
        &self,
        identity: &AttestedIdentity,
        role: &CloudRole,
    ) -> Result<(), RevocationError> {
        let _ = (identity, role);
        Err(RevocationError::Unavailable)
    }
}

/// Why an identity gets no new credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// The identity, its tenant or its session is revoked.
    #[error("the identity is revoked")]
    Revoked,
    /// Nobody can tell now.
    #[error("whether the identity is revoked cannot be told")]
    Unavailable,
}

impl RevocationError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::Revoked => ErrorKind::Denied,
            Self::Unavailable => ErrorKind::Unavailable,
        }
    }
}
