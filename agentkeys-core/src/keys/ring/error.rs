use std::time::Duration;

use crate::error::ErrorKind;
use crate::jose::JwkError;
use crate::signer::SignError;

/// Why there is no such key ring. Nothing of a key or of a file's text is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The key file is there already: only a rotation may replace it.
    #[error("the key file exists: only a rotation replaces it")]
    Exists,
    /// The platform does not read or write the file.
    #[error("the key file cannot be read or written")]
    Io(#[source] std::io::Error),
    /// A public key is not one.
    #[error("a public key of the ring is refused")]
    Jwk(#[from] JwkError),
    /// A kid is not the thumbprint of its key, or of no key in the ring.
    #[error("a kid is not the thumbprint of its key")]
    Kid,
    /// Not a key file: not the object that it must be, an unknown, doubled, missing or mistyped member.
    #[error("not a well-formed key file")]
    Malformed,
    /// There is no key file. Loading never makes one.
    #[error("there is no key file: generate one first")]
    Missing,
    /// There is a next key already.
    #[error("the ring has a next key already")]
    NextExists,
    /// There is no next key.
    #[error("the ring has no next key")]
    NoNext,
    /// A directory, a symbolic link, a socket or a device.
    #[error("the key file is not a regular file")]
    NotAFile,
    /// Another user owns the file.
    #[error("the key file belongs to another user")]
    Owner,
    /// Others than its owner may use the file.
    #[error("the key file must be of mode 0600 or stricter")]
    Permissions,
    /// The file is of the other purpose, or of none.
    #[error("the key file is of another purpose")]
    Purpose,
    /// The same key stands in the rings of two purposes.
    #[error("a key stands in the rings of two purposes")]
    SharedKey,
    /// A private key is not one, is held by an outside signer, or could not be made.
    #[error("a private key of the ring is refused")]
    Sign(#[from] SignError),
    /// Not one active key and at most one next one, a doubled key, or times that do not fit the state.
    #[error("the states of the ring's keys contradict each other")]
    State,
    /// The next key has not been published for long enough.
    #[error("the next key is not published for long enough")]
    TooEarly {
        /// When it will be.
        retry_after: Duration,
    },
    /// Larger than [`super::MAX_KEY_FILE_BYTES`].
    #[error("the key file is larger than {} bytes", super::MAX_KEY_FILE_BYTES)]
    TooLarge,
    /// More than [`super::MAX_RING_KEYS`].
    #[error("the ring has more than {} keys", super::MAX_RING_KEYS)]
    TooManyKeys,
}

impl KeyRingError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Sign(error) => error.kind(),
            Self::TooEarly { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Misconfigured,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooEarly { retry_after } => Some(*retry_after),
            _ => self.kind().is_retryable().then_some(Duration::from_secs(1)),
        }
    }
}
