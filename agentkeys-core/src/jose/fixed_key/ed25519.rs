//! Ed25519 with a table of multiples of the one public key. The numbers and the points are curve25519-dalek's,
//! whose addition has no exceptional case; only which multiples are added up is decided here.

use std::fmt;
use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity as _, IsIdentity as _};
use smallvec::SmallVec;

use super::table::digits;
use crate::jose::crypto::sha512;

/// A key A: the tables of B and of -A, and A as it is written.
pub(super) struct Ed25519 {
    generator: &'static Multiples<8>,
    minus_key: Multiples<6>,
    encoded: [u8; 32],
}

impl Ed25519 {
    pub(super) const BYTES: usize = Multiples::<6>::BYTES;

    /// None for an A on which verifiers may differ, or which has no secret: one that is no point, that has a part
    /// of small order, or that is the identity. What is not written as
    /// <https://www.rfc-editor.org/rfc/rfc8032#section-5.1.2> has it is always one of these.
    pub(super) fn new(encoded: &[u8]) -> Option<Self> {
        let encoded = CompressedEdwardsY::from_slice(encoded).ok()?;
        let point = encoded.decompress()?;
        let is_ordinary = point.is_torsion_free() && !point.is_identity();
        is_ordinary.then(|| Self::of(&point, encoded))
    }

    fn of(point: &EdwardsPoint, encoded: CompressedEdwardsY) -> Self {
        Self { generator: &GENERATOR, minus_key: Multiples::new(&-point), encoded: encoded.to_bytes() }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.check(message, signature) == Some(true)
    }

    /// <https://www.rfc-editor.org/rfc/rfc8032#section-5.1.7> without the cofactor, as the back end does it: R
    /// must be written as S B - k A is. None where S is not below the order, or the signature of another length.
    fn check(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        let (r, s) = signature.split_at_checked(32)?;
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        let k = Scalar::from_bytes_mod_order_wide(&sha512(&[r, &self.encoded, message]));
        Some(self.sum(&s, &k)?.compress().as_bytes() == r)
    }

    /// s B - k A.
    fn sum(&self, s: &Scalar, k: &Scalar) -> Option<EdwardsPoint> {
        let mut picked = SmallVec::<[(EdwardsPoint, bool); 128]>::new();
        // copied from all over the tables first, so that the misses do not wait for the sum
        let mut pick = |entry: &EdwardsPoint, negative| picked.push((*entry, negative));
        self.generator.pick(s, &mut pick)?;
        self.minus_key.pick(k, &mut pick)?;
        let mut sum = EdwardsPoint::identity();
        for (entry, negative) in &picked {
            sum = if *negative { sum - entry } else { sum + entry };
        }
        Some(sum)
    }
}

impl fmt::Debug for Ed25519 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519").finish_non_exhaustive()
    }
}

/// d * 2^(W i) * P for each window i of a scalar and each d from 1 to 2^(W-1).
struct Multiples<const W: usize>(Vec<EdwardsPoint>);

impl<const W: usize> Multiples<W> {
    const HALF: usize = 1 << (W - 1);
    /// Scalars have 253 bits; the last carry has a place too.
    const WINDOWS: usize = 254_usize.div_ceil(W);
    const BYTES: usize = Self::WINDOWS * Self::HALF * size_of::<EdwardsPoint>();

    fn new(point: &EdwardsPoint) -> Self {
        let mut entries = Vec::with_capacity(Self::WINDOWS * Self::HALF);
        let mut base = *point;
        for _ in 0..Self::WINDOWS {
            let mut multiple = base;
            for _ in 0..Self::HALF {
                entries.push(multiple);
                multiple += base;
            }
            base = (0..W).fold(base, |base, _| base + base);
        }
        Self(entries)
    }

    /// The entries whose sum is `scalar` times the point, each with whether it counts negatively.
    #[inline(always)]
    fn pick(&self, scalar: &Scalar, each: &mut impl FnMut(&EdwardsPoint, bool)) -> Option<()> {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(scalar.as_bytes().as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        digits::<W>(&limbs, Self::WINDOWS, |at, negative| {
            each(self.0.get(at)?, negative);
            Some(())
        })
    }
}

static GENERATOR: LazyLock<Multiples<8>> = LazyLock::new(|| Multiples::new(&ED25519_BASEPOINT_POINT));

#[cfg(test)]
mod tests;
