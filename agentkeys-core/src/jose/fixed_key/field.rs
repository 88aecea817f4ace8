//! What the curves' formulas need of the numbers modulo p.

use std::fmt;
use std::hint::{black_box, select_unpredictable};

/// A number modulo the prime p of one curve: always the one representative below p, so that equal numbers
/// have equal limbs.
pub(super) trait Field: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// The alignment of a table's entries.
    type Aligned: Copy + fmt::Debug + Default + Send + Sync;

    const ZERO: Self;
    const ONE: Self;

    fn add(&self, other: &Self) -> Self;
    fn sub(&self, other: &Self) -> Self;
    fn mul(&self, other: &Self) -> Self;
    fn square(&self) -> Self;

    /// From limbs, least significant first; none where they are not a number below p of the field's length.
    fn from_limbs(limbs: &[u64]) -> Option<Self>;

    /// p, least significant limb first; its lowest limb is above 2.
    fn modulus() -> &'static [u64];

    /// Something of every cache line that holds this number.
    fn touch(&self) -> u64;

    fn double(&self) -> Self {
        self.add(self)
    }

    fn negate(&self) -> Self {
        Self::ZERO.sub(self)
    }

    fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The inverse by Fermat's little theorem; zero has none and gives zero. Slow: for building tables only.
    fn invert(&self) -> Self {
        let mut below = 2; // of the exponent p - 2
        let mut power = Self::ONE;
        let mut square = *self;
        for limb in Self::modulus() {
            let limb = limb - std::mem::take(&mut below);
            for bit in 0..u64::BITS {
                if limb >> bit & 1 == 1 {
                    power = power.mul(&square);
                }
                square = square.square();
            }
        }
        power
    }
}

/// Limbs, least significant first, from big-endian bytes of just their length.
pub(super) fn limbs_from_be_bytes<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut limbs = [0; N];
    let (chunks, rest) = bytes.as_chunks::<8>();
    if chunks.len() != N || !rest.is_empty() {
        return None;
    }
    for (limb, chunk) in limbs.iter_mut().rev().zip(chunks) {
        *limb = u64::from_be_bytes(*chunk);
    }
    Some(limbs)
}

/// `value`, whose limbs above the given ones are `carry`, less `modulus` where it is not below it. It must
/// be below twice the modulus.
#[inline(always)]
pub(super) fn reduce_once<const N: usize>(value: [u64; N], carry: bool, modulus: &[u64; N]) -> [u64; N] {
    let mut less = [0; N];
    let mut borrow = false;
    // a modulus that the compiler does not know is subtracted as one chain, which is faster
    for ((less, limb), modulus) in less.iter_mut().zip(value).zip(black_box(modulus)) {
        (*less, borrow) = limb.borrowing_sub(*modulus, borrow);
    }
    // it was below the modulus where what was borrowed is not covered by the carry
    let below = borrow & !carry;
    for (less, limb) in less.iter_mut().zip(value) {
        *less = select_unpredictable(below, limb, *less);
    }
    less
}

/// The sum of two numbers below `modulus`.
#[inline(always)]
pub(super) fn add_modulo<const N: usize>(a: &[u64; N], b: &[u64; N], modulus: &[u64; N]) -> [u64; N] {
    let mut sum = [0; N];
    let mut carry = false;
    for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
        (*sum, carry) = a.carrying_add(*b, carry);
    }
    reduce_once(sum, carry, modulus)
}

/// The difference of two numbers below `modulus`.
#[inline(always)]
pub(super) fn sub_modulo<const N: usize>(a: &[u64; N], b: &[u64; N], modulus: &[u64; N]) -> [u64; N] {
    let mut difference = [0; N];
    let mut borrow = false;
    for ((difference, a), b) in difference.iter_mut().zip(a).zip(b) {
        (*difference, borrow) = a.borrowing_sub(*b, borrow);
    }
    let mut carry = false;
    for (difference, modulus) in difference.iter_mut().zip(modulus) {
        let back = select_unpredictable(borrow, *modulus, 0);
        (*difference, carry) = difference.carrying_add(back, carry);
    }
    difference
}
