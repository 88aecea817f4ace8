use std::time::Duration;

use agentkeys_core::{ClockError, ErrorKind};

use crate::exchanger::ExchangeError;

/// Why no attributed session was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssumeError {
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// More than an hour was asked for under temporary credentials. The STS was not asked.
    #[error("a chained session lasts an hour at most")]
    Duration,
    /// The identity ended while the STS was asked: there were credentials, and nobody gets them.
    #[error("the identity expired meanwhile: attest again")]
    IdentityEnded,
    /// The identity is past its `not_after`: attest again. The STS was not asked.
    #[error("the identity has expired: attest again")]
    IdentityExpired,
    /// The base session is somebody's already, and stays that one's. The STS was not asked.
    #[error("the base session has another source identity, which cannot be changed")]
    SourceIdentityFixed,
    /// The STS, or its answer.
    #[error("the role was not assumed")]
    Sts(#[from] ExchangeError),
}

impl AssumeError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::Clock(error) => error.kind(),
            Self::Duration => ErrorKind::Misconfigured,
            Self::IdentityEnded | Self::IdentityExpired => ErrorKind::Invalid,
            Self::SourceIdentityFixed => ErrorKind::Denied,
            Self::Sts(error) => error.kind(),
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Sts(error) => error.retry_after(),
            _ => None,
        }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Clock(_) => "assume_clock",
            Self::Duration => "assume_duration",
            Self::IdentityEnded => "assume_identity_ended",
            Self::IdentityExpired => "assume_identity_expired",
            Self::SourceIdentityFixed => "assume_source_identity_fixed",
            Self::Sts(error) => error.code(),
        }
    }
}
