//! Numbers modulo the prime of P-256, in Montgomery form: x stands as x * 2^256 mod p.
//! <https://csrc.nist.gov/pubs/sp/800/186/final> section 3.2.1.3

use super::field::{Field, add_modulo, reduce_once, sub_modulo};

/// p = 2^256 - 2^224 + 2^192 + 2^96 - 1, least significant limb first.
const P: [u64; 4] = [0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_ffff, 0, 0xffff_ffff_0000_0001];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct F256([u64; 4]);

/// An entry of 64 bytes is just one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Line;

impl Field for F256 {
    type Aligned = Line;

    const ZERO: Self = Self([0; 4]);
    const ONE: Self = Self([1, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_fffe]);

    #[inline(always)]
    fn add(&self, other: &Self) -> Self {
        Self(add_modulo(&self.0, &other.0, &P))
    }

    #[inline(always)]
    fn sub(&self, other: &Self) -> Self {
        Self(sub_modulo(&self.0, &other.0, &P))
    }

    #[inline(always)]
    fn mul(&self, other: &Self) -> Self {
        let [b0, b1, b2, b3] = other.0;
        let sum = step(([0; 4], false), &self.0, b0);
        let sum = step(sum, &self.0, b1);
        let sum = step(sum, &self.0, b2);
        let (sum, carry) = step(sum, &self.0, b3);
        Self(reduce_once(sum, carry, &P))
    }

    #[inline(always)]
    fn square(&self) -> Self {
        self.mul(self)
    }

    fn from_limbs(limbs: &[u64]) -> Option<Self> {
        let limbs = <[u64; 4]>::try_from(limbs).ok()?;
        (reduce_once(limbs, false, &P) == limbs).then(|| Self(limbs).mul(&Self(R2)))
    }

    fn modulus() -> &'static [u64] {
        &P
    }

    #[inline(always)]
    fn touch(&self) -> u64 {
        self.0[0]
    }
}

/// (`sum` + `a` * `b` + m * p) / 2^64, with the m that makes that come out even. Below 2p where `sum` is.
#[inline(always)]
fn step(sum: ([u64; 4], bool), a: &[u64; 4], b: u64) -> ([u64; 4], bool) {
    let [a0, a1, a2, a3] = *a;
    let ([s0, s1, s2, s3], s4) = sum;
    let (low0, high0) = a0.carrying_mul(b, 0);
    let (low1, high1) = a1.carrying_mul(b, 0);
    let (low2, high2) = a2.carrying_mul(b, 0);
    let (low3, high3) = a3.carrying_mul(b, 0);
    let (m, carry) = s0.carrying_add(low0, false);
    let (s1, carry) = s1.carrying_add(low1, carry);
    let (s2, carry) = s2.carrying_add(low2, carry);
    let (s3, carry) = s3.carrying_add(low3, carry);
    // sum + a * b < a + p + a * (2^64 - 1) < p + p * 2^64 < 2^320, so the highest limb takes what is carried
    let high3 = high3.wrapping_add(u64::from(s4)).wrapping_add(u64::from(carry));
    let (s1, carry) = s1.carrying_add(high0, false);
    let (s2, carry) = s2.carrying_add(high1, carry);
    let (s3, carry) = s3.carrying_add(high2, carry);
    let s4 = high3.wrapping_add(u64::from(carry));
    // -1/p mod 2^64 is 1, so m is the lowest limb; m * p = m * 2^96 + m * P[3] * 2^192 - m
    let (low, high) = m.carrying_mul(P[3], 0);
    let (r0, carry) = s1.carrying_add(m << 32, false);
    let (r1, carry) = s2.carrying_add(m >> 32, carry);
    let (r2, carry) = s3.carrying_add(low, carry);
    let (r3, carry) = s4.carrying_add(high, carry);
    ([r0, r1, r2, r3], carry)
}

/// 2^512 mod p.
const R2: [u64; 4] =
    [0x0000_0000_0000_0003, 0xffff_fffb_ffff_ffff, 0xffff_ffff_ffff_fffe, 0x0000_0004_ffff_fffd];
