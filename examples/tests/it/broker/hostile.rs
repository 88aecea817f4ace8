//! Requests that nobody sends by accident: each has its status and its code, nothing of it comes back, and the
//! server answers the next one.

use std::fmt::Write as _;
use std::time::Duration;

use agentkeys_attest::aws_stsweb::StsWebSource;
use agentkeys_core::EvidenceSource as _;
use agentkeys_federation::PodRole;
use agentkeys_local_aws::Role;
use agentkeys_local_aws::policy::{IdentityPolicy, TrustPolicy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::support::{World, parse, read_to_end, send};

/// A request, and what must come of it: a status, and a code where the answer is ours.
struct Case {
    name: String,
    bytes: Vec<u8>,
    status: u16,
    reason: &'static str,
}

/// Closed without an answer.
const CLOSED: u16 = 0;

/// What must never come back.
const MARK: &str = "MARKED-2f9c1b7e";

struct Cases(Vec<Case>);

impl Cases {
    fn raw(&mut self, name: &str, bytes: impl Into<Vec<u8>>, status: u16, reason: &'static str) {
        self.0.push(Case { name: name.to_owned(), bytes: bytes.into(), status, reason });
    }

    fn head(&mut self, name: &str, line: &str, headers: &str, status: u16, reason: &'static str) {
        self.raw(
            name,
            format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"),
            status,
            reason,
        );
    }

    fn body(
        &mut self,
        name: &str,
        path: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
        status: u16,
        reason: &'static str,
    ) {
        let body = body.as_ref();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        self.raw(name, [head.as_bytes(), body].concat(), status, reason);
    }

    fn attest(&mut self, name: &str, body: impl AsRef<[u8]>, status: u16, reason: &'static str) {
        self.body(name, "/v1/attest", "content-type: application/json\r\n", body, status, reason);
    }

    fn evidence(&mut self, name: &str, evidence: &str, status: u16, reason: &'static str) {
        let body = json!({ "kind": "aws-stsweb", "evidence": evidence }).to_string();
        self.attest(name, body, status, reason);
    }

    fn form(&mut self, name: &str, body: &str, status: u16, reason: &'static str) {
        self.body(
            name,
            "/token",
            "content-type: application/x-www-form-urlencoded\r\n",
            body,
            status,
            reason,
        );
    }
}

/// What is no HTTP, or too much of it: hyper's own answers, which are empty.
fn no_http(cases: &mut Cases) {
    cases.raw("no HTTP at all", format!("{MARK}\r\n\r\n"), 400, "");
    cases.raw("a TLS hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".repeat(8), 400, "");
    cases.raw("HTTP/0.9", "GET /\r\n\r\n", 400, "");
    cases.raw("HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CLOSED, "");
    cases.raw("another version", "GET /healthz HTTP/3.0\r\n\r\n", 400, "");
    cases.head("a header without a colon", "GET /healthz", "broken\r\n", 400, "");
    cases.head("a header with a NUL", "GET /healthz", "x-a: a\0b\r\n", 400, "");
    cases.head("a header's name with a space", "GET /healthz", "x a: b\r\n", 400, "");
    cases.head("a folded header", "GET /healthz", "x-a: b\r\n c\r\n", 400, "");
    cases.head("a header of 200 KiB", "GET /healthz", &format!("x-a: {}\r\n", "a".repeat(200_000)), 431, "");
    let many = (0..200).fold(String::new(), |mut all, number| {
        write!(all, "x-{number}: a\r\n").unwrap();
        all
    });
    cases.head("200 headers", "GET /healthz", &many, 431, "");
    cases.head("a path of 200 KiB", &format!("GET /{}", "a".repeat(200_000)), "", 431, "");
    cases.head("two lengths", "POST /v1/attest", "content-length: 1\r\ncontent-length: 2\r\n", 400, "");
    cases.head("a length below zero", "POST /v1/attest", "content-length: -1\r\n", 400, "");
    cases.head("a length that is none", "POST /v1/attest", "content-length: 1e3\r\n", 400, "");
    cases.head("a coding that nobody knows", "POST /v1/attest", "transfer-encoding: gzip\r\n", 400, "");
}

/// Methods and paths.
fn elsewhere(cases: &mut Cases) {
    for (line, status) in [
        ("PUT /v1/attest", 405),
        ("GET /v1/attest", 405),
        ("DELETE /token", 405),
        ("GET /token", 405),
        ("PATCH /v1/mint-aws-creds", 405),
        ("POST /.well-known/jwks.json", 405),
        ("POST /v1/events/blue", 405),
        ("TRACE /healthz", 405),
        ("OPTIONS /token", 405),
        ("MARKED-2f9c1b7e /token", 405),
    ] {
        cases.head(line, line, "", status, "method_not_allowed");
    }
    for path in [
        "/",
        "/metrics",
        "/v1/attest/",
        "//v1/attest",
        "/v1/../v1/attest",
        "/v1/attest/../../etc/passwd",
        "/v1/mint-aws-creds/..%2f..",
        "/v1/mint-aws-creds/memory%00",
        "/v1/mint-oidc-jwt/%ff",
        "/MARKED-2f9c1b7e%0d%0aset-cookie:%20a=b",
    ] {
        cases.body(path, path, "authorization: Bearer a\r\n", "", 404, "not_found");
    }
}

/// Bodies that are not what they must be.
fn bodies(cases: &mut Cases) {
    let good = json!({ "kind": "aws-stsweb", "evidence": MARK }).to_string();
    for (name, headers) in [
        ("no content type", ""),
        ("text", "content-type: text/plain\r\n"),
        ("a form where JSON is", "content-type: application/x-www-form-urlencoded\r\n"),
        ("several parts", "content-type: multipart/form-data; boundary=MARKED-2f9c1b7e\r\n"),
        ("two content types", "content-type: application/json\r\ncontent-type: application/json\r\n"),
        ("a content type that is like it", "content-type: application/json5\r\n"),
        ("a content type in latin-1", "content-type: application/\u{e9}\r\n"),
    ] {
        cases.body(name, "/v1/attest", headers, &good, 415, "media_type");
    }
    let large = vec![b' '; 10 * 1024 * 1024];
    let json = "content-type: application/json\r\n";
    cases.body("10 MiB", "/v1/attest", json, &large, 413, "body_large");
    cases.body(
        "10 MiB of a form",
        "/token",
        "content-type: application/x-www-form-urlencoded\r\n",
        &large,
        413,
        "invalid_request",
    );
    cases.body(
        "10 MiB to mint",
        "/v1/mint-aws-creds",
        "authorization: Bearer a\r\n",
        &large,
        413,
        "body_large",
    );
    cases.body("one byte too many", "/v1/attest", json, &large[..65_537], 413, "body_large");
    let chunked = format!(
        "POST /v1/attest HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{json}transfer-encoding: chunked\r\n\r\nA00000\r\n"
    );
    cases.raw("10 MiB in a chunk", [chunked.as_bytes(), &large].concat(), 413, "body_large");
    let broken = chunked.replace("A00000", "zz");
    cases.raw("a chunk without a size", broken, 400, "body_broken");
    for (name, body) in [
        ("an empty body", String::new()),
        ("half of it", good[..good.len() / 2].to_owned()),
        ("more after it", format!("{good}{good}")),
        ("an array", format!("[\"aws-stsweb\",\"{MARK}\"]")),
        ("a text", format!("\"{MARK}\"")),
        ("a doubled member", good.replacen('{', "{\"kind\":\"aws-stsweb\",", 1)),
        ("a member doubled by an escape", good.replacen('{', "{\"k\\u0069nd\":\"aws-stsweb\",", 1)),
        ("a member that is not known", good.replacen('{', &format!("{{\"{MARK}\":1,"), 1)),
        ("a member that is missing", json!({ "kind": "aws-stsweb" }).to_string()),
        ("a number", json!({ "kind": 1, "evidence": 2 }).to_string()),
        ("null", json!({ "kind": "aws-stsweb", "evidence": null }).to_string()),
        ("half a surrogate", format!("{{\"kind\":\"aws-stsweb\",\"evidence\":\"\\ud800{MARK}\"}}")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("10,000 brackets", "[".repeat(10_000)),
        ("10,000 braces", "{\"a\":".repeat(10_000)),
        ("brackets in a member", format!("{{\"kind\":{}", "[".repeat(30_000))),
    ] {
        cases.attest(name, body, 400, "body_malformed");
    }
    cases.attest("latin-1", b"{\"kind\":\"aws-stsweb\",\"evidence\":\"\xe9\"}", 400, "body_malformed");
    cases.attest(
        "overlong UTF-8",
        b"{\"kind\":\"aws-stsweb\",\"evidence\":\"\xc0\xaf\"}",
        400,
        "body_malformed",
    );
    for kind in ["", "AWS", "aws stsweb", "../aws", MARK] {
        let body = json!({ "kind": kind, "evidence": "a" }).to_string();
        cases.attest(&format!("the kind {kind:?}"), body, 400, "evidence_kind");
    }
    cases.evidence("no evidence", "", 400, "evidence_size");
    cases.evidence("40 KiB of evidence", &"a".repeat(40_000), 400, "evidence_size");
}

/// Evidence and sessions that are not.
async fn identities(world: &World, cases: &mut Cases) {
    let kind = |kind: &str| json!({ "kind": kind, "evidence": "a" }).to_string();
    cases.attest("a kind that nobody appraises", kind("spiffe-svid"), 401, "evidence_kind_unknown");
    let evidence = world.evidence("blue").await;
    let session = world.session("blue").await;
    let token = world.mint("/v1/mint-oidc-jwt", &session).await.json()["jwt"].as_str().unwrap().to_owned();
    let parts: Vec<_> = evidence.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let other = elsewhere_evidence(world).await;
    for (name, evidence, reason) in [
        ("a word", MARK.to_owned(), "token_malformed"),
        ("three words", "a.b.c".to_owned(), "token_malformed"),
        ("two tokens", format!("{evidence}.{evidence}"), "token_malformed"),
        ("a token without a signature", format!("{}.{}.", parts[0], parts[1]), "token_malformed"),
        ("alg none", format!("{none}.{}.", parts[1]), "token_malformed"),
        (
            "another's signature",
            format!("{}.{}.{}", parts[0], parts[1], other.split('.').nth(2).unwrap()),
            "token_signature",
        ),
        ("a token for another audience", other, "token_audience"),
        ("a session as evidence", session.clone(), "token_algorithm"),
        ("a token for a cloud as evidence", token.clone(), "token_algorithm"),
    ] {
        cases.evidence(name, &evidence, 401, reason);
    }
    for (name, headers, reason) in [
        ("no session", String::new(), "authorization_missing"),
        ("another scheme", format!("authorization: Basic {MARK}\r\n"), "authorization_malformed"),
        ("no scheme", format!("authorization: {session}\r\n"), "authorization_malformed"),
        ("two spaces", format!("authorization: Bearer  {session}\r\n"), "authorization_malformed"),
        ("a second word", format!("authorization: Bearer {session} {MARK}\r\n"), "authorization_malformed"),
        (
            "two sessions",
            format!("authorization: Bearer {session}\r\nauthorization: Bearer {session}\r\n"),
            "authorization_doubled",
        ),
        ("latin-1", "authorization: Bearer \u{e9}\r\n".to_owned(), "authorization_malformed"),
        ("20 KB", format!("authorization: Bearer {}\r\n", "a".repeat(20_000)), "token_malformed"),
        ("a word", format!("authorization: Bearer {MARK}\r\n"), "token_malformed"),
        ("a token for a cloud", format!("authorization: Bearer {token}\r\n"), "token_type"),
        ("evidence", format!("authorization: Bearer {evidence}\r\n"), "token_algorithm"),
    ] {
        cases.body(&format!("mint with {name}"), "/v1/mint-aws-creds", &headers, "", 401, reason);
        cases.head(&format!("events with {name}"), "GET /v1/events/blue", &headers, 401, reason);
    }
    cases.head(
        "a session in the query",
        &format!("GET /v1/events/blue?access_token={session}"),
        "",
        401,
        "authorization_missing",
    );
    cases.head(
        "another agent's events",
        "GET /v1/events/red",
        &format!("authorization: Bearer {session}\r\n"),
        404,
        "not_found",
    );
    let authorization = format!("authorization: Bearer {session}\r\n");
    cases.body("a body for nothing", "/v1/mint-aws-creds", &authorization, MARK, 400, "body_unexpected");
    cases.body(
        "a signed intent",
        "/v1/mint-aws-creds",
        &authorization,
        format!("{{\"intent\":\"{MARK}\"}}"),
        400,
        "signed_intent_unsupported",
    );
}

/// A pod's token that is signed by the same STS, for somebody else.
async fn elsewhere_evidence(world: &World) -> String {
    // a role that is not kept to one audience, as its own policy keeps it
    let trust = PodRole::new("agentkeys".parse().unwrap()).unwrap().trust_policy().to_string();
    let mut role = Role::new("agents".parse().unwrap(), TrustPolicy::parse(&trust).unwrap());
    let any = json!({ "Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*" });
    let any = json!({ "Version": "2012-10-17", "Statement": [any] }).to_string();
    role.policies.push(IdentityPolicy::parse(&any).unwrap());
    world.demo.aws().put_role(role);
    let sdk = world.demo.pod("blue").unwrap();
    let source = StsWebSource::new(&sdk, &"us-east-1".parse().unwrap(), "other.example".parse().unwrap());
    String::from_utf8(source.fetch().await.unwrap().expose().to_vec()).unwrap()
}

fn forms(cases: &mut Cases) {
    for (name, body) in [
        ("a doubled parameter", "grant_type=client_credentials&grant_type=client_credentials".to_owned()),
        ("one doubled by an escape", "grant_type=client_credentials&grant%5Ftype=x".to_owned()),
        ("half an escape", format!("grant_type=%4&x={MARK}")),
        ("latin-1", "grant_type=%e9".to_owned()),
        ("1000 parameters", (0..1000).map(|number| format!("p{number}=1&")).collect()),
    ] {
        cases.form(name, &body, 400, "invalid_request");
    }
    cases.form("no grant", &format!("x={MARK}"), 400, "invalid_request");
    cases.form("a grant that is not known", &format!("grant_type={MARK}"), 400, "unsupported_grant_type");
    cases.form(
        "a password",
        &format!("grant_type=password&username=blue&password={MARK}"),
        400,
        "unsupported_grant_type",
    );
    cases.form(
        "a client's secret",
        &format!("grant_type=client_credentials&client_secret={MARK}"),
        401,
        "invalid_client",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn w60_every_hostile_request_has_its_answer_and_nothing_of_it_comes_back() {
    let world = World::start().await;
    let mut cases = Cases(Vec::new());
    no_http(&mut cases);
    elsewhere(&mut cases);
    bodies(&mut cases);
    identities(&world, &mut cases).await;
    forms(&mut cases);
    assert!(cases.0.len() >= 60, "{}", cases.0.len());
    let mut wrong = Vec::new();
    for Case { name, bytes, status, reason } in &cases.0 {
        let bytes = send(world.public(), bytes).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let answer = parse(&bytes);
        let got = answer.as_ref().map_or(0, |answer| answer.status);
        let body: Value =
            answer.as_ref().and_then(|answer| serde_json::from_str(&answer.body).ok()).unwrap_or_default();
        // the token endpoint names an error as its RFC has it
        let named = if body["reason"].is_null() { &body["error"] } else { &body["reason"] };
        let fits = named.as_str().unwrap_or_default() == *reason;
        if got != *status || !fits {
            wrong.push(format!("{name}: {status} {reason}, and it was {got} {body} {text:.200}"));
        }
        assert!(!text.contains(MARK) && !text.contains("eyJ") && !text.contains("Bearer "), "{name}: {text}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.0.len(), wrong.join("\n"));
    works(&world).await;
}

/// Whether an agent still gets what it should.
async fn works(world: &World) {
    let session = world.session("red").await;
    assert_eq!(world.mint("/v1/mint-aws-creds/memory", &session).await.status, 200);
    assert_eq!(world.get("/readyz", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_slowly_is_cut_off_and_keeps_nobody_waiting() {
    let world = World::start().await;
    let json = "content-type: application/json\r\n";
    let beginnings = [
        ("nothing", String::new(), ""),
        ("half a header", "POST /v1/attest HTTP/1.1\r\nhost: x\r\nx-a".to_owned(), ""),
        (
            "half a body",
            format!("POST /v1/attest HTTP/1.1\r\nhost: x\r\n{json}content-length: 9\r\n\r\n{{\"k"),
            "HTTP/1.1 408 ",
        ),
        (
            "half a chunk",
            format!(
                "POST /v1/attest HTTP/1.1\r\nhost: x\r\n{json}transfer-encoding: chunked\r\n\r\n9\r\n{{\"k"
            ),
            "HTTP/1.1 408 ",
        ),
        (
            "an answered request, then nothing",
            "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            "HTTP/1.1 200 ",
        ),
    ];
    let mut slow = Vec::new();
    for number in 0..200 {
        let (name, beginning, expected) = beginnings[number % beginnings.len()].clone();
        let public = world.public();
        slow.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(public).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            // a byte now and then keeps nothing open
            let dribble = tokio::time::timeout(Duration::from_secs(20), read_to_end(&mut stream)).await;
            let answer = dribble.unwrap_or_else(|_| panic!("{name}: it is still open"));
            let text = String::from_utf8(answer).unwrap();
            assert!(text.starts_with(expected), "{name}: {text}");
            if expected.is_empty() {
                assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{name}: {text}");
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = tokio::time::Instant::now();
    works(&world).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "the others wait");
    for task in slow {
        task.await.unwrap();
    }
    works(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_may_run_at_once_are_told_to_come_again() {
    let world = World::start().await;
    // each of these waits for its body
    let mut waiting = Vec::new();
    for _ in 0..256 {
        let mut stream = TcpStream::connect(world.public()).await.unwrap();
        let head = "POST /v1/attest HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let overloaded = async {
        loop {
            let answer = world.post("/v1/attest", &[], "").await;
            if answer.status == 503 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(8), overloaded).await.unwrap();
    assert_eq!(answer.refusal(), (503, "overloaded".into(), "overloaded".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(waiting);
    let recovered = async {
        while world.get("/readyz", &[]).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), recovered).await.unwrap();
    works(&world).await;
}
