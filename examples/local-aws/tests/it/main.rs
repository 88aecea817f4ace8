//! The server as its users see it: through the SDKs of AWS, and through hand-made requests where an SDK would be too
//! well-behaved to ask for a refusal.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests may panic as tests may, and sign at the machine's time"
)]

mod assume_role;
mod binary;
mod caller_identity;
mod issuer;
mod kms;
mod outbound;
mod s3;
mod s3_tokens;
mod support;
mod web_identity;
mod web_identity_policy;
