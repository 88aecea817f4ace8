use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};

use crate::credentials::AwsCredentials;
use crate::source::CredentialSource;

impl ProvideCredentials for CredentialSource {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            self.credentials().await.map(Credentials::from).map_err(CredentialsError::provider_error)
        })
    }
}

impl From<AwsCredentials> for Credentials {
    fn from(credentials: AwsCredentials) -> Self {
        Self::new(
            credentials.access_key_id(),
            credentials.secret_access_key().expose(),
            Some(credentials.session_token().expose().clone()),
            credentials.expires_at().to_system_time(),
            "agentkeys",
        )
    }
}
