//! Integration tests of agentkeys-attest.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy lets tests do so, and not the functions that they share"
)]

mod determinism;
mod expiry;
mod import_rows;
mod leaks;
#[cfg(feature = "aws-sdk")]
mod source;
mod spire;
#[cfg(feature = "spire-workload-api")]
mod spire_wire;
mod stsweb;
mod support;
