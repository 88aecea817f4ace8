//! The federation crate from outside, against doubles that keep what they were sent.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, and not the functions that they share"
)]

mod assume;
mod audit;
mod audit_fan_out;
mod audit_kill;
mod audit_postgres;
mod audit_sqlite;
mod broker;
mod cache;
mod cloud_broker;
mod clouds;
mod environment;
mod exchange;
mod import_rows;
mod kms;
mod leaks;
mod minio;
mod policies;
mod source;
mod support;
