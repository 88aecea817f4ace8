use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

mod pool;
mod token;

use pool::{Device, Pool, Trouble};
use token::Token;

use super::{MaxInFlight, SIGNER_PROBE, SignError, TokenSigner};
use crate::jose::PublicJwk;
use crate::secret::Secret;

/// A P-256 key in an HSM or another token, over PKCS#11 (CKM_ECDSA over a SHA-256 digest that is made here).
/// <https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html>
///
/// Every signature is verified with the public key before anybody sees it (some 60 µs). A session that is lost
/// is opened anew, with a login where one is needed; meanwhile nothing is signed.
///
/// # Security
/// The module is foreign code in this process: it sees the PIN, and whatever it does this process does. A login
/// is the whole process's, so another user of the same module is logged in as well. The PIN is kept to log in
/// again. After one refused PIN it is never tried again, because a token locks after a few.
///
/// A module that was loaded stays loaded: its threads may live on. Some modules go on saying that a token is gone
/// until `C_Finalize`, which would end all work of the process with them and is therefore the host's, or a restart.
pub struct Pkcs11Signer {
    pool: Arc<Pool<Token>>,
    in_flight: Arc<Semaphore>,
    public: PublicJwk,
}

impl Pkcs11Signer {
    /// Opens `key`, and has it sign something that is no token: what this answers does sign.
    ///
    /// The private key must be one that signs, that cannot be read or copied out (`CKA_SENSITIVE`, not
    /// `CKA_EXTRACTABLE`) and that is of no use without the PIN (`CKA_PRIVATE`), as the token says. A key of
    /// which the token lets a copy out is a key file with extra steps, and [`super::LocalSigner`] says so in its
    /// name. That it was never outside is not asked: a key that was brought in from a backup is good.
    ///
    /// # Errors
    /// [`SignError::Refused`] says what is wrong with module, token, PIN or key; [`SignError::Mismatch`] where
    /// the public key is not the private one's; [`SignError::Unavailable`] where the token is not there or does
    /// not answer within [`SIGN_TIMEOUT`].
    pub async fn open(key: Pkcs11Key, pin: Secret) -> Result<Self, SignError> {
        let opening = tokio::task::spawn_blocking(move || {
            let token = Token::load(key, pin)?;
            let session = token.open()?;
            let public = token.public(&session)?;
            let pool = Pool::new(token, &public)?;
            pool.keep(session);
            pool.sign(SIGNER_PROBE)?;
            Ok::<_, SignError>((pool, public))
        });
        let (pool, public) = in_time(opening).await??;
        let in_flight = semaphore(MaxInFlight::DEFAULT);
        Ok(Self { pool: Arc::new(pool), in_flight, public })
    }

    /// With another bound than [`MaxInFlight::DEFAULT`]. Each signature under way has a session of its own.
    #[must_use]
    pub fn with_max_in_flight(mut self, most: MaxInFlight) -> Self {
        self.in_flight = semaphore(most);
        self
    }
}

#[async_trait]
impl TokenSigner for Pkcs11Signer {
    fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        sign_with(&self.pool, &self.in_flight, message).await
    }
}

impl fmt::Debug for Pkcs11Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Signer").field("kid", self.public.kid()).finish_non_exhaustive()
    }
}

/// Which key, and where.
#[derive(Clone, Debug)]
pub struct Pkcs11Key {
    module: PathBuf,
    token: TokenName,
    key: KeyName,
}

impl Pkcs11Key {
    /// The key `key` of the token `token`, through the module at `module`: the shared library of the HSM.
    ///
    /// # Errors
    /// [`SignError::Refused`] where the module's path is not absolute: a library is not searched for.
    pub fn new(module: impl Into<PathBuf>, token: TokenName, key: KeyName) -> Result<Self, SignError> {
        let module = module.into();
        if !module.is_absolute() {
            return Err(SignError::Refused("the path of the module is not absolute"));
        }
        Ok(Self { module, token, key })
    }
}

/// A token's name. Exactly one token must have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName(Named);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Label(String),
    Serial(String),
}

impl TokenName {
    /// Its label: 1 to 32 bytes, without blanks at the end, which PKCS#11 does not keep.
    ///
    /// # Errors
    /// [`SignError::Refused`].
    pub fn label(text: &str) -> Result<Self, SignError> {
        named(text, 32).map(|text| Self(Named::Label(text)))
    }

    /// Its serial number: 1 to 16 bytes, without blanks at the end.
    ///
    /// # Errors
    /// [`SignError::Refused`].
    pub fn serial(text: &str) -> Result<Self, SignError> {
        named(text, 16).map(|text| Self(Named::Serial(text)))
    }
}

fn named(text: &str, most: usize) -> Result<String, SignError> {
    if text.is_empty() || text.len() > most || text.ends_with([' ', '\0']) {
        return Err(SignError::Refused("the name of the token is not one"));
    }
    Ok(text.to_owned())
}

/// A key's name on its token. Exactly one private and one public key must have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName(By);

#[derive(Clone, Debug, PartialEq, Eq)]
enum By {
    Id(Vec<u8>),
    Label(String),
}

impl KeyName {
    /// Its `CKA_ID`: 1 to 64 bytes.
    ///
    /// # Errors
    /// [`SignError::Refused`].
    pub fn id(id: &[u8]) -> Result<Self, SignError> {
        named_key(id).map(|()| Self(By::Id(id.to_owned())))
    }

    /// Its `CKA_LABEL`: 1 to 64 bytes.
    ///
    /// # Errors
    /// [`SignError::Refused`].
    pub fn label(text: &str) -> Result<Self, SignError> {
        named_key(text.as_bytes()).map(|()| Self(By::Label(text.to_owned())))
    }
}

fn named_key(name: &[u8]) -> Result<(), SignError> {
    if name.is_empty() || name.len() > 64 {
        Err(SignError::Refused("the name of the key is not one"))
    } else {
        Ok(())
    }
}

/// How long a signature may take, what it waits for its turn included.
pub const SIGN_TIMEOUT: Duration = Duration::from_secs(5);

fn semaphore(most: MaxInFlight) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most.get().into()))
}

/// A call into a module cannot be taken back. One that is given up keeps its thread and its place among those in
/// flight until it returns, so that a module that hangs binds so many threads and no more.
async fn sign_with<D: Device>(
    pool: &Arc<Pool<D>>,
    in_flight: &Arc<Semaphore>,
    message: &[u8],
) -> Result<[u8; 64], SignError> {
    let (pool, in_flight, message) = (Arc::clone(pool), Arc::clone(in_flight), message.to_vec());
    let signing = async move {
        let place = in_flight.acquire_owned().await.map_err(|_| Trouble::away("no more signatures"))?;
        let signing = tokio::task::spawn_blocking(move || {
            let signature = pool.sign(&message);
            drop(place);
            signature
        });
        signing.await.map_err(|_| Trouble::away("the thread that signs has ended"))?
    };
    tokio::time::timeout(SIGN_TIMEOUT, signing).await.map_err(|_| late())?
}

async fn in_time<T>(work: tokio::task::JoinHandle<T>) -> Result<T, SignError> {
    let done = tokio::time::timeout(SIGN_TIMEOUT, work).await.map_err(|_| late())?;
    done.map_err(|_| Trouble::away("the thread that signs has ended").into())
}

fn late() -> SignError {
    Trouble::away("the token has not answered in time").into()
}

#[cfg(test)]
mod tests;
