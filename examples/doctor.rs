//! What AWS will say to an issuer and its documents, before AWS says it.
//!
//! ```text
//! doctor https://broker.example.org [--ca FILE] [--json] [DOCUMENT.json …]
//! ```
//!
//! A document is a role's trust policy, a role's or bucket's policy, or a provider's parameters. `--ca` names the
//! only certificate authorities that may vouch for the server. Exit status 0 where nothing is wrong, 1 where
//! something is, 2 where nothing could be looked at.

use std::io::Write as _;
use std::process::ExitCode;

use agentkeys_core::Issuer;
use agentkeys_examples::Failure;
use agentkeys_examples::doctor::{Diagnosis, Doctor, Roots};

#[tokio::main]
async fn main() -> ExitCode {
    match examine(std::env::args().skip(1).collect()).await {
        Ok(diagnosis) if diagnosis.holds() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "doctor: {error}");
            ExitCode::from(2)
        }
    }
}

async fn examine(arguments: Vec<String>) -> Result<Diagnosis, Failure> {
    let (mut issuer, mut roots, mut json, mut documents) = (None, None, false, Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--ca" => {
                let file = arguments.next().ok_or("--ca needs a file")?;
                roots = Some(Roots::only(std::fs::read(file)?)?);
            }
            other if other.starts_with('-') => return Err(USAGE.into()),
            other if issuer.is_none() => issuer = Some(Issuer::parse(other)?),
            _ => {
                let text =
                    std::fs::read_to_string(&argument).map_err(|error| format!("{argument}: {error}"))?;
                documents.push((argument, text));
            }
        }
    }
    let roots = roots.map_or_else(Roots::system, Ok)?;
    let diagnosis = Doctor::new(issuer.ok_or(USAGE)?, roots)?.examine(&documents).await;
    let mut stdout = std::io::stdout();
    if json {
        serde_json::to_writer(&mut stdout, &diagnosis)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{diagnosis}")?;
    }
    Ok(diagnosis)
}

const USAGE: &str = "usage: doctor ISSUER [--ca FILE] [--json] [DOCUMENT.json …]";
