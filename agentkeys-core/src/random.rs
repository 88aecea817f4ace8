use std::fmt;

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
