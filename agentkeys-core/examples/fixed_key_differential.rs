//! Asks tables of keys and aws-lc-rs about the same signatures, right ones and wrong ones of many makes, and
//! ends with status 1 at the first on which they differ.
//!
//! ```text
//! cargo run --release -p agentkeys-core --features test-util --example fixed_key_differential -- --signatures 10000000
//! cargo run --release -p agentkeys-core --features test-util --example fixed_key_differential -- --seconds 1800
//! cargo run --release -p agentkeys-core --features test-util --example fixed_key_differential -- --seconds 300 --only EdDSA
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the one who measures"
)]

use std::process::ExitCode;
use std::time::Instant;

use agentkeys_core::jose::{Algorithm, FixedKey, PublicKey};
use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _,
};
use curve25519_dalek::Scalar;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;

/// How many signatures of one key are made; each gives nine or more to ask about.
const PER_KEY: usize = 512;

/// What was asked about the signatures of one algorithm.
struct Asked {
    algorithm: Algorithm,
    /// The most additions of points in one verification.
    additions: u64,
    checked: u64,
    accepted: u64,
}

impl Asked {
    const fn nothing(algorithm: Algorithm, additions: u64) -> Self {
        Self { algorithm, additions, checked: 0, accepted: 0 }
    }

    /// Both must say the same, and that it is right where this is known.
    fn about(
        &mut self,
        (key, table): (&PublicKey, &FixedKey),
        message: &[u8],
        signature: &[u8],
        right: Option<bool>,
    ) -> Result<(), String> {
        let (fast, slow) = (table.verifies(message, signature), key.verifies(message, signature));
        self.checked += 1;
        self.accepted += u64::from(slow);
        if fast != slow || right.is_some_and(|right| right != slow) {
            return Err(format!(
                "{} {message:02x?} {signature:02x?}: {fast}, {slow}, to be {right:?}",
                self.algorithm
            ));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str| given(name)?.parse::<u64>().ok();
    let (most, longest) = match (number("--signatures"), number("--seconds")) {
        (None, None) => (u64::MAX, 10),
        (signatures, seconds) => (signatures.unwrap_or(u64::MAX), seconds.unwrap_or(u64::MAX)),
    };
    let mut asked = [
        Asked::nothing(Algorithm::Es256, 26 + 37),
        Asked::nothing(Algorithm::Es384, 43 + 55),
        Asked::nothing(Algorithm::EdDsa, 32 + 43),
    ];
    let only = given("--only").map(String::as_str);
    let (begin, mut told, random) = (Instant::now(), 0, SystemRandom::new());
    for round in 0_u64.. {
        // P-384 takes four times as long
        let asked_now = match (only, round % 8) {
            (Some("ES384"), _) | (None, 7) => &mut asked[1],
            (Some("EdDSA"), _) | (None, 1 | 4) => &mut asked[2],
            _ => &mut asked[0],
        };
        let same = match asked_now.algorithm {
            Algorithm::EdDsa => ed25519_key(asked_now, round, &random),
            _ => ecdsa_key(asked_now, &random),
        };
        if let Err(found) = same {
            println!("DIFFERENT: {found}");
            return ExitCode::FAILURE;
        }
        let elapsed = begin.elapsed().as_secs();
        let checked: u64 = asked.iter().map(|asked| asked.checked).sum();
        let done = checked >= most || elapsed >= longest;
        if done || elapsed >= told + 60 {
            told = elapsed;
            let group: u64 = asked.iter().map(|asked| asked.checked * asked.additions).sum();
            let each: Vec<String> = asked
                .iter()
                .map(|asked| format!("{} {} ({} right)", asked.algorithm, asked.checked, asked.accepted))
                .collect();
            let each = each.join(", ");
            println!("{elapsed} s: {checked} signatures, no difference: {each}; up to {group} additions");
        }
        if done {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn ecdsa_key(asked: &mut Asked, random: &SystemRandom) -> Result<(), String> {
    let (signing, order): (&EcdsaSigningAlgorithm, _) = match asked.algorithm {
        Algorithm::Es256 => (
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        ),
        _ => (
            &ECDSA_P384_SHA384_FIXED_SIGNING,
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        ),
    };
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let point = pair.public_key().as_ref();
    let size = point.len() / 2;
    let (x, y) = point[1..].split_at(size);
    let key = PublicKey::from_ec_coordinates(asked.algorithm, x, y).unwrap();
    let table = FixedKey::new(&key).unwrap();
    let order: Vec<u8> =
        (0..size).map(|at| u8::from_str_radix(&order[2 * at..2 * at + 2], 16).unwrap()).collect();
    let mut ask = |message: &[u8], r: &[u8], s: &[u8], right: Option<bool>| {
        let told = asked.about((&key, &table), message, &[r, s].concat(), right);
        told.map_err(|found| format!("{point:02x?} {found}"))
    };
    for at in 0..PER_KEY {
        let mut noise = [0; 64];
        random.fill(&mut noise).unwrap();
        let message = &noise[..32];
        let signature = pair.sign(random, message).unwrap();
        let (r, s) = signature.as_ref().split_at(size);
        ask(message, r, s, Some(true))?;
        ask(message, r, &minus(&order, s), Some(true))?;
        ask(&noise[1..32], r, s, Some(false))?;
        // -r belongs to another point, and to another pair of scalars
        ask(message, &minus(&order, r), s, Some(false))?;
        ask(message, s, r, None)?;
        let bit = usize::from(u16::from_be_bytes([noise[40], noise[41]]));
        ask(message, &changed(r, bit), s, Some(false))?;
        ask(message, r, &changed(s, bit), Some(false))?;
        // small numbers, and those around n: u1 or u2 is then small, or close to n
        let mut small = vec![0; size];
        small[size - 1] = noise[42];
        small[size - 2] = noise[43] & if at % 2 == 0 { 0 } else { 0xff };
        for near in [small.clone(), minus(&order, &small)] {
            if at % 2 == 0 { ask(message, &near, s, None)? } else { ask(message, r, &near, None)? }
        }
    }
    Ok(())
}

/// Signs by itself, so that secret, nonce and R may be anything.
fn ed25519_key(asked: &mut Asked, round: u64, random: &SystemRandom) -> Result<(), String> {
    let noise = || {
        let mut noise = [0; 64];
        random.fill(&mut noise).unwrap();
        noise
    };
    let any = || Scalar::from_bytes_mod_order_wide(&noise());
    let secret = if round % 4 == 1 { special(&noise()) } else { any() };
    if secret == Scalar::ZERO {
        return Ok(());
    }
    let point = EdwardsPoint::mul_base(&secret);
    let public = point.compress().to_bytes();
    let key = PublicKey::from_ed25519(&public).unwrap();
    let table = FixedKey::new(&key).unwrap();
    for torsion in &EIGHT_TORSION[1..] {
        for outside in [point + torsion, *torsion] {
            let other = PublicKey::from_ed25519(outside.compress().as_bytes()).unwrap();
            if FixedKey::new(&other).is_some() {
                return Err(format!("{public:02x?}: a table outside of the group of prime order"));
            }
        }
    }
    let mut ask = |message: &[u8], r: &[u8], s: &[u8], right: Option<bool>| {
        let told = asked.about((&key, &table), message, &[r, s].concat(), right);
        told.map_err(|found| format!("{public:02x?} {found}"))
    };
    for at in 0..PER_KEY {
        let noise = noise();
        let message = &noise[..32];
        let factor = |r: &[u8; 32]| {
            let input = [&r[..], &public, message].concat();
            let hash = digest::digest(&digest::SHA512, &input);
            Scalar::from_bytes_mod_order_wide(hash.as_ref().try_into().unwrap())
        };
        let nonce = if at % 8 == 0 { special(&noise) } else { any() };
        let commitment = ED25519_BASEPOINT_POINT * nonce;
        let r = &commitment.compress().to_bytes();
        let s = nonce + factor(r) * secret;
        let s_bytes = s.as_bytes();
        ask(message, r, s_bytes, Some(true))?;
        ask(&noise[1..32], r, s_bytes, Some(false))?;
        ask(message, r, &plus_order(s_bytes), Some(false))?;
        ask(message, r, (-s).as_bytes(), Some(s == Scalar::ZERO))?;
        ask(message, s_bytes, r, None)?;
        let bit = usize::from(u16::from_be_bytes([noise[40], noise[41]]));
        ask(message, &changed(r, bit), s_bytes, Some(false))?;
        ask(message, r, &changed(s_bytes, bit), Some(false))?;
        ask(message, r, special(&noise[8..]).as_bytes(), None)?;
        // right for who multiplies by the cofactor
        let which = at % 7 + 1;
        let beside = (commitment + EIGHT_TORSION[which]).compress().to_bytes();
        ask(message, &beside, (nonce + factor(&beside) * secret).as_bytes(), Some(false))?;
        // S B - k A is the identity, which R is not, or not so written
        let small = EIGHT_TORSION[at % 8].compress().to_bytes();
        ask(message, &small, (factor(&small) * secret).as_bytes(), Some(at % 8 == 0))?;
        let mut strange = [0xff; 32];
        strange[0] = 0xed + (at % 0x13) as u8;
        strange[31] = if noise[44] < 0x80 { 0x7f } else { 0xff };
        ask(message, &strange, (factor(&strange) * secret).as_bytes(), Some(false))?;
    }
    Ok(())
}

/// A scalar of few bits or around a border of the tables' windows, or the negative of one.
fn special(noise: &[u8]) -> Scalar {
    let mut bytes = [0; 32];
    match noise[0] % 4 {
        0 => bytes[0] = noise[1],
        1 => bytes[usize::from(noise[1]) % 32] = 1 << (noise[2] % 8),
        2 => bytes.fill([0x20, 0x80, 0x7f, 0x1f, 0xff, 0x82][usize::from(noise[1]) % 6]),
        _ => bytes[..usize::from(noise[1]) % 32].fill(0xff),
    }
    let scalar = Scalar::from_bytes_mod_order(bytes) + Scalar::from(noise[3] % 3);
    if noise[4].is_multiple_of(2) { scalar } else { -scalar }
}

/// `number` with one bit changed.
fn changed(number: &[u8], bit: usize) -> Vec<u8> {
    let mut number = number.to_vec();
    let size = number.len();
    number[bit / 8 % size] ^= 1 << (bit % 8);
    number
}

/// `number` and the order of Ed25519's group, little endian.
fn plus_order(number: &[u8; 32]) -> [u8; 32] {
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1;
    let mut carry = false;
    let mut sum = [0; 32];
    for ((sum, number), order) in sum.iter_mut().zip(number).zip(order) {
        (*sum, carry) = number.carrying_add(order, carry);
    }
    sum
}

/// `large` - `small`, big endian.
fn minus(large: &[u8], small: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut difference: Vec<u8> = large
        .iter()
        .zip(small)
        .rev()
        .map(|(large, small)| {
            let byte;
            (byte, borrow) = large.borrowing_sub(*small, borrow);
            byte
        })
        .collect();
    difference.reverse();
    difference
}
