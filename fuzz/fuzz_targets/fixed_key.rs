//! A table of a key says of every signature what aws-lc-rs says.
//!
//! The first byte of an input says what the rest is; it is read as zeros where it ends early:
//! - `r`, `R`: one byte for the key, r and s, and the message, for P-256 and P-384;
//! - `u`, `U`: a factor u1 of G, a nonce k, and the message: the key for which that is a right signature, and
//!   then edits of the signature, each one byte of position and one to xor there;
//! - `e`: one byte for the key, R and s, and the message, for Ed25519;
//! - `E`: a secret, a nonce, one byte for the part of small order that A has and one for R's, edits as above, and
//!   the message.

#![no_main]

use std::sync::LazyLock;

use agentkeys_core::jose::{Algorithm, FixedKey, PublicKey};
use libfuzzer_sys::fuzz_target;

/// The verdict on which both agree.
fn agreed(key: &PublicKey, table: &FixedKey, message: &[u8], signature: &[u8]) -> bool {
    let verdict = table.verifies(message, signature);
    assert_eq!(verdict, key.verifies(message, signature));
    verdict
}

/// As many bytes as are asked for, whatever there is.
fn take(input: &mut &[u8], count: usize) -> Vec<u8> {
    let (taken, rest) = input.split_at(count.min(input.len()));
    *input = rest;
    let mut taken = taken.to_vec();
    taken.resize(count, 0);
    taken
}

macro_rules! curve {
    ($name:ident, $crate_name:ident, $size:literal, $algorithm:ident, $digest:path) => {
        mod $name {
            use $crate_name::elliptic_curve::ff::PrimeField as _;
            use $crate_name::elliptic_curve::point::AffineCoordinates as _;
            use $crate_name::{ProjectivePoint, Scalar};

            use super::*;

            static KEYS: LazyLock<Vec<(PublicKey, FixedKey)>> = LazyLock::new(|| {
                // G, -G and two others
                [Scalar::ONE, -Scalar::ONE, Scalar::from(12_345_u64), number(&[0xa5; $size])]
                    .map(|secret| prepared(ProjectivePoint::GENERATOR * secret))
                    .into()
            });

            fn prepared(point: ProjectivePoint) -> (PublicKey, FixedKey) {
                let point = point.to_affine();
                let key =
                    PublicKey::from_ec_coordinates(Algorithm::$algorithm, &point.x(), &point.y()).unwrap();
                let table = FixedKey::new(&key).unwrap();
                (key, table)
            }

            /// Any number, reduced.
            fn number(bytes: &[u8]) -> Scalar {
                bytes.iter().fold(Scalar::ZERO, |sum, byte| {
                    sum * Scalar::from(256_u64) + Scalar::from(u64::from(*byte))
                })
            }

            pub(crate) fn raw(input: &mut &[u8]) {
                let which = usize::from(take(input, 1)[0]);
                let (key, table) = &KEYS[which % KEYS.len()];
                let signature = take(input, 2 * $size);
                agreed(key, table, input, &signature);
                agreed(key, table, &signature, input);
            }

            pub(crate) fn chosen(input: &mut &[u8]) {
                let (u1, nonce) = (number(&take(input, $size)), number(&take(input, $size)));
                let edits = take(input, 8);
                let message = *input;
                let z = number(&$digest(message));
                if u1 == Scalar::ZERO || nonce == Scalar::ZERO || z == Scalar::ZERO {
                    return;
                }
                let sum = ProjectivePoint::GENERATOR * nonce;
                let r = number(&sum.to_affine().x());
                let s = z * u1.invert().unwrap();
                if r == Scalar::ZERO {
                    return;
                }
                let public = (sum * s - ProjectivePoint::GENERATOR * z) * r.invert().unwrap();
                if public == ProjectivePoint::IDENTITY {
                    return;
                }
                let (key, table) = prepared(public);
                let mut signature = [r.to_repr(), s.to_repr()].concat();
                assert!(agreed(&key, &table, message, &signature), "it is made to be right");
                let high = [r.to_repr(), (-s).to_repr()].concat();
                assert!(agreed(&key, &table, message, &high), "so is its twin");
                for edit in edits.chunks(2) {
                    signature[usize::from(edit[0]) % (2 * $size)] ^= edit[1];
                    agreed(&key, &table, message, &signature);
                }
            }
        }
    };
}

mod with_ed25519 {
    use curve25519_dalek::Scalar;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use curve25519_dalek::edwards::EdwardsPoint;

    use super::*;

    static KEYS: LazyLock<Vec<(PublicKey, FixedKey)>> = LazyLock::new(|| {
        // B, -B and two others
        [Scalar::ONE, -Scalar::ONE, Scalar::from(12_345_u64), Scalar::from_bytes_mod_order([0xa5; 32])]
            .map(|secret| {
                let key = public(&(ED25519_BASEPOINT_POINT * secret));
                let table = FixedKey::new(&key).unwrap();
                (key, table)
            })
            .into()
    });

    fn public(point: &EdwardsPoint) -> PublicKey {
        PublicKey::from_ed25519(point.compress().as_bytes()).unwrap()
    }

    fn scalar(bytes: &[u8]) -> Scalar {
        Scalar::from_bytes_mod_order(bytes.try_into().unwrap())
    }

    pub(crate) fn raw(input: &mut &[u8]) {
        let which = usize::from(take(input, 1)[0]);
        let (key, table) = &KEYS[which % KEYS.len()];
        let signature = take(input, 64);
        agreed(key, table, input, &signature);
        agreed(key, table, &signature, input);
    }

    pub(crate) fn chosen(input: &mut &[u8]) {
        let (secret, nonce) = (scalar(&take(input, 32)), scalar(&take(input, 32)));
        let parts = take(input, 2).iter().map(|part| usize::from(part % 8)).collect::<Vec<_>>();
        let edits = take(input, 8);
        let message = *input;
        let point = ED25519_BASEPOINT_POINT * secret + EIGHT_TORSION[parts[0]];
        let key = public(&point);
        let Some(table) = FixedKey::new(&key) else {
            assert!(parts[0] != 0 || secret == Scalar::ZERO, "an ordinary key has a table");
            return;
        };
        assert!(parts[0] == 0 && secret != Scalar::ZERO, "no other has one");
        let r = (ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[parts[1]]).compress();
        let hashed = [r.as_bytes(), point.compress().as_bytes(), message].concat();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &hashed);
        let k = Scalar::from_bytes_mod_order_wide(hash.as_ref().try_into().unwrap());
        let mut signature = [r.to_bytes(), (nonce + k * secret).to_bytes()].concat();
        assert_eq!(agreed(&key, &table, message, &signature), parts[1] == 0, "R decides, as it is written");
        for edit in edits.chunks(2) {
            signature[usize::from(edit[0]) % 64] ^= edit[1];
            agreed(&key, &table, message, &signature);
        }
    }
}

fn sha256(message: &[u8]) -> Vec<u8> {
    agentkeys_core::jose::sha256(message).to_vec()
}

fn sha384(message: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, message).as_ref().to_vec()
}

curve!(with_p256, p256, 32, Es256, sha256);
curve!(with_p384, p384, 48, Es384, sha384);

fuzz_target!(|input: &[u8]| {
    let Some((mode, mut rest)) = input.split_first() else { return };
    match mode {
        b'r' => with_p256::raw(&mut rest),
        b'R' => with_p384::raw(&mut rest),
        b'u' => with_p256::chosen(&mut rest),
        b'U' => with_p384::chosen(&mut rest),
        b'e' => with_ed25519::raw(&mut rest),
        b'E' => with_ed25519::chosen(&mut rest),
        _ => {}
    }
});
