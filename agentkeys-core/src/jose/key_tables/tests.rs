use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use p256::pkcs8::EncodePrivateKey as _;

use super::*;
use crate::jose::{Algorithm, EcKeyPair};

struct Signer(EcKeyPair);

impl Signer {
    fn new(seed: u8) -> Self {
        let secret = p256::SecretKey::from_slice(&[seed; 32]).unwrap().to_pkcs8_der().unwrap();
        Self(EcKeyPair::from_pkcs8_der(secret.as_bytes()).unwrap())
    }

    fn key(&self) -> PublicKey {
        let (x, y) = self.0.public_coordinates().unwrap();
        PublicKey::from_ec_coordinates(Algorithm::Es256, &x, &y).unwrap()
    }

    fn sign(&self) -> [u8; 64] {
        self.0.sign(MESSAGE).unwrap()
    }
}

const MESSAGE: &[u8] = b"message";

/// Lets `key` verify until it is due for its table, and until that is built.
fn build(tables: &KeyTables, key: &PublicKey, signature: &[u8]) {
    for _ in 0..VERIFIES_BEFORE_TABLE {
        assert!(tables.verifies(key, MESSAGE, signature));
    }
    while tables.health().building > 0 {
        thread::yield_now();
    }
}

/// Gives `key` the table of another key: it refuses what is right and accepts what is wrong.
fn break_table(tables: &KeyTables, key: &PublicKey, other: &PublicKey) {
    let room = Room::reserve(tables.0.as_ref().unwrap(), 1).unwrap();
    room.fill(key.table(), FixedKey::new(other).unwrap());
}

#[test]
fn a_key_gets_its_table_after_so_many_verified_signatures_and_not_before() {
    let (signer, tables) = (Signer::new(1), KeyTables::on());
    let (key, signature) = (signer.key(), signer.sign());
    let mut wrong = signature;
    wrong[40] ^= 1;
    for _ in 1..VERIFIES_BEFORE_TABLE {
        assert!(tables.verifies(&key, MESSAGE, &signature));
    }
    for _ in 0..2 * VERIFIES_BEFORE_TABLE {
        assert!(!tables.verifies(&key, MESSAGE, &wrong), "what is refused counts for nothing");
    }
    assert_eq!(tables.health(), TablesHealth::default());
    assert!(tables.verifies(&key, MESSAGE, &signature));
    while tables.health().building > 0 {
        thread::yield_now();
    }
    let bytes = FixedKey::bytes(Algorithm::Es256).unwrap();
    assert!(bytes <= 160 << 10);
    let with_one = TablesHealth { tables: 1, bytes, ..TablesHealth::default() };
    assert_eq!(tables.health(), with_one);
    // it is built once
    tables.0.as_ref().unwrap().build(&key);
    assert_eq!(tables.health(), with_one);
    // and clones share it
    for _ in 0..3 * VERIFIES_BEFORE_TABLE {
        assert!(tables.verifies(&key.clone(), MESSAGE, &signature));
        assert!(!tables.verifies(&key, MESSAGE, &wrong));
    }
    assert_eq!(tables.health(), with_one);
}

#[test]
fn a_table_goes_with_the_last_clone_of_its_key() {
    let (signer, tables) = (Signer::new(1), KeyTables::on());
    let key = signer.key();
    build(&tables, &key, &signer.sign());
    let clone = key.clone();
    drop(key);
    assert_eq!(tables.health().tables, 1);
    drop(clone);
    assert_eq!(tables.health(), TablesHealth::default());
}

#[test]
fn tables_are_bounded_in_number_and_room_is_given_back() {
    let (first, second) = (Signer::new(1), Signer::new(2));
    let tables = KeyTables::within(1, usize::MAX);
    let (one, other) = (first.key(), second.key());
    build(&tables, &one, &first.sign());
    build(&tables, &other, &second.sign());
    assert_eq!((tables.health().tables, tables.health().without_room), (1, 1));
    assert!(other.table().table().is_none());
    drop(one);
    build(&tables, &other, &second.sign());
    assert_eq!((tables.health().tables, tables.health().without_room), (1, 1));
}

#[test]
fn tables_are_bounded_in_bytes() {
    let (first, second) = (Signer::new(1), Signer::new(2));
    let bytes = FixedKey::bytes(Algorithm::Es256).unwrap();
    let tables = KeyTables::within(usize::MAX, 2 * bytes - 1);
    let (one, other) = (first.key(), second.key());
    build(&tables, &one, &first.sign());
    build(&tables, &other, &second.sign());
    let health = tables.health();
    assert_eq!((health.tables, health.bytes, health.without_room), (1, bytes, 1));
    drop(one);
    build(&tables, &other, &second.sign());
    assert_eq!(tables.health().tables, 1);
}

#[test]
fn off_builds_nothing_and_uses_nothing() {
    let (signer, off) = (Signer::new(1), KeyTables::off());
    let key = signer.key();
    // even a table that is there: the choice is the verifier's
    break_table(&KeyTables::on(), &key, &Signer::new(2).key());
    for _ in 0..2 * VERIFIES_BEFORE_TABLE {
        assert!(off.verifies(&key, MESSAGE, &signer.sign()));
        assert!(!off.verifies(&key, MESSAGE, &Signer::new(2).sign()));
    }
    assert_eq!(off.health(), TablesHealth::default());
    assert!(!key.table().switched_off.load(Ordering::Relaxed));
    assert!(!KeyTables::default().verifies(&key, MESSAGE, &Signer::new(2).sign()));
}

#[test]
fn what_a_table_wrongly_refuses_is_accepted_and_the_table_is_used_no_more() {
    let (signer, other, tables) = (Signer::new(1), Signer::new(2), KeyTables::on());
    let key = signer.key();
    break_table(&tables, &key, &other.key());
    assert!(key.table().table().is_some());
    assert!(tables.verifies(&key, MESSAGE, &signer.sign()));
    assert!(key.table().table().is_none(), "switched off");
    assert_eq!((tables.health().wrongly_refused, tables.health().wrongly_accepted), (1, 0));
    // the back end alone, for ever
    build(&tables, &key, &signer.sign());
    assert!(key.table().table().is_none());
    assert!(!tables.verifies(&key, MESSAGE, &other.sign()));
    assert_eq!((tables.health().wrongly_refused, tables.health().wrongly_accepted), (1, 0));
}

#[test]
fn the_first_signature_that_a_table_accepts_is_verified_again() {
    let (signer, other, tables) = (Signer::new(1), Signer::new(2), KeyTables::on());
    let key = signer.key();
    break_table(&tables, &key, &other.key());
    assert!(!tables.verifies(&key, MESSAGE, &other.sign()), "the back end decides");
    assert_eq!((tables.health().wrongly_refused, tables.health().wrongly_accepted), (0, 1));
    assert!(key.table().table().is_none(), "switched off");
    assert!(tables.verifies(&key, MESSAGE, &signer.sign()));
}

#[test]
fn one_in_so_many_accepted_signatures_is_verified_again() {
    let slot = TableSlot::default();
    let canaries: Vec<u32> = (0..2 * ACCEPTED_PER_CANARY + 1).filter(|_| slot.is_canary()).collect();
    assert_eq!(canaries, [0, ACCEPTED_PER_CANARY, 2 * ACCEPTED_PER_CANARY]);
    // between two of them the table's word is taken: that is what it is for
    let (signer, other, tables) = (Signer::new(1), Signer::new(2), KeyTables::on());
    let key = signer.key();
    break_table(&tables, &key, &other.key());
    key.table().accepted.store(ACCEPTED_PER_CANARY - 1, Ordering::Relaxed);
    assert!(tables.verifies(&key, MESSAGE, &other.sign()));
    assert!(!tables.verifies(&key, MESSAGE, &other.sign()));
    assert_eq!(tables.health().wrongly_accepted, 1);
}

#[test]
fn what_is_refused_by_both_is_no_disagreement() {
    let (signer, tables) = (Signer::new(1), KeyTables::on());
    let key = signer.key();
    build(&tables, &key, &signer.sign());
    for wrong in [&[][..], &[0; 64], &[0xff; 64], &Signer::new(2).sign(), &[1; 63], &[1; 65]] {
        assert!(!tables.verifies(&key, MESSAGE, wrong));
    }
    assert!(!tables.verifies(&key, b"another message", &signer.sign()));
    assert!(tables.verifies(&key, MESSAGE, &signer.sign()));
    let health = tables.health();
    assert_eq!((health.tables, health.wrongly_accepted, health.wrongly_refused), (1, 0, 0));
}

#[test]
fn a_table_that_nobody_waits_for_any_more_is_dropped() {
    let (signer, tables) = (Signer::new(1), KeyTables::on());
    let (key, signature) = (signer.key(), signer.sign());
    for _ in 0..VERIFIES_BEFORE_TABLE {
        assert!(tables.verifies(&key, MESSAGE, &signature));
    }
    drop(key);
    while tables.health() != TablesHealth::default() {
        thread::yield_now();
    }
}

#[test]
fn keys_of_other_algorithms_have_no_table() {
    let tables = KeyTables::on();
    let mut n = [0xff; 256];
    n[255] = 0xfd;
    let key = PublicKey::from_rsa_components(&n, &[1, 0, 1]).unwrap();
    tables.0.as_ref().unwrap().build(&key);
    assert_eq!(tables.health(), TablesHealth::default());
    assert!(FixedKey::new(&key).is_none());
}

#[test]
fn an_ed25519_key_gets_its_table_and_is_watched_as_any_other() {
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let key = |pair: &Ed25519KeyPair| PublicKey::from_ed25519(pair.public_key().as_ref()).unwrap();
    let (signer, other, tables) = (pair(1), pair(2), KeyTables::on());
    let (right, wrong) = (signer.sign(MESSAGE), other.sign(MESSAGE));
    let good = key(&signer);
    build(&tables, &good, right.as_ref());
    assert_eq!((tables.health().tables, tables.health().bytes), (1, 215 << 10));
    for _ in 0..3 {
        assert!(tables.verifies(&good, MESSAGE, right.as_ref()));
        assert!(!tables.verifies(&good, MESSAGE, wrong.as_ref()));
    }
    assert_eq!(good.table().accepted.load(Ordering::Relaxed), 3, "by the table");
    assert_eq!((tables.health().wrongly_accepted, tables.health().wrongly_refused), (0, 0));
    let broken = key(&signer);
    break_table(&tables, &broken, &key(&other));
    assert!(tables.verifies(&broken, MESSAGE, right.as_ref()));
    assert!(broken.table().table().is_none(), "switched off");
    assert_eq!((tables.health().wrongly_accepted, tables.health().wrongly_refused), (0, 1));
}

/// On signatures of such keys verifiers differ that are both right, and whoever owns the key makes them.
#[test]
fn an_ed25519_key_outside_of_the_group_stays_with_the_back_end() {
    // R = s B is right wherever k A is the identity: for one message in eight at least
    let s = Scalar::from(77_u64);
    let r = (ED25519_BASEPOINT_POINT * s).compress();
    let signature = [r.to_bytes(), s.to_bytes()].concat();
    for point in EIGHT_TORSION {
        let tables = KeyTables::on();
        let key = PublicKey::from_ed25519(point.compress().as_bytes()).unwrap();
        let message =
            (0_u64..).map(u64::to_be_bytes).find(|message| key.verifies(message, &signature)).unwrap();
        for _ in 0..3 * VERIFIES_BEFORE_TABLE {
            assert!(tables.verifies(&key, &message, &signature));
            assert!(!tables.verifies(&key, &message, &[&signature[..63], &[1]].concat()));
        }
        while tables.health().building > 0 {
            thread::yield_now();
        }
        assert_eq!(tables.health(), TablesHealth::default());
        assert!(key.table().claimed.load(Ordering::Relaxed), "once is enough");
    }
}

#[test]
fn another_key_does_not_get_the_table_of_this_one() {
    let (signer, other, tables) = (Signer::new(1), Signer::new(2), KeyTables::on());
    let (key, mut stranger, mut same) = (signer.key(), other.key(), signer.key());
    build(&tables, &key, &signer.sign());
    stranger.share_table_of(&key);
    assert!(stranger.table().table().is_none());
    same.share_table_of(&key);
    assert!(same.table().table().is_some());
}
