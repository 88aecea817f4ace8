//! Evidence of SPIRE, or of any platform that speaks SPIFFE: JWT-SVIDs of the Workload API.
//!
//! SPIRE's agent finds out from the kernel who asks for an SVID, and its server which SPIFFE ID a registration
//! entry gives to that workload. The workload chooses nothing but the audience.
//!
//! <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>
//! <https://spiffe.io/docs/latest/spire-about/spire-concepts/>

use agentkeys_core::EvidenceKind;

mod attestor;
#[cfg(feature = "spire-workload-api")]
mod back_off;
#[cfg(feature = "spire-workload-api")]
mod bundles;
#[cfg(feature = "spire-workload-api")]
mod source;
#[cfg(feature = "spire-workload-api")]
mod workload_api;

pub use attestor::{SpireAttestor, SpirePins, SpirePinsError};
#[cfg(feature = "spire-workload-api")]
pub use bundles::{MAX_BUNDLE_AGE, SpireBundles};
#[cfg(feature = "spire-workload-api")]
pub use source::SpireSource;
#[cfg(feature = "spire-workload-api")]
pub use workload_api::{WorkloadSocket, WorkloadSocketError};

/// The kind of this evidence, and the label of who vouches (R17).
pub const SPIFFE_SVID: EvidenceKind = EvidenceKind::from_static("spiffe-svid");
