//! `ReqwestClient` against a server on loopback: redirects, limits, proxies, what its errors show.

use std::error::Error;
use std::time::Duration;

use agentkeys_core::{
    ErrorKind, HttpClient as _, HttpError, HttpRequest, HttpSettings, ReqwestClient, TrustStore,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Answers one request after another with `answer` and hands back what was asked.
pub(crate) async fn serve(answer: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (asked, heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&buffer[..read]),
                }
            }
            let _ = asked.send(String::from_utf8_lossy(&request).into_owned());
            if answer.is_empty() {
                // never answers; the connection stays open
                std::future::pending::<()>().await;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (base, heard)
}

fn client() -> ReqwestClient {
    ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap()
}

/// Display and Debug of an error and of everything behind it.
pub(crate) fn everything(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(" | {source} {source:?}"));
        next = source.source();
    }
    text
}

#[tokio::test]
async fn w4_a_redirect_is_an_answer_and_is_not_followed() {
    let (base, mut heard) =
        serve("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nX-Odd: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let answer = client().send(HttpRequest::get(format!("{base}/first"), 10)).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some("/elsewhere")));
    assert_eq!((answer.header("x-odd"), answer.header("X-Odd")), (Some("a"), None));
    assert!(heard.recv().await.unwrap().starts_with("GET /first "));
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn w4_the_body_is_read_up_to_its_limit() {
    const ANSWERS: [&str; 2] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
    ];
    for answer in ANSWERS {
        let (base, _heard) = serve(answer).await;
        let whole = client().send(HttpRequest::get(&base, 10)).await.unwrap();
        assert_eq!(whole.body, b"0123456789");
        let refused = client().send(HttpRequest::get(&base, 9)).await.unwrap_err();
        assert!(matches!(refused, HttpError::BodyTooLarge), "{refused:?}");
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn w4_an_answer_that_does_not_come_is_a_timeout() {
    let (base, _heard) = serve("").await;
    let settings = HttpSettings::new(TrustStore::nobody()).with_timeout(Duration::from_millis(50));
    let refused = ReqwestClient::new(settings).unwrap().send(HttpRequest::get(base, 10)).await.unwrap_err();
    assert!(matches!(refused, HttpError::Timeout), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert_eq!(HttpSettings::TIMEOUT, Duration::from_secs(5));
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_too() {
    let (base, _heard) = serve("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n").await;
    let settings = HttpSettings::new(TrustStore::nobody()).with_timeout(Duration::from_millis(50));
    let refused = ReqwestClient::new(settings).unwrap().send(HttpRequest::get(base, 10)).await.unwrap_err();
    assert!(matches!(refused, HttpError::Timeout | HttpError::Connection(_)), "{refused:?}");
}

#[tokio::test]
async fn requests_go_out_as_they_are_written() {
    let (base, mut heard) = serve("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    let request = HttpRequest::post(format!("{base}/p?q=1"), "body", 10).with_header("x-one", "1");
    assert_eq!(client().send(request).await.unwrap().status, 204);
    let asked = heard.recv().await.unwrap();
    assert!(asked.starts_with("POST /p?q=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nx-one: 1\r\n") && asked.contains("\r\ncontent-length: 4\r\n"), "{asked}");
    for nobody_asked_for in ["referer:", "cookie:", "authorization:", "proxy-"] {
        assert!(!asked.to_lowercase().contains(nobody_asked_for), "{asked}");
    }
}

#[tokio::test]
async fn a_proxy_that_the_host_passes_is_used() {
    let (proxy, mut heard) =
        serve("HTTP/1.1 203 Through\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    let settings = HttpSettings::new(TrustStore::nobody()).with_proxy(proxy);
    let client = ReqwestClient::new(settings).unwrap();
    let answer = client.send(HttpRequest::get("http://issuer.example/keys", 10)).await.unwrap();
    assert_eq!(answer.status, 203);
    assert!(heard.recv().await.unwrap().starts_with("GET http://issuer.example/keys "));
}

#[tokio::test]
async fn l29_errors_show_no_url_header_or_body() {
    let (base, _heard) =
        serve("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nMARKED").await;
    let (silent, _heard) = serve("").await;
    let (broken, _heard) = serve("MARKED nonsense\r\n\r\n").await;
    let marked = |base: &str| format!("{base}/MARKED?MARKED=MARKED");
    let request = |url: String| HttpRequest::post(url, "MARKED", 3).with_header("authorization", "MARKED");
    let patient = client();
    let hasty =
        ReqwestClient::new(HttpSettings::new(TrustStore::nobody()).with_timeout(Duration::from_millis(50)))
            .unwrap();
    let dead = "http://127.0.0.1:1";
    let unsafe_header = HttpRequest::get(&base, 3).with_header("x-MARKED\n", "MARKED\n");
    let refusals = [
        patient.send(request(marked(&base))).await.unwrap_err(),
        patient.send(request(marked(&broken))).await.unwrap_err(),
        patient.send(request(marked(dead))).await.unwrap_err(),
        patient.send(request(marked("http://MARKED:MARKED@127.0.0.1:1"))).await.unwrap_err(),
        patient.send(request("MARKED:not-a-url".to_owned())).await.unwrap_err(),
        patient.send(request("http://MARKED host/".to_owned())).await.unwrap_err(),
        patient.send(request("https://127.0.0.1:1/MARKED".to_owned())).await.unwrap_err(),
        patient.send(unsafe_header).await.unwrap_err(),
        hasty.send(request(marked(&silent))).await.unwrap_err(),
    ];
    for refused in &refusals {
        let shown = everything(refused);
        assert!(!shown.contains("MARKED") && !shown.contains("marked"), "{shown}");
        assert!(!shown.contains("http://"), "{shown}");
    }
}

#[test]
fn l29_a_proxys_password_is_never_shown() {
    let settings = HttpSettings::new(TrustStore::nobody()).with_proxy("http://user:MARKED@proxy.example:1");
    let client = ReqwestClient::new(settings.clone()).unwrap();
    let shown = format!("{settings:?}{client:?}");
    assert!(!shown.contains("MARKED") && !shown.contains("proxy.example"), "{shown}");
    let malformed = HttpSettings::new(TrustStore::nobody()).with_proxy("http://user:MARKED@ bad:x");
    let refused = ReqwestClient::new(malformed).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Misconfigured);
    assert!(!everything(&refused).contains("MARKED"));
}

#[test]
fn certificates_that_are_none_are_refused() {
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "MARKED", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", damaged] {
        for trust in [TrustStore::only(pem), TrustStore::system_and(pem)] {
            let refused = ReqwestClient::new(HttpSettings::new(trust)).unwrap_err();
            assert!(matches!(refused, HttpError::Settings { .. }), "{pem}");
            assert_eq!(refused.kind(), ErrorKind::Misconfigured);
        }
    }
}
