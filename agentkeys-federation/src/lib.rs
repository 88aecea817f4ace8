//! A minted token in, a cloud's short-lived credentials out: the federation half of agentkeys.
//!
//! ```text
//!  AttestedIdentity ── Minter ──> Token ── Exchanger ──> credentials
//!                        ▲                     │
//!            RoleSession::mint_request         └ AssumeRoleWithWebIdentity, unsigned
//! ```
//!
//! AWS reads session tags and the role pin from *inside* the token, so a [`RoleSession`] writes both what
//! is minted and what is asked for. No AWS credentials are needed or read: the call carries none (R64), and
//! no environment variable is looked at (W70).
//!
//! ```
//! # use std::sync::Arc;
//! # use agentkeys_core::{AttestedIdentity, HttpClient, Minter};
//! # use agentkeys_federation::{AwsExchanger, CredentialSource, RoleSession, SessionTags};
//! # async fn example(
//! #     minter: Minter, identity: AttestedIdentity, http: Arc<dyn HttpClient>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let role = "arn:aws:iam::123456789012:role/agentkeys-memory-role".parse()?;
//! let session = RoleSession::new(role).with_tags(SessionTags::of(&identity));
//! let exchanger = Arc::new(AwsExchanger::new("us-east-1".parse()?, http));
//!
//! let source = CredentialSource::new(minter, exchanger, identity, session);
//! let credentials = source.credentials().await?;
//! println!("{} until {}", credentials.access_key_id(), credentials.expires_at());
//! # Ok(())
//! # }
//! ```
//!
//! Where CloudTrail must say who acts, a [`SessionBroker`] assumes a tenant's [`SessionRole`] with a
//! [`SourceIdentity`], signed with what an exchange gave or with credentials of the host's own. Neither plain
//! IRSA nor EKS Pod Identity can carry one (R106).
//!
//! A [`Broker`] serves many tenants: it knows by policy who may have which class of data, keeps credentials in a
//! [`CredentialCache`], one exchange for each [`SessionKey`] however many ask, and writes every exchange and
//! every refusal into an [`AuditSink`], before anything is exchanged and before anything is let go. [`vend`] writes credentials as SDKs read them.
//!
//! The other clouds have an [`Exchanger`] each: [`AlibabaExchanger`], [`GcpExchanger`] and [`TencentExchanger`], and
//! the broker a way to them, [`Broker::cloud_credentials`].
//!
//! The documents that the isolation rests on come from a generator ([`WebIdentityTrust`], [`ClassAccess`], …),
//! and [`lint`] reads those of others.
//!
//! # Features
//! - `kms`: `KmsSigner`, a [`TokenSigner`](agentkeys_core::TokenSigner) whose key is in AWS KMS.
//! - `provide-credentials`: a [`CredentialSource`] is an aws-sdk `ProvideCredentials`.
//! - `sqlite`: `SqliteAudit`, an [`AuditSink`] in a database of this process.
//! - `postgres`: `PostgresAudit`, an [`AuditSink`] that several replicas share.

mod actor;
mod alibaba;
mod audit;
mod aws;
mod broker;
mod cloud;
mod credentials;
mod data_class;
mod exchanger;
mod gcp;
mod source;
mod tencent;
mod text;
pub mod vend;

pub use actor::{ActorError, ActorOmni, Wallet};
pub use alibaba::{
    ALIBABA_TOKEN_AGE, AlibabaCredentials, AlibabaError, AlibabaExchanger, AlibabaProviderArn,
    AlibabaRoleArn, AlibabaSession, AlibabaSts,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use audit::{APPEND_TIMEOUT, MAX_QUEUE};
pub use audit::{
    AUDIT_COLUMNS, Attribution, AuditCode, AuditError, AuditEvent, AuditId, AuditRow, AuditSink,
    AuditTextError, AuditValue, ChainError, ChainHead, ChainWalk, FanOut, FanOutError, Intent, MemoryAudit,
    MintPath, Outcome, OutcomeKind, Receipt, Refusal, verify_chain,
};
#[cfg(feature = "sqlite")]
pub use audit::{AuditStoreError, SqliteAudit};
#[cfg(feature = "postgres")]
pub use audit::{
    ChainName, ChainNameError, MAX_CHAINS, PostgresAudit, PostgresAuditError, PostgresFault, PostgresLogin,
    PostgresLoginError,
};
pub use aws::{
    AccountId, AssumeError, AttributedSession, AwsExchanger, BaseCredentials, BucketName, ClassAccess,
    Finding, FindingCode, MAX_PREIMAGE, MAX_TAGS, MinioExchanger, OidcProvider, PACKED_WARNING, PackedSize,
    Partition, PodRole, PolicyDocument, PolicyError, Region, RoleArn, RoleError, RoleSession,
    RoleSessionName, SOURCE_IDENTITY_CLAIM, SessionBroker, SessionDuration, SessionRole, SessionTags,
    Severity, SourceIdentity, SourceIdentityError, SourceIdentityPattern, Stack, StackNames, SubjectPattern,
    TAG_ACTOR_OMNI, TAG_DATA_CLASS, TAG_USER_WALLET, TAGS_CLAIM, TagError, TagsForm, Thumbprint,
    WebIdentityTrust, lint,
};
#[cfg(feature = "kms")]
pub use aws::{KMS_TIMEOUT, KeyArn, KmsKey, KmsSigner, SIGN_TRIES};
pub use broker::{Broker, BrokerError, CredentialRequest, Tenant, TenantError, TenantPolicy};
pub use cloud::{ClientId, ClientIdError, CloudRole, CloudSession};
pub use credentials::AwsCredentials;
pub use data_class::{DataClass, DataClassError};
pub use exchanger::{ExchangeError, Exchanger};
pub use gcp::{
    GcpAccessToken, GcpError, GcpExchanger, GcpProvider, GcpScope, GcpServiceAccount, GcpSession,
    MAX_GCP_SUBJECT,
};
pub use source::{
    CredentialCache, CredentialSource, MIN_LEFT, REFRESH_MARGIN, REFUSED_FOR, RevocationCheck,
    RevocationError, SessionKey, SourceError,
};
pub use tencent::{
    TencentCredentials, TencentError, TencentExchanger, TencentIdentityKey, TencentProviderName,
    TencentRegion, TencentRoleArn, TencentSession,
};
