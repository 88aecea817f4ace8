//! Integration tests of agentkeys-attest.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy lets tests do so, and not the functions that they share"
)]

mod cases;
mod determinism;
mod expiry;
mod import_rows;
mod leaks;
mod oidc;
mod oidc_keys;
mod oidc_support;
#[cfg(feature = "aws-sdk")]
mod source;
mod spire;
#[cfg(feature = "spire-workload-api")]
mod spire_wire;
mod stsweb;
mod support;
mod vectors;
