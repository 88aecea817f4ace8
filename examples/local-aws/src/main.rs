//! Runs an STS and an S3 on loopback until interrupted. See `--help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use agentkeys_local_aws::{LocalAws, StartError, State, StateError};

const HELP: &str = "\
An STS and an S3 on 127.0.0.1 that unmodified AWS SDKs can talk to.

usage: agentkeys-local-aws --state <file> [--port <port>] [--write-back]

  --state <file>   what the account holds; see the README and sample-state.json
  --port <port>    the port to listen on; 0, the default, takes any free one
  --write-back     write the state back to the file when the server ends

The first line of output is the endpoint URL. Ctrl-C ends the server.";

/// What the command line asks for.
struct Arguments {
    state: PathBuf,
    port: u16,
    write_back: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0} (try --help)")]
    Usage(#[from] lexopt::Error),
    #[error("--state <file> is missing (try --help)")]
    NoState,
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot wait for signals or write to standard output: {0}")]
    Io(#[from] std::io::Error),
}

impl Failure {
    /// 2 for what the user can mend in the command line or the state file.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::NoState | Self::State(_) | Self::Start(StartError::State(_)) => {
                ExitCode::from(2)
            }
            _ => ExitCode::FAILURE,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("agentkeys-local-aws: {failure}");
            failure.exit_code()
        }
    }
}

async fn run() -> Result<(), Failure> {
    let Some(arguments) = arguments()? else {
        println!("{HELP}");
        return Ok(());
    };
    let state = State::read(&arguments.state)?;
    let server = LocalAws::builder(state).with_port(arguments.port).start().await?;
    let hello = format!("{}\noutbound issuer: {}\n", server.endpoint(), server.outbound_issuer());
    // In one piece: a reader that wants the first line only may be gone by the second.
    let mut out = std::io::stdout().lock();
    out.write_all(hello.as_bytes())?;
    out.flush()?;
    drop(out);
    interrupted().await?;
    let state = arguments.write_back.then(|| server.state());
    server.shutdown().await;
    if let Some(state) = state {
        state.write(&arguments.state)?;
    }
    Ok(())
}

fn arguments() -> Result<Option<Arguments>, Failure> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let (mut state, mut port, mut write_back) = (None, 0, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("state") => state = Some(PathBuf::from(parser.value()?)),
            Long("port") => port = parser.value()?.parse()?,
            Long("write-back") => write_back = true,
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    let state = state.ok_or(Failure::NoState)?;
    Ok(Some(Arguments { state, port, write_back }))
}

/// Returns on Ctrl-C and, where there is one, on the signal that service managers send.
async fn interrupted() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
