//! Evidence of AWS credentials: a presigned `sts:GetCallerIdentity`, which only the holder of a role's
//! credentials can sign, and which STS answers with the role's name.
//!
//! The workload sends no request of its own: it signs one, and the verifier sends it. Everything that ever
//! went wrong with this trick is in what the verifier then sends, to whom, and what it reads out of the
//! answer. So here the verifier takes the signed parameters out of the evidence, writes the request anew
//! and sends it to an endpoint of its own table; the URL in the evidence is never called.
//!
//! Evidence is a JSON object of two members, 4096 bytes at most:
//!
//! ```json
//! {"url": "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&…", "challenge": "…"}
//! ```
//!
//! The URL is presigned (Signature Version 4 in the query) with the headers `host`, `x-agentkeys-audience`
//! and, where there is a challenge, `x-agentkeys-challenge`, and with no other.
//!
//! Prefer [`aws_stsweb`](super::aws_stsweb) where there is EKS Pod Identity: there the platform names the
//! agent. Here it names a role, so an agent is a role ([`StsRole::named`]), or it names itself
//! ([`StsRole::with_self_asserted_session_names`]).
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use agentkeys_core::EvidenceKind;

mod answer;
mod attestor;
mod pins;
#[cfg(feature = "aws-sigv4")]
mod source;
mod wire;

pub use attestor::AwsStsAttestor;
pub use pins::{AwsStsPins, AwsStsPinsError, StsRole};
#[cfg(feature = "aws-sigv4")]
pub use source::{AwsStsLifetime, AwsStsLifetimeError, AwsStsSource};

/// The kind of this evidence, and the label of who vouches (R17).
pub const AWS_STS: EvidenceKind = EvidenceKind::from_static("aws-sts");

/// The longest evidence of this kind, in bytes; aws-iam-authenticator reads as much and EKS's pods live
/// with it. <https://github.com/kubernetes-sigs/aws-iam-authenticator/blob/master/pkg/token/token.go>
pub const MAX_CONTENT_BYTES: usize = 4096;
