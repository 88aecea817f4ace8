use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, Clock, Minter, Random, SystemClock, SystemRandom, Timestamp, Token};
use tokio::time::timeout;

mod cloud;

use super::SourceError;
use super::revocation::RevocationCheck;
use crate::audit::{Attribution, AuditError, AuditId, AuditSink, Intent, Outcome, Receipt, Refusal};
use crate::aws::{AttributedSession, BaseCredentials, RoleSession, SessionBroker};
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

    /// A session that is started under `base`, with its rows before and after (R98).
    pub(crate) async fn assume(
        &self,
        identity: &AttestedIdentity,
        sessions: &SessionBroker,
        base: &BaseCredentials,
        session: &AttributedSession,
    ) -> Result<AwsCredentials, SourceError> {
        let asked = RoleSession::new(session.role().clone())
            .with_source_identity(session.source_identity().clone())
            .with_duration(session.duration());
        let allowed = timeout(MINT_LIMIT, self.ask(identity, &asked)).await;
        allowed.unwrap_or(Err(SourceError::Timeout))?;
        let intent = Intent::assume(self.clock.now()?, identity, session, base);
        let asked = sessions.assume(identity, base, session);
        self.recorded(&intent, asked, Outcome::credentials, Outcome::of_assumption).await
    }

    async fn mint(&self, identity: &AttestedIdentity, session: &RoleSession) -> Result<Token, SourceError> {
        let mint = async {
            self.ask(identity, session).await?;
            Ok(self.minter.mint(identity, session.mint_request()?).await?)
        };
        timeout(MINT_LIMIT, mint).await.unwrap_or(Err(SourceError::Timeout))
    }

    /// Whether the identity may still have it.
    async fn ask(&self, identity: &AttestedIdentity, session: &RoleSession) -> Result<(), SourceError> {
        match &self.revocation {
            Some(check) => Ok(check.check(identity, session).await?),
            None => Ok(()),
        }
    }

    async fn exchange(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
        token: &Token,
    ) -> Result<AwsCredentials, SourceError> {
        let intent = Intent::exchange(AuditId::of_token(token), self.clock.now()?, identity, token, session);
        let asked = self.exchanger.exchange(token, session);
        self.recorded(&intent, asked, Outcome::credentials, Outcome::of_exchange).await
    }

    /// What the STS gives, with a row before it is asked and one before it is let go.
    async fn recorded<C, E>(
        &self,
        intent: &Intent,
        asked: impl Future<Output = Result<C, E>>,
        got: impl FnOnce(Timestamp, &C) -> Outcome,
        failed: impl FnOnce(Timestamp, E) -> Outcome,
    ) -> Result<C, SourceError>
    where
        E: Copy + From<ExchangeError>,
        SourceError: From<E>,
    {
        let receipt = self.intent(intent).await?;
        let answer = timeout(EXCHANGE_LIMIT, asked).await.unwrap_or(Err(ExchangeError::Unavailable.into()));
        let at = self.clock.now()?;
        let outcome = match &answer {
            Ok(credentials) => got(at, credentials),
            Err(error) => failed(at, *error),
        };
        // whatever came is let go only when this is durable
        self.outcome(receipt, outcome).await?;
        Ok(answer?)
    }

    async fn intent(&self, intent: &Intent) -> Result<Option<Receipt>, AuditError> {
        let Some(audit) = &self.audit else { return Ok(None) };
        in_time(audit.intent(intent)).await.map(Some)
    }

    async fn outcome(&self, receipt: Option<Receipt>, outcome: Outcome) -> Result<(), AuditError> {
        let Some((audit, receipt)) = self.audit.as_ref().zip(receipt) else { return Ok(()) };
        in_time(audit.outcome(receipt, outcome)).await
    }

    /// Writes down what was refused before there was an intent.
    pub(crate) async fn refusal(&self, refusal: &Refusal) -> Result<(), AuditError> {
        let Some(audit) = &self.audit else { return Ok(()) };
        in_time(audit.refusal(refusal)).await
    }
}

/// In bounded time, whatever the sink does.
async fn in_time<T>(written: impl Future<Output = Result<T, AuditError>>) -> Result<T, AuditError> {
    timeout(AUDIT_LIMIT, written).await.unwrap_or(Err(AuditError::Slow))
}

/// For revocation and mint together.
const MINT_LIMIT: Duration = Duration::from_secs(15);

/// For an exchange, whatever its own limit is.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

/// For a row of the audit log, whatever the sink's own limit is.
const AUDIT_LIMIT: Duration = Duration::from_secs(10);
