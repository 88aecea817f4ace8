//! The multiples of one point that make every multiple of it a sum without doublings.

use super::field::Field;
use super::point::{Affine, Point};

/// d * 2^(W i) * P for each window i of a scalar and each d from 1 to 2^(W-1).
#[derive(Debug)]
pub(super) struct Table<F: Field, const W: usize>(Vec<Affine<F>>);

impl<F: Field, const W: usize> Table<F, W> {
    /// How many entries a window has.
    const HALF: usize = 1 << (W - 1);

    /// How many windows a scalar of the field's length has, the last carry included.
    const WINDOWS: usize = (size_of::<F>() * 8 + 1).div_ceil(W);

    /// How much memory the entries take.
    pub(super) const BYTES: usize = Self::WINDOWS * Self::HALF * size_of::<Affine<F>>();

    /// The table of a point of the curve, whose order must be above 2^(W-1), as a prime one of 256 bits is.
    pub(super) fn new(x: F, y: F) -> Option<Self> {
        let mut bases = Vec::with_capacity(Self::WINDOWS);
        let mut base = Point::INFINITY.add(&x, &y);
        for _ in 0..Self::WINDOWS {
            bases.push(base);
            for _ in 0..W {
                base = base.double();
            }
        }
        let mut entries = Vec::with_capacity(Self::WINDOWS * Self::HALF);
        for base in Point::to_affine(&bases)? {
            let mut multiples = Vec::with_capacity(Self::HALF);
            let mut multiple = Point::INFINITY;
            for _ in 0..Self::HALF {
                multiple = multiple.add(&base.x, &base.y);
                multiples.push(multiple);
            }
            entries.extend(Point::to_affine(&multiples)?);
        }
        Some(Self(entries))
    }

    /// The entries whose sum is `scalar` times the point, each with whether it counts negatively.
    #[inline(always)]
    pub(super) fn pick<'t>(
        &'t self,
        scalar: &[u64],
        each: &mut impl FnMut(&'t Affine<F>, bool),
    ) -> Option<()> {
        digits::<W>(scalar, Self::WINDOWS, |at, negative| {
            each(self.0.get(at)?, negative);
            Some(())
        })
    }
}

/// The digits of a scalar that are not zero, from -2^(W-1) to 2^(W-1): where a table with `windows` windows of
/// 2^(W-1) entries has the multiple of each, and whether that counts negatively.
#[inline(always)]
pub(super) fn digits<const W: usize>(
    scalar: &[u64],
    windows: usize,
    mut each: impl FnMut(usize, bool) -> Option<()>,
) -> Option<()> {
    let half = 1 << (W - 1);
    let mut carry = 0;
    for window in 0..windows {
        let digit = bits(scalar, window * W, W) + carry;
        // what is above half is the negative of what lacks to the whole, and one more of the next window
        carry = usize::from(digit > half);
        let negative = carry == 1;
        let magnitude = if negative { (1 << W) - digit } else { digit };
        if magnitude != 0 {
            each(window * half + magnitude - 1, negative)?;
        }
    }
    Some(())
}

/// `count` bits of a number from bit `at` on; zeros above it.
#[inline(always)]
fn bits(limbs: &[u64], at: usize, count: usize) -> usize {
    let limb = |at: usize| limbs.get(at).copied().unwrap_or_default();
    let pair = u128::from(limb(at / 64)) | u128::from(limb(at / 64 + 1)) << 64;
    (pair >> (at % 64)) as usize & ((1 << count) - 1)
}
