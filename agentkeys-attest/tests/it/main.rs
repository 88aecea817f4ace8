//! Integration tests of agentkeys-attest.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy lets tests do so, and not the functions that they share"
)]

mod aws_sts;
mod aws_sts_loopback;
#[cfg(feature = "aws-sigv4")]
mod aws_sts_source;
mod aws_sts_support;
mod aws_sts_table;
mod cases;
mod contract;
mod determinism;
mod expiry;
mod import_rows;
mod key_tables;
mod leaks;
mod oidc;
mod oidc_keys;
mod oidc_support;
#[cfg(feature = "redis")]
mod redis_double;
#[cfg(feature = "redis")]
mod redis_guard;
#[cfg(feature = "redis")]
mod redis_tls;
mod select;
#[cfg(feature = "aws-sdk")]
mod source;
mod spire;
#[cfg(feature = "spire-workload-api")]
mod spire_wire;
mod stsweb;
mod support;
mod vectors;
