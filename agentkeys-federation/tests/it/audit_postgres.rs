//! A server that is not there, hangs, hangs up or has no TLS. What a real one does is in `tests/postgres`.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use agentkeys_core::{ErrorKind, Secret};
use agentkeys_federation::{PostgresAudit, PostgresAuditError, PostgresLogin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

const AUTHORITY: &[u8] = include_bytes!("../../src/audit/postgres/login/authority.pem");

#[derive(Clone, Copy, Debug)]
enum Server {
    HangsUp,
    Silent,
    /// Answers that it has no TLS, and takes a password in the clear.
    Plain,
    /// Answers a request to sign in with an error that shows what it was sent.
    Refuses,
}

/// Where such a server listens.
async fn listen(server: Server) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            match server {
                Server::HangsUp => drop(stream),
                Server::Silent => kept.push(stream),
                Server::Plain => {
                    let _ = stream.read(&mut [0; 64]).await;
                    let _ = stream.write_all(b"N").await;
                    let mut more = Vec::new();
                    let _ = stream.read_to_end(&mut more).await;
                    assert!(more.is_empty(), "something was sent without TLS");
                }
                Server::Refuses => {
                    let _ = stream.read(&mut [0; 512]).await;
                    let said = b"SFATAL\0C28P01\0Mno entry for MARKED\0\0";
                    let length = (said.len() as u32 + 4).to_be_bytes();
                    let _ = stream.write_all(&[&b"E"[..], &length, said].concat()).await;
                }
            }
        }
    });
    port
}

async fn error(login: &PostgresLogin) -> PostgresAuditError {
    let chain = "a".parse().unwrap();
    let opened = PostgresAudit::open(login, &chain).await.unwrap_err();
    let errors = [
        PostgresAudit::create(login, &chain).await.unwrap_err(),
        PostgresAudit::verify(login, &BTreeMap::new()).await.unwrap_err(),
        PostgresAudit::migrate(login).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(format!("{error:?}"), format!("{opened:?}"));
    }
    opened
}

fn local(port: u16) -> PostgresLogin {
    let text = format!("host=127.0.0.1 port={port} user=MARKED password=MARKED dbname=MARKED");
    PostgresLogin::local(&Secret::from(text)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn w56_l29_a_server_that_is_no_help_is_unavailable_in_time() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (port, word) in [
        (nobody, "there is no connection to postgresql"),
        (listen(Server::HangsUp).await, "there is no connection to postgresql"),
        (listen(Server::Silent).await, "postgresql does not answer in time"),
        (listen(Server::Refuses).await, "postgresql answered error 28P01"),
    ] {
        let begun = Instant::now();
        let error = error(&local(port)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.source().unwrap().to_string(), word);
        assert!(begun.elapsed() < Duration::from_secs(4 * 5), "{:?}", begun.elapsed());
        assert!(!format!("{error:?} {error}").contains("MARKED"));
    }
}

#[tokio::test]
async fn l29_nothing_is_sent_to_a_server_without_tls() {
    let port = listen(Server::Plain).await;
    let text = format!("host=localhost port={port} user=MARKED password=MARKED sslmode=prefer");
    let login = PostgresLogin::tls(&Secret::from(text), AUTHORITY).unwrap();
    let error = error(&login).await;
    assert_eq!(error.source().unwrap().to_string(), "there is no trusted tls connection to postgresql");
    assert!(!format!("{error:?} {error}").contains("MARKED"));
}
