use std::fmt;
use std::time::Duration;

use crate::error::ErrorKind;

/// Gives random bytes.
///
/// # Contract
/// Fills the whole buffer with bytes that nobody can predict.
///
/// # Security
/// Predictable bytes are a broken signing key and guessable token ids: only tests may bring a
/// generator of their own.
///
/// # Errors
/// [`RandomError`] where the platform has none to give. Nothing falls back to a weaker source.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills `buffer`.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError>;

    /// A time drawn at random between half and all of `span`, so that many who failed together do not all
    /// come back together. Without random bytes it is half: no jitter, and still a wait.
    fn jittered(&self, span: Duration) -> Duration {
        let half = span / 2;
        let mut bytes = [0; 8];
        let drawn = self.fill(&mut bytes).map_or(0, |()| u64::from_be_bytes(bytes));
        half + half.mul_f64(drawn as f64 / u64::MAX as f64)
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemRandom;

impl SystemRandom {
    /// The operating system's generator.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(buffer).map_err(|_| RandomError)
    }
}

/// No random bytes could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("no random bytes could be had")]
pub struct RandomError;

impl RandomError {
    /// For a [`Random`] of the host's own.
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

impl Default for RandomError {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Always(Result<u8, RandomError>);

    impl Random for Always {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            buffer.fill(self.0?);
            Ok(())
        }
    }

    #[test]
    fn the_jitter_spans_half_of_it_and_without_random_bytes_there_is_none() {
        let span = Duration::from_millis(200);
        for (drawn, least) in [(Ok(0), 100), (Ok(0xff), 200), (Ok(0x80), 150), (Err(RandomError::new()), 100)]
        {
            let waited = Always(drawn).jittered(span).as_millis();
            assert!((least..=least + 1).contains(&waited), "{drawn:?} {waited}");
        }
    }
}
