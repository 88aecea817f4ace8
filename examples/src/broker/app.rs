use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};

use agentkeys_core::jose::{KeyTables, TablesHealth};
use agentkeys_core::{
    AgentId, AttestedIdentity, Attestors, Challenge, Challenges, Clock, DiscoveryDocument, Evidence,
    EvidenceKind, Issuer, KeyRing, Minter, Oidc, PublishedJwks, RotationTimes, Secret, Session, Sessions,
    SystemClock, SystemRandom, TenantId, Token, TokenLifetime, TrustRoot,
};
use agentkeys_federation::{
    AuditCode, AuditError, AuditId, AuditSink, AwsCredentials, AwsExchanger, Broker, BrokerError,
    CredentialCache, CredentialRequest, DataClass, Refusal, Tenant, TenantPolicy, Wallet,
};

use super::events::{Events, Happened};
use super::input::BodyLimits;
use super::metrics::Metrics;
use super::refused::Refused;
use super::watched::WatchedAudit;
use crate::Failure;

/// The keys of a broker: one ring signs for clouds, the other sessions.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) oidc: KeyRing<Oidc>,
    pub(crate) session: KeyRing<Session>,
}

/// All that a broker is made of.
pub(crate) struct Parts {
    pub(crate) issuer: Issuer,
    pub(crate) keys: Keys,
    pub(crate) times: RotationTimes,
    pub(crate) key_tables: KeyTables,
    pub(crate) attestors: Attestors,
    /// The kind of evidence that is a JWT: what a client assertion is.
    pub(crate) assertions: Option<EvidenceKind>,
    pub(crate) challenges: Option<Challenges>,
    pub(crate) exchanger: Arc<AwsExchanger>,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) tenants: Vec<(Tenant, TenantPolicy)>,
    pub(crate) wallets: Wallets,
    pub(crate) operator_token: Option<Secret>,
    pub(crate) body: BodyLimits,
    pub(crate) requests: usize,
}

/// The wallets that the host knows its agents by, of each tenant as its trust root names it (R41).
#[derive(Clone, Debug, Default)]
pub(crate) struct Wallets(BTreeMap<(TrustRoot, Option<TenantId>, AgentId), Wallet>);

impl Wallets {
    pub(crate) fn insert(
        &mut self,
        root: TrustRoot,
        tenant: Option<TenantId>,
        agent: AgentId,
        wallet: Wallet,
    ) {
        self.0.insert((root, tenant, agent), wallet);
    }

    fn of(&self, identity: &AttestedIdentity) -> Option<&Wallet> {
        let tenant = identity.tenant().cloned();
        self.0.get(&(identity.trust_root().clone(), tenant, identity.agent().clone()))
    }
}

/// A broker behind its routes.
pub(crate) struct App {
    fixed: Fixed,
    pub(crate) assertions: Option<EvidenceKind>,
    challenges: Option<Challenges>,
    session_lifetime: TokenLifetime,
    pub(crate) audit: Arc<WatchedAudit>,
    wallets: Wallets,
    pub(crate) operator_token: Option<Secret>,
    pub(crate) body: BodyLimits,
    pub(crate) requests: Arc<tokio::sync::Semaphore>,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    signing: RwLock<Arc<Signing>>,
}

/// What stays when the keys change.
struct Fixed {
    issuer: Issuer,
    times: RotationTimes,
    key_tables: KeyTables,
    attestors: Attestors,
    exchanger: Arc<AwsExchanger>,
    tenants: Vec<(Tenant, TenantPolicy)>,
}

/// What depends on the keys, and is built anew when they change.
pub(crate) struct Signing {
    pub(crate) keys: Keys,
    broker: Broker,
    sessions: Sessions,
    pub(crate) discovery: Vec<u8>,
    pub(crate) jwks: PublishedJwks,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let metrics = Arc::new(Metrics::new()?);
        let audit = Arc::new(WatchedAudit::new(parts.audit, Arc::clone(&clock), Arc::clone(&metrics)));
        let Parts { issuer, times, key_tables, attestors, exchanger, tenants, .. } = parts;
        let fixed = Fixed { issuer, times, key_tables, attestors, exchanger, tenants };
        let signing = RwLock::new(Arc::new(fixed.signing(parts.keys, &audit)?));
        Ok(Self {
            fixed,
            assertions: parts.assertions,
            challenges: parts.challenges,
            session_lifetime: TokenLifetime::from_secs(SESSION_SECONDS)?,
            audit,
            wallets: parts.wallets,
            operator_token: parts.operator_token,
            body: parts.body,
            requests: Arc::new(tokio::sync::Semaphore::new(parts.requests)),
            events: Events::default(),
            metrics,
            clock,
            signing,
        })
    }

    /// Signs with these keys from now on. Credentials that were kept are exchanged anew.
    pub(crate) fn replace_keys(&self, keys: Keys) -> Result<(), Failure> {
        let signing = Arc::new(self.fixed.signing(keys, &self.audit)?);
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = signing;
        Ok(())
    }

    pub(crate) fn signing(&self) -> Arc<Signing> {
        Arc::clone(&self.signing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A challenge for evidence that is signed with one.
    pub(crate) fn challenge(&self) -> Result<Challenge, Refused> {
        let challenges = self.challenges.as_ref().ok_or_else(Refused::not_found)?;
        challenges.issue().map_err(|error| Refused::internal(error.code()))
    }

    /// Evidence to a session.
    pub(crate) async fn attest(&self, evidence: &Evidence) -> Result<(AttestedIdentity, Token), BrokerError> {
        let signing = self.signing();
        let identity = signing.broker.attest(evidence).await?;
        let session = self.session(&signing, &identity).await?;
        let (issuer, expires_at) = (identity.kind().to_string(), session.expires_at());
        self.happened(&identity, Happened::Registered { issuer, expires_at })?;
        self.metrics.issued("session", None);
        Ok((identity, session))
    }

    async fn session(&self, signing: &Signing, identity: &AttestedIdentity) -> Result<Token, BrokerError> {
        match signing.sessions.issue(identity, self.session_lifetime).await {
            Ok(session) => Ok(session),
            Err(error) => {
                // as the broker does with its own refusals
                let code = AuditCode::new(error.code()).map_err(AuditError::storage)?;
                let id = AuditId::generate(&SystemRandom::new())?;
                let refusal = Refusal::new(id, self.clock.now()?, code).with_identity(identity);
                self.audit.refusal(&refusal).await?;
                Err(error.into())
            }
        }
    }

    /// Who shows this session.
    pub(crate) async fn resume(&self, session: &str) -> Result<AttestedIdentity, BrokerError> {
        self.signing().broker.resume(session).await
    }

    /// A token for the class's role.
    pub(crate) async fn token(
        &self,
        identity: &AttestedIdentity,
        class: DataClass,
    ) -> Result<Token, BrokerError> {
        match self.signing().broker.token(identity, self.request(identity, class)).await {
            Ok(token) => {
                self.happened(identity, Happened::token(class, &token))?;
                self.metrics.issued("token", Some(class));
                Ok(token)
            }
            Err(error) => Err(self.refused(identity, class, error)),
        }
    }

    /// Credentials of the class's role.
    pub(crate) async fn credentials(
        &self,
        identity: &AttestedIdentity,
        class: DataClass,
    ) -> Result<AwsCredentials, BrokerError> {
        match self.signing().broker.credentials(identity, self.request(identity, class)).await {
            Ok(credentials) => {
                self.happened(identity, Happened::credentials(class, &credentials))?;
                self.metrics.issued("credentials", Some(class));
                Ok(credentials)
            }
            Err(error) => Err(self.refused(identity, class, error)),
        }
    }

    /// How the tables of the session keys do.
    pub(crate) fn tables(&self) -> TablesHealth {
        self.fixed.key_tables.health()
    }

    pub(crate) fn wallet(&self, identity: &AttestedIdentity) -> Option<&Wallet> {
        self.wallets.of(identity)
    }

    fn request(&self, identity: &AttestedIdentity, class: DataClass) -> CredentialRequest {
        match self.wallet(identity) {
            Some(wallet) => CredentialRequest::new(class).with_wallet(wallet.clone()),
            None => CredentialRequest::new(class),
        }
    }

    fn refused(&self, identity: &AttestedIdentity, class: DataClass, error: BrokerError) -> BrokerError {
        let happened = Happened::Refused { class: Some(class), code: error.code() };
        self.happened(identity, happened).err().unwrap_or(error)
    }

    fn happened(&self, identity: &AttestedIdentity, happened: Happened) -> Result<(), BrokerError> {
        Ok(self.events.keep(identity, self.clock.now()?, happened)?)
    }
}

impl Fixed {
    fn signing(&self, keys: Keys, audit: &Arc<WatchedAudit>) -> Result<Signing, Failure> {
        keys.oidc.ensure_apart_from(&keys.session)?;
        let minter = Minter::new(self.issuer.clone(), keys.oidc.clone());
        let sessions = Sessions::new(self.issuer.clone(), keys.session.clone())?;
        let sessions = sessions.with_key_tables(self.key_tables.clone());
        let room = NonZeroUsize::new(KEPT_CREDENTIALS).ok_or("no room for credentials")?;
        let cache = CredentialCache::new(minter, Arc::clone(&self.exchanger) as _, room);
        let broker = Broker::new(self.attestors.clone(), cache, Arc::clone(audit) as _);
        let mut broker = broker.with_sessions(sessions.clone());
        for (tenant, policy) in &self.tenants {
            broker = broker.with_tenant(tenant.clone(), policy.clone())?;
        }
        let discovery = serde_json::to_vec(&DiscoveryDocument::new(&self.issuer))?;
        let jwks = keys.oidc.publish(self.times)?;
        Ok(Signing { keys, broker, sessions, discovery, jwks })
    }
}

/// A session lives as long as its evidence, and an hour at most.
const SESSION_SECONDS: u64 = 3600;

/// How many agents' credentials are kept, one entry for each class.
const KEPT_CREDENTIALS: usize = 20_000;

#[cfg(test)]
mod tests {
    use agentkeys_core::{Assurance, Timestamp};

    use super::*;

    #[test]
    fn r41_a_wallet_is_its_own_agents_and_nobody_elses() {
        let of = |root: &str, tenant: Option<&str>, agent: &str| {
            let (at, end) = (Timestamp::from_unix(1_800_000_000), Timestamp::from_unix(1_800_000_300));
            let (kind, root, agent) =
                ("oidc".parse().unwrap(), root.parse().unwrap(), agent.parse().unwrap());
            let identity =
                AttestedIdentity::assertion(kind, root, agent, Assurance::PlatformAttested, at, end).unwrap();
            match tenant {
                Some(tenant) => identity.with_tenant(tenant.parse().unwrap()),
                None => identity,
            }
        };
        let wallet: Wallet = format!("0x{}", "b1".repeat(20)).parse().unwrap();
        let mut wallets = Wallets::default();
        let root = "https://a.example".parse().unwrap();
        wallets.insert(root, Some("acme".parse().unwrap()), "blue".parse().unwrap(), wallet.clone());
        assert_eq!(wallets.of(&of("https://a.example", Some("acme"), "blue")), Some(&wallet));
        for (root, tenant, agent) in [
            ("https://a.example", Some("acme"), "red"),
            ("https://a.example", Some("other"), "blue"),
            ("https://a.example", None, "blue"),
            ("https://b.example", Some("acme"), "blue"),
        ] {
            assert_eq!(wallets.of(&of(root, tenant, agent)), None, "{root} {tenant:?} {agent}");
        }
    }
}
