use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, Clock, Minter, Random, SystemClock, SystemRandom, Token};
use tokio::time::timeout;

use super::SourceError;
use super::revocation::RevocationCheck;
use crate::audit::{Attribution, AuditError, AuditId, AuditSink, Intent, Outcome, Receipt};
use crate::aws::RoleSession;
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

/// How credentials are had: ask for revocation, mint, make the intent known, exchange, make the outcome known.
#[derive(Clone, Debug)]
pub(crate) struct Obtain {
    minter: Minter,
    exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
    pub(super) revocation: Option<Arc<dyn RevocationCheck>>,
    pub(super) audit: Option<Arc<dyn AuditSink>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl Obtain {
    pub(super) fn new(
        minter: Minter,
        exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
    ) -> Self {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        Self { minter, exchanger, revocation: None, audit: None, clock, random }
    }

    /// In bounded time, whatever the ports do.
    pub(super) async fn obtain(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<AwsCredentials, SourceError> {
        let token = self.mint(identity, session).await?;
        match self.exchange(identity, session, &token).await {
            // the STS's clock or a slow way there: another token, once
            Err(SourceError::Exchange(ExchangeError::TokenExpired)) => {
                let token = self.mint(identity, session).await?;
                self.exchange(identity, session, &token).await
            }
            done => done,
        }
    }

    /// The token itself, for a caller that exchanges it (R63).
    pub(crate) async fn release(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<Token, SourceError> {
        let token = self.mint(identity, session).await?;
        let (id, at) = (AuditId::of_token(&token), self.clock.now()?);
        let attribution = Attribution::from(session.source_identity());
        let receipt = self.intent(&Intent::release(id, at, identity, &token, attribution)).await?;
        self.outcome(receipt, Outcome::issued(at, token.expires_at())).await?;
        Ok(token)
    }

    async fn mint(&self, identity: &AttestedIdentity, session: &RoleSession) -> Result<Token, SourceError> {
        let mint = async {
            if let Some(check) = &self.revocation {
                check.check(identity, session).await?;
            }
            Ok(self.minter.mint(identity, session.mint_request()?).await?)
        };
        timeout(MINT_LIMIT, mint).await.unwrap_or(Err(SourceError::Timeout))
    }

    async fn exchange(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
        token: &Token,
    ) -> Result<AwsCredentials, SourceError> {
        let (id, at) = (AuditId::of_token(token), self.clock.now()?);
        let receipt = self.intent(&Intent::exchange(id, at, identity, token, session)).await?;
        let exchanged = timeout(EXCHANGE_LIMIT, self.exchanger.exchange(token, session)).await;
        let exchanged = exchanged.unwrap_or(Err(ExchangeError::Unavailable));
        let at = self.clock.now()?;
        let outcome = match &exchanged {
            Ok(credentials) => Outcome::credentials(at, credentials),
            Err(error) => Outcome::of_exchange(at, *error),
        };
        // whatever came is let go only when this is durable
        self.outcome(receipt, outcome).await?;
        Ok(exchanged?)
    }

    async fn intent(&self, intent: &Intent) -> Result<Option<Receipt>, AuditError> {
        let Some(audit) = &self.audit else { return Ok(None) };
        timeout(AUDIT_LIMIT, audit.intent(intent)).await.unwrap_or(Err(AuditError::Slow)).map(Some)
    }

    async fn outcome(&self, receipt: Option<Receipt>, outcome: Outcome) -> Result<(), AuditError> {
        let Some((audit, receipt)) = self.audit.as_ref().zip(receipt) else { return Ok(()) };
        timeout(AUDIT_LIMIT, audit.outcome(receipt, outcome)).await.unwrap_or(Err(AuditError::Slow))
    }
}

/// For revocation and mint together.
const MINT_LIMIT: Duration = Duration::from_secs(15);

/// For an exchange, whatever its own limit is.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

/// For a row of the audit log, whatever the sink's own limit is.
pub(crate) const AUDIT_LIMIT: Duration = Duration::from_secs(10);
