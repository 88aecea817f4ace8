use std::collections::BTreeMap;

use agentkeys_core::ErrorKind;
use agentkeys_federation::{
    AuditError, AuditSink as _, ChainError, ChainHead, PostgresAudit, PostgresAuditError, Refusal,
};

use crate::support::{Database, issued, name, refusal, until, write};

#[tokio::test]
async fn r87_chains_go_on_where_they_were_left() {
    let database = Database::new("goes_on").await;
    let first = database.create("a").await;
    write(&first, 3).await;
    let head = first.close().await.unwrap();
    assert_eq!(head.count(), 4, "the row that begins the chain, and three");
    let again = database.open("a").await;
    assert_eq!(again.head(), head);
    write(&again, 2).await;
    let other = database.create("b").await;
    write(&other, 1).await;
    // while both are open, whoever may read may check
    let known = BTreeMap::from([(name("a"), head)]);
    let heads = PostgresAudit::verify(&database.replica(), &known).await.unwrap();
    assert_eq!(heads.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(heads[&name("a")].count() >= 6 && heads[&name("b")].count() >= 2);
    let (a, b) = (again.close().await.unwrap(), other.close().await.unwrap());
    let known = BTreeMap::from([(name("a"), a), (name("b"), b)]);
    assert_eq!(PostgresAudit::verify(&database.replica(), &known).await.unwrap(), known);
    // a head of a chain that is not there, and one that is further
    let gone = BTreeMap::from([(name("c"), a)]);
    let error = PostgresAudit::verify(&database.replica(), &gone).await.unwrap_err();
    assert!(
        matches!(error, PostgresAuditError::Chain(c, ChainError::Missing { found: 0, .. }) if c == name("c"))
    );
    let other: ChainHead = format!("ak-audit-1 999 {}", "0".repeat(64)).parse().unwrap();
    let error = PostgresAudit::verify(&database.replica(), &BTreeMap::from([(name("a"), other)])).await;
    assert!(matches!(error, Err(PostgresAuditError::Chain(_, ChainError::Missing { expected: 999, .. }))));
}

#[tokio::test]
async fn only_what_was_created_opens_and_nothing_is_created_twice() {
    let database = Database::empty("created").await;
    let open = async |user| PostgresAudit::open(&database.login(user), &name("a")).await;
    assert!(matches!(open("owner").await, Err(PostgresAuditError::Schema)), "no tables");
    assert!(matches!(database.verify().await, Err(PostgresAuditError::Schema)));
    PostgresAudit::migrate(&database.login("owner")).await.unwrap();
    assert!(matches!(open("owner").await, Err(PostgresAuditError::NoChain)));
    PostgresAudit::create(&database.login("owner"), &name("a")).await.unwrap().close().await.unwrap();
    let twice = PostgresAudit::create(&database.login("owner"), &name("a")).await;
    assert!(matches!(twice, Err(PostgresAuditError::Exists)));
    // again, and from tables of an older version: nothing is lost
    PostgresAudit::migrate(&database.login("owner")).await.unwrap();
    assert_eq!(open("owner").await.unwrap().close().await.unwrap().count(), 1);
    for version in [0, 2, -1] {
        database.sql(&format!("UPDATE agentkeys_audit.audit_version SET version = {version}")).await;
        let owner = database.login("owner");
        assert!(matches!(open("owner").await, Err(PostgresAuditError::Schema)), "{version}");
        let verified = PostgresAudit::verify(&owner, &BTreeMap::new()).await;
        assert!(matches!(verified, Err(PostgresAuditError::Schema)), "{version}");
        assert!(PostgresAudit::migrate(&owner).await.is_err(), "{version}: the tables are there already");
    }
    database.sql("DROP VIEW agentkeys_audit.audit; DROP TABLE agentkeys_audit.audit_rows").await;
    database.sql("UPDATE agentkeys_audit.audit_version SET version = 0").await;
    PostgresAudit::migrate(&database.login("owner")).await.unwrap();
    PostgresAudit::create(&database.login("owner"), &name("a")).await.unwrap();
}

#[tokio::test]
async fn only_one_writes_a_chain() {
    let database = Database::new("one_writes").await;
    let audit = database.create("a").await;
    for _ in 0..2 {
        let second = PostgresAudit::open(&database.replica(), &name("a")).await.unwrap_err();
        assert!(matches!(second, PostgresAuditError::Locked) && second.kind() == ErrorKind::Unavailable);
    }
    let other = database.create("b").await;
    write(&audit, 1).await;
    write(&other, 1).await;
    audit.close().await.unwrap();
    write(&database.open("a").await, 1).await;
}

#[tokio::test]
async fn a_role_that_may_read_and_add_suffices_and_changes_nothing() {
    let database = Database::new("grants").await;
    write(&database.create("a").await, 1).await;
    let login = format!(
        "host={} port={} user=replica dbname={}",
        database.server.folder.display(),
        database.server.port,
        database.name
    );
    let (client, connection) = tokio_postgres::connect(&login, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for sql in [
        "UPDATE agentkeys_audit.audit_rows SET row = ''",
        "DELETE FROM agentkeys_audit.audit_rows",
        "TRUNCATE agentkeys_audit.audit_rows",
        "UPDATE agentkeys_audit.audit_version SET version = 2",
        "DROP TABLE agentkeys_audit.audit_rows",
        "CREATE TABLE agentkeys_audit.mine ()",
    ] {
        let code = client.batch_execute(sql).await.unwrap_err().code().unwrap().code().to_owned();
        assert_eq!(code, "42501", "{sql}");
    }
}

#[tokio::test]
async fn w56_of_one_id_there_is_one_of_each_also_after_a_restart() {
    let database = Database::new("ids").await;
    let (audit, once) = (database.create("a").await, refusal());
    audit.refusal(&once).await.unwrap();
    let doubled = async |audit: &PostgresAudit, refusal: &Refusal| {
        matches!(audit.refusal(refusal).await, Err(AuditError::Doubled))
    };
    assert!(doubled(&audit, &once).await);
    let (one, both) = (refusal(), refusal());
    let (first, second) = tokio::join!(audit.refusal(&both), audit.refusal(&both));
    assert!(first.is_ok() != second.is_ok());
    audit.refusal(&one).await.unwrap();
    let head = audit.close().await.unwrap();
    let audit = database.open("a").await;
    for known in [&once, &one, &both] {
        assert!(doubled(&audit, known).await);
    }
    assert_eq!(audit.close().await.unwrap(), head);
}

#[tokio::test]
async fn the_view_has_a_column_for_each_value() {
    let database = Database::new("view").await;
    let audit = database.create("a").await;
    write(&audit, 2).await;
    let other = database.create("b").await;
    until(async || {
        database.number("SELECT count(*) FROM agentkeys_audit.audit WHERE event = 'anchor'").await > 2
    })
    .await;
    drop((audit, other));
    let columns = agentkeys_federation::AUDIT_COLUMNS.join(", ");
    let root = database.server.root(&database.name).await;
    let sql = format!(
        "SELECT chain, {columns}, requested_role, hash FROM agentkeys_audit.audit WHERE id IS NOT NULL"
    );
    let rows = root.query(&sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].get::<_, i64>("at") >= 1_800_000_000);
    assert_eq!((rows[0].get("event"), rows[0].get("code")), ("refusal", "tenant_unknown"));
}

#[tokio::test]
async fn chains_that_nothing_is_written_to_do_not_answer_each_other_for_ever() {
    let database = Database::new("idle").await;
    let (a, b) = (database.create("a").await, database.create("b").await);
    // each records that the other is there
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let receipt = a.intent(&crate::rate::intent()).await.unwrap();
    a.outcome(receipt, issued()).await.unwrap();
    let rows = "SELECT count(*) FROM agentkeys_audit.audit_rows";
    // b records it, though nothing is written to b
    let recorded = format!("{rows} WHERE chain = 'b' AND row LIKE '%\"a\":\"{}\"%'", a.head());
    until(async || database.number(&recorded).await == 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let before = database.number(rows).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(database.number(rows).await, before);
    assert!(before <= 8, "{before}");
    database.verify().await.unwrap();
    drop((a, b));
}
