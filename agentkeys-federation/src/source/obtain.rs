use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, Clock, Minter, Random, SystemClock, SystemRandom};

use super::SourceError;
use super::revocation::RevocationCheck;
use crate::aws::RoleSession;
use crate::credentials::AwsCredentials;
use crate::exchanger::{ExchangeError, Exchanger};

/// How credentials are had: ask for revocation, mint, exchange.
#[derive(Clone, Debug)]
pub(super) struct Obtain {
    minter: Minter,
    exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
    pub(super) revocation: Option<Arc<dyn RevocationCheck>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl Obtain {
    pub(super) fn new(
        minter: Minter,
        exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
    ) -> Self {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        Self { minter, exchanger, revocation: None, clock, random }
    }

    /// In bounded time, whatever the ports do.
    pub(super) async fn obtain(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<AwsCredentials, SourceError> {
        tokio::time::timeout(LIMIT, self.exchange(identity, session))
            .await
            .unwrap_or(Err(SourceError::Timeout))
    }

    async fn exchange(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<AwsCredentials, SourceError> {
        if let Some(check) = &self.revocation {
            check.check(identity, session).await?;
        }
        match self.exchange_once(identity, session).await {
            // the STS's clock or a slow way there: another token, once
            Err(SourceError::Exchange(ExchangeError::TokenExpired)) => {
                self.exchange_once(identity, session).await
            }
            done => done,
        }
    }

    async fn exchange_once(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<AwsCredentials, SourceError> {
        let token = self.minter.mint(identity, session.mint_request()?).await?;
        Ok(self.exchanger.exchange(&token, session).await?)
    }
}

/// For revocation, mint and exchange together, the second try included.
const LIMIT: Duration = Duration::from_secs(45);
