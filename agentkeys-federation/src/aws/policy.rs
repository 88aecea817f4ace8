//! The documents that make the isolation, as values: who may become a role, and what a role finds in a bucket.

mod access;
mod document;
mod lint;
mod names;
mod pod;
mod provider;
mod session;
mod thumbprint;
mod trust;

pub use access::{BucketName, ClassAccess};
pub use document::{PolicyDocument, PolicyError};
pub use lint::{Finding, FindingCode, Severity, lint};
pub use names::{Stack, StackNames};
pub use pod::PodRole;
pub use provider::OidcProvider;
pub use session::SessionRole;
pub use thumbprint::Thumbprint;
pub use trust::{SubjectPattern, WebIdentityTrust};
