//! The whole flow against an STS and S3 that share no code with it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, and not the functions that they share"
)]

mod broker;
mod doctor;
mod expectations;
mod guide;
mod import_rows;
mod kms;
mod layers;
mod policies;
mod policy;
mod policy_mutants;
mod quickstart;
mod readme;
mod rules;
mod session_broker;
mod sidecar;
mod sidecar_broker;
mod sidecar_endpoint;
mod sidecar_process;
