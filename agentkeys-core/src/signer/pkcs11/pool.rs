use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::jose::{PublicJwk, PublicKey, sha256};
use crate::signer::SignError;

/// What signs, one session at a time.
pub(super) trait Device: Send + Sync + 'static {
    type Session: Send + 'static;

    /// A new session that is logged in and has found its key.
    fn open(&self) -> Result<Self::Session, Trouble>;

    /// Signs a SHA-256 digest. Whatever fails, the session is given up.
    fn sign(&self, session: &Self::Session, digest: [u8; 32]) -> Result<Vec<u8>, Trouble>;
}

/// Why a device did not do it.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not there, or fails: later it may work.
    Away(Box<dyn std::error::Error + Send + Sync>),
    /// The PIN is refused: it must not be tried again.
    Pin(&'static str),
    /// Key or token are not what they must be.
    Unfit(&'static str),
}

impl Trouble {
    pub(super) fn away(what: &'static str) -> Self {
        Self::Away(what.into())
    }
}

impl From<Trouble> for SignError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(source) => Self::Unavailable(source),
            Trouble::Pin(what) | Trouble::Unfit(what) => Self::Refused(what),
        }
    }
}

/// A device's sessions: as many as ever signed at once, kept for the next.
pub(super) struct Pool<D: Device> {
    pub(super) device: D,
    key: PublicKey,
    pub(super) idle: Mutex<Vec<D::Session>>,
    /// One is opened at a time, and none once the PIN was refused.
    opening: Mutex<Option<&'static str>>,
}

impl<D: Device> Pool<D> {
    pub(super) fn new(device: D, public: &PublicJwk) -> Result<Self, SignError> {
        let key = public.to_jwk().map_err(|_| SignError::Refused("the public key is not of P-256"))?;
        Ok(Self { device, key: key.key().clone(), idle: Mutex::default(), opening: Mutex::default() })
    }

    pub(super) fn keep(&self, session: D::Session) {
        locked(&self.idle).push(session);
    }

    /// Signs, and releases nothing but what the public key verifies.
    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let digest = sha256(message);
        let kept = locked(&self.idle).pop();
        if let Some(session) = kept {
            match self.device.sign(&session, digest) {
                Ok(signature) => return self.release(session, message, &signature),
                // it may be the session alone, and then the others are as old: a new one shows
                Err(_) => drop((session, std::mem::take(&mut *locked(&self.idle)))),
            }
        }
        let session = self.open()?;
        let signature = self.device.sign(&session, digest)?;
        self.release(session, message, &signature)
    }

    fn open(&self) -> Result<D::Session, SignError> {
        let mut refused = locked(&self.opening);
        if let Some(what) = *refused {
            return Err(SignError::Refused(what));
        }
        let opened = self.device.open();
        if let Err(Trouble::Pin(what)) = &opened {
            *refused = Some(what);
        }
        Ok(opened?)
    }

    /// A session whose signature is wrong is not used again.
    fn release(&self, session: D::Session, message: &[u8], signature: &[u8]) -> Result<[u8; 64], SignError> {
        let signature: [u8; 64] = signature.try_into().map_err(|_| SignError::Mismatch)?;
        if !self.key.verifies(message, &signature) {
            return Err(SignError::Mismatch);
        }
        self.keep(session);
        Ok(signature)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
