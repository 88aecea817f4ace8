use std::fmt;
use std::num::NonZeroU16;

use async_trait::async_trait;
use elliptic_curve::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};

use crate::error::ErrorKind;
use crate::jose::{EcKeyPair, PublicJwk};
use crate::random::{Random, RandomError};
use crate::secret::Secret;

#[cfg(feature = "pkcs11")]
mod pkcs11;

#[cfg(feature = "pkcs11")]
pub use pkcs11::{KeyName, Pkcs11Key, Pkcs11Signer, SIGN_TIMEOUT, TokenName};

/// Signs tokens with a key that it keeps: in memory, in an HSM, in a KMS (R45).
///
/// # Contract
/// ES256. [`TokenSigner::public_jwk`] belongs to the key that signs and never changes. Many signatures may be
/// asked for at once, and an asking may be dropped at any time; neither holds up another for ever.
/// `testing::signer_contract` (feature `test-util`) holds a signer to all of this.
///
/// # Security
/// Whoever can make it sign can be any agent (R46). It signs what the minter hands it and must be
/// reachable by nobody else.
///
/// # Errors
/// [`SignError`]; the key never leaves, not in an error either.
#[async_trait]
pub trait TokenSigner: fmt::Debug + Send + Sync {
    /// The public key, named by its thumbprint.
    fn public_jwk(&self) -> &PublicJwk;

    /// Signs `message`: r and s, 32 bytes each (<https://www.rfc-editor.org/rfc/rfc7518#section-3.4>).
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// A P-256 key in this process's memory.
pub struct LocalSigner {
    key: EcKeyPair,
    public: PublicJwk,
}

impl LocalSigner {
    /// Reads a PKCS#8 PEM document (RFC 7468 `PRIVATE KEY`).
    ///
    /// # Errors
    /// [`SignError::Key`] where it is not a P-256 key.
    pub fn from_pkcs8_pem(pem: &Secret) -> Result<Self, SignError> {
        let key = p256::SecretKey::from_pkcs8_pem(pem.expose()).map_err(|_| SignError::Key)?;
        Self::from_secret_key(&key)
    }

    /// Makes a new key: an explicit act, which no loading ever does (R44). Answers the signer and the
    /// PKCS#8 PEM document to keep.
    ///
    /// # Errors
    /// [`SignError::Random`].
    pub fn generate(random: &dyn Random) -> Result<(Self, Secret), SignError> {
        for _ in 0..MAX_DRAWS {
            let mut bytes = vec![0; 32];
            random.fill(&mut bytes)?;
            let drawn = Secret::new(bytes);
            // a draw outside 1..n is thrown away: odds below 2^-32
            if let Ok(key) = p256::SecretKey::from_slice(drawn.expose()) {
                let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|_| SignError::Key)?;
                return Ok((Self::from_secret_key(&key)?, Secret::new(pem.as_str().to_owned())));
            }
        }
        Err(SignError::Random(RandomError::new()))
    }

    fn from_secret_key(key: &p256::SecretKey) -> Result<Self, SignError> {
        let der = key.to_pkcs8_der().map_err(|_| SignError::Key)?;
        let key = EcKeyPair::from_pkcs8_der(der.as_bytes()).map_err(|_| SignError::Key)?;
        let (x, y) = key.public_coordinates().map_err(|_| SignError::Key)?;
        Ok(Self { key, public: PublicJwk::es256(&x, &y) })
    }
}

#[async_trait]
impl TokenSigner for LocalSigner {
    fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        self.key.sign(message).map_err(|_| SignError::Key)
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSigner").field("kid", self.public.kid()).finish_non_exhaustive()
    }
}

/// How many signatures a signer outside this process is asked for at once: 1 to 256. More wait for one of them,
/// and give up with the signer's timeout.
///
/// A signer that takes 20 ms gives 50 signatures a second for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaxInFlight(NonZeroU16);

impl MaxInFlight {
    /// Sixteen: HSMs have few sessions.
    pub const DEFAULT: Self = Self(NonZeroU16::MIN.saturating_add(15));

    /// A bound.
    ///
    /// # Errors
    /// [`SignError::Refused`] outside 1 to 256.
    pub const fn new(count: u16) -> Result<Self, SignError> {
        match NonZeroU16::new(count) {
            Some(count) if count.get() <= 256 => Ok(Self(count)),
            _ => Err(SignError::Refused("1 to 256 signatures are asked for at once")),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is malformed or of the wrong type.
    #[error("the signing key is not a P-256 key in PKCS#8")]
    Key,
    /// A signer outside this process gave what its key did not sign. Nothing of it is released: a faulty
    /// signature can give a key away.
    #[error("the signer gave a signature that its key does not verify")]
    Mismatch,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A signer outside this process cannot be used as it is: somebody has to look.
    #[error("the signer cannot be used: {0}")]
    Refused(&'static str),
    /// A signer outside this process does not answer.
    #[error("the signer does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SignError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Key | Self::Mismatch | Self::Random(_) | Self::Refused(_) => ErrorKind::Misconfigured,
            Self::Unavailable(_) => ErrorKind::Unavailable,
        }
    }
}

/// What a signer outside this process signs once to show that it can, and with which key. It has blanks, so it
/// is no token's signing input.
pub const SIGNER_PROBE: &[u8] = b"agentkeys tries this signer";

const MAX_DRAWS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[tokio::test]
    async fn a_generated_key_reads_back_and_signs_what_its_public_half_verifies() {
        let (signer, pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let again = LocalSigner::from_pkcs8_pem(&pem).unwrap();
        assert_eq!(signer.public_jwk(), again.public_jwk());
        let signature = again.sign(b"message").await.unwrap();
        let jwk = signer.public_jwk().to_jwk().unwrap();
        assert!(jwk.key().verifies(b"message", &signature));
        assert!(!jwk.key().verifies(b"messagf", &signature));
    }

    #[test]
    fn r46_debug_and_errors_show_no_key_material() {
        let (signer, pem) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let shown = format!("{signer:?} {pem:?} {:?}", LocalSigner::from_pkcs8_pem(&"MARKED".into()).err());
        let body = pem.expose().lines().nth(1).unwrap();
        assert!(!shown.contains(body) && !shown.contains("MARKED"));
    }

    #[test]
    fn r45_a_bound_has_bounds() {
        assert_eq!(MaxInFlight::DEFAULT.get(), 16);
        for count in [1, 256] {
            assert_eq!(MaxInFlight::new(count).unwrap().get(), count);
        }
        for count in [0, 257, u16::MAX] {
            assert_eq!(MaxInFlight::new(count).unwrap_err().kind(), ErrorKind::Misconfigured);
        }
    }

    #[test]
    fn broken_randomness_makes_no_key() {
        #[derive(Debug)]
        struct Zeros;
        impl Random for Zeros {
            fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
                buffer.fill(0);
                Ok(())
            }
        }
        assert!(matches!(LocalSigner::generate(&Zeros), Err(SignError::Random(_))));
    }
}
