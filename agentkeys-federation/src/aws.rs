mod account;
mod assume_role;
mod connector;
mod exchange;
#[cfg(feature = "kms")]
mod kms;
mod policy;
mod role;
#[cfg(feature = "provide-credentials")]
mod sdk;
mod source_identity;
mod sts;
mod tags;

pub use account::{AccountId, Partition};
pub use assume_role::{AssumeError, AttributedSession, BaseCredentials, SessionBroker};
pub use exchange::{AwsExchanger, MinioExchanger};
#[cfg(feature = "kms")]
pub use kms::{KMS_TIMEOUT, KeyArn, KmsKey, KmsSigner, SIGN_TRIES};
pub use policy::{
    BucketName, ClassAccess, Finding, FindingCode, OidcProvider, PodRole, PolicyDocument, PolicyError,
    SessionRole, Severity, Stack, StackNames, SubjectPattern, Thumbprint, WebIdentityTrust, lint,
};
pub use role::{Region, RoleArn, RoleError, RoleSession, RoleSessionName, SessionDuration};
pub use source_identity::{
    MAX_PREIMAGE, SOURCE_IDENTITY_CLAIM, SourceIdentity, SourceIdentityError, SourceIdentityPattern,
};
pub use tags::{
    MAX_TAGS, PACKED_WARNING, PackedSize, SessionTags, TAG_ACTOR_OMNI, TAG_DATA_CLASS, TAG_USER_WALLET,
    TAGS_CLAIM, TagError, TagsForm,
};
