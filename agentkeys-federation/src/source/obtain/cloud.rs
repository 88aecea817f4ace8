use agentkeys_core::{AttestedIdentity, Token};
use tokio::time::timeout;

use super::{MINT_LIMIT, Obtain};
use crate::audit::{AuditId, Intent, Outcome};
use crate::cloud::CloudSession;
use crate::exchanger::{ExchangeError, Exchanger};
use crate::source::SourceError;

impl Obtain {
    /// Another cloud's credentials, in the same order: ask for revocation, mint, make the intent known, exchange,
    /// make the outcome known. In bounded time, whatever the ports do.
    pub(crate) async fn federate<T: CloudSession>(
        &self,
        identity: &AttestedIdentity,
        exchanger: &dyn Exchanger<Target = T, Credentials = T::Credentials>,
        session: &T,
    ) -> Result<T::Credentials, SourceError> {
        let token = self.mint_for(identity, session).await?;
        match self.exchange_for(identity, exchanger, session, &token).await {
            // that cloud's clock or a slow way there: another token, once
            Err(SourceError::Exchange(ExchangeError::TokenExpired)) => {
                let token = self.mint_for(identity, session).await?;
                self.exchange_for(identity, exchanger, session, &token).await
            }
            done => done,
        }
    }

    async fn mint_for<T: CloudSession>(
        &self,
        identity: &AttestedIdentity,
        session: &T,
    ) -> Result<Token, SourceError> {
        let request = session.request(identity)?;
        let mint = async {
            if let Some(check) = &self.revocation {
                check.check_cloud(identity, &session.cloud_role()).await?;
            }
            Ok(self.minter.mint(identity, request).await?)
        };
        timeout(MINT_LIMIT, mint).await.unwrap_or(Err(SourceError::Timeout))
    }

    async fn exchange_for<T: CloudSession>(
        &self,
        identity: &AttestedIdentity,
        exchanger: &dyn Exchanger<Target = T, Credentials = T::Credentials>,
        session: &T,
        token: &Token,
    ) -> Result<T::Credentials, SourceError> {
        let (id, at) = (AuditId::of_token(token), self.clock.now()?);
        let intent = Intent::federate(id, at, identity, token, session);
        let asked = exchanger.exchange(token, session);
        self.recorded(&intent, asked, Outcome::federated::<T>, Outcome::of_exchange).await
    }
}
