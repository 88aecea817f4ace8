use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;

use crate::jose::{JwkError, KeySet, PublicJwk};
use crate::signer::TokenSigner;

/// The keys of one purpose: the one that signs, the next one, and those whose tokens are still out.
///
/// All of them are published (W42): the signing key first, because some consumers try only that. The
/// purpose is part of the type, so a session key cannot be handed to the OIDC minter (R42, W43).
pub struct KeyRing<P: Purpose> {
    active: Arc<dyn TokenSigner>,
    next: Option<Arc<dyn TokenSigner>>,
    retired: Vec<PublicJwk>,
    purpose: PhantomData<fn() -> P>,
}

impl<P: Purpose> KeyRing<P> {
    /// A ring whose active key is `signer`'s.
    #[must_use]
    pub fn new(signer: Arc<dyn TokenSigner>) -> Self {
        Self { active: signer, next: None, retired: Vec::new(), purpose: PhantomData }
    }

    /// With a key that is published already and signs nothing yet.
    #[must_use]
    pub fn with_next(mut self, signer: Arc<dyn TokenSigner>) -> Self {
        self.next = Some(signer);
        self
    }

    /// With a key that signs no more and is still published.
    #[must_use]
    pub fn with_retired(mut self, key: PublicJwk) -> Self {
        self.retired.push(key);
        self
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> &dyn TokenSigner {
        &*self.active
    }

    /// What is published: the active key first.
    #[must_use]
    pub fn jwks(&self) -> JwksDocument<'_> {
        let next = self.next.iter().map(|signer| signer.public_jwk());
        let active = std::iter::once(self.active.public_jwk());
        JwksDocument { keys: active.chain(next).chain(&self.retired).collect() }
    }

    /// The same keys, ready to verify.
    ///
    /// # Errors
    /// [`JwkError`] where a signer's public key is not a point of the curve.
    pub fn key_set(&self) -> Result<KeySet, JwkError> {
        let keys: Result<Vec<_>, _> = self.jwks().keys.into_iter().map(PublicJwk::to_jwk).collect();
        Ok(KeySet::new(keys?))
    }
}

impl<P: Purpose> Clone for KeyRing<P> {
    fn clone(&self) -> Self {
        let (active, next, retired) = (Arc::clone(&self.active), self.next.clone(), self.retired.clone());
        Self { active, next, retired, purpose: PhantomData }
    }
}

impl<P: Purpose> fmt::Debug for KeyRing<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("purpose", &P::NAME)
            .field("active", &self.active)
            .field("next", &self.next)
            .field("retired", &self.retired)
            .finish()
    }
}

/// A JWK Set to publish. Serialise it as the body of `/.well-known/jwks.json`.
#[derive(Debug, Serialize)]
pub struct JwksDocument<'k> {
    keys: Vec<&'k PublicJwk>,
}

/// What a key may sign. Sealed: there are two.
pub trait Purpose: sealed::Sealed + 'static {
    /// The purpose's name in key files.
    const NAME: &'static str;
}

/// Tokens for a cloud's STS, verified against our published keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum Oidc {}

/// Session tokens, verified by ourselves alone.
#[derive(Debug)]
#[non_exhaustive]
pub enum Session {}

impl Purpose for Oidc {
    const NAME: &'static str = "oidc";
}

impl Purpose for Session {
    const NAME: &'static str = "session";
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Oidc {}
    impl Sealed for super::Session {}
}
