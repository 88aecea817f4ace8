use agentkeys_core::Secret;
use agentkeys_federation::{PostgresAudit, PostgresAuditError, PostgresLogin};

use crate::support::{Database, name, write};

#[tokio::test]
async fn over_a_network_there_is_tls_to_a_server_of_that_name_and_authority() {
    let database = Database::new("tls").await;
    let (folder, port) = (&database.server.folder, database.server.port);
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let login = |host: &str, password: &str, mode: &str| {
        let text = format!(
            "host={host} port={port} user=replica password={password} dbname={} {mode}",
            database.name
        );
        Secret::from(text)
    };
    let right = "replica-MARKED-password";
    // whatever the string says of TLS
    for (at, mode) in ["", "sslmode=disable", "sslmode=prefer", "channel_binding=require"].iter().enumerate()
    {
        let login = PostgresLogin::tls(&login("localhost", right, mode), &read("ca.pem")).unwrap();
        let audit = PostgresAudit::create(&login, &name(&format!("a{at}"))).await.unwrap();
        write(&audit, 2).await;
        let ssl = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'replica' AND ssl AND version = 'TLSv1.3'";
        assert_eq!(database.number(ssl).await, 1, "{mode}");
        audit.close().await.unwrap();
        crate::support::until(async || database.number(ssl).await == 0).await;
        PostgresAudit::verify(&login, &std::collections::BTreeMap::new()).await.unwrap();
    }
    for (host, authority) in [("localhost", "other.pem"), ("127.0.0.1", "ca.pem")] {
        let login = PostgresLogin::tls(&login(host, right, ""), &read(authority)).unwrap();
        let error = PostgresAudit::open(&login, &name("a0")).await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(matches!(error, PostgresAuditError::Database(_)) && shown.contains("Tls"), "{shown}");
    }
    // a server without TLS is none
    let root = database.server.root("postgres").await;
    root.batch_execute("ALTER SYSTEM SET ssl = off").await.unwrap();
    root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let plain = PostgresLogin::tls(&login("localhost", right, "sslmode=prefer"), &read("ca.pem")).unwrap();
    let off = async || format!("{:?}", PostgresAudit::open(&plain, &name("a0")).await.map(drop));
    crate::support::until(async || off().await.contains("Tls")).await;
    root.batch_execute("ALTER SYSTEM RESET ssl").await.unwrap();
    root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    crate::support::until(async || PostgresAudit::open(&plain, &name("a0")).await.is_ok()).await;
}

#[tokio::test]
async fn l29_neither_login_nor_error_shows_a_password_or_a_row() {
    let database = Database::new("leaks").await;
    let port = database.server.port;
    let text =
        format!("host=127.0.0.1 port={port} user=replica password=wrong-MARKED dbname={}", database.name);
    let login = PostgresLogin::local(&Secret::from(text)).unwrap();
    let error = PostgresAudit::open(&login, &name("a")).await.unwrap_err();
    let mut shown = format!("{login:?} {error:?} {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        shown.push_str(&format!(" {error:?} {error}"));
        source = error.source();
    }
    assert!(shown.contains("28P01"), "{shown}");
    // the server's own error shows the row
    let audit = database.create("a").await;
    write(&audit, 1).await;
    database.sql("ALTER TABLE agentkeys_audit.audit_rows ADD CHECK (seq < 3 OR chain = 'b')").await;
    let event = crate::support::refusal();
    let error = agentkeys_federation::AuditSink::refusal(&audit, &event).await.unwrap_err();
    let inner = std::error::Error::source(&error).unwrap();
    shown.push_str(&format!("{error:?} {error} {inner:?} {inner} {audit:?}"));
    assert!(shown.contains("50, 51, 53, 49, 52"), "23514: {shown}");
    for secret in ["MARKED", "tenant_unknown", event.id().as_str(), "Failing row"] {
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_sync_is_refused() {
    let database = Database::new("fsync").await;
    database.create("a").await.close().await.unwrap();
    let root = database.server.root("postgres").await;
    root.batch_execute("ALTER SYSTEM SET fsync = off").await.unwrap();
    root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let refused = async || {
        let opened = PostgresAudit::open(&database.replica(), &name("a")).await;
        matches!(opened, Err(PostgresAuditError::Settings))
    };
    crate::support::until(refused).await;
    root.batch_execute("ALTER SYSTEM RESET fsync").await.unwrap();
    root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    crate::support::until(async || !refused().await).await;
    // nor one that cannot hold every text
    root.batch_execute(&format!(
        "CREATE DATABASE latin_{} OWNER owner ENCODING LATIN1 TEMPLATE template0",
        std::process::id()
    ))
    .await
    .unwrap();
    let text = format!(
        "host={} port={} user=owner dbname=latin_{}",
        database.server.folder.display(),
        database.server.port,
        std::process::id()
    );
    let login = PostgresLogin::local(&Secret::from(text)).unwrap();
    assert!(matches!(PostgresAudit::migrate(&login).await, Err(PostgresAuditError::Settings)));
}
