use crate::audit::AuditId;
use crate::aws::role::{RoleArn, RoleSessionName, SessionDuration};
use crate::aws::source_identity::SourceIdentity;

/// A session of a tenant's role that somebody acts in: there is none without a source identity (R105, R109).
///
/// Its name is the id of its audit row, whole, so that CloudTrail joins to the row (W54).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributedSession {
    role: RoleArn,
    id: AuditId,
    source_identity: SourceIdentity,
    duration: SessionDuration,
}

impl AttributedSession {
    /// A session of `role` that is recorded under `id`, for [`SessionDuration::MIN`].
    #[must_use]
    pub const fn new(role: RoleArn, id: AuditId, source_identity: SourceIdentity) -> Self {
        Self { role, id, source_identity, duration: SessionDuration::MIN }
    }

    /// With another duration: [`SessionDuration::MAX_CHAINED`] at most where the base credentials are
    /// temporary.
    #[must_use]
    pub const fn with_duration(mut self, duration: SessionDuration) -> Self {
        self.duration = duration;
        self
    }

    /// The role.
    #[must_use]
    pub const fn role(&self) -> &RoleArn {
        &self.role
    }

    /// The id of its audit row.
    #[must_use]
    pub const fn id(&self) -> &AuditId {
        &self.id
    }

    /// Its name: the id as it stands.
    #[must_use]
    pub fn name(&self) -> RoleSessionName {
        RoleSessionName::from(&self.id)
    }

    /// Who acts in it.
    #[must_use]
    pub const fn source_identity(&self) -> &SourceIdentity {
        &self.source_identity
    }

    /// How long it lasts.
    #[must_use]
    pub const fn duration(&self) -> SessionDuration {
        self.duration
    }
}
