use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{Clock, ReplayError, ReplayGuard, SystemClock, Timestamp, UseId};
use async_trait::async_trait;
use redis::{Cmd, Value};

mod fault;
mod link;
mod nodes;
mod slot;
mod trust;
mod url;

pub use fault::RedisFault;
pub use trust::{RedisTrust, RedisTrustError};
pub use url::{RedisUrl, RedisUrlError};

use link::Door;
use nodes::Nodes;

/// A [`ReplayGuard`] on Redis, shared by all replicas of a host.
///
/// Each use is one `SET key 1 NX PX lifetime`, which the server carries out as a whole: whoever is answered `OK`
/// was first. The key is a digest, so the server learns nothing of the evidence. All uses go over one connection
/// and are pipelined. A cluster is found out by its `MOVED`, which is followed: one key a command, so any
/// slot will do.
///
/// # Security
/// Only `OK` lets a use pass and only nil is [`ReplayError::Replayed`]. A server that is out of reach, slow, full,
/// loading, read-only or not understood is [`ReplayError::Unavailable`], and its connection is not used again.
/// A `SET` whose answer never came may have been carried out: the same evidence is then refused as replayed, and
/// its agent fetches other evidence.
///
/// At every connect the server must say two things of itself (`INFO`):
/// - `maxmemory_policy:noeviction`. Under any other policy a full server forgets uses to make room.
/// - `aof_enabled:1`, or that it has been up for [`RedisReplayGuard::SETTLED`]. A server without an append-only
///   file forgets all uses when it starts anew, and would let each pass once more.
///
/// What it cannot say is for its operator to see to. Replication is asynchronous: a failover loses the last
/// writes, and evidence that was used in that moment is good once more until it ends. `min-replicas-to-write 1`
/// keeps that moment short. `appendfsync everysec` may lose a second of uses when the machine goes down, and
/// `always` none. Keys are kept for [`RedisReplayGuard::CLOCK_MARGIN`] longer than the use, because the replicas'
/// clocks and the server's differ.
///
/// The server's user needs `SET` on `agentkeys:use:*`, and `INFO`.
///
/// <https://redis.io/docs/latest/commands/set/>
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>
pub struct RedisReplayGuard {
    nodes: Nodes,
    clock: Arc<dyn Clock>,
}

impl RedisReplayGuard {
    /// How long connecting may take, TLS, login and `INFO` included.
    pub const CONNECT: Duration = Duration::from_secs(2);

    /// How long the server may take for an answer.
    pub const ANSWER: Duration = Duration::from_secs(1);

    /// How long a use may take in all, the wait for somebody else's connecting included.
    pub const WHOLE: Duration = Duration::from_secs(4);

    /// How much longer than its use a key is kept.
    pub const CLOCK_MARGIN: Duration = Duration::from_secs(60);

    /// How long a server without an append-only file must have been up: an hour, longer than evidence is good for.
    pub const SETTLED: Duration = Duration::from_secs(3600);

    /// A guard on the server at `url`. Nobody is asked yet; `trust` says who vouches for a server with TLS.
    #[must_use]
    pub fn new(url: &RedisUrl, trust: &RedisTrust) -> Self {
        Self { nodes: Nodes::new(Door::new(url, trust)), clock: Arc::new(SystemClock::new()) }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Connects, and finds out whether the server is one that a guard can be on: for a host's start.
    ///
    /// # Errors
    /// [`ReplayError::Unavailable`], which holds a [`RedisFault`].
    pub async fn check(&self) -> Result<(), ReplayError> {
        within(self.nodes.check()).await
    }
}

#[async_trait]
impl ReplayGuard for RedisReplayGuard {
    async fn first_use(&self, id: &UseId, until: Timestamp) -> Result<(), ReplayError> {
        let now = self.clock.now()?;
        if until <= now {
            return Err(ReplayError::Expired);
        }
        let key = key(id);
        let command = set(&key, until.since(now));
        match within(self.nodes.ask(slot::of(&key), &command)).await? {
            Answer::First => Ok(()),
            Answer::UsedBefore => Err(ReplayError::Replayed),
        }
    }
}

impl fmt::Debug for RedisReplayGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReplayGuard").finish_non_exhaustive()
    }
}

/// The two answers of a `SET` with `NX`. There is no third.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    First,
    UsedBefore,
}

impl TryFrom<Value> for Answer {
    type Error = RedisFault;

    fn try_from(value: Value) -> Result<Self, RedisFault> {
        match value {
            Value::Okay => Ok(Self::First),
            Value::Nil => Ok(Self::UsedBefore),
            _ => Err(RedisFault::NotUnderstood),
        }
    }
}

fn key(id: &UseId) -> String {
    let mut key = PREFIX.to_owned();
    for byte in id.as_bytes() {
        for digit in [byte >> 4, byte & 15] {
            key.extend(char::from_digit(digit.into(), 16));
        }
    }
    key
}

fn set(key: &str, good_for: Duration) -> Cmd {
    let kept = good_for.saturating_add(RedisReplayGuard::CLOCK_MARGIN).as_millis();
    let mut command = redis::cmd("SET");
    // more than a server can count it refuses
    command.arg(key).arg("1").arg("NX").arg("PX").arg(u64::try_from(kept).unwrap_or(u64::MAX));
    command
}

async fn within<T>(asked: impl Future<Output = Result<T, RedisFault>>) -> Result<T, ReplayError> {
    let answer = tokio::time::timeout(RedisReplayGuard::WHOLE, asked).await;
    answer.unwrap_or(Err(RedisFault::Timeout)).map_err(|fault| ReplayError::Unavailable(Arc::new(fault)))
}

/// What the keys of all uses begin with: an operator gives the user no other.
const PREFIX: &str = "agentkeys:use:";
