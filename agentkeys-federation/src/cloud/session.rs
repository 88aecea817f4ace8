use std::fmt::Debug;

use agentkeys_core::{AttestedIdentity, MintRequest, Timestamp};

use super::CloudRole;
use crate::audit::MintPath;
use crate::aws::SessionDuration;
use crate::broker::TenantPolicy;
use crate::data_class::DataClass;
use crate::source::SourceError;

/// What is wanted of a cloud beside AWS: an [`crate::AlibabaSession`], a [`crate::GcpSession`] or a
/// [`crate::TencentSession`].
///
/// Closed, because the audit log names each cloud ([`MintPath`]).
pub trait CloudSession: Federated {}

impl<T: Federated> CloudSession for T {}

/// What a broker must know of it.
pub trait Federated: Clone + Debug + Send + Sync + 'static {
    /// What that cloud gives.
    type Credentials: Clone + Debug + Send + Sync;

    /// By which way its credentials come about.
    const PATH: MintPath;

    /// Whether that cloud's session has a name, which is then the audit id.
    const NAMED: bool;

    /// The token that it takes, or none for an identity that it would refuse.
    fn request(&self, identity: &AttestedIdentity) -> Result<MintRequest, SourceError>;

    /// What the agent becomes.
    fn cloud_role(&self) -> CloudRole;

    /// For how long.
    fn lasts(&self) -> SessionDuration;

    /// When they end, and what of them is no secret and has a name in that cloud's own log.
    fn told(credentials: &Self::Credentials) -> (Timestamp, Option<&str>);

    /// What a tenant's policy allows for a class of data.
    fn allowed(policy: &TenantPolicy, class: DataClass) -> Option<&Self>;
}
