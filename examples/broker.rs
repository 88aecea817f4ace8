//! A broker that agents and unmodified AWS SDKs use:
//!
//! ```text
//! cargo run -p agentkeys-examples --example broker                  beside an STS and S3 of its own, nothing to set up
//! cargo run -p agentkeys-examples --example broker -- demo FOLDER   the same, with its files in a folder that stays
//! … -- keygen oidc FILE      makes a key file; also `session`
//! … -- audit FILE            begins an audit log
//! … -- check --config FILE   names every line that is wrong
//! … -- policies --config FILE   the documents of its roles and buckets
//! … -- serve --config FILE   runs; SIGHUP reads the key files again, SIGTERM and Ctrl-C stop it
//! … -- rotate stage|promote|prune oidc|session FILE   takes a step of a rotation
//! ```
//!
//! Settings also come from the variables `BROKER_*` and those of `ATTESTOR`; `examples/broker.toml` shows all of
//! the file. What it serves is in the documentation of `agentkeys_examples::broker`.

use std::io::Write as _;
use std::process::ExitCode;

use agentkeys_examples::broker::Command;

/// A server's memory is many small pieces for a short time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let say = |line: &str| {
        let _closed = writeln!(std::io::stdout(), "{line}");
    };
    let done = match Command::parse(&arguments) {
        Ok(command) => command.run(say).await,
        Err(usage) => Err(usage),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "broker: {error}");
            ExitCode::from(2)
        }
    }
}
