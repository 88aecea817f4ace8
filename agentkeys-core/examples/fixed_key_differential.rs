//! Asks tables of keys and aws-lc-rs about the same signatures, right ones and wrong ones of many makes, and
//! ends with status 1 at the first on which they differ.
//!
//! ```text
//! cargo run --release -p agentkeys-core --features test-util --example fixed_key_differential -- --signatures 10000000
//! cargo run --release -p agentkeys-core --features test-util --example fixed_key_differential -- --seconds 1800
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
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _,
};

/// How many signatures of one key are made; each gives nine to ask about.
const PER_KEY: usize = 512;

struct Curve {
    algorithm: Algorithm,
    signing: &'static EcdsaSigningAlgorithm,
    /// The order of the group, big endian.
    order: &'static str,
    /// The most additions of points in one verification.
    additions: u64,
    checked: u64,
    accepted: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let (signatures, seconds) = (given("--signatures"), given("--seconds"));
    let (most, longest) = match (signatures, seconds) {
        (None, None) => (u64::MAX, 10),
        (signatures, seconds) => (signatures.unwrap_or(u64::MAX), seconds.unwrap_or(u64::MAX)),
    };
    let mut curves = [
        Curve {
            algorithm: Algorithm::Es256,
            signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
            order: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
            additions: 26 + 37,
            checked: 0,
            accepted: 0,
        },
        Curve {
            algorithm: Algorithm::Es384,
            signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
            order: "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            additions: 43 + 55,
            checked: 0,
            accepted: 0,
        },
    ];
    let (begin, mut told, random) = (Instant::now(), 0, SystemRandom::new());
    for round in 0_u64.. {
        // P-384 takes four times as long
        let curve = &mut curves[usize::from(round % 8 == 7)];
        if let Err(found) = one_key(curve, &random) {
            println!("DIFFERENT: {found}");
            return ExitCode::FAILURE;
        }
        let elapsed = begin.elapsed().as_secs();
        let checked: u64 = curves.iter().map(|curve| curve.checked).sum();
        let done = checked >= most || elapsed >= longest;
        if done || elapsed >= told + 60 {
            told = elapsed;
            let group: u64 = curves.iter().map(|curve| curve.checked * curve.additions).sum();
            let of = |curve: &Curve| format!("{} ({} right)", curve.checked, curve.accepted);
            let (p256, p384) = (of(&curves[0]), of(&curves[1]));
            println!(
                "{elapsed} s: {checked} signatures, no difference: ES256 {p256}, ES384 {p384}; up to {group} additions"
            );
        }
        if done {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn one_key(curve: &mut Curve, random: &SystemRandom) -> Result<(), String> {
    let pair = EcdsaKeyPair::generate(curve.signing).unwrap();
    let point = pair.public_key().as_ref();
    let size = point.len() / 2;
    let (x, y) = point[1..].split_at(size);
    let key = PublicKey::from_ec_coordinates(curve.algorithm, x, y).unwrap();
    let table = FixedKey::new(&key).unwrap();
    let order: Vec<u8> =
        (0..size).map(|at| u8::from_str_radix(&curve.order[2 * at..2 * at + 2], 16).unwrap()).collect();
    let mut ask = |message: &[u8], r: &[u8], s: &[u8], right: Option<bool>| {
        let signature = [r, s].concat();
        let (fast, slow) = (table.verifies(message, &signature), key.verifies(message, &signature));
        curve.checked += 1;
        curve.accepted += u64::from(slow);
        if fast != slow || right.is_some_and(|right| right != slow) {
            return Err(format!(
                "{} {point:02x?} {message:02x?} {signature:02x?}: {fast}, {slow}",
                curve.algorithm
            ));
        }
        Ok(())
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
        let changed = |number: &[u8], bit: usize| {
            let mut number = number.to_vec();
            number[bit / 8 % size] ^= 1 << (bit % 8);
            number
        };
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
