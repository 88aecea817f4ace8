//! W70: a poisoned environment changes nothing. The environment belongs to the whole process, so the
//! exchange and the assumption run in a child of this test.

use std::process::Command;
use std::sync::Arc;

use agentkeys_core::{HttpSettings, ReqwestClient, TrustStore};
use agentkeys_federation::{AwsExchanger, Exchanger, SessionBroker};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::assume::{IN_TIME, Scene, answer, exchanged, long_lived};
use crate::support::{World, success};

const CHILD: &str = "AGENTKEYS_TEST_CHILD";

#[tokio::test]
async fn w70_a_poisoned_environment_changes_nothing() {
    if std::env::var_os(CHILD).is_some() {
        exchange_over_a_socket().await;
        return assume_over_a_socket().await;
    }
    // whoever listens to the environment comes here
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", trap.local_addr().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "environment::w70_a_poisoned_environment_changes_nothing"]).env(CHILD, "1");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child.env(name, &address).env(name.to_lowercase(), &address);
    }
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_CONTAINER_CREDENTIALS_FULL_URI"] {
        child.env(name, &address);
    }
    child.env("NO_PROXY", "").env("no_proxy", "");
    child.env("AWS_ACCESS_KEY_ID", "AKIAPOISON").env("AWS_SECRET_ACCESS_KEY", "poison");
    child.env("AWS_SESSION_TOKEN", "poison").env("AWS_REGION", "eu-west-3").env("AWS_PROFILE", "poison");
    child.env("AWS_ROLE_ARN", "arn:aws:iam::210987654321:role/poison").env("AWS_ROLE_SESSION_NAME", "poison");
    child.env("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent").env("AWS_CONFIG_FILE", "/nonexistent");
    let finished = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success() && said.contains("1 passed"), "{said}");
    let nobody = std::future::poll_fn(|context| match trap.poll_accept(context) {
        std::task::Poll::Ready(_) => std::task::Poll::Ready(false),
        std::task::Poll::Pending => std::task::Poll::Ready(true),
    });
    assert!(nobody.await, "somebody listened to the environment");
}

async fn exchange_over_a_socket() {
    assert_eq!(std::env::var("AWS_ACCESS_KEY_ID").unwrap(), "AKIAPOISON");
    let world = World::new();
    let token = world.token().await;
    let body = success(&token, world.session.role(), "2027-01-15T08:15:00Z");
    let (url, heard) = sts_once("WebIdentityToken=", body).await;
    let exchanger = AwsExchanger::with_endpoint("us-east-1".parse().unwrap(), http(), &url)
        .with_clock(world.clock.clone());
    exchanger.exchange(&token, &world.session).await.unwrap();
    let heard = heard.await.unwrap();
    assert!(heard.starts_with("post / http/1.1"), "sent straight to the STS");
    for poison in ["authorization:", "x-amz-security-token", "poison", "eu-west-3", "proxy-"] {
        assert!(!heard.contains(poison), "{poison} was sent");
    }
}

/// The same for an assumption: it is signed with the base and with nothing else.
async fn assume_over_a_socket() {
    let scene = Scene::new();
    for (base, key) in [(long_lived(), "credential=akiabase/"), (exchanged(), "credential=asiabase/")] {
        let (url, heard) = sts_once("SourceIdentity=", answer(&scene.session, IN_TIME)).await;
        let broker = SessionBroker::with_endpoint("us-east-1".parse().unwrap(), http(), &url)
            .with_clock(scene.world.clock.clone());
        broker.assume(&scene.world.identity, &base, &scene.session).await.unwrap();
        let heard = heard.await.unwrap();
        assert!(heard.starts_with("post / http/1.1") && heard.contains(key), "sent straight to the STS");
        assert_eq!(heard.contains("x-amz-security-token"), key.contains("asia"));
        for poison in ["poison", "eu-west-3", "proxy-"] {
            assert!(!heard.contains(poison), "{poison} was sent");
        }
    }
}

fn http() -> Arc<ReqwestClient> {
    Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap())
}

/// An STS that answers one request, and what it heard, in lower case.
async fn sts_once(last: &'static str, body: String) -> (String, JoinHandle<String>) {
    let sts = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", sts.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut socket, _) = sts.accept().await.unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&heard).contains(last) {
            let read = socket.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0);
            heard.extend_from_slice(&buffer[..read]);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body.as_bytes()).await.unwrap();
        String::from_utf8(heard).unwrap().to_lowercase()
    });
    (url, heard)
}
