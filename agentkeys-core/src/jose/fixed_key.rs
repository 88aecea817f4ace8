//! Verification with a table of multiples of the one public key: the table makes both halves of u1 * G + u2 * Q
//! (ECDSA) or s * B - k * A (Ed25519) sums without doublings. Variable in time, so for public data only; it
//! never signs.
//!
//! What a mistake here could do, and what stands against it: `FIXED_KEY.md` beside this file.

use std::fmt;
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::LazyLock;

use elliptic_curve::bigint::modular::ConstMontyParams;
use elliptic_curve::bigint::{U256, U384, const_monty_params};
use smallvec::SmallVec;

use super::algorithm::Algorithm;
use super::crypto::{PublicKey, sha256, sha384};

mod ed25519;
mod field;
mod p256;
mod p384;
mod point;
mod scalar;
mod table;

use ed25519::Ed25519;
use field::{Field, limbs_from_be_bytes};
use p256::F256;
use p384::F384;
use point::{Affine, Point};
use scalar::scalars;
use table::Table;

/// A P-256, P-384 or Ed25519 key with its table of 148, 330 or 215 KiB.
///
/// # Security
/// Nothing watches it here: [`super::KeyTables`] does. For tests and benches.
#[derive(Debug)]
pub struct FixedKey(Curve);

#[derive(Debug)]
enum Curve {
    P256(P256),
    P384(P384),
    Ed25519(Ed25519),
}

type P256 = Prepared<F256, OrderOfP256, 4, 10, 7>;
type P384 = Prepared<F384, OrderOfP384, 6, 9, 7>;

impl FixedKey {
    /// Builds the table, which takes about a millisecond for P-256 and Ed25519 and five for P-384, and some ten
    /// times that for the first key of a curve in a process. None for keys of other algorithms, and for Ed25519
    /// keys that no honest signer has: those outside of the group of prime order, and other writings of a key.
    #[must_use]
    pub fn new(key: &PublicKey) -> Option<Self> {
        if let Some(point) = key.ed25519_point() {
            return Ed25519::new(point).map(Curve::Ed25519).map(Self);
        }
        // the back end has seen that the point is on the curve
        let (x, y) = key.ec_coordinates()?;
        match key.algorithm() {
            Algorithm::Es256 => P256::new(P256_GENERATOR.as_ref()?, x, y).map(Curve::P256).map(Self),
            Algorithm::Es384 => P384::new(P384_GENERATOR.as_ref()?, x, y).map(Curve::P384).map(Self),
            _ => None,
        }
    }

    /// Whether `signature`, as JWS has it, is this key's over `message`. By these tables alone: nothing of the
    /// back end but its hash is asked.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Curve::P256(key) => key.verifies(&sha256(message), signature),
            Curve::P384(key) => key.verifies(&sha384(message), signature),
            Curve::Ed25519(key) => key.verifies(message, signature),
        }
    }

    /// How many bytes the table of a key of `algorithm` takes; none where it has no table.
    pub(super) const fn bytes(algorithm: Algorithm) -> Option<usize> {
        match algorithm {
            Algorithm::Es256 => Some(P256::BYTES),
            Algorithm::Es384 => Some(P384::BYTES),
            Algorithm::EdDsa => Some(Ed25519::BYTES),
            Algorithm::Rs256 => None,
        }
    }
}

/// A key of the curve over `F` whose order is `M`'s modulus, of `N` limbs; `G` bits a window of the
/// generator, `K` of the key.
struct Prepared<F: Field, M, const N: usize, const G: usize, const K: usize> {
    generator: &'static Table<F, G>,
    key: Table<F, K>,
    order: PhantomData<M>,
}

impl<F, M, const N: usize, const G: usize, const K: usize> Prepared<F, M, N, G, K>
where
    F: Field,
    M: ConstMontyParams<N>,
{
    const BYTES: usize = Table::<F, K>::BYTES;

    fn new(generator: &'static Table<F, G>, x: &[u8], y: &[u8]) -> Option<Self> {
        let coordinate = |bytes| F::from_limbs(&limbs_from_be_bytes::<N>(bytes)?);
        let key = Table::new(coordinate(x)?, coordinate(y)?)?;
        Some(Self { generator, key, order: PhantomData })
    }

    fn verifies(&self, digest: &[u8], signature: &[u8]) -> bool {
        self.check(digest, signature) == Some(true)
    }

    /// Steps 1 to 5 of <https://csrc.nist.gov/pubs/fips/186-5/final> section 6.4.2; none where r or s is
    /// not from 1 to n - 1.
    fn check(&self, digest: &[u8], signature: &[u8]) -> Option<bool> {
        let (r, s) = signature.split_at_checked(N * 8)?;
        let (r, s) = (limbs_from_be_bytes(r)?, limbs_from_be_bytes(s)?);
        let scalars = scalars::<M, N>(r, s, limbs_from_be_bytes(digest)?)?;
        let sum = self.sum(&scalars.of_generator, &scalars.of_key)?;
        // x mod n is r: x is r, or r + n where that is still below p
        let candidates = [Some(r), scalar::plus_order::<M, N>(r)];
        Some(candidates.iter().flatten().filter_map(|x| F::from_limbs(x)).any(|x| sum.has_x(&x)))
    }

    /// u1 * G + u2 * Q.
    fn sum<'t>(&'t self, of_generator: &[u64], of_key: &[u64]) -> Option<Point<F>> {
        let mut picked = SmallVec::<[(&Affine<F>, bool); 128]>::new();
        // the entries come from all over the tables: asked for at once, they arrive while they are awaited
        let mut touched = 0;
        let mut pick = |entry: &'t Affine<F>, negative| {
            touched ^= entry.x.touch() ^ entry.y.touch();
            picked.push((entry, negative));
        };
        self.generator.pick(of_generator, &mut pick)?;
        self.key.pick(of_key, &mut pick)?;
        black_box(touched);
        Some(picked.iter().fold(Point::INFINITY, |sum, (entry, negative)| {
            sum.add(&entry.x, &if *negative { entry.y.negate() } else { entry.y })
        }))
    }
}

impl<F: Field, M, const N: usize, const G: usize, const K: usize> fmt::Debug for Prepared<F, M, N, G, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// The table of a generator, which all keys of the curve share.
fn generator<F: Field, const N: usize, const W: usize>(x: &[u64; N], y: &[u64; N]) -> Option<Table<F, W>> {
    Table::new(F::from_limbs(x)?, F::from_limbs(y)?)
}

static P256_GENERATOR: LazyLock<Option<Table<F256, 10>>> = LazyLock::new(|| generator(&P256_X, &P256_Y));
static P384_GENERATOR: LazyLock<Option<Table<F384, 9>>> = LazyLock::new(|| generator(&P384_X, &P384_Y));

// https://csrc.nist.gov/pubs/sp/800/186/final sections 3.2.1.3 and 3.2.1.4; limbs, least significant first
const P256_X: [u64; 4] =
    [0xf4a1_3945_d898_c296, 0x7703_7d81_2deb_33a0, 0xf8bc_e6e5_63a4_40f2, 0x6b17_d1f2_e12c_4247];
const P256_Y: [u64; 4] =
    [0xcbb6_4068_37bf_51f5, 0x2bce_3357_6b31_5ece, 0x8ee7_eb4a_7c0f_9e16, 0x4fe3_42e2_fe1a_7f9b];
const P384_X: [u64; 6] = [
    0x3a54_5e38_7276_0ab7,
    0x5502_f25d_bf55_296c,
    0x59f7_41e0_8254_2a38,
    0x6e1d_3b62_8ba7_9b98,
    0x8eb1_c71e_f320_ad74,
    0xaa87_ca22_be8b_0537,
];
const P384_Y: [u64; 6] = [
    0x7a43_1d7c_90ea_0e5f,
    0x0a60_b1ce_1d7e_819d,
    0xe9da_3113_b5f0_b8c0,
    0xf8f4_1dbd_289a_147c,
    0x5d9e_98bf_9292_dc29,
    0x3617_de4a_9626_2c6f,
];

const_monty_params!(
    OrderOfP256,
    U256,
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    "The order of P-256's group."
);
const_monty_params!(
    OrderOfP384,
    U384,
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    "The order of P-384's group."
);

#[cfg(test)]
mod tests;
