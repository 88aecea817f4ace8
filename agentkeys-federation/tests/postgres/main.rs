//! The audit log on a real PostgreSQL. `examples/e2e/postgres.sh` starts one and runs this; without it every test
//! fails.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy lets tests do so, and not the functions that they share"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a real server takes real time, and what it took is told"
)]

mod chains;
mod crash;
mod logins;
mod rate;
mod support;
mod tampering;
