//! The command, with the sample state that is documented.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use agentkeys_local_aws::{LocalAws, State};

use crate::support::{CALLER_IDENTITY, Key, s3, signed_call, sts};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample-state.json");
const WORKLOAD: Key<'_> = Key {
    id: "ASIASAMPLEWORKLOAD01",
    secret: "sample/secret/of/the/workload/not/for/us",
    token: Some("sample-session-token-of-the-workload-not-for-use"),
};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentkeys-local-aws"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A file of its own in the directory that cargo keeps for tests.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[tokio::test]
async fn the_sample_does_what_it_says() {
    let aws = LocalAws::start(State::read(Path::new(SAMPLE)).unwrap()).await.unwrap();
    assert!(aws.outbound_issuer().ends_with("/6f9b1d54-5c0e-4f3a-9a75-0a6f4f3d2c11"));
    let identity = sts(&aws, WORKLOAD).get_caller_identity().send().await.unwrap();
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::123456789012:assumed-role/orchestrator/eks-sample-orchestrator-0001")
    );
    let client = s3(&aws, WORKLOAD);
    let own = client.list_objects_v2().bucket("agent-data").prefix("team-a/").send().await.unwrap();
    assert_eq!(own.contents().len(), 2);
    assert!(client.list_objects_v2().bucket("agent-data").prefix("team-b/").send().await.is_err());
    assert!(client.delete_object().bucket("agent-data").key("team-a/audit/log.txt").send().await.is_err());
    assert!(client.delete_object().bucket("agent-data").key("team-a/hello.txt").send().await.is_ok());
    let token = |audience: &str| {
        let call = sts(&aws, WORKLOAD).get_web_identity_token().audience(audience).signing_algorithm("ES384");
        call.send()
    };
    assert!(token("https://broker.example.com").await.is_ok());
    assert!(token("https://other.example.com").await.is_err());
    let worker = sts(&aws, WORKLOAD)
        .assume_role()
        .role_arn("arn:aws:iam::123456789012:role/agents/worker")
        .role_session_name("worker-1")
        .source_identity("alice")
        .send()
        .await
        .unwrap();
    assert_eq!(worker.source_identity(), Some("alice"));
}

#[test]
fn a_state_survives_being_written() {
    let state = State::read(Path::new(SAMPLE)).unwrap();
    let path = scratch("written-state.json");
    state.write(&path).unwrap();
    let again = State::read(&path).unwrap();
    assert_eq!(serde_json::to_value(&state).unwrap(), serde_json::to_value(&again).unwrap());
}

fn refused(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_broken_state_is_reported_with_its_place() {
    let path = scratch("broken-state.json");
    let path_text = path.to_str().unwrap();
    for (text, message) in [
        (
            "{\n  \"account\": \"123456789012\",\n  \"regoin\": \"us-east-1\"\n}",
            ":3:10: unknown field `regoin`",
        ),
        ("{\n  \"account\": 12\n}", ":2:15: invalid type: integer `12`"),
        ("{\n  \"account\": \"123456789012\"\n}", ":3:1: missing field `region`"),
        ("", ":1:0: EOF while parsing"),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = refused(&["--state", path_text]);
        assert!(output.contains(&format!("{path_text}{message}")), "{output}");
    }
    let bad_policy =
        std::fs::read_to_string(SAMPLE).unwrap().replace("\"ForAllValues:StringEquals\"", "\"StringEqual\"");
    std::fs::write(&path, bad_policy).unwrap();
    let output = refused(&["--state", path_text]);
    assert!(output.contains(&format!("{path_text}:")) && output.contains("StringEqual"), "{output}");
}

#[test]
fn a_wrong_command_line_is_refused() {
    refused(&[]);
    refused(&["--state"]);
    refused(&["--state", "/does/not/exist.json"]);
    refused(&["--state", SAMPLE, "--port", "70000"]);
    refused(&["--state", SAMPLE, "--host", "0.0.0.0"]);
    let help = command(&["--help"]).output().unwrap();
    assert!(help.status.success());
}

/// Ends the server that it holds.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_first_line_is_the_endpoint() {
    let mut server = Running(command(&["--state", SAMPLE, "--port", "0"]).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let endpoint = line.trim();
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    let unsigned = crate::support::form(CALLER_IDENTITY);
    let request =
        http::Request::post(format!("{endpoint}/")).body(http_body_util::Full::from(unsigned)).unwrap();
    crate::support::send(request).await.refused(403, "MissingAuthenticationToken");
}

#[cfg(unix)]
#[tokio::test]
async fn changes_are_written_back_when_asked_for() {
    let path = scratch("write-back.json");
    std::fs::copy(SAMPLE, &path).unwrap();
    let mut server = Running(command(&["--state", path.to_str().unwrap(), "--write-back"]).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .endpoint_url(line.trim())
        .force_path_style(true)
        .credentials_provider(aws_sdk_s3::config::Credentials::from(WORKLOAD))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"written");
    client.put_object().bucket("agent-data").key("team-a/new").body(body).send().await.unwrap();
    let id = server.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert!(server.0.wait().unwrap().success());
    let state = serde_json::to_value(State::read(&path).unwrap()).unwrap();
    assert_eq!(state["buckets"][0]["objects"]["team-a/new"]["body"]["text"], "written");
}

#[tokio::test]
async fn a_port_is_taken_once() {
    let state = || State::read(Path::new(SAMPLE)).unwrap();
    // a port that is given back may be another test's before it is taken again
    for _ in 0..10 {
        let first = LocalAws::start(state()).await.unwrap();
        // Its connection stays open, idle, and does not hold up the end.
        let client = sts(&first, WORKLOAD);
        client.get_caller_identity().send().await.unwrap();
        let port = first.endpoint().rsplit(':').next().unwrap().parse().unwrap();
        assert!(LocalAws::builder(state()).with_port(port).start().await.is_err());
        first.shutdown().await;
        if let Ok(again) = LocalAws::builder(state()).with_port(port).start().await {
            assert_eq!(signed_call(&again, CALLER_IDENTITY, WORKLOAD).await.status, 200);
            return;
        }
    }
    panic!("a port is not given back");
}
