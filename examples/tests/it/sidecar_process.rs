//! The sidecar as its user runs it: its own binary, before a broker that follows a script.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use agentkeys_core::{Clock as _, SystemClock};
use aws_config::BehaviorVersion;
use aws_credential_types::provider::ProvideCredentials as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const MARK: &str = "MARKED-MARKED-MARKED";

/// A broker that gives everybody credentials while its status is 200.
#[derive(Debug, Default)]
struct Double {
    status: AtomicU16,
    minted: AtomicUsize,
}

async fn answer(State(double): State<Arc<Double>>, request: Request) -> axum::response::Response {
    let status = StatusCode::from_u16(double.status.load(Ordering::SeqCst)).unwrap();
    let now = SystemClock::new().now().unwrap().as_unix();
    let body = match (status.as_u16(), request.uri().path()) {
        (200, "/v1/attest") => json!({ "session": format!("{MARK}-session"), "expiration": now + 300 }),
        (200, "/v1/mint-aws-creds/memory") => {
            let minted = double.minted.fetch_add(1, Ordering::SeqCst);
            json!({
                "access_key_id": format!("ASIAEXAMPLE{minted}"), "secret_access_key": format!("{MARK}-secret"),
                "session_token": format!("{MARK}-token"), "expiration": now + 900, "wallet": null,
            })
        }
        _ => json!({ "error": "forbidden", "reason": "tenant_unknown", "message": MARK }),
    };
    (status, body.to_string()).into_response()
}

struct Scene {
    broker: String,
    double: Arc<Double>,
    folder: PathBuf,
    // the double answers while a test waits for a process
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new(name: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let double = Arc::new(Double { status: AtomicU16::new(200), minted: AtomicUsize::new(0) });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let broker = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(double.clone());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sidecar-{name}"));
        let _none = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("evidence"), format!("{MARK}-evidence\n")).unwrap();
        Self { broker, double, folder, _runtime: runtime }
    }

    fn sidecar(&self, arguments: &[&str]) -> Command {
        // a plain `cargo test` builds the examples of a package beside its tests
        let deps = std::env::current_exe().unwrap();
        let path = deps.parent().unwrap().parent().unwrap().join("examples").join("sidecar");
        assert!(path.exists(), "not built: run `cargo test -p agentkeys-examples` without choosing targets");
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TMPDIR", &self.folder)
            .env("AGENTKEYS_BROKER", &self.broker)
            .env("AGENTKEYS_CLASS", "memory")
            .env("ATTESTOR", "oidc")
            .env("AGENTKEYS_EVIDENCE_FILE", self.folder.join("evidence"));
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        said(&self.sidecar(arguments).output().unwrap())
    }

    /// Nothing of a token or its folder stays behind.
    fn is_clean(&self) -> bool {
        fs::read_dir(&self.folder).unwrap().count() == 1
    }
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn credential_process_prints_awss_json_and_nothing_else() {
    let scene = Scene::new("process");
    let (status, stdout, stderr) = scene.run(&["credential-process"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    let members: BTreeSet<_> = printed.as_object().unwrap().keys().map(String::as_str).collect();
    let all = ["AccessKeyId", "Expiration", "SecretAccessKey", "SessionToken", "Version"];
    assert_eq!(members, BTreeSet::from(all));
    assert_eq!(
        (printed["Version"].as_u64(), printed["SessionToken"].as_str()),
        (Some(1), Some("MARKED-MARKED-MARKED-token"))
    );
    assert!(scene.is_clean());
    // where there are none, stdout is empty and stderr holds no secret, not even the broker's text
    for (code, wanted) in [(403, "status 403 (tenant_unknown)"), (502, "status 502"), (200, "")] {
        scene.double.status.store(code, Ordering::SeqCst);
        let mut command = scene.sidecar(&["credential-process"]);
        if code == 200 {
            command.env("AGENTKEYS_EVIDENCE_FILE", "/no/such/file");
        }
        let (status, stdout, stderr) = said(&command.output().unwrap());
        assert_eq!((status, stdout.as_str()), (Some(1), ""));
        assert!(stderr.contains(wanted) && !stderr.contains("MARKED"), "{stderr}");
    }
}

#[test]
fn r63_a_commands_environment_leads_to_the_endpoint_and_nowhere_else() {
    let scene = Scene::new("exec");
    let mut command = scene.sidecar(&["exec", "--", "env"]);
    let misleading = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_SESSION_NAME",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "STSWEB_AUDIENCE",
        "SPIFFE_ENDPOINT_SOCKET",
    ];
    for name in misleading {
        command.env(name, format!("MISLEADING-{name}"));
    }
    command.env("AWS_REGION", "eu-west-1").env("HOME", "/home/agent");
    let (status, stdout, stderr) = said(&command.output().unwrap());
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(!stdout.contains("MISLEADING") && !stdout.contains("MARKED"), "{stdout}");
    let mut names: Vec<_> = stdout.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    let expected = [
        "AWS_CONFIG_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_REGION",
        "AWS_SHARED_CREDENTIALS_FILE",
        "HOME",
        "PATH",
        "TMPDIR",
    ];
    assert_eq!(names, expected);
    assert!(stdout.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:"));
    assert!(
        stdout.contains("AWS_CONFIG_FILE=/dev/null")
            && stdout.contains("AWS_SHARED_CREDENTIALS_FILE=/dev/null")
    );
    assert!(scene.is_clean(), "the token is still there");
}

#[test]
fn exec_ends_as_its_command_ends() {
    let scene = Scene::new("status");
    for (command, status) in [
        (vec!["exec", "--", "sh", "-c", "exit 7"], 7),
        (vec!["exec", "sh", "-c", "exit 0"], 0),
        (vec!["exec", "--", "sh", "-c", "kill -KILL $$"], 137),
        (vec!["exec", "--", "/no/such/command"], 127),
        (vec!["exec", "--", "/etc/passwd"], 126),
    ] {
        assert_eq!(scene.run(&command).0, Some(status), "{command:?}");
        assert!(scene.is_clean());
    }
}

#[test]
fn exec_passes_signals_on() {
    let scene = Scene::new("signals");
    let script = "trap 'exit 9' TERM; trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done";
    for (signal, status) in [(Signal::TERM, 9), (Signal::USR1, 8)] {
        let mut command = scene.sidecar(&["exec", "--", "sh", "-c", script]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert!(scene.is_clean());
    }
}

#[test]
fn a_command_that_would_have_no_credentials_is_not_run() {
    let scene = Scene::new("refused");
    scene.double.status.store(403, Ordering::SeqCst);
    let (status, stdout, stderr) = scene.run(&["exec", "--", "sh", "-c", "echo it ran"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "sidecar: the broker refused with status 403 (tenant_unknown)\n");
    assert!(scene.is_clean());
}

#[test]
fn r2_what_is_wrong_with_the_settings_is_said_before_anything_is_done() {
    let scene = Scene::new("settings");
    for (name, value, wanted) in [
        ("AGENTKEYS_CLASS", "secrets", "AGENTKEYS_CLASS is malformed"),
        ("AGENTKEYS_BROKER", "http://broker.example.org", "AGENTKEYS_BROKER is malformed"),
        ("AGENTKEYS_TYPO", "1", "AGENTKEYS_TYPO is no variable"),
        ("ATTESTOR", "mtls", "ATTESTOR is malformed"),
    ] {
        let output = scene.sidecar(&["exec", "--", "env"]).env(name, value).output().unwrap();
        let (status, stdout, stderr) = said(&output);
        assert_eq!((status, stdout.as_str()), (Some(1), ""));
        assert!(stderr.contains(wanted), "{stderr}");
    }
    for arguments in
        [&[][..], &["exec"], &["exec", "--"], &["serve", "a", "b"], &["credential-process", "x"], &["x"]]
    {
        let (status, _, stderr) = scene.run(arguments);
        assert!(status == Some(1) && stderr.contains("usage: sidecar"), "{arguments:?} {stderr}");
    }
    assert_eq!(scene.double.minted.load(Ordering::SeqCst), 0);
}

#[test]
fn an_unmodified_sdk_finds_its_credentials_beside_serve() {
    let scene = Scene::new("serve");
    let folder = scene.folder.join("shared");
    let mut command = scene.sidecar(&["serve", folder.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut agent = Command::new(std::env::current_exe().unwrap());
    agent.args(["--exact", "--ignored", "--nocapture", "sidecar_process::an_agent"]).env_clear();
    for name in ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] {
        let line = lines.next().unwrap().unwrap();
        agent.env(name, line.strip_prefix(&format!("export {name}=")).unwrap());
    }
    let (status, stdout, _) = said(&agent.env("AWS_REGION", "us-east-1").output().unwrap());
    assert_eq!(status, Some(0));
    assert!(stdout.contains("agent: ASIAEXAMPLE0 true"), "{stdout}");
    // of a wrong token it hears at once that there is nothing for it
    fs::write(scene.folder.join("wrong"), "wrong").unwrap();
    agent.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", scene.folder.join("wrong"));
    agent.env("AWS_EC2_METADATA_DISABLED", "true");
    let (_, stdout, _) = said(&agent.output().unwrap());
    assert!(stdout.contains("agent: none"), "{stdout}");
    fs::remove_file(scene.folder.join("wrong")).unwrap();

    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("sidecar: credentials ASIAEXAMPLE0 until ") && !stderr.contains("MARKED"),
        "{stderr}"
    );
    assert!(scene.is_clean(), "the token is still there");
}

/// Run by the tests above as a process of its own: asks the SDK's default chain.
#[tokio::test]
#[ignore = "another test runs it as an agent's process"]
async fn an_agent() {
    let sdk = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let found = sdk.credentials_provider().unwrap().provide_credentials().await;
    match found {
        Ok(found) => {
            let temporary = found.session_token().is_some() && found.expiry().is_some();
            writeln!(std::io::stdout(), "agent: {} {temporary}", found.access_key_id()).unwrap();
        }
        Err(_) => writeln!(std::io::stdout(), "agent: none").unwrap(),
    }
}
