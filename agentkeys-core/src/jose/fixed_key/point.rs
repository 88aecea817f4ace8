//! The group of a curve y^2 = x^3 - 3x + b, as far as sums of table entries need it.

use super::field::Field;

/// A point of the curve that is not infinity, by its coordinates: an entry of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine<F: Field> {
    pub(super) x: F,
    pub(super) y: F,
    _aligned: F::Aligned,
}

impl<F: Field> Affine<F> {
    pub(super) fn new(x: F, y: F) -> Self {
        Self { x, y, _aligned: F::Aligned::default() }
    }
}

/// A point as (X, Y, ZZ, ZZZ) with x = X / ZZ, y = Y / ZZZ and ZZ^3 = ZZZ^2; infinity where ZZ is zero.
/// <https://hyperelliptic.org/EFD/g1p/auto-shortw-xyzz.html>
#[derive(Clone, Copy, Debug)]
pub(super) struct Point<F> {
    x: F,
    y: F,
    zz: F,
    zzz: F,
}

impl<F: Field> Point<F> {
    pub(super) const INFINITY: Self = Self { x: F::ONE, y: F::ONE, zz: F::ZERO, zzz: F::ZERO };

    pub(super) fn is_infinity(&self) -> bool {
        self.zz.is_zero()
    }

    /// The sum with (`x`, `y`), which is on the curve; complete: every pair of points has its branch.
    #[inline(always)]
    pub(super) fn add(&self, x: &F, y: &F) -> Self {
        if self.is_infinity() {
            return Self { x: *x, y: *y, zz: F::ONE, zzz: F::ONE };
        }
        let p = x.mul(&self.zz).sub(&self.x);
        let r = y.mul(&self.zzz).sub(&self.y);
        if p.is_zero() {
            // the same x: the same point, or its negative
            return if r.is_zero() { self.double() } else { Self::INFINITY };
        }
        let pp = p.square();
        let rr = r.square();
        let ppp = p.mul(&pp);
        let q = self.x.mul(&pp);
        let zz = self.zz.mul(&pp);
        let sum_x = rr.sub(&ppp).sub(&q.double());
        let sum_y = r.mul(&q.sub(&sum_x)).sub(&self.y.mul(&ppp));
        Self { x: sum_x, y: sum_y, zz, zzz: self.zzz.mul(&ppp) }
    }

    /// Twice this point. No point of these curves has y = 0, because their orders are odd; infinity stays.
    pub(super) fn double(&self) -> Self {
        let u = self.y.double();
        let v = u.square();
        let w = u.mul(&v);
        let s = self.x.mul(&v);
        // 3 (X^2 - ZZ^2), because a is -3
        let slope = self.x.square().sub(&self.zz.square());
        let slope = slope.double().add(&slope);
        let x = slope.square().sub(&s.double());
        let y = slope.mul(&s.sub(&x)).sub(&w.mul(&self.y));
        Self { x, y, zz: v.mul(&self.zz), zzz: w.mul(&self.zzz) }
    }

    /// Whether it is a point whose x-coordinate is `x`; infinity has none.
    pub(super) fn has_x(&self, x: &F) -> bool {
        !self.is_infinity() && x.mul(&self.zz) == self.x
    }

    /// The coordinates of these points, with one inversion for all; none where one of them is infinity.
    pub(super) fn to_affine(points: &[Self]) -> Option<Vec<Affine<F>>> {
        let mut products = Vec::with_capacity(points.len());
        let mut product = F::ONE;
        for point in points {
            products.push(product);
            product = product.mul(&point.zzz);
        }
        if product.is_zero() {
            return None;
        }
        let mut inverse = product.invert();
        let mut coordinates = Vec::with_capacity(points.len());
        for (point, before) in points.iter().zip(&products).rev() {
            let over_zzz = inverse.mul(before);
            inverse = inverse.mul(&point.zzz);
            let over_zz = point.zz.mul(&over_zzz).square();
            coordinates.push(Affine::new(point.x.mul(&over_zz), point.y.mul(&over_zzz)));
        }
        coordinates.reverse();
        Some(coordinates)
    }
}

#[cfg(test)]
mod tests {
    use super::super::p256::F256;
    use super::*;

    #[test]
    fn infinity_has_no_x_in_whatever_form() {
        for x in [F256::ZERO, F256::ONE] {
            let infinity = Point { x, y: F256::ONE, zz: F256::ZERO, zzz: F256::ZERO };
            assert!(!infinity.has_x(&F256::ZERO) && !infinity.has_x(&F256::ONE));
        }
    }
}
