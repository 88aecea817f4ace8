//! What the quickstart shows, run as a user runs it: the example's own binary, in a hostile environment.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn binary() -> PathBuf {
    // a plain `cargo test` builds the examples of a package beside its tests
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join("quickstart");
    assert!(path.exists(), "not built: run `cargo test -p agentkeys-examples` without choosing targets");
    path
}

/// Offline, no CA files, and an environment full of other people's settings (W70).
fn quickstart(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1").env(name.to_lowercase(), "http://127.0.0.1:1");
    }
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_ACCESS_KEY_ID", "AKIAPOISON");
    command
        .env("AWS_SECRET_ACCESS_KEY", "poison")
        .env("AWS_REGION", "eu-west-3")
        .env("AWS_PROFILE", "poison");
    command.output().unwrap()
}

fn report() -> Value {
    let output = quickstart(&["--json"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{errors}{said}");
    assert!(said.len() < 100_000);
    let report: Value = serde_json::from_str(&said).unwrap();
    let (checks, held) = (&report["checks"], &report["held"]);
    assert_eq!(errors.lines().last().unwrap(), format!("quickstart: {checks} checks, {held} held"));
    report
}

fn rows<'r>(report: &'r Value, list: &str) -> &'r Vec<Value> {
    report[list].as_array().unwrap()
}

#[test]
fn r69_r70_the_matrix_has_every_cell_and_each_is_as_it_must_be() {
    let report = report();
    assert_eq!(report["checks"], report["held"]);
    assert!(report["checks"].as_u64().unwrap() >= 180);
    let of_agents: Vec<_> = rows(&report, "matrix")
        .iter()
        .filter(|cell| !["no tags", "blue-test"].contains(&cell["agent"].as_str().unwrap()))
        .collect();
    assert_eq!(of_agents.len(), 3 * 3 * 4 * 3);
    let distinct: std::collections::BTreeSet<_> = of_agents
        .iter()
        .map(|cell| ["agent", "role", "target", "action"].map(|at| cell[at].to_string()))
        .collect();
    assert_eq!(distinct.len(), 108);
    for cell in rows(&report, "matrix") {
        let own = cell["target"] == "own prefix";
        assert_eq!(cell["expected"], if own { "allowed" } else { "denied" }, "{cell}");
        assert_eq!(cell["got"], cell["expected"], "{cell}");
    }
    assert_eq!(of_agents.iter().filter(|cell| cell["got"] == "allowed").count(), 27);
}

#[test]
fn r51_r84_the_test_stacks_tokens_open_its_own_buckets_and_none_of_productions() {
    let report = report();
    let test: Vec<_> = rows(&report, "matrix").iter().filter(|cell| cell["agent"] == "blue-test").collect();
    assert_eq!(test.len(), 3 * 2 * 3);
    for cell in test {
        let own = cell["target"] == "own prefix";
        assert_eq!(cell["got"], if own { "allowed" } else { "denied" }, "{cell}");
    }
}

#[test]
fn r56_a_session_without_tags_finds_nothing() {
    let report = report();
    let untagged: Vec<_> = rows(&report, "matrix").iter().filter(|cell| cell["agent"] == "no tags").collect();
    assert_eq!(untagged.len(), 9);
    assert!(untagged.iter().all(|cell| cell["got"] == "denied"));
}

#[test]
fn each_attempt_to_cheat_is_refused_with_its_own_code() {
    let report = report();
    let refusals: Vec<_> = rows(&report, "refusals")
        .iter()
        .map(|row| ["attempt", "code"].map(|at| row[at].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        ("red's pod asks for request_tags that name blue's pod", "request_tags_unread"),
        ("a session without a pod's tags brings all six in request_tags", "evidence_incomplete"),
        ("evidence with one byte changed", "token_signature"),
        ("evidence from another issuer", "token_signature"),
        ("a presigned request that was used before", "evidence_replayed"),
        ("a presigned request of a role that is no agent", "evidence_pin"),
        ("a presigned request for another broker", "evidence_rejected"),
        ("a presigned request for another region", "evidence_misdirected"),
        ("a token from another issuer", "InvalidIdentityToken"),
        ("a token in our issuer's name, signed by another key", "InvalidIdentityToken"),
        ("a token with one byte changed", "InvalidIdentityToken"),
        ("evidence handed to the STS instead of a token", "InvalidIdentityToken"),
        ("an untagged token", "AccessDenied"),
        ("a token that names no role", "AccessDenied"),
        ("a token for another audience of the same provider", "AccessDenied"),
        ("a token for an agent of another cluster", "AccessDenied"),
        ("a token of the test stack, for production's role", "AccessDenied"),
        ("a token of production, for the test stack's role", "AccessDenied"),
        ("a token for the memory role, used for the vault role", "InvalidIdentityToken"),
    ];
    assert_eq!(refusals, expected.map(|(attempt, code)| [attempt.to_owned(), code.to_owned()]));
}

#[test]
fn without_json_the_last_line_is_the_summary_and_there_are_no_colours() {
    let output = quickstart(&[]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains('\u{1b}'));
    let last = said.lines().last().unwrap();
    let words: Vec<_> = last.split(' ').collect();
    let [name, checks, "checks,", held, "held"] = words.as_slice() else { panic!("{last}") };
    assert_eq!((*name, checks), ("quickstart:", held));
}

#[test]
fn l29_the_quickstart_shows_no_secret() {
    for arguments in [&[][..], &["--json"]] {
        let output = quickstart(arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        // JWTs begin with eyJ, keys of sessions are shown by their first letters only
        assert!(!said.contains("eyJ") && !said.contains("PRIVATE KEY"));
    }
}

#[test]
fn an_unknown_argument_is_refused_with_the_usage() {
    let output = quickstart(&["--jsno"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("usage:"));
}
