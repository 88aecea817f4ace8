//! From a real SPIRE agent's evidence to credentials of the local AWS, every step shown.
//!
//! ```text
//! cargo run -p agentkeys-examples --example spire -- unix:///run/spire/agent.sock
//! cargo run -p agentkeys-examples --example spire -- unix:///run/spire/agent.sock --rotate SERVER-COMMAND SERVER-SOCKET
//! ```
//!
//! The agent's trust domain is `example.org`, and this process has an ID of the form
//! `spiffe://example.org/agent/acme/<agent>`. With `--rotate`, the trust domain's JWT authority is replaced
//! and the old one revoked while SVIDs are appraised all the time. `examples/e2e/spire.sh` starts such a
//! SPIRE and runs this.

use std::io::Write as _;
use std::process::ExitCode;

use agentkeys_examples::{Failure, SpireDemo, SpireServer, told};

#[tokio::main]
async fn main() -> ExitCode {
    match begin(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "spire: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

async fn begin(arguments: Vec<String>) -> Result<(), Failure> {
    let (socket, server) = match arguments.as_slice() {
        [socket] => (socket, None),
        [socket, rotate, command, path] if rotate == "--rotate" => {
            (socket, Some(SpireServer::new(command.into(), path.into())))
        }
        _ => return Err("usage: spire unix:///AGENT-SOCKET [--rotate SERVER-COMMAND SERVER-SOCKET]".into()),
    };
    let say = |line: &str| {
        let _closed = writeln!(std::io::stdout(), "{line}");
    };
    let demo = SpireDemo::start(socket.parse()?).await?;
    demo.walk(say).await?;
    if let Some(server) = server {
        demo.rotate(&server, say).await?;
    }
    Ok(())
}
