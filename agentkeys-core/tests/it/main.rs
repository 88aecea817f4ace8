//! The core as its users see it: one test per rule, refusals before acceptances.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod http;
mod http_environment;
mod keys_cache;
mod keys_unknown;
mod session;
mod support;
