use std::time::Duration;

use agentkeys_core::ErrorKind;
use agentkeys_federation::{AuditError, AuditSink as _, ChainError, PostgresAudit, PostgresAuditError};

use crate::support::{Database, name, refusal, until, write};

/// Two closed chains that know of each other's every event, and a third that nothing was written to.
async fn two_chains(test: &str) -> Database {
    let database = Database::new(test).await;
    let (a, b) = (database.create("a").await, database.create("b").await);
    for _ in 0..3 {
        write(&a, 2).await;
        write(&b, 2).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let last = "SELECT count(*) FROM agentkeys_audit.audit_rows x WHERE x.chain <> $ AND x.row LIKE \
        '%\"' || $ || '\":\"ak-audit-1 ' || (SELECT max(seq) FROM agentkeys_audit.audit_rows WHERE chain = $ \
        AND row NOT LIKE '%\"anchor\"%') || ' %'";
    for chain in ["'a'", "'b'"] {
        // or a row after it, which stands for it too
        let last = last.replace('$', chain);
        let begun = std::time::Instant::now();
        while database.number(&last).await == 0 && begun.elapsed() < Duration::from_millis(2500) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    a.close().await.unwrap();
    b.close().await.unwrap();
    database.verify().await.unwrap();
    database
}

#[tokio::test]
async fn r87_whatever_is_done_to_the_rows_is_found() {
    let database = two_chains("tampered").await;
    let rows = "agentkeys_audit.audit_rows";
    let keep = format!("CREATE TABLE kept AS SELECT * FROM {rows}");
    database.sql(&keep).await;
    let of_chain = |error: &PostgresAuditError, chain: &str| matches!(error, PostgresAuditError::Chain(c, _) if *c == name(chain));
    let anchored = |error: &PostgresAuditError, chain: &str| matches!(error, PostgresAuditError::Anchor { of, .. } if *of == name(chain));
    type Found<'f> = &'f dyn Fn(&PostgresAuditError) -> bool;
    let manipulations: [(&str, String, Found<'_>); 12] = [
        (
            "a text is changed",
            format!("UPDATE {rows} SET row = replace(row, 'tenant_unknown', 'tenant_other') WHERE chain = 'a' AND seq = 3"),
            &|error| matches!(error, PostgresAuditError::Chain(_, ChainError::Row(3))),
        ),
        (
            "a hash is changed",
            format!("UPDATE {rows} SET hash = sha256(hash) WHERE chain = 'a' AND seq = 4"),
            &|error| matches!(error, PostgresAuditError::Chain(_, ChainError::Row(4))),
        ),
        (
            "a row is taken out of the middle",
            format!("DELETE FROM {rows} WHERE chain = 'a' AND seq = 3"),
            &|error| matches!(error, PostgresAuditError::Chain(_, ChainError::Row(3))),
        ),
        (
            "the first row is taken out",
            format!("DELETE FROM {rows} WHERE chain = 'a' AND seq = 1"),
            &|error| of_chain(error, "a"),
        ),
        (
            "the end is cut off",
            format!("DELETE FROM {rows} WHERE chain = 'a' AND seq > 4"),
            &|error| anchored(error, "a"),
        ),
        (
            "all but the first row is cut off",
            format!("DELETE FROM {rows} WHERE chain = 'b' AND seq > 1"),
            &|error| anchored(error, "b"),
        ),
        (
            "a whole chain is taken away",
            format!("DELETE FROM {rows} WHERE chain = 'a'"),
            &|error| anchored(error, "a"),
        ),
        (
            "two rows change places",
            format!("UPDATE {rows} SET seq = -seq + 1000 WHERE chain = 'a' AND seq IN (3, 4);
                UPDATE {rows} SET seq = 7 - (1000 - seq) WHERE chain = 'a' AND seq > 900"),
            &|error| of_chain(error, "a"),
        ),
        (
            "a row of another chain is put in",
            format!("UPDATE {rows} x SET row = y.row, hash = y.hash FROM {rows} y
                WHERE x.chain = 'a' AND x.seq = 3 AND y.chain = 'b' AND y.seq = 3"),
            &|error| of_chain(error, "a"),
        ),
        (
            "two chains change names",
            format!("UPDATE {rows} SET chain = 'c' WHERE chain = 'a'; UPDATE {rows} SET chain = 'a' WHERE chain = 'b';
                UPDATE {rows} SET chain = 'b' WHERE chain = 'c'"),
            &|error| of_chain(error, "a"),
        ),
        (
            "a row has a name that is none",
            format!("INSERT INTO {rows} SELECT 'Not A Name', 1, row, hash FROM {rows} WHERE chain = 'a' AND seq = 1"),
            &|error| matches!(error, PostgresAuditError::Name),
        ),
        (
            "a row is too long",
            format!("UPDATE {rows} SET row = row || repeat(' ', 300000) WHERE chain = 'a' AND seq = 2"),
            &|error| of_chain(error, "a"),
        ),
    ];
    for (what, sql, found) in manipulations {
        database.sql(&sql).await;
        let error = database.verify().await.unwrap_err();
        assert!(found(&error), "{what}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{what}");
        database.sql(&format!("DELETE FROM {rows}; INSERT INTO {rows} SELECT * FROM kept")).await;
        database.verify().await.unwrap();
    }
}

#[tokio::test]
async fn r87_an_end_that_is_written_anew_is_found() {
    let database = two_chains("forked").await;
    let rows = "agentkeys_audit.audit_rows";
    // what a process does that has an old copy of the end: its rows are a chain, and another one
    database.sql(&format!("DELETE FROM {rows} WHERE chain = 'a' AND seq > 4")).await;
    let fork = database.open("a").await;
    assert_eq!(fork.head().count(), 4);
    write(&fork, 30).await;
    fork.close().await.unwrap();
    let error = database.verify().await.unwrap_err();
    assert!(matches!(&error, PostgresAuditError::Anchor { by, of } if *by == name("b") && *of == name("a")));
}

#[tokio::test]
async fn an_end_that_is_damaged_does_not_open() {
    let database = two_chains("opened").await;
    let rows = "agentkeys_audit.audit_rows";
    database.sql(&format!("CREATE TABLE kept AS SELECT * FROM {rows}")).await;
    for sql in [
        format!(
            "UPDATE {rows} SET row = replace(row, 'tenant_unknown', 'tenant_other') WHERE chain = 'a' AND seq = 3"
        ),
        format!("DELETE FROM {rows} WHERE chain = 'a' AND seq = 3"),
        format!("DELETE FROM {rows} WHERE chain = 'a' AND seq < 3"),
    ] {
        database.sql(&sql).await;
        let opened = PostgresAudit::open(&database.replica(), &name("a")).await;
        assert!(matches!(opened, Err(PostgresAuditError::Chain(_, ChainError::Row(_)))), "{sql}");
        database.sql(&format!("DELETE FROM {rows}; INSERT INTO {rows} SELECT * FROM kept")).await;
    }
    database.sql(&format!("DELETE FROM {rows} WHERE chain = 'a'")).await;
    let opened = PostgresAudit::open(&database.replica(), &name("a")).await;
    assert!(matches!(opened, Err(PostgresAuditError::NoChain)));
}

#[tokio::test]
async fn w56_r87_a_replica_whose_end_was_cut_off_or_another_hand_wrote_to_closes() {
    let rows = "agentkeys_audit.audit_rows";
    for (test, sql) in [
        ("cut_live", format!("DELETE FROM {rows} WHERE chain = 'a' AND seq = 4")),
        (
            "forged_live",
            format!(
                "INSERT INTO {rows} SELECT chain, seq + 1, row, hash FROM {rows} WHERE chain = 'a' AND seq = 4"
            ),
        ),
    ] {
        let database = Database::new(test).await;
        let audit = database.create("a").await;
        write(&audit, 3).await;
        database.sql(&sql).await;
        // the next row is not written after the one that is there
        let error = audit.refusal(&refusal()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{test}: {error:?}");
        until(async || matches!(audit.refusal(&refusal()).await, Err(AuditError::Closed))).await;
    }
    // and it sees what happens to the others
    let database = Database::new("others_live").await;
    let (a, b) = (database.create("a").await, database.create("b").await);
    write(&b, 3).await;
    until(async || {
        database
            .number(&format!("SELECT count(*) FROM {rows} WHERE chain = 'a' AND row LIKE '%\"b\":%'"))
            .await
            > 0
    })
    .await;
    b.close().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    database.sql(&format!("DELETE FROM {rows} WHERE chain = 'b' AND seq > 2")).await;
    until(async || matches!(a.refusal(&refusal()).await, Err(AuditError::Closed))).await;
}
