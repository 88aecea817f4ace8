use std::fmt;
use std::sync::Arc;

use agentkeys_core::{Secret, Timestamp};
use aws_sdk_sts::config::Credentials;

use crate::aws::role::SessionDuration;
use crate::aws::source_identity::SourceIdentity;
use crate::credentials::AwsCredentials;

/// What an assumption is signed with. Where it comes from decides how long the new session may last and
/// whose it may be.
///
/// `Debug` shows the access key id and never a secret.
#[derive(Clone, Debug)]
pub struct BaseCredentials(Base);

#[derive(Clone)]
enum Base {
    Exchanged(AwsCredentials),
    Temporary(AwsCredentials),
    LongLived { access_key_id: Arc<str>, secret_access_key: Secret },
}

impl BaseCredentials {
    /// What an [`crate::Exchanger`] got for a token: the assumption is chained, to an hour at most, and keeps
    /// the source identity that the token carried.
    #[must_use]
    pub const fn exchanged(credentials: AwsCredentials) -> Self {
        Self(Base::Exchanged(credentials))
    }

    /// Temporary credentials of the host's own, such as its role's: the assumption is chained, to an hour at
    /// most. Where their session carries a source identity, say so with
    /// [`AwsCredentials::with_source_identity`].
    #[must_use]
    pub const fn temporary(credentials: AwsCredentials) -> Self {
        Self(Base::Temporary(credentials))
    }

    /// An IAM user's key, which has no session: up to twelve hours, as the role allows.
    #[must_use]
    pub fn long_lived(access_key_id: impl Into<Arc<str>>, secret_access_key: Secret) -> Self {
        Self(Base::LongLived { access_key_id: access_key_id.into(), secret_access_key })
    }

    /// Whether they came out of a token's exchange, and not from the host.
    pub(crate) const fn are_exchanged(&self) -> bool {
        matches!(self.0, Base::Exchanged(_))
    }

    /// The longest session that AWS starts with them. It counts every session of temporary credentials as
    /// chained.
    /// <https://repost.aws/knowledge-center/iam-role-chaining-limit>
    pub(super) const fn longest(&self) -> SessionDuration {
        match self.0 {
            Base::Exchanged(_) | Base::Temporary(_) => SessionDuration::MAX_CHAINED,
            Base::LongLived { .. } => SessionDuration::MAX,
        }
    }

    pub(super) fn is_current(&self, now: Timestamp) -> bool {
        self.session().is_none_or(|credentials| now < credentials.expires_at())
    }

    /// Whose their own session is: fixed for all that is chained to it.
    pub(super) fn source_identity(&self) -> Option<&SourceIdentity> {
        self.session()?.source_identity()
    }

    pub(super) fn to_sdk(&self) -> Credentials {
        let (id, secret, token) = match &self.0 {
            Base::Exchanged(credentials) | Base::Temporary(credentials) => (
                credentials.access_key_id(),
                credentials.secret_access_key(),
                Some(credentials.session_token().expose().clone()),
            ),
            Base::LongLived { access_key_id, secret_access_key } => {
                (&**access_key_id, secret_access_key, None)
            }
        };
        Credentials::new(id, secret.expose().clone(), token, None, "agentkeys")
    }

    const fn session(&self) -> Option<&AwsCredentials> {
        match &self.0 {
            Base::Exchanged(credentials) | Base::Temporary(credentials) => Some(credentials),
            Base::LongLived { .. } => None,
        }
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchanged(credentials) => f.debug_tuple("Exchanged").field(credentials).finish(),
            Self::Temporary(credentials) => f.debug_tuple("Temporary").field(credentials).finish(),
            Self::LongLived { access_key_id, .. } => {
                f.debug_struct("LongLived").field("access_key_id", access_key_id).finish_non_exhaustive()
            }
        }
    }
}
