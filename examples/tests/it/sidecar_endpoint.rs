//! The container credentials endpoint on a real socket: who is let in, and what everybody else hears.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::testing::ManualClock;
use agentkeys_core::{HttpError, Secret, Timestamp};
use agentkeys_examples::sidecar::{Endpoint, PeerCheck};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::sidecar::{NOW, Script, credentials, keeper, session};

const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE";

struct Up {
    address: String,
}

impl Up {
    async fn with(script: &Arc<Script>, peer: Option<PeerCheck>) -> Self {
        let keeper = keeper(script, ManualClock::new(Timestamp::from_unix(NOW)));
        tokio::spawn(keeper.clone().run());
        let endpoint = Endpoint::bind(0).await.unwrap();
        let uri = endpoint.uri();
        let address =
            uri.strip_prefix("http://").unwrap().strip_suffix("/v1/credentials").unwrap().to_owned();
        assert!(address.starts_with("127.0.0.1:"));
        tokio::spawn(endpoint.run(keeper, Secret::from(TOKEN), peer));
        Self { address }
    }

    async fn start() -> Self {
        Self::with(&healthy(), None).await
    }

    /// Status, head and JSON of the answer to a request, as it stands on the wire.
    async fn ask(&self, request: &str) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(2), reading).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn request(&self, line: &str, headers: &[&str]) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        format!("{line} HTTP/1.1\r\n{headers}connection: close\r\n\r\n").replace("HERE", &self.address)
    }
}

fn healthy() -> Arc<Script> {
    Script::new(|path| if path == "/v1/attest" { session(NOW + 300) } else { credentials(NOW + 900) })
}

const GET: &str = "GET /v1/credentials";
const HOST: &str = "host: HERE";

#[tokio::test]
async fn a_request_with_the_token_gets_credentials_in_awss_form() {
    let up = Up::start().await;
    let authorization = format!("authorization: {TOKEN}");
    let good = up.request(GET, &[HOST, &authorization, "accept: application/json"]);
    for request in [good.clone(), good.replace("connection:", "content-length: 0\r\nconnection:")] {
        let (status, head, body) = up.ask(&request).await;
        assert_eq!(status, 200);
        assert!(head.contains("cache-control: no-store") && head.contains("content-type: application/json"));
        let expected = serde_json::json!({
            "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "secret", "Token": "token",
            "Expiration": "2027-01-15T08:15:00Z",
        });
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn every_other_request_is_refused_in_awss_form_and_at_once() {
    let up = Up::start().await;
    let own = format!("authorization: {TOKEN}");
    let (mut longer, mut shorter, mut other) = (own.clone(), own.clone(), own.clone());
    longer.push('F');
    shorter.pop();
    other.replace_range(20..21, "Z");
    let (bearer, upper) =
        (format!("authorization: Bearer {TOKEN}"), format!("authorization: {}", TOKEN.to_uppercase()));
    let good: &[&str] = &[HOST, &own];
    let cases: Vec<(u16, &str, &str, Vec<&str>)> = vec![
        // names that a web page could have given to this address, and none
        (403, "host", GET, vec!["host: evil.example", &own]),
        (403, "host", GET, vec!["host: evil.example:8080", &own]),
        (403, "host", GET, vec!["host: localhost", &own]),
        (403, "host", GET, vec!["host: 127.0.0.1", &own]),
        (403, "host", GET, vec!["host: 127.0.0.1:1", &own]),
        (403, "host", GET, vec!["host: HERE.evil.example", &own]),
        (403, "host", GET, vec!["host: evil@HERE", &own]),
        (403, "host", GET, vec!["host: [::1]", &own]),
        (403, "host", GET, vec!["host:", &own]),
        (403, "host", GET, vec![HOST, "host: evil.example", &own]),
        (403, "host", GET, vec!["host: evil.example", "x-forwarded-host: HERE", &own]),
        (403, "host", "GET http://evil.example/v1/credentials", good.to_vec()),
        (403, "host", "GET /v1/credentials", vec!["host: evil.example"]),
        // every token but the one
        (401, "unauthorized", GET, vec![HOST]),
        (401, "unauthorized", GET, vec![HOST, "authorization:"]),
        (401, "unauthorized", GET, vec![HOST, &longer]),
        (401, "unauthorized", GET, vec![HOST, &shorter]),
        (401, "unauthorized", GET, vec![HOST, &other]),
        (401, "unauthorized", GET, vec![HOST, &bearer]),
        (401, "unauthorized", GET, vec![HOST, &upper]),
        (401, "unauthorized", GET, vec![HOST, &own, &own]),
        (401, "unauthorized", GET, vec![HOST, &own, "authorization: x"]),
        (401, "unauthorized", GET, vec![HOST, "proxy-authorization: x", "cookie: a=b"]),
        (401, "unauthorized", "GET /", vec![HOST]),
        (401, "unauthorized", "POST /v1/credentials", vec![HOST, "content-length: 1"]),
        (
            401,
            "unauthorized",
            "GET /v1/credentials?token=abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE",
            vec![HOST],
        ),
        // and of him who has it, whatever is not the one request
        (404, "not_found", "GET /", good.to_vec()),
        (404, "not_found", "GET /v1/credentials/", good.to_vec()),
        (404, "not_found", "GET /v1/../v1/credentials", good.to_vec()),
        (405, "method", "POST /v1/credentials", good.to_vec()),
        (405, "method", "DELETE /v1/credentials", good.to_vec()),
        (405, "method", "OPTIONS /v1/credentials", good.to_vec()),
        (400, "body", GET, vec![HOST, &own, "content-length: 3"]),
        (400, "body", GET, vec![HOST, &own, "transfer-encoding: chunked"]),
    ];
    for (status, code, line, headers) in cases {
        let (answered, head, body) = up.ask(&up.request(line, &headers)).await;
        assert_eq!((answered, body["code"].as_str()), (status, Some(code)), "{line} {headers:?}");
        assert_eq!(body.as_object().unwrap().len(), 2);
        let text = format!("{head} {body}");
        assert!(body["message"].is_string() && !text.contains("secret") && !text.contains(&TOKEN[..20]));
        assert!(head.contains("cache-control: no-store"));
    }
    let (_, _, still) = up.ask(&up.request(GET, good)).await;
    assert_eq!(still["AccessKeyId"], "ASIAEXAMPLE");
}

#[tokio::test]
async fn without_credentials_the_answer_says_why_in_awss_form() {
    let own = format!("authorization: {TOKEN}");
    for (script, status, code) in [
        (Script::new(|_| Err(HttpError::Timeout)), 503, "broker_unreachable"),
        (
            Script::new(|_| Ok((403, serde_json::json!({ "reason": "tenant_unknown" })))),
            403,
            "broker_refused",
        ),
        (Script::new(|_| Ok((401, Value::Null))), 401, "broker_refused"),
        (Script::new(|_| Ok((200, "MARKED".into()))), 503, "broker_malformed"),
    ] {
        let up = Up::with(&script, None).await;
        let (answered, head, body) = up.ask(&up.request(GET, &[HOST, &own])).await;
        assert_eq!((answered, body["code"].as_str()), (status, Some(code)));
        assert_eq!(head.contains("retry-after"), status == 503);
        assert!(!body.to_string().contains("MARKED"));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_users_process_is_refused_though_it_has_the_token() {
    let own = format!("authorization: {TOKEN}");
    let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    for (uid, status) in [(me, 200), (me + 1, 403)] {
        let up = Up::with(&healthy(), Some(PeerCheck::new(uid))).await;
        let (answered, _, body) = up.ask(&up.request(GET, &[HOST, &own])).await;
        assert_eq!(answered, status, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_request_is_cut_off() {
    let up = Up::start().await;
    for beginning in ["", "GET /v1/credentials HTTP/1.1\r\nhost: x\r\nx-a"] {
        let mut stream = TcpStream::connect(&up.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let mut answer = String::new();
        let reading = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(15), reading).await.unwrap().unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(9), "{beginning:?}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{beginning:?}: {answer}");
    }
}
