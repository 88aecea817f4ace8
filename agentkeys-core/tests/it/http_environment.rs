//! What the environment may not do. A process has one environment and setting it is `unsafe`, so each test
//! runs itself again as a child with the variables set.

use std::process::Command;

use agentkeys_core::{
    ErrorKind, HttpClient as _, HttpError, HttpRequest, HttpSettings, ReqwestClient, TrustStore,
};

use crate::http::serve;

const CHILD: &str = "AGENTKEYS_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test of this name in a process of its own with these variables.
fn run_as_child(test: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--test-threads", "1"]).env(CHILD, "1");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("1 passed"), "the child ran no test: {shown}");
}

#[tokio::test]
async fn w70_proxies_of_the_environment_are_not_used() {
    if is_child() {
        let (base, mut heard) =
            serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        let client = ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap();
        assert_eq!(client.send(HttpRequest::get(format!("{base}/direct"), 10)).await.unwrap().status, 200);
        assert!(heard.recv().await.unwrap().starts_with("GET /direct "));
        // and a bypass list of the environment does not switch off the proxy that the host passes
        let (proxy, mut heard) =
            serve("HTTP/1.1 203 Through\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        let settings = HttpSettings::new(TrustStore::nobody()).with_proxy(proxy);
        let client = ReqwestClient::new(settings).unwrap();
        let answer = client.send(HttpRequest::get("http://issuer.example/keys", 10)).await.unwrap();
        assert_eq!(answer.status, 203);
        assert!(heard.recv().await.unwrap().contains("http://issuer.example/keys"));
        return;
    }
    let dead = "http://127.0.0.1:1";
    run_as_child(
        "http_environment::w70_proxies_of_the_environment_are_not_used",
        &[
            ("HTTP_PROXY", dead),
            ("http_proxy", dead),
            ("HTTPS_PROXY", dead),
            ("https_proxy", dead),
            ("ALL_PROXY", dead),
            ("all_proxy", dead),
            ("NO_PROXY", "issuer.example,*"),
            ("no_proxy", "issuer.example,*"),
        ],
    );
}

#[test]
fn a_system_without_roots_is_an_error_and_never_an_empty_trust_store() {
    if is_child() {
        for trust in [TrustStore::system(), TrustStore::system_and(ROOT)] {
            let refused = ReqwestClient::new(HttpSettings::new(trust)).unwrap_err();
            assert!(matches!(refused, HttpError::Settings { .. }), "{refused:?}");
            assert_eq!((refused.kind(), refused.retry_after()), (ErrorKind::Misconfigured, None));
        }
        ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap();
        ReqwestClient::new(HttpSettings::new(TrustStore::only(ROOT))).unwrap();
        return;
    }
    run_as_child(
        "http_environment::a_system_without_roots_is_an_error_and_never_an_empty_trust_store",
        &[("SSL_CERT_FILE", "/nonexistent/roots.pem"), ("SSL_CERT_DIR", "/nonexistent/roots")],
    );
}

/// A self-signed P-256 root, made for this test; its key was thrown away.
const ROOT: &str = include_str!("../data/root.pem");
