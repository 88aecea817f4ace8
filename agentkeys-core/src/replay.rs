use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{ClockError, Timestamp};
use crate::error::ErrorKind;
use crate::jose::sha256;
use crate::kind::EvidenceKind;
use crate::random::RandomError;

mod challenge;
mod memory;

pub use challenge::{CHALLENGE_LIFETIME, Challenge, Challenges, MAX_CHALLENGE};
pub use memory::MemoryReplayGuard;

/// Remembers what was used, so that evidence that is good once is taken once (W8, L8).
///
/// # Contract
/// [`ReplayGuard::first_use`] answers `Ok` exactly once for an id until `until`, however many ask at the
/// same time and through however many handles. Several replicas that accept the same evidence share one
/// guard, or the evidence is good once for each.
///
/// # Security
/// A wrong `Ok` is a replay that passes; a wrong error costs one fresh piece of evidence. A guard that is
/// full, restarted empty or out of reach must not answer `Ok` for want of knowing.
///
/// # Errors
/// [`ReplayError`]: `Invalid` for what was used or is over, `Unavailable` where the guard cannot tell.
#[async_trait]
pub trait ReplayGuard: fmt::Debug + Send + Sync {
    /// Takes note that `id` is used now and must not be used again before `until`.
    async fn first_use(&self, id: &UseId, until: Timestamp) -> Result<(), ReplayError>;
}

/// What is used once: the SHA-256 of what makes it unique. Shows and keeps nothing of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UseId([u8; 32]);

impl UseId {
    /// Evidence of `kind` that these parts tell apart from all other of its kind. The parts are hashed
    /// with their lengths: `ab`, `c` is not `a`, `bc` (W51).
    ///
    /// A signature alone is no such part where its form leaves a choice: an ECDSA signature has two
    /// (RFC 7515 forbids neither).
    #[must_use]
    pub fn of(kind: &EvidenceKind, parts: &[&[u8]]) -> Self {
        Self::hashed(b"agentkeys use of evidence", &[&[kind.as_str().as_bytes()], parts].concat())
    }

    fn hashed(domain: &[u8], parts: &[&[u8]]) -> Self {
        let mut text = domain.to_vec();
        for part in parts {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part);
        }
        Self(sha256(&text))
    }

    /// The digest, for a guard's store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Why a use is not known to be the first.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// What is to be used once is over already, or not of this host's making.
    #[error("the challenge or the evidence is over, or is not ours")]
    Expired,
    /// The guard remembers all that it can, and none of it is over.
    #[error("the replay guard is full")]
    Full {
        /// When the first of it is over.
        retry_after: Duration,
    },
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// It was used before.
    #[error("the evidence was used before")]
    Replayed,
    /// The guard does not answer.
    #[error("the replay guard does not answer")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl ReplayError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Clock(error) => error.kind(),
            Self::Random(error) => error.kind(),
            Self::Expired | Self::Replayed => ErrorKind::Invalid,
            Self::Full { .. } | Self::Unavailable(_) => ErrorKind::Unavailable,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after } => Some(*retry_after),
            Self::Unavailable(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Clock(_) => "clock",
            Self::Expired => "use_expired",
            Self::Full { .. } => "replay_guard_full",
            Self::Random(_) => "random",
            Self::Replayed => "evidence_replayed",
            Self::Unavailable(_) => "replay_guard_unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w51_ids_keep_kind_and_parts_apart() {
        let kind = |name: &str| name.parse::<EvidenceKind>().unwrap();
        let ids = [
            UseId::of(&kind("a"), &[b"b", b"c"]),
            UseId::of(&kind("a"), &[b"bc"]),
            UseId::of(&kind("a"), &[b"bc", b""]),
            UseId::of(&kind("a"), &[b"", b"bc"]),
            UseId::of(&kind("ab"), &[b"c"]),
            UseId::of(&kind("b"), &[b"b", b"c"]),
            UseId::of(&kind("a"), &[]),
            UseId::hashed(b"agentkeys use of evidence", &[]),
            UseId::hashed(b"another", &[b"a", b"bc"]),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[at + 1..].contains(id), "{at}");
        }
        assert_eq!(UseId::of(&kind("a"), &[b"b", b"c"]), ids[0]);
    }

    #[test]
    fn only_a_guard_that_cannot_tell_may_be_asked_again() {
        let out =
            ReplayError::Unavailable(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from("out")));
        let full = ReplayError::Full { retry_after: Duration::from_secs(7) };
        for (error, kind, wait) in [
            (ReplayError::Replayed, ErrorKind::Invalid, None),
            (ReplayError::Expired, ErrorKind::Invalid, None),
            (full, ErrorKind::Unavailable, Some(7)),
            (out, ErrorKind::Unavailable, Some(1)),
        ] {
            assert_eq!((error.kind(), error.retry_after()), (kind, wait.map(Duration::from_secs)), "{error}");
        }
    }
}
