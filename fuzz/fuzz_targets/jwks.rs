//! Any bytes as somebody's key set: bounded, unambiguous, and every key accounted for.

#![no_main]

use agentkeys_core::jose::{Jwk, KeySet, MAX_KEY_SET_BYTES, MAX_KEYS};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The set's elements as they were written.
fn elements(input: &[u8]) -> Vec<Box<RawValue>> {
    let document: Map<String, Value> = serde_json::from_slice(input).expect("it was a JSON object");
    // through a map of raw values: `Value` would lose a doubled member of a key
    let raw: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_slice(input).unwrap();
    assert_eq!(document.len(), raw.len());
    serde_json::from_str(raw["keys"].get()).unwrap()
}

fuzz_target!(|input: &[u8]| {
    let parsed = KeySet::parse(input);
    let again = KeySet::parse(input);
    let (Ok(set), Ok(again)) = (&parsed, &again) else {
        assert_eq!(parsed.err(), again.err());
        return;
    };
    assert!(input.len() <= MAX_KEY_SET_BYTES);
    assert!((1..=MAX_KEYS).contains(&set.keys().len()));

    // the same bytes give the same set
    assert_eq!(set.keys().len(), again.keys().len());
    for (one, other) in set.keys().iter().zip(again.keys()) {
        assert!(one.kid() == other.kid() && one.key().is_same_key(other.key()));
    }

    // every key is accounted for
    let written = elements(input);
    assert_eq!(set.keys().len() + set.skipped() + set.contradicted(), written.len());

    let usable: Vec<(Jwk, &RawValue)> =
        written.iter().filter_map(|raw| Some((Jwk::parse(raw.get()).ok()?, &**raw))).collect();
    for (at, jwk) in set.keys().iter().enumerate() {
        // one name, one key
        if let Some(kid) = jwk.kid() {
            assert!(set.by_kid(kid.as_str()).is_some_and(|found| found.key().is_same_key(jwk.key())));
            assert!(!set.keys()[at + 1..].iter().any(|other| other.kid() == Some(kid)));
        }
        // it is one that was written, and alone it is the same
        let (_, raw) = usable
            .iter()
            .find(|(one, _)| one.kid() == jwk.kid() && one.key().is_same_key(jwk.key()))
            .expect("a key that nobody wrote");
        let alone = KeySet::parse(format!("{{\"keys\":[{}]}}", raw.get()).as_bytes()).unwrap();
        assert!(alone.keys().len() == 1 && alone.keys()[0].key().is_same_key(jwk.key()));
        // nothing verifies under a signature that is none
        assert!(!jwk.key().verifies(b"message", &[0; 64]));
        assert!(!jwk.key().verifies(b"message", b""));
    }
});
