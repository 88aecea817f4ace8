use agentkeys_core::AttestedIdentity;

use super::{Broker, BrokerError};
use crate::audit::Refusal;
use crate::cloud::CloudSession;
use crate::data_class::DataClass;
use crate::exchanger::Exchanger;

impl Broker {
    /// Credentials of another cloud, as the tenant's policy allows them for `class`
    /// ([`crate::TenantPolicy::with_alibaba`] and its like), exchanged by `exchanger`, with the same rows before
    /// and after as on AWS.
    ///
    /// New ones each time: the cache holds AWS's alone. A host that asks often keeps them until shortly before
    /// their end.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn cloud_credentials<T: CloudSession>(
        &self,
        identity: &AttestedIdentity,
        class: DataClass,
        exchanger: &dyn Exchanger<Target = T, Credentials = T::Credentials>,
    ) -> Result<T::Credentials, BrokerError> {
        let about = |refusal: Refusal| refusal.with_identity(identity).with_path(T::PATH);
        let session = match self.tenants.cloud_session::<T>(identity, class) {
            Ok(session) => session,
            Err(error) => return Err(self.refused(error, about).await),
        };
        match self.cache.obtain().federate(identity, exchanger, session).await {
            Ok(credentials) => Ok(credentials),
            Err(error) => Err(self.without(error, identity, session.cloud_role(), T::PATH).await),
        }
    }
}
