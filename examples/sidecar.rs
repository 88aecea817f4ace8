//! Beside an agent: proves who it is to the broker, and gives its unmodified SDK credentials.
//!
//! ```text
//! sidecar serve [FOLDER]          the endpoint until SIGTERM; its token in FOLDER, which only this user may reach
//! sidecar exec [--] COMMAND …     the same for as long as COMMAND runs, with its environment cleaned
//! sidecar credential-process      JSON on stdout, for `credential_process` in an AWS configuration file
//! ```
//!
//! What it needs to know is in its environment: see `SidecarSettings`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use agentkeys_examples::Failure;
use agentkeys_examples::sidecar::{SidecarSettings, credential_process, execute, serve};

#[tokio::main]
async fn main() -> ExitCode {
    match begin(std::env::args_os().skip(1).collect()).await {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            notice(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn begin(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let Some((mode, rest)) = arguments.split_first() else { return Err(USAGE.into()) };
    let variables: BTreeMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let settings = || SidecarSettings::parse(&variables);
    match (mode.to_str(), rest) {
        (Some("serve"), []) => serving(&settings()?, own_folder(&variables)).await,
        (Some("serve"), [folder]) => serving(&settings()?, PathBuf::from(folder)).await,
        (Some("exec"), [dashes, command @ ..]) if dashes == "--" && !command.is_empty() => {
            execute(&settings()?, &own_folder(&variables), command, |_| ()).await
        }
        (Some("exec"), command @ [first, ..]) if first != "--" => {
            execute(&settings()?, &own_folder(&variables), command, |_| ()).await
        }
        (Some("credential-process"), []) => {
            let printed = credential_process(&settings()?).await?;
            std::io::stdout().write_all(printed.expose().as_bytes())?;
            Ok(0)
        }
        _ => Err(USAGE.into()),
    }
}

async fn serving(settings: &SidecarSettings, folder: PathBuf) -> Result<u8, Failure> {
    let say = |line: &str| {
        let _closed = writeln!(std::io::stdout(), "{line}");
    };
    serve(settings, &folder, say, notice).await?;
    Ok(0)
}

/// A folder of this process's own.
fn own_folder(variables: &BTreeMap<String, String>) -> PathBuf {
    let parent = variables.get("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    parent.join(format!("agentkeys-sidecar-{}", std::process::id()))
}

fn notice(line: &str) {
    let _closed = writeln!(std::io::stderr(), "sidecar: {line}");
}

const USAGE: &str = "usage: sidecar serve [FOLDER] | exec [--] COMMAND … | credential-process";
