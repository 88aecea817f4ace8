//! Three replicas of a broker behind a balancer, on one Redis and one PostgreSQL: `examples/e2e/replicas.sh` starts
//! those and runs this.
//!
//! ```text
//! replicas prove FOLDER REPLAYS        everything; FOLDER says where the servers are
//! replicas rate FOLDER ROUNDS          three that share, beside three that share nothing
//! replicas serve …                     one replica
//! ```

use std::io::Write as _;
use std::process::ExitCode;

use agentkeys_examples::replicas::{prove, rate, serve};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["prove", folder, replays] => prove(folder.as_ref(), replays, &say).await,
        ["rate", folder, rounds] => rate(folder.as_ref(), rounds, &say).await,
        ["serve", places @ ..] => serve(places, &say).await,
        _ => Err("usage: replicas prove FOLDER REPLAYS | rate FOLDER ROUNDS".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("replicas: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}
