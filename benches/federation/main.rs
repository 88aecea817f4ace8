//! What federation costs.
//!
//! - `single_flight`: a request of 10,000 at once for 100 agents, through a broker that exchanges at a loopback
//!   STS over TCP (`sts_calls`);
//! - `cached`: a request for credentials that are kept, by a cache of many and by a source of one (`source`);
//! - `exchange_overhead`: all that a broker does for an exchange but the STS itself, which answers at once
//!   here: the policy, the token, two rows of an audit log in memory, the checks; beside one bare ES256
//!   signature (`raw_sign`);
//! - `audit_sqlite`: a durable row of `SqliteAudit` with 64 mints at once, beside the same table with one
//!   transaction per row (`fsync_per_row`), on the disk that the build is on;
//! - `verify_chain`: a row of a log of a million, checked in one pass (`rows_per_s`).

use agentkeys_benches::{Outcome, run};

mod audit;
mod credentials;

fn main() {
    let cases: [fn() -> Outcome; 5] = [
        credentials::single_flight,
        credentials::cached,
        credentials::exchange_overhead,
        audit::audit_sqlite,
        audit::verify_chain,
    ];
    run("federation", cases.map(|case| Box::new(case) as Box<dyn FnOnce() -> Outcome>));
}
