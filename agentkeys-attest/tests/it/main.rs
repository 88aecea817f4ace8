//! Integration tests of agentkeys-attest.

mod determinism;
mod expiry;
mod import_rows;
mod leaks;
#[cfg(feature = "aws-sdk")]
mod source;
mod stsweb;
mod support;
