//! Keys at run time.

use std::sync::Arc;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
};

use crate::issuer::KeyFailure;
use crate::state::{KmsKey, KmsKeySpec};

/// A key as the state file says it, and its material, which nothing shows.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) said: KmsKey,
    pair: Option<Arc<EcdsaKeyPair>>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("said", &self.said).finish_non_exhaustive()
    }
}

impl Key {
    /// Makes new material.
    pub(crate) fn generate(said: KmsKey) -> Result<Self, KeyFailure> {
        let algorithm = match said.spec {
            KmsKeySpec::EccNistP256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KmsKeySpec::EccNistP384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KmsKeySpec::SymmetricDefault => None,
        };
        let pair = algorithm.map(|algorithm| EcdsaKeyPair::generate(algorithm).map_err(|_| KeyFailure));
        Ok(Self { said, pair: pair.transpose()?.map(Arc::new) })
    }

    /// The same material in another state. `None` where the kind of key is another.
    pub(crate) fn said_anew(&self, said: &KmsKey) -> Option<Self> {
        (self.said.spec == said.spec).then(|| Self { said: said.clone(), pair: self.pair.clone() })
    }

    /// The DER `SubjectPublicKeyInfo`, where the key is asymmetric.
    pub(crate) fn public_der(&self) -> Result<Option<Vec<u8>>, KeyFailure> {
        let Some(pair) = &self.pair else { return Ok(None) };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| KeyFailure)?;
        Ok(Some(der.as_ref().to_vec()))
    }

    /// A signature in DER.
    pub(crate) fn sign(&self, digest: &Digest) -> Result<Vec<u8>, KeyFailure> {
        let pair = self.pair.as_ref().ok_or(KeyFailure)?;
        Ok(pair.sign_digest(digest).map_err(|_| KeyFailure)?.as_ref().to_vec())
    }
}
