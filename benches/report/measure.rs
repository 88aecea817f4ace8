//! Runs everything that measures.

use std::process::{Command, Stdio};
use std::{env, fs, thread};

use serde_json::{Map, Value, json};

use crate::Failure;

/// In the order of the page.
const BENCHES: [&str; 7] =
    ["verify", "verify_cold", "token_cache", "mint", "jwks_cache", "attest", "federation"];

/// What is measured beside us and beneath us.
const PEERS: [&str; 4] = ["aws-lc-rs", "jsonwebtoken", "josekit", "jwt-simple"];

/// All figures and where they come from, a line each.
pub(crate) fn all() -> Result<String, Failure> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(root)
            .args(["bench", "--quiet", "--package", "agentkeys-benches"])
            .args(arguments);
        command
    };
    output(&mut cargo(&["--no-run", "--benches"]))?;
    let mut results = Vec::new();
    for bench in BENCHES {
        eprintln!("{bench} …");
        results.extend(lines(&output(&mut cargo(&["--bench", bench, "--", "--json"]))?)?);
    }
    eprintln!("other languages …");
    let elsewhere = lines(&output(Command::new("benches/peers/run.sh").current_dir(root))?)?;
    let lock = fs::read_to_string(format!("{root}/Cargo.lock"))?;
    let versions: Map<String, Value> =
        PEERS.iter().map(|peer| ((*peer).to_owned(), versions_of(peer, &lock).into())).collect();
    let mut about = about()?;
    about["versions"] = versions.into();
    Ok(format!(
        "{{\n  \"about\": {about},\n  \"results\": [\n{}\n  ],\n  \"elsewhere\": [\n{}\n  ]\n}}\n",
        each(&results),
        each(&elsewhere)
    ))
}

/// What the simulation prints, and where it comes from.
pub(crate) fn scale() -> Result<String, Failure> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["run", "--quiet", "--release", "--package", "agentkeys-examples"]);
    let results = lines(&output(command.args(["--example", "simulate", "--", "--json"]))?)?;
    Ok(format!("{{\n  \"about\": {},\n  \"results\": [\n{}\n  ]\n}}\n", about()?, each(&results)))
}

/// This machine.
fn about() -> Result<Value, Failure> {
    let told = |command: &str, arguments: &[&str]| {
        output(Command::new(command).args(arguments)).map(|text| text.trim().to_owned())
    };
    Ok(json!({
        "date": told("date", &["-u", "+%F"])?,
        "cpu": cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        "cores": thread::available_parallelism()?.get(),
        "system": told("uname", &["-srm"])?,
        "rustc": told("rustc", &["--version"])?,
    }))
}

/// A line each.
fn each(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join(",\n")
}

fn output(command: &mut Command) -> Result<String, Failure> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !done.status.success() {
        return Err(format!("{command:?}: {}", done.status).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

fn lines(output: &str) -> Result<Vec<Value>, Failure> {
    Ok(output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The versions of a package in a lock file.
fn versions_of(name: &str, lock: &str) -> String {
    let head = format!("name = \"{name}\"\nversion = \"");
    let found = lock.split(&head).skip(1).filter_map(|rest| rest.split('"').next());
    found.collect::<Vec<_>>().join(", ")
}

/// The processor, as Linux knows it.
fn cpu(info: &str) -> String {
    let field = |name: &str| {
        let mut values = info.lines().filter_map(|line| line.split_once(':'));
        values.find(|(field, _)| field.trim() == name).map_or("unknown", |(_, value)| value.trim())
    };
    format!("{}, family {}, model {}", field("model name"), field("cpu family"), field("model"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_processor_are_found_or_said_to_be_unknown() {
        let lock = "name = \"a\"\nversion = \"1.2\"\n\nname = \"ab\"\nversion = \"9\"\n\nname = \"a\"\nversion = \"2\"\n";
        assert_eq!(versions_of("a", lock), "1.2, 2");
        assert_eq!(versions_of("b", lock), "");
        let info = "cpu family\t: 6\nmodel\t\t: 207\nmodel name\t: Some CPU\n";
        assert_eq!(cpu(info), "Some CPU, family 6, model 207");
        assert_eq!(cpu(""), "unknown, family unknown, model unknown");
    }
}
