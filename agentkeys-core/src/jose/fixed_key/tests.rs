//! Both curves against the `p256` and `p384` crates and against aws-lc-rs.

use elliptic_curve::Group as _;
use elliptic_curve::ff::{Field as _, PrimeField as _};
use elliptic_curve::hazmat::FieldArithmetic;
use elliptic_curve::point::{AffineCoordinates as _, DecompressPoint as _};
use primeorder::PrimeCurveParams;
use proptest::prelude::*;

use super::*;

fn be_bytes(limbs: &[u64]) -> Vec<u8> {
    limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

/// Limbs at which carries begin and end, and any others.
fn limb() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        Just(u64::MAX >> 32),
        Just(u64::MAX << 32),
        any::<u64>()
    ]
}

/// Not above `limbs`, and close to it where it is not far below.
fn below<const N: usize>(mut limbs: [u64; N], modulus: &[u64]) -> [u64; N] {
    if limbs.iter().rev().ge(modulus.iter().rev()) {
        limbs = limbs.map(|limb| !limb);
        // the moduli begin with ones, so the complement is small: make it p - 1 - that
        let mut borrow = true;
        for (limb, modulus) in limbs.iter_mut().zip(modulus) {
            (*limb, borrow) = modulus.borrowing_sub(*limb, borrow);
        }
    }
    limbs
}

macro_rules! curve {
    ($name:ident, $uniform:ident, $field:ident, $order:ident, $n:literal, $crate_name:ident, $curve:ident, $prepared:ident, $table:ident, $algorithm:ident) => {
        mod $name {
            use ::$crate_name::{AffinePoint, $curve, ProjectivePoint, Scalar};

            use super::*;

            type Theirs = <$curve as FieldArithmetic>::FieldElement;
            type Limbs = [u64; $n];

            fn theirs(limbs: &[u64]) -> Theirs {
                Theirs::from_repr(be_bytes(limbs).as_slice().try_into().unwrap()).unwrap()
            }

            fn ours(theirs: Theirs) -> $field {
                $field::from_limbs(&limbs_from_be_bytes::<$n>(&theirs.to_repr()).unwrap()).unwrap()
            }

            /// The number whose Montgomery form has these limbs.
            fn with_form(limbs: &[u64]) -> Theirs {
                let radix = Theirs::from(2_u64).pow([64 * $n]);
                theirs(limbs) * radix.invert().unwrap()
            }

            fn scalar(limbs: &[u64]) -> Scalar {
                // any number, reduced
                be_bytes(limbs).iter().fold(Scalar::ZERO, |sum, byte| {
                    sum * Scalar::from(256_u64) + Scalar::from(u64::from(*byte))
                })
            }

            fn scalar_limbs(scalar: Scalar) -> Limbs {
                limbs_from_be_bytes(&scalar.to_repr()).unwrap()
            }

            fn key(point: AffinePoint) -> PublicKey {
                PublicKey::from_ec_coordinates(Algorithm::$algorithm, &point.x(), &point.y()).unwrap()
            }

            fn prepared(point: AffinePoint) -> $prepared {
                $prepared::new($table.as_ref().unwrap(), &point.x(), &point.y()).unwrap()
            }

            fn assert_same(ours: Point<$field>, theirs: ProjectivePoint) {
                let Some(affine) = Point::to_affine(&[ours]) else {
                    assert!(ours.is_infinity() && bool::from(theirs.is_identity()));
                    return;
                };
                let theirs = theirs.to_affine();
                let coordinate = |bytes: &[u8]| {
                    $field::from_limbs(&limbs_from_be_bytes::<$n>(bytes).unwrap()).unwrap()
                };
                assert_eq!((affine[0].x, affine[0].y), (coordinate(&theirs.x()), coordinate(&theirs.y())));
            }

            /// A key for which (r, s) is a signature of `z` by way of the point `sum`: it need not be right.
            fn key_for(sum: ProjectivePoint, r: Scalar, s: Scalar, z: Scalar) -> AffinePoint {
                ((sum * s - ProjectivePoint::GENERATOR * z) * r.invert().unwrap()).to_affine()
            }

            fn signature(r: &[u64], s: &[u64]) -> Vec<u8> {
                [be_bytes(r), be_bytes(s)].concat()
            }

            /// What the tables say, which must be what the back end says.
            fn agreed(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
                let verdict = FixedKey::new(key).unwrap().verifies(message, signature);
                assert_eq!(verdict, key.verifies(message, signature));
                verdict
            }

            fn plus(limbs: Limbs, other: &[u64]) -> Limbs {
                let mut carry = false;
                let mut sum = limbs;
                for (limb, other) in sum.iter_mut().zip(other) {
                    (*limb, carry) = limb.carrying_add(*other, carry);
                }
                assert!(!carry);
                sum
            }

            fn minus(limbs: Limbs, other: &[u64]) -> Limbs {
                let mut borrow = false;
                let mut difference = limbs;
                for (limb, other) in difference.iter_mut().zip(other) {
                    (*limb, borrow) = limb.borrowing_sub(*other, borrow);
                }
                difference
            }

            const ZERO: Limbs = [0; $n];
            const ONE: Limbs = plus_one(ZERO);

            const fn plus_one(mut limbs: Limbs) -> Limbs {
                limbs[0] += 1;
                limbs
            }

            fn order() -> Limbs {
                *$order::PARAMS.modulus().as_words()
            }

            fn modulus() -> Limbs {
                $field::modulus().try_into().unwrap()
            }

            #[test]
            fn the_constants_are_those_of_the_published_crate() {
                let hex = |limbs: &[u64]| {
                    be_bytes(limbs).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
                };
                let their_modulus = Theirs::MODULUS.trim_start_matches("0x").to_lowercase();
                assert_eq!(hex($field::modulus()), their_modulus);
                let their_order = Scalar::MODULUS.trim_start_matches("0x").to_lowercase();
                assert_eq!(hex(&order()), their_order);
                assert_eq!($curve::EQUATION_A, -Theirs::from(3_u64), "doubling relies on it");
                assert_eq!($field::ONE, ours(Theirs::ONE));
                assert_eq!($field::ZERO, ours(Theirs::ZERO));
                let generator = $table.as_ref().unwrap();
                let mut first = None;
                generator.pick(&ONE, &mut |entry, negative| first = Some((*entry, negative))).unwrap();
                let (entry, negative) = first.unwrap();
                let (x, y) = $curve::GENERATOR;
                assert_eq!((entry.x, entry.y, negative), (ours(x), ours(y), false));
            }

            #[test]
            fn numbers_that_are_not_below_the_prime_are_none() {
                assert!($field::from_limbs(&modulus()).is_none());
                assert!($field::from_limbs(&[u64::MAX; $n]).is_none());
                assert!($field::from_limbs(&plus(modulus(), &ONE)).is_none());
                assert!($field::from_limbs(&minus(modulus(), &ONE)).is_some());
                assert!($field::from_limbs(&[1; $n - 1]).is_none());
                assert!($field::from_limbs(&[0; $n + 1]).is_none());
            }

            #[test]
            fn the_highest_products_carry_all_the_way() {
                for a in 1..20_u64 {
                    for b in 1..20_u64 {
                        let high = |less: u64| with_form(&minus(modulus(), &[less]));
                        let product = high(a) * high(b);
                        assert_eq!(ours(high(a)).mul(&ours(high(b))), ours(product), "{a} {b}");
                    }
                }
            }

            proptest! {
                #[test]
                fn the_field_is_a_field(a: [bool; 2], a_limbs in prop::array::$uniform(limb()), b_limbs in prop::array::$uniform(limb())) {
                    let number = |raw: bool, limbs| {
                        let limbs = below(limbs, $field::modulus());
                        if raw { with_form(&limbs) } else { theirs(&limbs) }
                    };
                    let (a, b) = (number(a[0], a_limbs), number(a[1], b_limbs));
                    let (x, y) = (ours(a), ours(b));
                    prop_assert_eq!(x.mul(&y), ours(a * b));
                    prop_assert_eq!(x.square(), ours(a.square()));
                    prop_assert_eq!(x.add(&y), ours(a + b));
                    prop_assert_eq!(x.sub(&y), ours(a - b));
                    prop_assert_eq!(x.double(), ours(a.double()));
                    prop_assert_eq!(x.negate(), ours(-a));
                    prop_assert_eq!(x.invert(), ours(a.invert().unwrap_or(Theirs::ZERO)));
                    prop_assert_eq!(x.is_zero(), a == Theirs::ZERO);
                }

                #[test]
                fn the_scalars_are_quotients(r in prop::array::$uniform(limb()), s in prop::array::$uniform(limb()), z in prop::array::$uniform(limb())) {
                    let (r, s) = (below(r, &order()), below(s, &order()));
                    prop_assume!(r != ZERO && s != ZERO);
                    let found = scalars::<$order, $n>(r, s, z).unwrap();
                    let inverse = scalar(&s).invert().unwrap();
                    prop_assert_eq!(found.of_generator, scalar_limbs(scalar(&z) * inverse));
                    prop_assert_eq!(found.of_key, scalar_limbs(scalar(&r) * inverse));
                }
            }

            /// Scalars that are all zeros or ones somewhere, at and around the windows' borders and n.
            fn special_scalars() -> Vec<Limbs> {
                let mut special = vec![ZERO, ONE, [u64::MAX; $n], order(), plus(order(), &ONE), minus(order(), &ONE)];
                for bit in (0..64 * $n - 1).step_by(49).chain([7, 9, 10, 63, 64, 65, 70, 127, 128]) {
                    let mut power = ZERO;
                    power[bit / 64] = 1 << (bit % 64);
                    special.extend([power, minus(power, &ONE), minus(order(), &power)]);
                }
                special.extend([63_u64, 64, 65, 127, 128, 129, 511, 512, 513, 1023, 1024].map(|small| {
                    let mut limbs = ZERO;
                    limbs[0] = small;
                    limbs
                }));
                special
            }

            #[test]
            fn sums_of_special_scalars_are_those_of_the_published_crate() {
                let secret = scalar(&[0x0123_4567_89ab_cdef; $n]);
                let public = ProjectivePoint::GENERATOR * secret;
                let key = prepared(public.to_affine());
                let special = special_scalars();
                let mut both = special.clone();
                both.rotate_left(5);
                for (u1, u2) in special.iter().zip(&both) {
                    let expected = ProjectivePoint::GENERATOR * scalar(u1) + public * scalar(u2);
                    assert_same(key.sum(u1, u2).unwrap(), expected);
                    assert_same(key.sum(u1, &ZERO).unwrap(), ProjectivePoint::GENERATOR * scalar(u1));
                    assert_same(key.sum(&ZERO, u2).unwrap(), public * scalar(u2));
                }
                // u1 G + u2 Q = infinity
                let opposite = scalar_limbs(-(secret * Scalar::from(77_u64)));
                let mut seventy_seven = ZERO;
                seventy_seven[0] = 77;
                assert!(key.sum(&opposite, &seventy_seven).unwrap().is_infinity());
                assert!(key.sum(&ZERO, &ZERO).unwrap().is_infinity());
                assert!(key.sum(&order(), &order()).unwrap().is_infinity());
            }

            #[test]
            fn a_sum_that_meets_its_own_summand_or_its_negative_is_right() {
                // Q = G and Q = -G: both tables hold the same points
                for (public, sign) in [
                    (ProjectivePoint::GENERATOR, Scalar::ONE),
                    (-ProjectivePoint::GENERATOR, -Scalar::ONE),
                ] {
                    let key = prepared(public.to_affine());
                    for u1 in special_scalars() {
                        for u2 in [u1, scalar_limbs(-scalar(&u1)), ONE, minus(order(), &ONE)] {
                            let expected = ProjectivePoint::GENERATOR * (scalar(&u1) + sign * scalar(&u2));
                            assert_same(key.sum(&u1, &u2).unwrap(), expected);
                        }
                    }
                }
            }

            #[test]
            fn the_group_is_a_group() {
                let generator = $table.as_ref().unwrap();
                let mut entry = None;
                generator.pick(&ONE, &mut |found, _| entry = Some(*found)).unwrap();
                let (x, y) = entry.map(|entry| (entry.x, entry.y)).unwrap();
                let infinity = Point::<$field>::INFINITY;
                let one = infinity.add(&x, &y);
                assert_same(one, ProjectivePoint::GENERATOR);
                assert_same(infinity.double(), ProjectivePoint::IDENTITY);
                // the same point in two forms, whose ZZ is one in the one and not in the other
                let two = one.add(&x, &y);
                assert_same(two, ProjectivePoint::GENERATOR.double());
                let three = two.add(&x, &y);
                let again = three.add(&x, &y.negate()).add(&x, &y.negate());
                assert_same(again, ProjectivePoint::GENERATOR);
                assert_same(again.add(&x, &y), ProjectivePoint::GENERATOR.double());
                assert_same(again.add(&x, &y.negate()), ProjectivePoint::IDENTITY);
                assert_same(again.add(&x, &y.negate()).add(&x, &y), ProjectivePoint::GENERATOR);
                assert!(!infinity.has_x(&x) && !infinity.has_x(&$field::ZERO));
                assert!(one.has_x(&x) && again.has_x(&x) && !two.has_x(&x));
                assert!(Point::to_affine(&[one, infinity]).is_none());
            }

            #[test]
            fn table_entries_are_their_multiples() {
                let mut base = ProjectivePoint::GENERATOR * Scalar::from(12_345_u64);
                let point = base.to_affine();
                let key = prepared(point);
                let bits = size_of::<Limbs>() * 8;
                for window in (0..bits).step_by(7 * 6) {
                    let mut multiple = ProjectivePoint::IDENTITY;
                    for digit in 1..=64_u64 {
                        multiple += base;
                        let mut limbs = ZERO;
                        let wide = u128::from(digit) << (window % 64);
                        limbs[window / 64] = wide as u64;
                        match limbs.get_mut(window / 64 + 1) {
                            Some(limb) => *limb = (wide >> 64) as u64,
                            None if wide >> 64 != 0 => break,
                            None => {}
                        }
                        let mut picked = Vec::new();
                        key.key.pick(&limbs, &mut |entry, negative| picked.push((*entry, negative))).unwrap();
                        assert_eq!((picked.len(), picked[0].1), (1, false));
                        if digit % 16 == 0 || digit < 4 {
                            assert_same(Point::INFINITY.add(&picked[0].0.x, &picked[0].0.y), multiple);
                        }
                    }
                    base = (0..7 * 6).fold(base, |base, _| base.double());
                }
            }

            #[test]
            fn r_and_s_are_from_one_to_n_less_one() {
                let (r, s, z) = (scalar(&[3; $n]), scalar(&[5; $n]), scalar(&[7; $n]));
                let sum = ProjectivePoint::GENERATOR * scalar(&[11; $n]);
                let digest = be_bytes(&scalar_limbs(z));
                let (r, s, n) = (scalar_limbs(r), scalar_limbs(s), order());
                let public = prepared(key_for(sum, scalar(&r), scalar(&s), z));
                // such an r is never right: its x-coordinate is another
                assert_eq!(public.check(&digest, &signature(&r, &s)), Some(false));
                for bad in [ZERO, n, plus(n, &ONE), [u64::MAX; $n]] {
                    assert_eq!(public.check(&digest, &signature(&bad, &s)), None, "r {bad:x?}");
                    assert_eq!(public.check(&digest, &signature(&r, &bad)), None, "s {bad:x?}");
                }
                for good in [ONE, minus(n, &ONE)] {
                    assert!(public.check(&digest, &signature(&good, &s)).is_some());
                    assert!(public.check(&digest, &signature(&r, &good)).is_some());
                }
                // r and s are read whole
                let good = signature(&r, &s);
                for bad in [
                    &good[1..],
                    &good[..good.len() - 1],
                    &good[..good.len() - 8],
                    &[],
                    &[&good[..], &[0]].concat(),
                    &[&good[..], &[0; 8]].concat(),
                ] {
                    assert_eq!(public.check(&digest, bad), None);
                }
                assert_eq!(public.check(&digest[1..], &good), None);
            }

            #[test]
            fn an_r_or_s_to_which_n_was_added_is_refused() {
                // R = (x, y) with a small x, so that x + n still has the length; the same with s
                let (small, point) = with_x(&mut |small| small, 1);
                let s = scalar(&[5; $n]);
                let z = scalar(&[7; $n]);
                let public = prepared(key_for(point, scalar(&small), s, z));
                let digest = be_bytes(&scalar_limbs(z));
                let (s_limbs, n) = (scalar_limbs(s), order());
                assert_eq!(public.check(&digest, &signature(&small, &s_limbs)), Some(true));
                assert_eq!(public.check(&digest, &signature(&plus(small, &n), &s_limbs)), None);
                // the key for which the s is a small one
                let public = prepared(key_for(point, scalar(&small), Scalar::from(9_u64), z));
                let mut nine = ZERO;
                nine[0] = 9;
                assert_eq!(public.check(&digest, &signature(&small, &nine)), Some(true));
                assert_eq!(public.check(&digest, &signature(&small, &plus(nine, &n))), None);
            }

            /// The first x from `start` on for which `place(x)` is on the curve, and the point there.
            fn with_x(place: &mut dyn FnMut(Limbs) -> Limbs, start: u64) -> (Limbs, ProjectivePoint) {
                (start..)
                    .find_map(|at| {
                        let mut limbs = ZERO;
                        limbs[0] = at;
                        let x = be_bytes(&place(limbs));
                        let point = AffinePoint::decompress(x.as_slice().try_into().unwrap(), 0.into());
                        Some((limbs, ProjectivePoint::from(Option::<AffinePoint>::from(point)?)))
                    })
                    .unwrap()
            }

            #[test]
            fn an_x_between_n_and_p_is_its_remainder() {
                // R.x = n + r, so x mod n is r although x is not
                let (r, point) = with_x(&mut |small| plus(small, &order()), 1);
                let (s, message) = (scalar(&[5; $n]), b"message");
                let digest = digest_of(message);
                let z = scalar(&limbs_from_be_bytes::<$n>(&digest).unwrap());
                let public = key_for(point, scalar(&r), s, z);
                assert!(agreed(&key(public), message, &signature(&r, &scalar_limbs(s))));
                // and n + r itself is no signature
                let too_large = signature(&plus(r, &order()), &scalar_limbs(s));
                assert!(!agreed(&key(public), message, &too_large));
            }

            fn digest_of(message: &[u8]) -> Vec<u8> {
                if $n == 4 { sha256(message).to_vec() } else { sha384(message).to_vec() }
            }

            #[test]
            fn an_r_whose_sum_with_n_is_not_below_p_has_one_x() {
                // R.x = x', and an r for which r + n is p + x', or 2^(64 N) + x': neither is x'
                let wrapped = |start: Limbs| {
                    let (x, point) = with_x(&mut |small| small, 1);
                    (plus(start, &x), point)
                };
                let from_p = minus(modulus(), &order());
                let from_power = minus(ZERO, &order());
                for start in [from_p, from_power] {
                    let (r, point) = wrapped(start);
                    let (s, message) = (scalar(&[5; $n]), b"message");
                    let z = scalar(&limbs_from_be_bytes::<$n>(&digest_of(message)).unwrap());
                    let public = key_for(point, scalar(&r), s, z);
                    assert!(!agreed(&key(public), message, &signature(&r, &scalar_limbs(s))));
                }
            }

            #[test]
            fn a_sum_at_infinity_is_no_signature() {
                let secret = scalar(&[9; $n]);
                let public = (ProjectivePoint::GENERATOR * secret).to_affine();
                let message = b"message";
                let z = scalar(&limbs_from_be_bytes::<$n>(&digest_of(message)).unwrap());
                // u1 + u2 d = 0 where z + r d = 0
                let r = scalar_limbs(-z * secret.invert().unwrap());
                for s in [Scalar::ONE, scalar(&[5; $n])] {
                    assert!(!agreed(&key(public), message, &signature(&r, &scalar_limbs(s))));
                }
                assert!(prepared(public).sum(&scalar_limbs(z), &r).unwrap().is_infinity());
            }

            #[test]
            fn a_digest_of_zero_or_above_n_is_a_digest() {
                let secret = scalar(&[9; $n]);
                let public = prepared((ProjectivePoint::GENERATOR * secret).to_affine());
                for z in [ZERO, order(), [u64::MAX; $n], minus(order(), &ONE), ONE] {
                    let nonce = scalar(&[13; $n]);
                    let point = (ProjectivePoint::GENERATOR * nonce).to_affine();
                    let r = scalar(&limbs_from_be_bytes::<$n>(&point.x()).unwrap());
                    let s = (scalar(&z) + r * secret) * nonce.invert().unwrap();
                    let signed = signature(&scalar_limbs(r), &scalar_limbs(s));
                    assert_eq!(public.check(&be_bytes(&z), &signed), Some(true), "{z:x?}");
                    // JWS accepts a high s: https://www.rfc-editor.org/rfc/rfc7518#section-3.4
                    let high = signature(&scalar_limbs(r), &scalar_limbs(-s));
                    assert_eq!(public.check(&be_bytes(&z), &high), Some(true), "{z:x?}");
                    let mut other = z;
                    other[0] ^= 2;
                    assert_eq!(public.check(&be_bytes(&other), &signed), Some(false), "{z:x?}");
                }
            }

            #[test]
            fn chosen_scalars_give_the_verdict_of_the_back_end() {
                let message = b"message";
                let z = scalar(&limbs_from_be_bytes::<$n>(&digest_of(message)).unwrap());
                // s = z / u1, so the factor of G is u1; of Q it is r u1 / z
                for u1 in special_scalars().iter().map(|limbs| scalar(limbs)).filter(|u1| *u1 != Scalar::ZERO).step_by(9) {
                    let s = z * u1.invert().unwrap();
                    let (_, point) = with_x(&mut |small| plus([u64::MAX >> 3; $n], &small), 1);
                    let r = scalar(&limbs_from_be_bytes::<$n>(&point.to_affine().x()).unwrap());
                    let good = signature(&scalar_limbs(r), &scalar_limbs(s));
                    let public = key(key_for(point, r, s, z));
                    assert!(agreed(&public, message, &good));
                    assert!(!agreed(&public, b"another", &good));
                }
            }

            #[test]
            fn each_changed_bit_is_refused() {
                let secret = scalar(&[9; $n]);
                let public = ProjectivePoint::GENERATOR * secret;
                let message = b"message";
                let z = scalar(&limbs_from_be_bytes::<$n>(&digest_of(message)).unwrap());
                let nonce = scalar(&[13; $n]);
                let point = (ProjectivePoint::GENERATOR * nonce).to_affine();
                let r = scalar(&limbs_from_be_bytes::<$n>(&point.x()).unwrap());
                let s = (z + r * secret) * nonce.invert().unwrap();
                let good = signature(&scalar_limbs(r), &scalar_limbs(s));
                let table = FixedKey::new(&key(public.to_affine())).unwrap();
                assert!(table.verifies(message, &good));
                for bit in 0..good.len() * 8 {
                    let mut bad = good.clone();
                    bad[bit / 8] ^= 1 << (bit % 8);
                    assert!(!table.verifies(message, &bad), "{bit}");
                }
                // another key's table refuses it
                let other = FixedKey::new(&key((public + ProjectivePoint::GENERATOR).to_affine())).unwrap();
                assert!(!other.verifies(message, &good));
            }
        }
    };
}

curve!(on_p256, uniform4, F256, OrderOfP256, 4, p256, NistP256, P256, P256_GENERATOR, Es256);
curve!(on_p384, uniform6, F384, OrderOfP384, 6, p384, NistP384, P384, P384_GENERATOR, Es384);

#[test]
fn an_entry_of_p256_is_one_cache_line_and_of_p384_two() {
    assert_eq!((size_of::<Affine<F256>>(), align_of::<Affine<F256>>()), (64, 64));
    assert_eq!((size_of::<Affine<F384>>(), align_of::<Affine<F384>>()), (96, 32));
    assert_eq!(FixedKey::bytes(Algorithm::Es256), Some(148 << 10));
    assert_eq!(FixedKey::bytes(Algorithm::Es384), Some(330 << 10));
    assert_eq!(FixedKey::bytes(Algorithm::EdDsa), Some(215 << 10));
    assert_eq!(FixedKey::bytes(Algorithm::Rs256), None);
}
