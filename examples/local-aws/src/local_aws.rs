//! The handle of a running server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{Clock, whole_seconds};
use crate::credentials::{RoleSession, SessionCredentials};
use crate::names::{BucketName, ProviderUrl, RoleName, SessionName, SourceIdentity};
use crate::record::RecordedRequest;
use crate::server::{self, Shared};
use crate::state::{self, KmsKey, Role, State, StateError, User};
use crate::tags::Tags;
use crate::world::{self, StoredObject};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The state contradicts itself.
    #[error(transparent)]
    State(#[from] StateError),
    /// The port cannot be bound.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Bind {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
}

/// The role, bucket or other thing that a call names does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} {name}")]
pub struct NotFound {
    what: &'static str,
    name: String,
}

/// How a server starts.
#[derive(Debug)]
pub struct Builder {
    state: State,
    port: u16,
}

impl Builder {
    /// Listens on this port instead of on any free one.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts the server on 127.0.0.1. It runs on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the state contradicts itself or the port is taken.
    pub async fn start(self) -> Result<LocalAws, StartError> {
        let bind_error = |source| StartError::Bind { port: self.port, source };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let bound = listener.local_addr().map_err(bind_error)?;
        let shared = Arc::new(Shared::new(world::World::new(self.state, format!("http://{bound}"))?));
        let (stop, stopped) = watch::channel(());
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&shared), stopped));
        Ok(LocalAws { shared, stop, serving })
    }
}

/// A running server. Dropping it shuts it down.
#[derive(Debug)]
pub struct LocalAws {
    shared: Arc<Shared>,
    stop: watch::Sender<()>,
    serving: JoinHandle<()>,
}

impl LocalAws {
    /// A server to be, with a state to begin with.
    #[must_use]
    pub fn builder(state: State) -> Builder {
        Builder { state, port: 0 }
    }

    /// Starts a server on any free port.
    ///
    /// # Errors
    ///
    /// [`StartError`], see [`Builder::start`].
    pub async fn start(state: State) -> Result<Self, StartError> {
        Self::builder(state).start().await
    }

    /// `http://127.0.0.1:<port>`: the endpoint URL for clients of STS, KMS and S3 alike.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.shared.world.endpoint
    }

    /// The issuer of the tokens that `GetWebIdentityToken` returns.
    #[must_use]
    pub fn outbound_issuer(&self) -> String {
        self.shared.world.issuer()
    }

    /// The account id.
    #[must_use]
    pub fn account(&self) -> &str {
        self.shared.world.account.as_str()
    }

    /// The region that requests must be signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        self.shared.world.region.as_str()
    }

    /// The clock that ends sessions and tokens; set it forward instead of sleeping.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.world.clock
    }

    /// What arrived so far, oldest first, [`MAX_RECORDS`](crate::MAX_RECORDS) at most.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.records.all()
    }

    /// Registers an OIDC provider, or replaces its client ids, and returns its ARN.
    pub fn register_provider<C: Into<String>>(
        &self,
        url: ProviderUrl,
        client_ids: impl IntoIterator<Item = C>,
    ) -> String {
        let arn = self.shared.world.provider_arn(&url);
        let client_ids = client_ids.into_iter().map(Into::into).collect();
        self.shared.world.holdings().providers.insert(url, client_ids);
        arn
    }

    /// Adds or replaces a role and returns its ARN.
    pub fn put_role(&self, role: Role) -> String {
        let arn = self.shared.world.role_arn(&role);
        self.shared.world.holdings().roles.insert(role.name.clone(), role);
        arn
    }

    /// Adds or replaces a user, with its access keys.
    ///
    /// # Errors
    ///
    /// [`StateError`] if an access key belongs to somebody else.
    pub fn put_user(&self, user: User) -> Result<(), StateError> {
        self.shared.world.holdings().put_user(user)
    }

    /// Adds or replaces a bucket, with its policy and objects.
    pub fn put_bucket(&self, bucket: &state::Bucket) {
        let stored = world::Bucket::new(bucket, self.clock().now());
        self.shared.world.holdings().buckets.insert(bucket.name.clone(), stored);
    }

    /// Adds a KMS key, or puts the one of this id into another state, and returns its ARN.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if there is no randomness for it.
    pub fn put_kms_key(&self, key: KmsKey) -> Result<String, NotFound> {
        let arn = self.shared.world.kms_key_arn(&key.key_id);
        let missing = NotFound { what: "randomness for the KMS key", name: key.key_id.to_string() };
        self.shared.world.holdings().put_kms_key(key).map_err(|_| missing)?;
        Ok(arn)
    }

    /// Puts an object into a bucket, past every policy.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if there is no such bucket.
    pub fn put_object(
        &self,
        bucket: &BucketName,
        key: &str,
        content: impl Into<Bytes>,
    ) -> Result<(), NotFound> {
        let object = StoredObject {
            content: content.into(),
            content_type: None,
            metadata: std::collections::HashMap::new(),
            modified: self.clock().now(),
        };
        let mut holdings = self.shared.world.holdings();
        let missing = || NotFound { what: "bucket", name: bucket.to_string() };
        holdings.buckets.get_mut(bucket).ok_or_else(missing)?.objects.insert(key.to_owned(), object);
        Ok(())
    }

    /// What is in an object, past every policy.
    #[must_use]
    pub fn object(&self, bucket: &BucketName, key: &str) -> Option<Bytes> {
        let holdings = self.shared.world.holdings();
        holdings.buckets.get(bucket)?.objects.get(key).map(|object| object.content.clone())
    }

    /// Whether an object exists, past every policy: a witness that no SDK has a part in.
    #[must_use]
    pub fn object_exists(&self, bucket: &BucketName, key: &str) -> bool {
        self.object(bucket, key).is_some()
    }

    /// Switches outbound identity federation on or off.
    pub fn set_outbound_federation(&self, enabled: bool) {
        self.shared.world.holdings().outbound_enabled = enabled;
    }

    /// Starts a session of a role as EKS Pod Identity does for a workload: no trust policy is asked, and every tag is
    /// transitive.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if there is no such role, or no randomness for its keys.
    pub fn workload_session(
        &self,
        role: &RoleName,
        session_name: &SessionName,
        tags: Tags,
        duration: Duration,
    ) -> Result<SessionCredentials, NotFound> {
        self.workload_session_as(role, session_name, tags, None, duration)
    }

    /// The same with a source identity.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if there is no such role, or no randomness for its keys.
    pub fn workload_session_as(
        &self,
        role: &RoleName,
        session_name: &SessionName,
        tags: Tags,
        source_identity: Option<SourceIdentity>,
        duration: Duration,
    ) -> Result<SessionCredentials, NotFound> {
        let missing = |what| NotFound { what, name: role.to_string() };
        if !self.shared.world.holdings().roles.contains_key(role) {
            return Err(missing("role"));
        }
        let duration = time::Duration::try_from(duration).unwrap_or(time::Duration::DAY);
        let session = RoleSession {
            role: role.clone(),
            name: session_name.clone(),
            transitive: tags.iter().map(|(key, _)| key.to_lowercase()).collect(),
            tags,
            source_identity,
            provider: None,
            policy: None,
            expires_at: whole_seconds(self.clock().now()).saturating_add(duration),
        };
        self.shared.world.start_session(session).map_err(|_| missing("randomness for the role"))
    }

    /// The state as a state file would say it now. Sessions that STS started are not part of it.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.world.snapshot()
    }

    /// Stops listening, lets the requests under way finish, and returns when they have.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(());
        let _ = (&mut self.serving).await;
    }
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        self.stop.send_replace(());
    }
}
