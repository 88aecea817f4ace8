//! The whole flow in one command, on this machine and without a network:
//!
//! ```text
//! cargo run -p agentkeys-examples --example quickstart            every step, for a person
//! cargo run -p agentkeys-examples --example quickstart -- --json  one JSON document on stdout
//! cargo run -p agentkeys-examples --example quickstart -- --serve keep it up for boto3 and awscli
//! cargo run -p agentkeys-examples --example quickstart -- --spire unix:///run/spire/agent.sock
//!                                                                with an agent more, whom SPIRE vouches for
//! ```

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use agentkeys_examples::{Failure, Report, run, serve};

#[tokio::main]
async fn main() -> ExitCode {
    match begin(std::env::args().skip(1).collect()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "quickstart: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
async fn begin(arguments: Vec<String>) -> Result<bool, Failure> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => show(&run(None).await?, false),
        ["--json"] => show(&run(None).await?, true),
        ["--spire", socket] => show(&run(Some(socket.parse()?)).await?, false),
        ["--spire", socket, "--json"] => show(&run(Some(socket.parse()?)).await?, true),
        ["--serve"] => {
            let folder = std::env::temp_dir().join(format!("agentkeys-quickstart-{}", std::process::id()));
            serving(folder).await
        }
        ["--serve", folder] => serving(PathBuf::from(folder)).await,
        _ => Err("usage: quickstart [--spire unix:///AGENT-SOCKET] [--json] | --serve [FOLDER]".into()),
    }
}

fn show(report: &Report, json: bool) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout();
    if json {
        serde_json::to_writer(&mut stdout, report)?;
        writeln!(stdout)?;
        writeln!(std::io::stderr(), "{}", report.summary())?;
    } else {
        let colours = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        write!(stdout, "{}", report.for_people(colours))?;
    }
    Ok(report.holds())
}

async fn serving(folder: PathBuf) -> Result<bool, Failure> {
    serve(&folder, |line| {
        let _closed = writeln!(std::io::stdout(), "{line}");
    })
    .await?;
    Ok(true)
}
