//! One of several processes behind a balancer: the demonstration's broker on a Redis and a PostgreSQL that it
//! shares with the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use agentkeys_core::jose::KeyTables;
use agentkeys_core::{Issuer, KeyRing};
use agentkeys_federation::{ChainHead, PostgresAudit};

use super::{app, stack_names};
use crate::Failure;
use crate::broker::app::Keys;
use crate::broker::config::{AuditPlace, RedisFiles};
use crate::broker::start::{Audit, Running, bind, postgres, shared};

/// Where a replica finds everything.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "every field must be filled in")]
pub struct ReplicaPlaces {
    /// Holds the key files, which all replicas share.
    pub folder: PathBuf,
    /// What the balancer is reached at.
    pub issuer: String,
    /// The STS, and the issuer of its pods' tokens.
    pub sts: (String, String),
    /// Where it listens, and for the operator.
    pub listen: [SocketAddr; 2],
    /// Files with the URL of Redis, its certificate authority if it has one, and the challenges' key.
    pub redis: (PathBuf, Option<PathBuf>, PathBuf),
    /// A file with the URL of PostgreSQL, and the chain's name.
    pub postgres: (PathBuf, String),
}

/// A replica that listens.
#[derive(Debug)]
pub struct Replica {
    places: ReplicaPlaces,
    running: Running,
}

impl Replica {
    /// Starts it.
    ///
    /// # Errors
    /// What cannot be had.
    pub async fn start(places: ReplicaPlaces) -> Result<Self, Failure> {
        let issuer = Issuer::loopback_http_for_tests(&places.issuer)?;
        let (url, authorities, challenge_key) = places.redis.clone();
        let uses = shared(&RedisFiles { url, authorities, challenge_key }).await?;
        let (url, chain) = places.postgres.clone();
        let audit =
            Audit::open(&AuditPlace::Postgres { url, authorities: None, chain: chain.parse()? }).await?;
        let sts = (places.sts.0.as_str(), places.sts.1.as_str());
        let (app, _) =
            app(&places.folder, issuer, &stack_names()?, sts, audit.sink(), uses, KeyTables::off())?;
        let [public, operator] = places.listen;
        let running = Running::listen(app, audit, None, bind(public).await?, bind(operator).await?)?;
        Ok(Self { places, running })
    }

    /// Checks all chains of the database whose URL is in a file. Answers how many there are, and how many rows.
    ///
    /// # Errors
    /// Where one of them is not whole.
    pub async fn verify(url: &Path) -> Result<(usize, u64), Failure> {
        let heads = PostgresAudit::verify(&postgres(url, None)?, &BTreeMap::new()).await?;
        Ok((heads.len(), heads.values().map(ChainHead::count).sum()))
    }

    /// Signs with what is in the key files now.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn reload_keys(&self) -> Result<(), Failure> {
        self.running.app().replace_keys(Keys {
            oidc: KeyRing::load(self.places.folder.join("oidc-keypair.json"))?,
            session: KeyRing::load(self.places.folder.join("session-keypair.json"))?,
        })
    }

    /// Stops it.
    ///
    /// # Errors
    /// As [`Running::shutdown`].
    pub async fn shutdown(self) -> Result<(), Failure> {
        self.running.shutdown().await
    }
}
