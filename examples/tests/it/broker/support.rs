use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agentkeys_examples::broker::BrokerDemo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A broker of a test's own, whose files go with it.
pub(crate) struct World {
    pub(crate) demo: BrokerDemo,
    folder: Folder,
}

impl World {
    pub(crate) async fn start() -> Self {
        let folder = Folder::new();
        Self { demo: BrokerDemo::start(&folder.0).await.unwrap(), folder }
    }

    /// Stops it and starts another with the same files.
    pub(crate) async fn restart(self) -> Self {
        let Self { demo, folder } = self;
        demo.shutdown().await.unwrap();
        Self { demo: BrokerDemo::start(&folder.0).await.unwrap(), folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.demo.running().public()
    }

    pub(crate) fn operator(&self) -> SocketAddr {
        self.demo.running().operator()
    }

    pub(crate) fn operator_token(&self) -> String {
        std::fs::read_to_string(self.folder().join("operator.token")).unwrap()
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.public(), "GET", path, headers, b"").await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.public(), "POST", path, headers, body.as_bytes()).await
    }

    /// What a pod of `agent` would send.
    pub(crate) async fn evidence(&self, agent: &str) -> String {
        String::from_utf8(self.demo.evidence(agent).await.unwrap().expose().to_vec()).unwrap()
    }

    pub(crate) async fn attest(&self, kind: &str, evidence: &str) -> Answer {
        let body = json!({ "kind": kind, "evidence": evidence }).to_string();
        self.post("/v1/attest", &[JSON], &body).await
    }

    /// A session of `agent`.
    pub(crate) async fn session(&self, agent: &str) -> String {
        let evidence = self.evidence(agent).await;
        let answer = self.attest("aws-stsweb", &evidence).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["session"].as_str().unwrap().to_owned()
    }

    /// A POST without a body, with a session.
    pub(crate) async fn mint(&self, path: &str, session: &str) -> Answer {
        self.post(path, &[("authorization", &format!("Bearer {session}"))], "").await
    }
}

/// A folder that only its owner can read, and that is removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("agentkeys-broker-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| -> Option<(String, usize)> {
            let (known, _) = line.split_once(':')?;
            Some((known.to_ascii_lowercase(), known.len() + 1))
        };
        self.head.lines().find_map(|line| {
            let (known, at) = of(line)?;
            (known == name).then(|| line[at..].trim())
        })
    }

    /// Status, `error` and `reason`.
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        (self.status, text("error"), text("reason"))
    }
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// One request on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let answer = send(address, &[request.as_bytes(), body].concat()).await;
    parse(&answer).unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

/// These bytes, and whatever comes back until the server closes; a server that leaves us waiting is a failure.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // a server may refuse and close before it has read everything
    let _refused_early = stream.write_all(bytes).await;
    read_to_end(&mut stream).await
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match tokio::time::timeout(Duration::from_secs(60), stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return answer,
            Ok(Ok(read)) => answer.extend_from_slice(&piece[..read]),
            Err(_) => panic!("the server neither answers nor closes"),
        }
    }
}

pub(crate) fn parse(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// The claims of a JWT, which nobody checks here.
pub(crate) fn claims(jwt: &str) -> Value {
    use base64::Engine as _;
    let payload = jwt.split('.').nth(1).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// The names of an object's members, sorted: a build's other crates may let objects keep another order.
pub(crate) fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
