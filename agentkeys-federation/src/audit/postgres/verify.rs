use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Statement, Transaction};

use super::anchor::Anchor;
use super::session::{connect, stored};
use super::{ChainName, MAX_CHAINS, PostgresAuditError, PostgresLogin, schema};
use crate::audit::chain::{ChainError, ChainHead, ChainWalk};

pub(super) async fn verify(
    login: &PostgresLogin,
    known: &BTreeMap<ChainName, ChainHead>,
) -> Result<BTreeMap<ChainName, ChainHead>, PostgresAuditError> {
    let mut connected = connect(login).await?;
    schema::check(&connected.client).await?;
    connected.client.batch_execute(SETTINGS).await?;
    let snapshot = connected.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
    let snapshot = snapshot.read_only(true).start().await?;
    let mut names = Vec::new();
    for row in snapshot.query(NAMES, &[]).await? {
        names.push(row.try_get::<_, &str>(0)?.parse::<ChainName>().map_err(|_| PostgresAuditError::Name)?);
    }
    if names.len() > MAX_CHAINS {
        return Err(PostgresAuditError::TooMany);
    }
    if let Some((gone, head)) = known.iter().find(|(name, head)| head.count() > 0 && !names.contains(name)) {
        let missing = ChainError::Missing { found: 0, expected: head.count() };
        return Err(PostgresAuditError::Chain(gone.clone(), missing));
    }
    let (page, absent) = (snapshot.prepare(PAGE).await?, snapshot.prepare(ABSENT).await?);
    let mut heads = BTreeMap::new();
    for chain in names {
        let known = known.get(&chain).copied().unwrap_or(ChainHead::EMPTY);
        let head = Walk::new(chain.clone(), known).along(&snapshot, &page, &absent).await?;
        heads.insert(chain, head);
    }
    Ok(heads)
}

/// Along one chain, a page of rows after the other.
struct Walk {
    chain: ChainName,
    walk: ChainWalk,
    /// What the page says of other chains.
    anchored: Vec<(ChainName, ChainHead)>,
}

impl Walk {
    fn new(chain: ChainName, known: ChainHead) -> Self {
        Self { chain, walk: ChainWalk::new(known), anchored: Vec::new() }
    }

    async fn along(
        mut self,
        snapshot: &Transaction<'_>,
        page: &Statement,
        absent: &Statement,
    ) -> Result<ChainHead, PostgresAuditError> {
        let mut from = 0;
        loop {
            let parameters: [&(dyn ToSql + Sync); 2] = [&self.chain.as_str(), &from];
            let rows = snapshot.query_raw(page, parameters).await?;
            let mut rows = std::pin::pin!(rows);
            let before = from;
            while let Some(row) = rows.try_next().await? {
                let (seq, text, hash) = stored(&row)?;
                self.step(seq, text, hash)?;
                from = seq;
            }
            self.compare(snapshot, absent).await?;
            if from == before {
                let end = self.walk.finish();
                return end.map_err(|error| PostgresAuditError::Chain(self.chain, error));
            }
        }
    }

    fn step(&mut self, seq: i64, text: &str, hash: &[u8]) -> Result<(), PostgresAuditError> {
        let broken = |error| PostgresAuditError::Chain(self.chain.clone(), error);
        self.walk.text(seq, text.as_bytes(), hash).map_err(broken)?;
        let row = broken(ChainError::Row(seq.unsigned_abs()));
        match Anchor::read(text) {
            // a chain that was given another's name says another
            Ok(Some(anchor)) if anchor.chain == self.chain => self.anchored.extend(anchor.heads),
            Ok(None) if seq > 1 => {}
            _ => return Err(row),
        }
        Ok(())
    }

    /// Looks for the rows of other chains that this page says are there.
    async fn compare(
        &mut self,
        snapshot: &Transaction<'_>,
        absent: &Statement,
    ) -> Result<(), PostgresAuditError> {
        if self.anchored.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.anchored.iter().map(|(name, _)| name.as_str()).collect();
        let seqs: Vec<i64> =
            self.anchored.iter().map(|(_, head)| i64::try_from(head.count()).unwrap_or(i64::MAX)).collect();
        let hashes: Vec<&[u8]> = self.anchored.iter().map(|(_, head)| head.hash().as_slice()).collect();
        let first: Option<i64> = snapshot.query_one(absent, &[&names, &seqs, &hashes]).await?.try_get(0)?;
        if let Some(first) = first {
            let at = usize::try_from(first.saturating_sub(1)).unwrap_or_default();
            let of = self.anchored.get(at).map_or_else(|| self.chain.clone(), |(name, _)| name.clone());
            return Err(PostgresAuditError::Anchor { by: self.chain.clone(), of });
        }
        self.anchored.clear();
        Ok(())
    }
}

/// One row of each after the other, by the key: nothing is sorted.
const SETTINGS: &str = "
    SET search_path = pg_catalog; SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off";

const NAMES: &str = "
    WITH RECURSIVE names (chain, n) AS (
        (SELECT chain, 1 FROM agentkeys_audit.audit_rows ORDER BY chain LIMIT 1)
        UNION ALL
        SELECT (SELECT r.chain FROM agentkeys_audit.audit_rows r WHERE r.chain > names.chain ORDER BY r.chain LIMIT 1),
            n + 1
        FROM names WHERE names.chain IS NOT NULL AND n <= 1024)
    SELECT chain FROM names WHERE chain IS NOT NULL";

const PAGE: &str = "
    SELECT r.seq, CASE WHEN octet_length(r.row) <= 262144 THEN r.row END, r.hash
    FROM agentkeys_audit.audit_rows r WHERE r.chain = $1 AND r.seq > $2 ORDER BY r.seq LIMIT 8192";

/// The place in the lists of the first row that is not there.
const ABSENT: &str = "
    SELECT min(a.n) FROM unnest($1::text[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS a (chain, seq, hash, n)
    WHERE NOT EXISTS (
        SELECT FROM agentkeys_audit.audit_rows r WHERE r.chain = a.chain COLLATE \"C\" AND r.seq = a.seq AND r.hash = a.hash)";
