//! Numbers modulo the prime of P-384, in Montgomery form: x stands as x * 2^384 mod p.
//! <https://csrc.nist.gov/pubs/sp/800/186/final> section 3.2.1.4

use super::field::{Field, add_modulo, reduce_once, sub_modulo};

/// p = 2^384 - 2^128 - 2^96 + 2^32 - 1, least significant limb first.
const P: [u64; 6] = [
    0x0000_0000_ffff_ffff,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct F384([u64; 6]);

/// An entry of 96 bytes lies in two cache lines.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(super) struct HalfLine;

impl Field for F384 {
    type Aligned = HalfLine;

    const ZERO: Self = Self([0; 6]);
    const ONE: Self = Self([0xffff_ffff_0000_0001, 0x0000_0000_ffff_ffff, 1, 0, 0, 0]);

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
        let [b0, b1, b2, b3, b4, b5] = other.0;
        let sum = step(([0; 6], false), &self.0, b0);
        let sum = step(sum, &self.0, b1);
        let sum = step(sum, &self.0, b2);
        let sum = step(sum, &self.0, b3);
        let sum = step(sum, &self.0, b4);
        let (sum, carry) = step(sum, &self.0, b5);
        Self(reduce_once(sum, carry, &P))
    }

    #[inline(always)]
    fn square(&self) -> Self {
        self.mul(self)
    }

    fn from_limbs(limbs: &[u64]) -> Option<Self> {
        let limbs = <[u64; 6]>::try_from(limbs).ok()?;
        (reduce_once(limbs, false, &P) == limbs).then(|| Self(limbs).mul(&Self(R2)))
    }

    fn modulus() -> &'static [u64] {
        &P
    }

    #[inline(always)]
    fn touch(&self) -> u64 {
        self.0[0] ^ self.0[5]
    }
}

/// (`sum` + `a` * `b` + m * p) / 2^64, with the m that makes that come out even. Below 2p where `sum` is.
#[inline(always)]
fn step(sum: ([u64; 6], bool), a: &[u64; 6], b: u64) -> ([u64; 6], bool) {
    let [a0, a1, a2, a3, a4, a5] = *a;
    let ([s0, s1, s2, s3, s4, s5], s6) = sum;
    let (low0, high0) = a0.carrying_mul(b, 0);
    let (low1, high1) = a1.carrying_mul(b, 0);
    let (low2, high2) = a2.carrying_mul(b, 0);
    let (low3, high3) = a3.carrying_mul(b, 0);
    let (low4, high4) = a4.carrying_mul(b, 0);
    let (low5, high5) = a5.carrying_mul(b, 0);
    let (s0, carry) = s0.carrying_add(low0, false);
    let (s1, carry) = s1.carrying_add(low1, carry);
    let (s2, carry) = s2.carrying_add(low2, carry);
    let (s3, carry) = s3.carrying_add(low3, carry);
    let (s4, carry) = s4.carrying_add(low4, carry);
    let (s5, carry) = s5.carrying_add(low5, carry);
    // p is so close to 2^384 that sum and product together may reach 2^448: their highest bit is s7
    let (s6, s7) = high5.carrying_add(u64::from(s6), carry);
    let (s1, carry) = s1.carrying_add(high0, false);
    let (s2, carry) = s2.carrying_add(high1, carry);
    let (s3, carry) = s3.carrying_add(high2, carry);
    let (s4, carry) = s4.carrying_add(high3, carry);
    let (s5, carry) = s5.carrying_add(high4, carry);
    let (s6, carry) = s6.carrying_add(0, carry);
    let s7 = s7 | carry;
    // -1/p mod 2^64 is 2^32 + 1; m * p = m * 2^384 - m * K with K = 2^128 + 2^96 - 2^32 + 1, and the lowest
    // limb of m * K is s0
    let m = s0.wrapping_add(s0 << 32);
    let (_, k1) = m.carrying_mul(K[0], 0);
    let (k1, k2) = m.carrying_mul_add(K[1], k1, 0);
    let (k2, k3) = k2.carrying_add(m, false);
    let (r0, borrow) = s1.borrowing_sub(k1, false);
    let (r1, borrow) = s2.borrowing_sub(k2, borrow);
    let (r2, borrow) = s3.borrowing_sub(u64::from(k3), borrow);
    let (r3, borrow) = s4.borrowing_sub(0, borrow);
    let (r4, borrow) = s5.borrowing_sub(0, borrow);
    let (r5, carry) = s6.carrying_add(m, false);
    let (r5, borrow) = r5.borrowing_sub(0, borrow);
    // s7 + carry - borrow, which is zero or one because the result is below 2p
    ([r0, r1, r2, r3, r4, r5], s7 ^ carry ^ borrow)
}

/// 2^128 + 2^96 - 2^32 + 1 without its highest limb, which is one.
const K: [u64; 2] = [0xffff_ffff_0000_0001, 0x0000_0000_ffff_ffff];

/// 2^768 mod p.
const R2: [u64; 6] =
    [0xffff_fffe_0000_0001, 0x0000_0002_0000_0000, 0xffff_fffe_0000_0000, 0x0000_0002_0000_0000, 1, 0];
