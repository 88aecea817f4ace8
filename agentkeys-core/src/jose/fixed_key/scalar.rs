//! Numbers modulo the order n of a curve's group: the two scalars of a verification.

use elliptic_curve::bigint::modular::{ConstMontyForm, ConstMontyParams};
use elliptic_curve::bigint::{Odd, Uint};

/// z / s and r / s modulo n, least significant limb first.
pub(super) struct Scalars<const N: usize> {
    pub(super) of_generator: [u64; N],
    pub(super) of_key: [u64; N],
}

/// The scalars of a signature, whose r and s must both be from 1 to n - 1, over a digest `z` of n's length.
pub(super) fn scalars<M: ConstMontyParams<N>, const N: usize>(
    r: [u64; N],
    s: [u64; N],
    z: [u64; N],
) -> Option<Scalars<N>> {
    let (r, s, z) = (Uint::from_words(r), Uint::from_words(s), Uint::from_words(z));
    let n: &Odd<Uint<N>> = M::PARAMS.modulus();
    let in_range = |number: &Uint<N>| *number != Uint::ZERO && number < n.as_ref();
    if !in_range(&r) || !in_range(&s) {
        return None;
    }
    // n has its highest bit set, so a digest is below 2n
    let z = if &z < n.as_ref() { z } else { z.wrapping_sub(n.as_ref()) };
    let inverse = Option::<Uint<N>>::from(s.invert_odd_mod_vartime(n))?;
    let inverse = ConstMontyForm::<M, N>::new(&inverse);
    // the form's product is a * b / R: of one factor that has R and one that has not it is the plain product
    let times = |number: Uint<N>| {
        *(inverse * ConstMontyForm::<M, N>::from_montgomery(number)).as_montgomery().as_words()
    };
    Some(Scalars { of_generator: times(z), of_key: times(r) })
}

/// `number` + n; none where that needs more limbs.
pub(super) fn plus_order<M: ConstMontyParams<N>, const N: usize>(number: [u64; N]) -> Option<[u64; N]> {
    let mut sum = [0; N];
    let mut carry = false;
    for ((sum, limb), order) in sum.iter_mut().zip(number).zip(M::PARAMS.modulus().as_words()) {
        (*sum, carry) = limb.carrying_add(*order, carry);
    }
    (!carry).then_some(sum)
}
