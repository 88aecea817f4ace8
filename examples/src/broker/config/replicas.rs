//! What several replicas share: where used evidence is remembered, and where the audit log is.

use std::path::PathBuf;

use agentkeys_federation::ChainName;

use super::Reader;
use crate::broker::settings::Finding;
use crate::broker::variables as names;

/// Redis, and the key of the challenges that go through it.
#[derive(Clone, Debug)]
pub(crate) struct RedisFiles {
    pub(crate) url: PathBuf,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) challenge_key: PathBuf,
}

/// Where the rows are kept.
#[derive(Clone, Debug)]
pub(crate) enum AuditPlace {
    /// In a file of this machine.
    Sqlite(PathBuf),
    /// In a database, in a chain of this replica's own.
    Postgres { url: PathBuf, authorities: Option<PathBuf>, chain: ChainName },
}

impl Reader<'_> {
    pub(super) fn audit(&mut self) -> Option<AuditPlace> {
        let authorities = self.path("postgres_certificate_authorities", &[]);
        let chain = self.said("audit_chain", &[names::AUDIT_CHAIN]);
        let Some(url) = self.path("postgres_url_file", &[names::POSTGRES_URL_FILE]) else {
            if let Some(chain) = chain {
                chain.wrong(&"a chain is of postgres_url_file", &mut self.findings);
            }
            if authorities.is_some() {
                self.wrong("postgres_certificate_authorities goes with postgres_url_file");
            }
            let path = self.required_path("audit_database", &[names::AUDIT_DB_PATH])?;
            return Some(AuditPlace::Sqlite(path));
        };
        if self.path("audit_database", &[names::AUDIT_DB_PATH]).is_some() {
            self.wrong("audit_database and postgres_url_file are two audit logs; one of them goes");
        }
        let Some(chain) = chain else {
            self.wrong("audit_chain is missing: each replica has a chain of its own name");
            return None;
        };
        Some(AuditPlace::Postgres { url, authorities, chain: chain.parse(&mut self.findings)? })
    }

    pub(super) fn redis(&mut self) -> Option<RedisFiles> {
        let authorities = self.path("redis_certificate_authorities", &[]);
        let challenge_key = self.path("challenge_key_file", &[names::CHALLENGE_KEY_FILE]);
        match (self.path("redis_url_file", &[names::REDIS_URL_FILE]), challenge_key) {
            (Some(url), Some(challenge_key)) => Some(RedisFiles { url, authorities, challenge_key }),
            (None, None) => {
                if authorities.is_some() {
                    self.wrong("redis_certificate_authorities goes with redis_url_file");
                }
                None
            }
            _ => {
                self.wrong(
                    "redis_url_file and challenge_key_file go together: all replicas have the same two",
                );
                None
            }
        }
    }

    fn wrong(&mut self, what: &'static str) {
        self.findings.push(Finding::new("the file", &what));
    }
}
