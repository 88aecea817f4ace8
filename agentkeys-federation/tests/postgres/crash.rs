use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentkeys_core::{ErrorKind, Secret};
use agentkeys_federation::{APPEND_TIMEOUT, AuditSink as _, PostgresAudit, PostgresLogin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Database, refusal, until, write};

/// Writers that go on whatever happens, and the ids of which they were told that they are durable.
struct Load {
    told: Arc<Mutex<BTreeSet<String>>>,
    refused: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(audit: &Arc<PostgresAudit>) -> Self {
        let (told, refused, over) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self { told, refused, over, tasks: Vec::new() };
        for _ in 0..16 {
            let (audit, told) = (Arc::clone(audit), Arc::clone(&load.told));
            let (refused, over) = (Arc::clone(&load.refused), Arc::clone(&load.over));
            load.tasks.push(tokio::spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let (event, begun) = (refusal(), Instant::now());
                    match audit.refusal(&event).await {
                        Ok(()) => drop(told.lock().unwrap().insert(event.id().to_string())),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                            refused.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                    assert!(begun.elapsed() < APPEND_TIMEOUT + Duration::from_secs(1));
                }
            }));
        }
        load
    }

    fn told(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    async fn more(&self) {
        let before = self.told();
        until(async || self.told() > before + 50).await;
    }

    async fn end(self) -> BTreeSet<String> {
        self.over.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        Arc::into_inner(self.told).unwrap().into_inner().unwrap()
    }
}

async fn ids(database: &Database) -> BTreeSet<String> {
    let root = database.server.root(&database.name).await;
    let sql = "SELECT id FROM agentkeys_audit.audit WHERE id IS NOT NULL";
    let rows = root.query(sql, &[]).await.unwrap();
    let all: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(all.len(), rows.len(), "an id stands twice");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w56_r87_the_server_is_killed_under_load_and_no_row_that_was_told_of_is_lost() {
    let database = Database::new("killed").await;
    let (a, b) = (Arc::new(database.create("a").await), Arc::new(database.create("b").await));
    let load = [Load::on(&a), Load::on(&b)];
    for _ in 0..3 {
        for load in &load {
            load.more().await;
        }
        database.server.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        database.server.start();
        // by itself
        for load in &load {
            load.more().await;
        }
    }
    let mut told = BTreeSet::new();
    for load in load {
        assert!(load.refused.load(Ordering::SeqCst) > 0);
        told.extend(load.end().await);
    }
    let heads = [a, b].map(|audit| Arc::into_inner(audit).unwrap());
    for audit in heads {
        audit.close().await.unwrap();
    }
    let there = ids(&database).await;
    assert!(told.is_subset(&there) && told.len() > 300, "{} of {}", told.len(), there.len());
    database.verify().await.unwrap();
    println!("kill -9 of the server, 3 times: {} rows told of, {} there", told.len(), there.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w56_connections_that_are_cut_under_load_lose_nothing() {
    let database = Database::new("cut").await;
    let audit = Arc::new(database.create("a").await);
    let load = Load::on(&audit);
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'replica' AND datname = '{}'",
        database.name
    );
    for _ in 0..10 {
        load.more().await;
        assert_eq!(database.number(&end).await, 1);
    }
    load.more().await;
    let (refused, told) = (load.refused.load(Ordering::SeqCst), load.end().await);
    let head = Arc::into_inner(audit).unwrap().close().await.unwrap();
    let there = ids(&database).await;
    assert!(told.is_subset(&there) && told.len() > 500);
    assert_eq!(database.verify().await.unwrap().into_values().next().unwrap(), head);
    println!("10 connections cut: {} rows told of, {} there, {refused} refused", told.len(), there.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w56_a_commit_that_is_not_all_that_it_must_be_is_not_told_of() {
    // every default is off: server, role and connection
    let database = Database::new("synchronous").await;
    database.sql("ALTER ROLE replica SET synchronous_commit = off").await;
    let audit = database.create("a").await;
    write(&audit, 1).await;
    // a standby that is not there: whoever waits for it waits for ever
    let root = database.server.root(&database.name).await;
    root.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waits = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'SyncRep'",
        database.name
    );
    let before = audit.head();
    let event = refusal();
    let (answer, ()) = tokio::join!(audit.refusal(&event), async {
        until(async || database.number(&waits).await == 1).await;
        // the server then says that it committed, with a warning
        let cancel =
            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        assert_eq!(database.number(cancel).await, 1);
    });
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    // and where nobody cancels it, it is not waited for for ever
    let begun = Instant::now();
    assert_eq!(audit.refusal(&refusal()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < APPEND_TIMEOUT + Duration::from_secs(1));
    root.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until(async || audit.refusal(&refusal()).await.is_ok()).await;
    let head = audit.close().await.unwrap();
    assert!(head.count() > before.count());
    database.sql("ALTER ROLE replica RESET synchronous_commit").await;
    assert_eq!(database.verify().await.unwrap().into_values().next().unwrap(), head);
}

#[tokio::test]
async fn w56_a_table_that_somebody_locks_is_unavailable_and_then_well_again() {
    let database = Database::new("locked_table").await;
    let audit = database.create("a").await;
    write(&audit, 1).await;
    let mut root = database.server.root(&database.name).await;
    let transaction = root.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE agentkeys_audit.audit_rows IN SHARE MODE").await.unwrap();
    let begun = Instant::now();
    assert_eq!(audit.refusal(&refusal()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < APPEND_TIMEOUT + Duration::from_secs(1));
    transaction.rollback().await.unwrap();
    until(async || audit.refusal(&refusal()).await.is_ok()).await;
    audit.close().await.unwrap();
    database.verify().await.unwrap();
}

/// A way to the server that can swallow everything, so that neither end knows of it.
async fn way(port: u16, swallows: &Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, swallows) = (listener.local_addr().unwrap().port(), Arc::clone(swallows));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(carry(from_client, to_server, Arc::clone(&swallows)));
            tokio::spawn(carry(from_server, to_client, Arc::clone(&swallows)));
        }
    });
    at
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallows: Arc<AtomicBool>) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        // once it swallowed something, this connection never comes back, and nobody closes it
        if swallows.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        to.write_all(&bytes[..read]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w56_a_network_that_swallows_everything_is_unavailable_in_time_and_its_lock_is_taken_back() {
    let database = Database::new("swallowed").await;
    database.create("a").await.close().await.unwrap();
    let swallows = Arc::new(AtomicBool::new(false));
    let port = way(database.server.port, &swallows).await;
    let text = format!(
        "host=127.0.0.1 port={port} user=replica password=replica-MARKED-password dbname={}",
        database.name
    );
    let login = PostgresLogin::local(&Secret::from(text)).unwrap();
    let audit = PostgresAudit::open(&login, &"a".parse().unwrap()).await.unwrap();
    write(&audit, 2).await;
    swallows.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    assert_eq!(audit.refusal(&refusal()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < APPEND_TIMEOUT + Duration::from_secs(1));
    swallows.store(false, Ordering::SeqCst);
    // the server still has the old connection, with the lock, and would have it for half a minute
    until(async || audit.refusal(&refusal()).await.is_ok()).await;
    let head = audit.close().await.unwrap();
    assert_eq!(database.verify().await.unwrap().into_values().next().unwrap(), head);
}
