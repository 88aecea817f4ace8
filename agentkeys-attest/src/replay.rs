//! Guards against replay that several replicas share.
//!
//! The port is [`ReplayGuard`](agentkeys_core::ReplayGuard). [`Challenges`](agentkeys_core::Challenges) go
//! through it as well: replicas that share a guard and the challenges' key redeem each other's challenges, and
//! each challenge once among all of them.

mod redis;

pub use self::redis::{RedisFault, RedisReplayGuard, RedisTrust, RedisTrustError, RedisUrl, RedisUrlError};
