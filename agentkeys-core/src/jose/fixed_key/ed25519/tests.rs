//! Against curve25519-dalek's own multiplication and against aws-lc-rs.

use curve25519_dalek::constants::EIGHT_TORSION;
use proptest::prelude::*;

use super::*;
use crate::jose::PublicKey;
use crate::jose::fixed_key::FixedKey;

const MESSAGE: &[u8] = b"message";

/// What signs by RFC 8032 with any secret and nonce, for a key with any part of small order.
struct Signer {
    secret: Scalar,
    point: EdwardsPoint,
    key: PublicKey,
    table: Ed25519,
}

impl Signer {
    fn new(secret: Scalar) -> Self {
        Self::beside(secret, &EdwardsPoint::identity())
    }

    /// One whose key has a part of small order.
    fn beside(secret: Scalar, part: &EdwardsPoint) -> Self {
        let point = ED25519_BASEPOINT_POINT * secret + part;
        let encoded = point.compress();
        let key = PublicKey::from_ed25519(encoded.as_bytes()).unwrap();
        Self { secret, point, key, table: Ed25519::of(&point, encoded) }
    }

    fn any() -> Self {
        Self::new(wide(0x5a))
    }

    fn encoded(&self) -> [u8; 32] {
        self.point.compress().to_bytes()
    }

    fn factor(&self, r: &[u8; 32], message: &[u8]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&sha512(&[r, &self.encoded(), message]))
    }

    /// With this R, whatever it is, and its discrete logarithm.
    fn sign_with(&self, r: &[u8; 32], nonce: Scalar, message: &[u8]) -> [u8; 64] {
        joined(r, (nonce + self.factor(r, message) * self.secret).as_bytes())
    }

    fn sign(&self, nonce: Scalar, message: &[u8]) -> [u8; 64] {
        self.sign_with(&(ED25519_BASEPOINT_POINT * nonce).compress().to_bytes(), nonce, message)
    }

    /// What the table says, which must be what the back end says.
    fn agreed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verdict = self.table.verifies(message, signature);
        assert_eq!(verdict, self.key.verifies(message, signature), "{signature:02x?}");
        verdict
    }
}

fn joined(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(r);
    signature[32..].copy_from_slice(s);
    signature
}

fn wide(byte: u8) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&[byte; 64])
}

/// The order of the group, little endian.
fn order() -> [u8; 32] {
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1;
    order
}

/// Without a last carry.
fn plus(number: [u8; 32], other: &[u8; 32]) -> [u8; 32] {
    let mut carry = false;
    let mut sum = number;
    for (byte, other) in sum.iter_mut().zip(other) {
        (*byte, carry) = byte.carrying_add(*other, carry);
    }
    assert!(!carry);
    sum
}

/// Scalars that are all zeros or ones somewhere, and at the windows' borders, and the negatives of all.
fn special_scalars() -> Vec<Scalar> {
    let mut special = vec![Scalar::ZERO, Scalar::ONE];
    for bit in (0..252).step_by(13).chain([5, 6, 7, 8, 63, 64, 65, 127, 128, 247, 248, 249, 250, 251, 252]) {
        let mut bytes = [0; 32];
        bytes[bit / 8] = 1 << (bit % 8);
        let power = Scalar::from_bytes_mod_order(bytes);
        special.extend([power, power - Scalar::ONE]);
    }
    special.extend([31_u64, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257].map(Scalar::from));
    special.extend([0x20, 0x82, 0x1f, 0x7f, 0x80, 0xff].map(|byte| Scalar::from_bytes_mod_order([byte; 32])));
    let negatives: Vec<Scalar> = special.iter().map(|scalar| -scalar).collect();
    special.extend(negatives);
    special
}

/// Numbers from p to 2^255 - 1, so other writings of those from 0 to 18.
fn beyond_p() -> impl Iterator<Item = [u8; 32]> {
    (0xed_u8..=0xff).flat_map(|low| {
        [0x7f, 0xff].map(|high| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            bytes
        })
    })
}

/// (0, 1) and (0, -1) with the sign of an x that has none.
fn signed_zeros() -> [[u8; 32]; 2] {
    [0, 4].map(|at: usize| {
        let mut bytes = EIGHT_TORSION[at].compress().to_bytes();
        assert_eq!(bytes[31] & 0x80, 0);
        bytes[31] |= 0x80;
        bytes
    })
}

#[test]
fn the_base_point_and_the_order_are_the_rfcs() {
    // https://www.rfc-editor.org/rfc/rfc8032#section-5.1
    let mut base = [0x66; 32];
    base[0] = 0x58;
    let one = |scalar| {
        let mut picked = Vec::new();
        GENERATOR.pick(&scalar, &mut |entry, negative| picked.push((*entry, negative))).unwrap();
        picked
    };
    let picked = one(Scalar::ONE);
    assert_eq!((picked.len(), picked[0].0.compress().to_bytes(), picked[0].1), (1, base, false));
    assert!(one(Scalar::ZERO).is_empty());
    let order = order();
    assert_eq!((&order[16..31], order[31]), (&[0; 15][..], 0x10));
    assert_eq!(u128::from_le_bytes(order[..16].try_into().unwrap()), 27742317777372353535851937790883648493);
    assert!((ED25519_BASEPOINT_POINT * -Scalar::ONE + ED25519_BASEPOINT_POINT).is_identity());
    assert_eq!(Ed25519::BYTES, 215 << 10);
}

#[test]
fn table_entries_are_their_multiples() {
    let point = ED25519_BASEPOINT_POINT * wide(3);
    let table = Multiples::<6>::new(&point);
    assert_eq!((table.0.len(), size_of_val(&*table.0)), (43 * 32, Ed25519::BYTES));
    let mut base = point;
    for window in table.0.chunks(32) {
        for (digit, entry) in (1_u64..).zip(window) {
            if digit < 4 || digit % 8 == 0 {
                assert_eq!(*entry, base * Scalar::from(digit));
            }
        }
        base *= Scalar::from(64_u64);
    }
}

#[test]
fn sums_of_special_scalars_are_those_of_dalek() {
    let special = special_scalars();
    let mut others = special.clone();
    others.rotate_left(7);
    // A is B or -B too: both tables hold the same points then
    for secret in [wide(9), Scalar::ONE, -Scalar::ONE] {
        let point = ED25519_BASEPOINT_POINT * secret;
        let key = Ed25519::of(&point, point.compress());
        for (s, k) in special.iter().zip(&others).step_by(2) {
            for (s, k) in [(*s, *k), (*s, Scalar::ZERO), (Scalar::ZERO, *k), (*s, *s), (*s, -s)] {
                let expected = ED25519_BASEPOINT_POINT * (s - k * secret);
                assert_eq!(key.sum(&s, &k).unwrap(), expected, "{s:?} {k:?}");
            }
        }
        assert!(key.sum(&(secret * wide(7)), &wide(7)).unwrap().is_identity());
    }
}

#[test]
fn special_secrets_and_nonces_give_the_verdict_of_the_back_end() {
    let special = special_scalars();
    for (at, secret) in special.iter().enumerate().filter(|(_, secret)| **secret != Scalar::ZERO).step_by(7) {
        let signer = Signer::new(*secret);
        for nonce in [special[(at * 5 + 1) % special.len()], special[(at * 11) % special.len()], wide(0x77)] {
            let signature = signer.sign(nonce, MESSAGE);
            assert!(signer.agreed(MESSAGE, &signature));
            assert!(!signer.agreed(b"another", &signature));
        }
    }
}

#[test]
fn an_s_that_is_not_below_the_order_is_refused() {
    let signer = Signer::any();
    let (key, table) = (&signer.key, &signer.table);
    let good = signer.sign(wide(5), MESSAGE);
    let (r, s): ([u8; 32], [u8; 32]) = (good[..32].try_into().unwrap(), good[32..].try_into().unwrap());
    assert_eq!(table.check(MESSAGE, &good), Some(true));
    // s + L, s + 2 L, ... are the same modulo L
    let mut same = s;
    for _ in 0..14 {
        same = plus(same, &order());
        assert_eq!(table.check(MESSAGE, &joined(&r, &same)), None);
        assert!(!key.verifies(MESSAGE, &joined(&r, &same)));
    }
    for bad in [order(), plus(order(), &Scalar::ONE.to_bytes()), [0xff; 32]] {
        assert_eq!(table.check(MESSAGE, &joined(&r, &bad)), None);
    }
    // the ends of the range are read
    for s in [Scalar::ZERO, Scalar::ONE, -Scalar::ONE] {
        assert_eq!(table.check(MESSAGE, &joined(&r, s.as_bytes())), Some(false));
    }
    let mut high = s;
    for bit in 253..256 {
        high[31] = s[31] | 1 << (bit % 8);
        assert_eq!(table.check(MESSAGE, &joined(&r, &high)), None);
    }
}

#[test]
fn r_counts_as_it_is_written() {
    let signer = Signer::any();
    let nonce = wide(5);
    let commitment = ED25519_BASEPOINT_POINT * nonce;
    for torsion in &EIGHT_TORSION[1..] {
        // right for a verifier that multiplies by the cofactor
        let beside = (commitment + torsion).compress().to_bytes();
        assert!(!signer.agreed(MESSAGE, &signer.sign_with(&beside, nonce, MESSAGE)));
        // R of small order, where S B - k A is the identity
        let small = torsion.compress().to_bytes();
        assert!(!signer.agreed(MESSAGE, &signer.sign_with(&small, Scalar::ZERO, MESSAGE)));
    }
    let identity = EIGHT_TORSION[0].compress().to_bytes();
    assert!(signer.agreed(MESSAGE, &signer.sign_with(&identity, Scalar::ZERO, MESSAGE)));
    // other writings of the identity and of points of small order, and what is no point
    for strange in beyond_p().chain(signed_zeros()).chain([[0xff; 32], [2; 32]]) {
        assert!(!signer.agreed(MESSAGE, &signer.sign_with(&strange, Scalar::ZERO, MESSAGE)));
        assert!(!signer.agreed(MESSAGE, &signer.sign_with(&strange, nonce, MESSAGE)));
    }
}

#[test]
fn keys_outside_of_the_group_of_prime_order_have_no_table() {
    let signer = Signer::any();
    assert!(Ed25519::new(&signer.encoded()).is_some());
    for torsion in &EIGHT_TORSION {
        assert!(Ed25519::new(torsion.compress().as_bytes()).is_none());
        let mixed = (signer.point + torsion).compress();
        assert_eq!(Ed25519::new(mixed.as_bytes()).is_some(), torsion.is_identity());
    }
}

#[test]
fn each_other_writing_of_a_point_is_of_one_outside_of_the_group() {
    let decodable = beyond_p().chain(signed_zeros());
    let mut decodable: Vec<_> =
        decodable.filter(|bytes| CompressedEdwardsY(*bytes).decompress().is_some()).collect();
    assert!(decodable.len() > 8);
    for strange in decodable.drain(..) {
        assert_ne!(CompressedEdwardsY(strange).decompress().unwrap().compress().to_bytes(), strange);
        assert!(Ed25519::new(&strange).is_none());
    }
}

#[test]
fn what_is_no_point_has_no_table() {
    let signer = Signer::any();
    let not_on_curve =
        (0_u8..).map(|low| [low; 32]).find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none());
    assert!(Ed25519::new(&not_on_curve.unwrap()).is_none());
    assert!(Ed25519::new(&signer.encoded()[1..]).is_none());
    assert!(Ed25519::new(&[&signer.encoded()[..], &[0]].concat()).is_none());
    assert!(Ed25519::new(&[]).is_none());
}

/// What no table is made for would be right all the same: the addition is complete on the whole curve.
#[test]
fn even_outside_of_the_group_the_sum_is_the_back_ends() {
    let mut accepted = 0;
    for torsion in &EIGHT_TORSION {
        for secret in [Scalar::ZERO, wide(0x5a)] {
            let signer = Signer::beside(secret, torsion);
            for at in 0..16_u8 {
                for part in &EIGHT_TORSION[..3] {
                    let nonce = wide(at);
                    let r = (ED25519_BASEPOINT_POINT * nonce + part).compress().to_bytes();
                    accepted += usize::from(signer.agreed(&[at], &signer.sign_with(&r, nonce, &[at])));
                }
            }
        }
    }
    // whoever owns such a key finds a message for which the part of small order vanishes
    assert!(accepted > 2 * 16);
}

#[test]
fn each_changed_bit_is_refused() {
    let signer = Signer::any();
    let good = signer.sign(wide(5), MESSAGE);
    let table = FixedKey::new(&signer.key).unwrap();
    assert!(table.verifies(MESSAGE, &good));
    for bit in 0..512 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!table.verifies(MESSAGE, &bad), "{bit}");
    }
    for bad in [&good[1..], &good[..63], &good[..32], &[], &[&good[..], &[0]].concat()] {
        assert!(!table.verifies(MESSAGE, bad));
        assert!(!signer.key.verifies(MESSAGE, bad));
    }
    let other = FixedKey::new(&Signer::new(wide(0x5b)).key).unwrap();
    assert!(!other.verifies(MESSAGE, &good));
}

#[test]
fn the_hash_covers_messages_of_every_length() {
    let signer = Signer::any();
    for length in [0, 1, 63, 64, 65, 127, 128, 129, 700] {
        let message = vec![7; length];
        let signature = signer.sign(wide(5), &message);
        assert!(signer.agreed(&message, &signature));
        assert!(!signer.agreed(&[&message[..], &[7]].concat(), &signature));
    }
}

proptest! {
    #[test]
    fn any_signature_has_the_verdict_of_the_back_end(
        secret in any::<[u8; 32]>(), nonce in any::<[u8; 32]>(), message in prop::collection::vec(any::<u8>(), 0..300),
        edit in (0..64_usize, any::<u8>()), other in any::<[u8; 32]>(),
    ) {
        let signer = Signer::new(Scalar::from_bytes_mod_order(secret));
        prop_assume!(signer.secret != Scalar::ZERO);
        let signature = signer.sign(Scalar::from_bytes_mod_order(nonce), &message);
        prop_assert!(signer.agreed(&message, &signature));
        let mut edited = signature;
        edited[edit.0] ^= edit.1;
        prop_assert_eq!(signer.agreed(&message, &edited), edit.1 == 0);
        let half: &[u8; 32] = signature[..32].try_into().unwrap();
        prop_assert!(!signer.agreed(&message, &joined(half, &other)));
        prop_assert!(!signer.agreed(&message, &joined(&other, signature[32..].try_into().unwrap())));
    }
}
