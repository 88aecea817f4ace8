//! The attestor over real sockets: an STS that redirects, lies, floods, drips and says nothing.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws::StsEndpoint;
use agentkeys_attest::aws_sts::{AwsStsAttestor, AwsStsPins};
use agentkeys_core::testing::ManualClock;
use agentkeys_core::{
    AttestError, AttestedIdentity, Attestor as _, ErrorKind, HttpSettings, MemoryReplayGuard, ReqwestClient,
    Timestamp, TrustStore,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::aws_sts_support::{ARN, NOW, Signing, USER_ID, answer_of, error_of, pins};
use crate::support::told;

/// What the server does once it has read a request.
#[derive(Clone)]
enum Then {
    /// Answers and closes.
    Answer(String),
    /// Answers, and goes on with this for ever.
    Flood(String, Vec<u8>),
    /// Answers one byte in ten milliseconds.
    Drip(String),
    /// Says nothing, and keeps the connection open.
    Silence,
}

struct Server {
    origin: String,
    asked: UnboundedReceiver<String>,
}

async fn serve(then: Then) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (told, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            let _ = told.send(request);
            tokio::spawn(answer(stream, then.clone()));
        }
    });
    Server { origin, asked }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

async fn answer(mut stream: TcpStream, then: Then) {
    match then {
        Then::Answer(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Then::Flood(head, chunk) => {
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&chunk).await.is_ok() {}
        }
        Then::Drip(text) => {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            for byte in text.bytes() {
                tick.tick().await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        }
        Then::Silence => std::future::pending().await,
    }
}

fn head(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n")
}

fn whole(status: &str, media_type: &str, body: &str) -> Then {
    Then::Answer(
        head(status, &format!("content-type: {media_type}\r\ncontent-length: {}\r\n", body.len())) + body,
    )
}

async fn attest(server: &Server, patience: Duration) -> Result<AttestedIdentity, AttestError> {
    let clock = ManualClock::new(Timestamp::from_unix(NOW));
    let endpoint = StsEndpoint::loopback_http_for_tests("us-east-1".parse().unwrap(), &server.origin);
    let pins = AwsStsPins { endpoints: vec![endpoint.unwrap()], ..pins() };
    let settings = HttpSettings::new(TrustStore::nobody()).with_timeout(patience);
    let guard = MemoryReplayGuard::new(clock.clone(), NonZeroUsize::new(9).unwrap());
    let http = Arc::new(ReqwestClient::new(settings).unwrap());
    let attestor = AwsStsAttestor::new(pins, http, Arc::new(guard)).unwrap().with_clock(clock);
    attestor.attest(&Signing::at_origin(&server.origin).evidence()).await
}

const PATIENT: Duration = Duration::from_secs(5);
const HASTY: Duration = Duration::from_millis(200);

#[tokio::test]
async fn w3_l9_over_the_wire_the_request_is_ours_line_for_line() {
    let body = answer_of(ARN, USER_ID, "123456789012");
    let mut server = serve(whole("200 OK", "text/xml", &body)).await;
    assert_eq!(attest(&server, PATIENT).await.unwrap().agent().as_str(), "blue");
    let asked = server.asked.recv().await.unwrap();
    let signed = Signing::at_origin(&server.origin).url();
    let target = signed.strip_prefix(&server.origin).unwrap();
    let mut lines: Vec<_> = asked.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), format!("GET {target} HTTP/1.1"));
    lines.sort_unstable();
    let host = server.origin.strip_prefix("http://").unwrap();
    assert_eq!(lines, ["accept: text/xml", &format!("host: {host}"), "x-agentkeys-audience: agentkeys"]);
}

/// Each of these is an answer that another system took for a yes, or hung on.
#[tokio::test]
async fn w4_w5_l1_l9_no_lie_of_an_sts_is_an_identity() {
    let good = answer_of(ARN, USER_ID, "123456789012");
    let nested = good.replace("<Arn>", "<Arn><Arn>x</Arn>");
    let dtd =
        format!("<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]>{}", good.replace("pod-7", "&b;"));
    let entity = good.replace("agents/pod-7", "&#97;gents/pod-7");
    let forged = "<Arn>arn:aws:sts::123456789012:assumed-role/agents/pod-7</Arn>";
    let json = format!(
        r#"{{"GetCallerIdentityResponse":{{"GetCallerIdentityResult":{{"Arn":"{ARN}","UserId":"{USER_ID}","Account":"123456789012"}}}}}}"#
    );
    let wrapped = format!(r#"{{"AssumeRoleResponse":{{"SourceIdentity":"{}"}}}}"#, good.replace('"', "'"));
    let other_account = answer_of(ARN, USER_ID, "999999999999");
    let redirect = format!(
        "location: https://evil.example/\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n",
        good.len()
    );
    let endless = || {
        Then::Flood(
            head("200 OK", "content-type: text/xml\r\ncontent-length: 1073741824\r\n"),
            vec![b' '; 8192],
        )
    };
    let chunked = head("200 OK", "content-type: text/xml\r\ntransfer-encoding: chunked\r\n");
    let mut flood = format!("{:x}\r\n", 8192).into_bytes();
    flood.extend(std::iter::repeat_n(b' ', 8192).chain(*b"\r\n"));

    for (what, then, patience, ending) in [
        (
            "a redirect",
            Then::Answer(head("302 Found", &redirect) + &good),
            PATIENT,
            "STS answers with status 302",
        ),
        ("forged XML", whole("200 OK", "text/xml", forged), PATIENT, "its namespace"),
        ("a nested ARN", whole("200 OK", "text/xml", &nested), PATIENT, "its elements"),
        ("a DTD", whole("200 OK", "text/xml", &dtd), PATIENT, "what STS does not write"),
        ("an entity", whole("200 OK", "text/xml", &entity), PATIENT, "what STS does not write"),
        ("JSON", whole("200 OK", "application/json", &json), PATIENT, "its content type"),
        ("JSON around XML", whole("200 OK", "application/json", &wrapped), PATIENT, "its content type"),
        ("JSON around XML as XML", whole("200 OK", "text/xml", &wrapped), PATIENT, "its attributes"),
        (
            "another account",
            whole("200 OK", "text/xml", &other_account),
            PATIENT,
            "its ARN is of another account",
        ),
        ("another content type", whole("200 OK", "text/html", &good), PATIENT, "its content type"),
        ("a server error", whole("500 Oops", "text/xml", &good), PATIENT, "STS answers with status 500"),
        (
            "throttling",
            whole("400 Bad Request", "text/xml", &error_of("Throttling")),
            PATIENT,
            "STS asks to slow down",
        ),
        ("a gigabyte", endless(), PATIENT, "the answer is larger than allowed"),
        ("a gigabyte in chunks", Then::Flood(chunked, flood), PATIENT, "the answer is larger than allowed"),
        (
            "a slow drip",
            Then::Drip(head("200 OK", "content-type: text/xml\r\n") + &good),
            HASTY,
            "the other side did not answer in time",
        ),
        ("silence", Then::Silence, HASTY, "the other side did not answer in time"),
    ] {
        let mut server = serve(then).await;
        let error = attest(&server, patience).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("evidence_unjudged", ErrorKind::Unavailable), "{what}");
        assert!(told(&error).contains(ending), "{what}: {}", told(&error));
        assert!(server.asked.recv().await.is_some());
        assert!(server.asked.try_recv().is_err(), "{what}: asked twice");
    }
}

#[tokio::test]
async fn a_refusal_of_sts_is_the_evidences_fault() {
    let server = serve(whole("403 Forbidden", "text/xml", &error_of("ExpiredToken"))).await;
    let error = attest(&server, PATIENT).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("evidence_rejected", ErrorKind::Invalid));
}
