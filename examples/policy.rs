//! Every document of a deployment from one file, and what is wrong with documents that are already there:
//!
//! ```text
//! cargo run -p agentkeys-examples --example policy                     the documents of examples/deployment.toml
//! cargo run -p agentkeys-examples --example policy -- --config FILE    those of another deployment
//! cargo run -p agentkeys-examples --example policy -- lint FILE…       findings in trust, bucket and role policies
//! cargo run -p agentkeys-examples --example policy -- table            requests that the documents must decide
//! ```
//!
//! The documents are one JSON object on stdout; the same file gives the same bytes. `lint` ends with status 0
//! where nothing is wrong that lets somebody in, 1 where something is, 2 where a file cannot be read as a
//! policy. `table` is for trying the documents elsewhere: each request with what must become of it, and what the
//! evaluator of local-aws makes of it.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use agentkeys_examples::{Deployment, Document, Expectation, Failure};
use agentkeys_federation::{FindingCode, Severity, lint};
use serde::Serialize;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => sample().and_then(|deployment| print(&deployment)),
        ["--config", file] => read(Path::new(file)).and_then(|deployment| print(&deployment)),
        ["table"] => sample().and_then(|deployment| table(&deployment)),
        ["table", "--config", file] => read(Path::new(file)).and_then(|deployment| table(&deployment)),
        ["lint", files @ ..] if !files.is_empty() => lint_all(files),
        _ => Err("usage: policy [table] [--config FILE] | lint FILE…".into()),
    };
    done.unwrap_or_else(|error| {
        let _closed = writeln!(io::stderr(), "policy: {error}");
        ExitCode::from(2)
    })
}

fn sample() -> Result<Deployment, Failure> {
    Deployment::parse(include_str!("deployment.toml"), Path::new("."))
}

fn read(file: &Path) -> Result<Deployment, Failure> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(&error))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    Ok(Deployment::parse(&text, folder).map_err(|error| named(&error))?)
}

fn print(deployment: &Deployment) -> Result<ExitCode, Failure> {
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&deployment.documents()?)?)?;
    Ok(ExitCode::SUCCESS)
}

fn table(deployment: &Deployment) -> Result<ExitCode, Failure> {
    let documents = serde_json::to_value(deployment.documents()?)?;
    let mut rows = Vec::new();
    for request in deployment.expectations() {
        let document = documents.pointer(&request.document).ok_or("a request to no document")?;
        let local_aws = request.decide(&Document::parse(&request.document, document)?)?;
        rows.push(Row { request, local_aws });
    }
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&rows)?)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    request: Expectation,
    local_aws: bool,
}

fn lint_all(files: &[&str]) -> Result<ExitCode, Failure> {
    let (mut stdout, mut worst) = (io::stdout(), 0);
    for file in files {
        let found = match fs::read_to_string(file) {
            Ok(text) => lint(&text),
            Err(error) => {
                writeln!(io::stderr(), "policy: {file}: {error}")?;
                worst = 2;
                continue;
            }
        };
        for finding in found {
            writeln!(stdout, "{file}: {finding}")?;
            worst = worst.max(match finding.code() {
                FindingCode::Unreadable => 2,
                _ => u8::from(finding.severity() == Severity::Error),
            });
        }
    }
    Ok(ExitCode::from(worst))
}
