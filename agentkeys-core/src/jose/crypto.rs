//! The only module that knows the cryptographic back end, aws-lc-rs.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaKeyPair,
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};

use super::algorithm::Algorithm;
use super::key_tables::TableSlot;

/// A public key, parsed once, that verifies with exactly one algorithm.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
    material: Vec<u8>,
    table: Arc<TableSlot>,
}

impl PublicKey {
    /// A P-256 or P-384 key from its affine coordinates, or none where the point is not on the curve.
    ///
    /// # Errors
    /// [`KeyRejected`] for another algorithm, a coordinate of the wrong length or a bogus point.
    pub fn from_ec_coordinates(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Result<Self, KeyRejected> {
        let (size, verification) = match algorithm {
            Algorithm::Es256 => (32, &ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => (48, &ECDSA_P384_SHA384_FIXED),
            _ => return Err(KeyRejected),
        };
        if x.len() != size || y.len() != size {
            return Err(KeyRejected);
        }
        let mut point = Vec::with_capacity(1 + 2 * size);
        point.push(0x04);
        point.extend_from_slice(x);
        point.extend_from_slice(y);
        let parsed = ParsedPublicKey::new(verification, &point).map_err(|_| KeyRejected)?;
        Ok(Self { algorithm, parsed, material: point, table: Arc::default() })
    }

    /// An RSA key for RS256 from its modulus and exponent, big endian without leading zeros.
    ///
    /// # Errors
    /// [`KeyRejected`] below 2048 or above 8192 bits, for an even or tiny exponent, a leading zero,
    /// or a modulus of the generator of CVE-2017-15361, which can be factored.
    pub fn from_rsa_components(n: &[u8], e: &[u8]) -> Result<Self, KeyRejected> {
        // a leading zero in either is refused by the back end, as the tests below show
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !(2048..=8192).contains(&bits) || !odd(n) || !odd(e) || e == [1] || e.len() > MAX_EXPONENT_BYTES {
            return Err(KeyRejected);
        }
        if has_roca_fingerprint(n) {
            return Err(KeyRejected);
        }
        let parsed = rsa::PublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| KeyRejected)?;
        let mut material = Vec::with_capacity(n.len() + e.len() + 1);
        material.extend_from_slice(n);
        material.push(0);
        material.extend_from_slice(e);
        Ok(Self { algorithm: Algorithm::Rs256, parsed, material, table: Arc::default() })
    }

    /// An Ed25519 key from its 32 bytes.
    ///
    /// # Errors
    /// [`KeyRejected`] for another length.
    pub fn from_ed25519(x: &[u8]) -> Result<Self, KeyRejected> {
        if x.len() != 32 {
            return Err(KeyRejected);
        }
        let parsed = ParsedPublicKey::new(&ED25519, x).map_err(|_| KeyRejected)?;
        Ok(Self { algorithm: Algorithm::EdDsa, parsed, material: x.to_vec(), table: Arc::default() })
    }

    /// The one algorithm that this key verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`. ECDSA signatures are r and s, fixed width;
    /// a high s is accepted, as JWS has it, so a signature is not an identifier.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// Whether both are the same key.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.material == other.material
    }

    /// The affine coordinates of an EC key.
    pub(super) fn ec_coordinates(&self) -> Option<(&[u8], &[u8])> {
        let size = match self.algorithm {
            Algorithm::Es256 => 32,
            Algorithm::Es384 => 48,
            _ => return None,
        };
        self.material.strip_prefix(&[0x04])?.split_at_checked(size)
    }

    /// The point of an Ed25519 key, as it is written.
    pub(super) fn ed25519_point(&self) -> Option<&[u8]> {
        (self.algorithm == Algorithm::EdDsa).then_some(&self.material)
    }

    /// Where the table of this key has its place. All clones of a key share it.
    pub(super) const fn table(&self) -> &Arc<TableSlot> {
        &self.table
    }

    /// The same key, with a place of its own for a table.
    pub(crate) fn without_table(&self) -> Self {
        Self { table: Arc::default(), ..self.clone() }
    }

    /// Shares the place of `other`'s table, which must be the same key.
    pub(super) fn share_table_of(&mut self, other: &Self) {
        if self.is_same_key(other) {
            self.table = Arc::clone(&other.table);
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A P-256 key pair that signs ES256.
pub struct EcKeyPair(EcdsaKeyPair);

impl EcKeyPair {
    /// Reads a PKCS#8 document; a public key inside it must belong to the private one.
    ///
    /// # Errors
    /// [`KeyRejected`] where it is not a P-256 key.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyRejected> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Self).map_err(|_| KeyRejected)
    }

    /// The affine coordinates of the public key, 32 bytes each.
    ///
    /// # Errors
    /// [`KeyRejected`] never in practice: the back end gives an uncompressed point.
    pub fn public_coordinates(&self) -> Result<([u8; 32], [u8; 32]), KeyRejected> {
        let point = self.0.public_key().as_ref();
        let coordinates = point.strip_prefix(&[0x04]).and_then(|rest| {
            let (x, y) = rest.split_at_checked(32)?;
            Some((x.try_into().ok()?, y.try_into().ok()?))
        });
        coordinates.ok_or(KeyRejected)
    }

    /// Signs `message`: r and s, 64 bytes. The nonce comes from the back end's own generator.
    ///
    /// # Errors
    /// [`KeyRejected`] where the back end fails.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyRejected> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| KeyRejected)?;
        signature.as_ref().try_into().map_err(|_| KeyRejected)
    }
}

impl fmt::Debug for EcKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EcKeyPair([redacted])")
    }
}

/// Whether a modulus is, to each of these primes, a power of 65537: those of the flawed generator are, and
/// of others one in about 2^28.
/// <https://crocs.fi.muni.cz/_media/public/papers/nemec_roca_ccs17_preprint.pdf>
fn has_roca_fingerprint(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let remainder = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = (0..*prime).scan(1, |power, _| {
            *power = *power * (65_537 % prime) % prime;
            Some(*power)
        });
        powers.into_iter().any(|power| power == remainder)
    })
}

/// SHA-256.
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    out
}

/// SHA-384.
pub(super) fn sha384(message: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(digest::digest(&digest::SHA384, message).as_ref());
    out
}

/// SHA-512 of these parts, one after the other.
pub(super) fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    let mut context = digest::Context::new(&digest::SHA512);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 64];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// A key of HMAC-SHA-256, for what this host writes to itself. No token's algorithm: JWS's HMAC cannot be
/// spelled here.
pub(crate) struct MacKey(hmac::Key);

impl MacKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(crate) fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.0, message).as_ref());
        out
    }

    /// In constant time.
    pub(crate) fn verifies(&self, message: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, message, mac).is_ok()
    }
}

/// The key is not one that can be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("the key is malformed, too weak or of the wrong type")]
pub struct KeyRejected;

/// 65537 needs three; real issuers use nothing longer. A huge exponent is a way to burn our time.
const MAX_EXPONENT_BYTES: usize = 4;

const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_malformed_and_mismatched_keys_are_rejected() {
        let n = {
            let mut n = vec![0xff; 256];
            n[255] = 0xfd;
            n
        };
        assert!(PublicKey::from_rsa_components(&n, &[1, 0, 1]).is_ok());
        assert!(PublicKey::from_rsa_components(&n[..255], &[1, 0, 1]).is_err(), "below 2048 bits");
        let short = [&[0x7f][..], &n[1..]].concat();
        assert!(PublicKey::from_rsa_components(&short, &[1, 0, 1]).is_err(), "2047 bits");
        assert!(
            PublicKey::from_rsa_components(&[&[0], &n[..]].concat(), &[1, 0, 1]).is_err(),
            "leading zero"
        );
        assert!(PublicKey::from_rsa_components(&n, &[0, 1, 0, 1]).is_err(), "leading zero in e");
        assert!(PublicKey::from_rsa_components(&n, &[2]).is_err(), "even exponent");
        assert!(PublicKey::from_rsa_components(&n, &[1]).is_err(), "exponent one");
        assert!(PublicKey::from_rsa_components(&n, &[1, 0, 0, 0, 1]).is_err(), "huge exponent");
        assert!(PublicKey::from_rsa_components(&[0xff; 1025], &[1, 0, 1]).is_err(), "above 8192 bits");
        assert!(
            PublicKey::from_ec_coordinates(Algorithm::Es256, &[1; 32], &[1; 32]).is_err(),
            "off the curve"
        );
        assert!(PublicKey::from_ec_coordinates(Algorithm::Es256, &[1; 31], &[1; 32]).is_err());
        assert!(PublicKey::from_ec_coordinates(Algorithm::Rs256, &[1; 32], &[1; 32]).is_err());
        assert!(PublicKey::from_ed25519(&[1; 31]).is_err());
    }
}
