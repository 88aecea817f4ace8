//! The core as its users see it: one test per rule, refusals before acceptances.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod attestor_contract;
mod attestors;
mod bearer;
mod http;
mod http_environment;
mod import_rows;
mod key_file;
mod key_ring;
mod key_tables;
mod keys_cache;
mod keys_http;
mod keys_storm;
mod keys_unknown;
mod leaks;
mod mint;
mod oracle;
mod replay_contract;
mod session;
mod signer_contract;
mod support;
mod token_cache;
mod vectors;
mod verify;
mod verify_claims;
mod verify_issuers;
mod verify_keys;
mod verify_pitfalls;
mod verify_svid;
mod wycheproof;
