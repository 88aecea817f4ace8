use std::fmt::Write as _;

use tokio_postgres::Client;

use super::session::connect;
use super::{PostgresAuditError, PostgresLogin};
use crate::audit::row::AUDIT_COLUMNS;

/// Makes the tables, or brings those of an older version to this one, in one transaction.
pub(super) async fn migrate(login: &PostgresLogin) -> Result<(), PostgresAuditError> {
    let mut connected = connect(login).await?;
    let transaction = connected.client.transaction().await?;
    // two who migrate at once wait for each other
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION]).await?;
    let encoding: String =
        transaction.query_one("SELECT current_setting('server_encoding')", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(PostgresAuditError::Settings);
    }
    transaction.batch_execute(VERSION_TABLE).await?;
    let version: i32 = transaction.query_one(READ_VERSION, &[]).await?.get(0);
    for sql in missing(version)? {
        transaction.batch_execute(&sql).await?;
    }
    transaction.execute("UPDATE agentkeys_audit.audit_version SET version = $1", &[&VERSION]).await?;
    transaction.commit().await?;
    Ok(())
}

/// Refuses a database whose tables are of another version.
pub(super) async fn check(client: &Client) -> Result<(), PostgresAuditError> {
    let version = match client.query_opt(READ_VERSION, &[]).await.map_err(super::Fault::from) {
        Ok(row) => row.map(|row| row.get::<_, i32>(0)),
        Err(fault) if fault.is_absence() => None,
        Err(fault) => return Err(fault.into()),
    };
    if version == Some(VERSION) { Ok(()) } else { Err(PostgresAuditError::Schema) }
}

/// What brings tables of `version` to this one.
fn missing(version: i32) -> Result<Vec<String>, PostgresAuditError> {
    let steps = [first()];
    let done = usize::try_from(version).map_err(|_| PostgresAuditError::Schema)?;
    if done > steps.len() {
        return Err(PostgresAuditError::Schema);
    }
    Ok(steps.into_iter().skip(done).collect())
}

/// A row is written as the text that is hashed; the view has a column for each value. The key is what keeps a
/// chain from having two rows in one place.
fn first() -> String {
    let mut sql = String::from(
        "CREATE TABLE agentkeys_audit.audit_rows (
            chain text COLLATE \"C\" NOT NULL,
            seq bigint NOT NULL CHECK (seq > 0),
            row text NOT NULL,
            hash bytea NOT NULL CHECK (octet_length(hash) = 32),
            PRIMARY KEY (chain, seq)
        );
        CREATE VIEW agentkeys_audit.audit AS SELECT *, CASE path
            WHEN 'oidc_jwt+sts' THEN 'data-role-via-jwt'
            WHEN 'oidc_jwt+sts+assume_role' THEN 'data-role-via-jwt'
            WHEN 'oidc_jwt' THEN 'oidc_jwt' ELSE role_arn END AS requested_role
        FROM (SELECT chain, seq",
    );
    for (at, name) in AUDIT_COLUMNS.iter().enumerate().skip(1) {
        let kind = if NUMBERS.contains(name) { "bigint" } else { "text" };
        // writing to memory does not fail
        let _ = write!(sql, ", (r.row::json ->> {at})::{kind} AS {name}");
    }
    sql.push_str(", hash FROM agentkeys_audit.audit_rows r) AS rows;");
    sql
}

/// The tables of this version.
const VERSION: i32 = 1;

const NUMBERS: [&str; 4] = ["at", "token_expires_at", "session_seconds", "expires_at"];

/// Any number that nobody else uses: `AgAu`.
const MIGRATION: i64 = 0x4167_4175;

const VERSION_TABLE: &str = "
    CREATE SCHEMA IF NOT EXISTS agentkeys_audit;
    CREATE TABLE IF NOT EXISTS agentkeys_audit.audit_version (
        one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL
    );
    INSERT INTO agentkeys_audit.audit_version (version) VALUES (0) ON CONFLICT DO NOTHING";

const READ_VERSION: &str = "SELECT version FROM agentkeys_audit.audit_version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_an_older_version_get_what_they_lack_and_those_of_a_newer_are_refused() {
        assert_eq!(missing(0).unwrap().len(), 1);
        assert!(missing(VERSION).unwrap().is_empty());
        for other in [VERSION + 1, -1, i32::MAX, i32::MIN] {
            assert!(matches!(missing(other), Err(PostgresAuditError::Schema)), "{other}");
        }
    }
}
