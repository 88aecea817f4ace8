//! The broker as a process: what it prints, how it ends, and what a kill leaves behind.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use agentkeys_federation::{ChainHead, SqliteAudit};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::support::{Answer, Folder, JSON, ask, claims, read_to_end};

/// The example's own binary, with its files in a folder.
struct Process {
    child: Child,
    folder: PathBuf,
    public: SocketAddr,
    operator: SocketAddr,
    said: String,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let deps = std::env::current_exe().unwrap();
        let binary = deps.parent().unwrap().parent().unwrap().join("examples").join("broker");
        assert!(
            binary.exists(),
            "not built: run `cargo test -p agentkeys-examples` without choosing targets"
        );
        let mut child = Command::new(binary)
            .args(["demo", folder.to_str().unwrap()])
            .env("AWS_SECRET_ACCESS_KEY", "poison")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.ends_with("stop with Ctrl-C\n") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended early: {said}");
        }
        // what comes later must have room
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        let address = |name: &str| -> SocketAddr {
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("export {name}=http://")));
            line.unwrap().parse().unwrap()
        };
        let (public, operator) = (address("BROKER_URL"), address("BROKER_OPERATOR_URL"));
        Self { child, folder: folder.to_owned(), public, operator, said }
    }

    /// All that it logs, once it has ended.
    fn log(&mut self) -> JoinHandle<String> {
        let mut stderr = self.child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut log = Vec::new();
            stderr.read_to_end(&mut log).unwrap();
            String::from_utf8_lossy(&log).into_owned()
        })
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.public, "POST", path, headers, body.as_bytes()).await
    }

    fn evidence(&self, agent: &str) -> String {
        std::fs::read_to_string(self.folder.join(format!("{agent}.evidence"))).unwrap()
    }

    async fn session(&self, agent: &str) -> String {
        let body = json!({ "kind": "aws-stsweb", "evidence": self.evidence(agent) }).to_string();
        let answer = self.post("/v1/attest", &[JSON], &body).await;
        answer.json()["session"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l29_no_secret_of_the_whole_flow_is_in_logs_output_events_metrics_or_errors() {
    let folder = Folder::new();
    let mut process = Process::start(&folder.0);
    let log = process.log();
    let evidence = process.evidence("blue");
    let session = process.session("blue").await;
    let bearer = format!("Bearer {session}");
    let authorization = ("authorization", bearer.as_str());
    let mut secrets = vec![evidence.clone(), session.clone()];
    let mut shown = process.said.clone();
    for path in ["/v1/mint-oidc-jwt", "/v1/mint-aws-creds", "/v1/mint-aws-creds/memory"] {
        let answer = process.post(path, &[authorization], "").await;
        let body = answer.json();
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        secrets.extend(["jwt", "secret_access_key", "session_token"].into_iter().filter_map(text));
    }
    let form = format!(
        "grant_type=client_credentials&client_assertion={evidence}&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    let answer = process.post("/token", &[super::support::FORM], &form).await;
    secrets.push(answer.json()["access_token"].as_str().unwrap().to_owned());
    let operator = std::fs::read_to_string(folder.0.join("operator.token")).unwrap();
    secrets.push(operator.clone());
    for file in ["oidc-keypair.json", "session-keypair.json"] {
        let file: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.0.join(file)).unwrap()).unwrap();
        let pem = file["keys"][0]["private_key_pem"].as_str().unwrap().to_owned();
        secrets.push(pem.lines().nth(1).unwrap().to_owned());
    }
    // the same where they are refused: in a wrong place, cut, doubled, in a path, in a header
    for secret in secrets.clone() {
        let cut = &secret[..secret.len() - 1];
        for (path, headers, body) in [
            ("/v1/attest", vec![JSON], json!({ "kind": "aws-stsweb", "evidence": cut }).to_string()),
            ("/v1/attest", vec![JSON], json!({ "kind": secret, "evidence": "x" }).to_string()),
            (
                "/v1/attest",
                vec![JSON],
                json!({ "kind": "aws-stsweb", "evidence": "x", secret.as_str(): 1 }).to_string(),
            ),
            ("/v1/attest", vec![("content-type", cut)], String::new()),
            ("/token", vec![super::support::FORM], format!("grant_type={secret}")),
            ("/v1/mint-aws-creds", vec![authorization], secret.clone()),
        ] {
            let answer = process.post(path, &headers, &body).await;
            assert!(answer.status >= 400, "{path}");
            shown.push_str(&answer.head);
            shown.push_str(&answer.body);
        }
        if !secret.contains(['\n', '=', '/', '+']) {
            let bearer = format!("Bearer {cut}");
            for path in [
                "/v1/mint-aws-creds",
                &format!("/v1/mint-aws-creds/{secret}?s={secret}"),
                &format!("/{secret}"),
            ] {
                let answer = process.post(path, &[("authorization", &bearer)], "").await;
                assert!(answer.status >= 400, "{path}");
                shown.push_str(&answer.body);
            }
        }
    }
    let own = ask(process.public, "GET", "/v1/events/blue", &[authorization], b"").await;
    assert_eq!(own.status, 200);
    shown.push_str(&own.body);
    for path in ["/metrics", "/readyz"] {
        shown.push_str(&ask(process.operator, "GET", path, &[], b"").await.body);
    }
    process.signal("-TERM");
    assert!(process.child.wait().unwrap().success());
    // the thread that reads it ends with the process
    let log = log.join().unwrap();
    assert!(
        log.lines().count() > 50 && log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "{log}"
    );
    let kinds =
        ["\"reason\":\"evidence_kind\"", "\"route\":\"/v1/attest\"", "\"route\":\"none\"", "\"status\":200"];
    assert!(kinds.iter().all(|kind| log.contains(kind)), "{log}");
    shown.push_str(&log);
    for secret in secrets {
        for part in secret.split('.').chain([secret.as_str()]).filter(|part| part.len() > 20) {
            assert!(!shown.contains(part), "a secret of {} characters is shown", secret.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_told_to_stop_answers_what_was_begun_and_closes_its_log() {
    for signal in ["-TERM", "-INT"] {
        let folder = Folder::new();
        let mut process = Process::start(&folder.0);
        let body = json!({ "kind": "aws-stsweb", "evidence": process.evidence("blue") }).to_string();
        let head = format!(
            "POST /v1/attest HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let (first, rest) = body.split_at(body.len() / 2);
        let mut begun = TcpStream::connect(process.public).await.unwrap();
        begun.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
        // it is in the middle of it when it is told
        tokio::time::sleep(Duration::from_millis(300)).await;
        process.signal(signal);
        let refused = async {
            while TcpStream::connect(process.public).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused).await.expect("it takes no more connections");
        begun.write_all(rest.as_bytes()).await.unwrap();
        let answer = String::from_utf8(read_to_end(&mut begun).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"session\""), "{signal}: {answer}");
        assert!(process.child.wait().unwrap().success());
        let audit = SqliteAudit::open(folder.0.join("audit.db")).unwrap();
        assert!(audit.close().await.is_ok());
    }
}

/// How many times it is killed; more in the long form.
fn rounds() -> u64 {
    std::env::var("AGENTKEYS_BROKER_KILLS").map_or(3, |rounds| rounds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn w56_r87_a_broker_that_is_killed_under_load_has_a_row_for_all_that_it_let_go() {
    let folder = Folder::new();
    let database = folder.0.join("audit.db");
    let (tokens, keys) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(Mutex::new(BTreeSet::new())));
    let mut known = ChainHead::EMPTY;
    for round in 0..rounds() {
        let mut process = Process::start(&folder.0);
        drop(process.log());
        let sessions = [process.session("blue").await, process.session("red").await];
        let before = tokens.lock().unwrap().len();
        let mut clients = Vec::new();
        for number in 0..8_usize {
            let (bearer, public) = (format!("Bearer {}", sessions[number % 2]), process.public);
            let (tokens, keys) = (Arc::clone(&tokens), Arc::clone(&keys));
            clients.push(tokio::spawn(async move {
                loop {
                    let Some(token) = answer_of(public, "/v1/mint-oidc-jwt", &bearer).await else { return };
                    let jti = claims(token["jwt"].as_str().unwrap())["jti"].as_str().unwrap().to_owned();
                    tokens.lock().unwrap().insert(jti);
                    for class in ["data", "vault", "memory"] {
                        let path = format!("/v1/mint-aws-creds/{class}");
                        let Some(credentials) = answer_of(public, &path, &bearer).await else { return };
                        keys.lock()
                            .unwrap()
                            .insert(credentials["access_key_id"].as_str().unwrap().to_owned());
                    }
                }
            }));
        }
        let enough = async {
            while tokens.lock().unwrap().len() < before + 40 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("it is under load");
        process.child.kill().unwrap();
        assert!(!process.child.wait().unwrap().success());
        for client in clients {
            client.await.unwrap();
        }
        // it opens, and it is the chain that it was, with more rows
        let head = SqliteAudit::open(&database).unwrap().close().await.unwrap();
        assert_eq!(SqliteAudit::verify(&database, &known).unwrap(), head, "round {round}");
        known = head;
        let issued = |column: &str| -> BTreeSet<String> {
            let database = Connection::open(&database).unwrap();
            let rows = format!(
                "SELECT i.{column} FROM audit i JOIN audit o ON i.id = o.id AND i.event = 'intent' \
                 AND o.event = 'outcome' AND o.outcome = 'issued'"
            );
            let rows = rows.replace("i.access_key_id", "o.access_key_id");
            let mut rows = database.prepare(&rows).unwrap();
            let found = rows.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
            found.filter_map(Result::unwrap).collect()
        };
        let (tokens, keys) = (tokens.lock().unwrap(), keys.lock().unwrap());
        assert!(tokens.is_subset(&issued("jti")), "round {round}: a token without its rows");
        assert!(keys.is_subset(&issued("access_key_id")), "round {round}: credentials without their rows");
        assert!(keys.len() >= 6);
    }
}

/// A whole answer, or none where the process was killed.
async fn answer_of(address: SocketAddr, path: &str, bearer: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {bearer}\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let answer = super::support::parse(&read_to_end(&mut stream).await)?;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).ok()
}
