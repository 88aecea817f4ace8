//! A client that takes whatever happens for an answer.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection at a time to a port of this machine, opened anew where it broke.
pub(super) struct Client {
    port: u16,
    stream: Option<TcpStream>,
}

/// What came of a request. Status 0 is none: no connection, one that broke, or no answer in time.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self, member: &str) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        Some(body.get(member)?.as_str()?.to_owned())
    }

    /// Its reason, or what there is instead.
    pub(super) fn why(&self) -> String {
        self.text("reason").unwrap_or_else(|| match self.status {
            0 => "no answer".to_owned(),
            status => format!("status {status}"),
        })
    }
}

impl Client {
    pub(super) const fn new(port: u16) -> Self {
        Self { port, stream: None }
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: replicas\r\n\r\n")).await
    }

    pub(super) async fn challenge(&mut self) -> Answer {
        self.post("/v1/attest/challenge", "", "").await
    }

    pub(super) async fn attest(&mut self, kind: &str, evidence: &str) -> Answer {
        let body = json!({ "kind": kind, "evidence": evidence }).to_string();
        self.post("/v1/attest", "content-type: application/json\r\n", &body).await
    }

    pub(super) async fn with_session(&mut self, path: &str, session: &str) -> Answer {
        self.post(path, &format!("authorization: Bearer {session}\r\n"), "").await
    }

    async fn post(&mut self, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: replicas\r\n{headers}content-length: {length}\r\n\r\n");
        self.ask(&(head + body)).await
    }

    async fn ask(&mut self, request: &str) -> Answer {
        let asked = tokio::time::timeout(LIMIT, self.asked(request)).await;
        match asked.ok().flatten() {
            Some(answer) => answer,
            None => {
                self.stream = None;
                Answer { status: 0, body: Vec::new() }
            }
        }
    }

    async fn asked(&mut self, request: &str) -> Option<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
                stream.set_nodelay(true).ok()?;
                stream
            }
        };
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut read = Vec::with_capacity(4096);
        loop {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            let Some(head) = read.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(read.get(..head)?).ok()?.to_ascii_lowercase();
            let status = text.split(' ').nth(1)?.parse().ok()?;
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let closes = text.contains("connection: close");
            let end = head + 4 + length.unwrap_or(0_usize);
            if let Some(body) = read.get(head + 4..end) {
                if !closes {
                    self.stream = Some(stream);
                }
                return Some(Answer { status, body: body.to_vec() });
            }
        }
    }
}

/// How long an answer may take before it is none.
const LIMIT: Duration = Duration::from_secs(10);
