mod connector;
mod exchange;
mod role;
#[cfg(feature = "provide-credentials")]
mod sdk;
mod tags;

pub use exchange::AwsExchanger;
pub use role::{Region, RoleArn, RoleError, RoleSession, RoleSessionName, SessionDuration};
pub use tags::{
    MAX_TAGS, PACKED_WARNING, PackedSize, SessionTags, TAG_ACTOR_OMNI, TAG_DATA_CLASS, TAG_USER_WALLET,
    TAGS_CLAIM, TagError, TagsForm,
};
