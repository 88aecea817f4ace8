//! Evidence of an account's own STS: the JWT that `sts:GetWebIdentityToken` gives to a pod of EKS.
//!
//! EKS Pod Identity puts the pod's name, uid, namespace, service account and cluster into the session's
//! tags, and STS signs those tags into the token as `principal_tags`. The workload can choose none of
//! them, as long as nobody but EKS can start a session of its role: see
//! [the precondition](StsWebAttestor#precondition).
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound.html>
//! <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>

use agentkeys_core::EvidenceKind;

mod attestor;
mod claims;
mod organization;
#[cfg(feature = "aws-sdk")]
mod source;

pub use attestor::{StsWebAttestor, StsWebPins, StsWebPinsError};
pub use claims::RequestTags;
pub use organization::{OrgId, OrganizationError, OuPath};
#[cfg(feature = "aws-sdk")]
pub use source::{StsWebAlgorithm, StsWebLifetime, StsWebLifetimeError, StsWebSource};

/// The kind of this evidence, and the label of who vouches (R17).
pub const AWS_STSWEB: EvidenceKind = EvidenceKind::from_static("aws-stsweb");
