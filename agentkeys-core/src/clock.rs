use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;

/// Tells the time.
///
/// # Contract
/// Answers wall-clock time in whole seconds since the Unix epoch; never blocks.
///
/// # Security
/// A clock that runs behind lets expired evidence and tokens pass; one that runs ahead only refuses
/// good ones. An implementation that cannot tell the time must say so, never answer zero (W46).
///
/// # Errors
/// [`ClockError`] where the platform's time is before [`CLOCK_FLOOR`] or cannot be read.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Result<Timestamp, ClockError>;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The operating system's clock.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    fn now(&self) -> Result<Timestamp, ClockError> {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| ClockError)?;
        let now = Timestamp::from_unix(elapsed.as_secs());
        if now < CLOCK_FLOOR { Err(ClockError) } else { Ok(now) }
    }
}

/// A moment: whole seconds since the Unix epoch (RFC 7519 NumericDate without a fraction).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From seconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix(self) -> u64 {
        self.0
    }

    /// This moment and `duration` more, in whole seconds; the end of time where that overflows.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// This moment and `duration` less; the epoch where that underflows.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long ago `earlier` was; zero where it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// The same moment as the standard library has it.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The time could not be read, or lies before [`CLOCK_FLOOR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the clock is not set")]
pub struct ClockError;

impl ClockError {
    /// For a [`Clock`] of the host's own.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Misconfigured
    }
}

impl Default for ClockError {
    fn default() -> Self {
        Self::new()
    }
}

/// 2025-01-01T00:00:00Z, before any release of this crate: a clock below it was never set.
pub const CLOCK_FLOOR: Timestamp = Timestamp(1_735_689_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w46_arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Timestamp(5).minus(Duration::from_secs(9)).as_unix(), 0);
        assert_eq!(Timestamp(u64::MAX).plus(Duration::from_secs(9)).as_unix(), u64::MAX);
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }

    #[test]
    fn the_system_clock_is_past_the_floor() {
        assert!(SystemClock::new().now().unwrap() > CLOCK_FLOOR);
    }
}
