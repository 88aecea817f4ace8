//! Any bytes as a key file: whatever loads is one ring, reads back as itself, and loads under no other name.

#![no_main]

use agentkeys_core::{KeyRing, KeyState, MAX_KEY_FILE_BYTES, MAX_RING_KEYS, Oidc, Secret, Session};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn load(bytes: &[u8]) -> Option<KeyRing<Oidc>> {
    KeyRing::from_secret(&Secret::new(bytes.to_vec())).ok()
}

fuzz_target!(|input: &[u8]| {
    let Some(ring) = load(input) else { return };
    assert!(input.len() <= MAX_KEY_FILE_BYTES);
    assert!((1..=MAX_RING_KEYS).contains(&ring.keys().len()));
    let of = |state| ring.keys().iter().filter(|key| key.state() == state).count();
    assert!(of(KeyState::Active) == 1 && of(KeyState::Next) <= 1);
    assert_eq!(ring.keys()[0].kid(), ring.active().public_jwk().kid());

    // a file has one purpose
    assert!(KeyRing::<Session>::from_secret(&Secret::new(input.to_vec())).is_err());

    // it reads back as itself
    let written = ring.to_secret().expect("what was loaded can be written");
    let again = load(written.expose()).expect("what was written can be loaded");
    assert_eq!(format!("{ring:?}"), format!("{again:?}"));
    assert_eq!(written.expose(), again.to_secret().unwrap().expose());
    assert_eq!(ring.key_set().unwrap().keys().len(), ring.keys().len());

    // under another name no key of it loads
    let document: Value = serde_json::from_slice(written.expose()).unwrap();
    for at in 0..ring.keys().len() {
        let mut changed = document.clone();
        let kid = changed["keys"][at]["kid"].as_str().unwrap().to_owned();
        let first = if kid.starts_with('A') { "B" } else { "A" };
        changed["keys"][at]["kid"] = format!("{first}{}", &kid[1..]).into();
        assert!(load(changed.to_string().as_bytes()).is_none());
    }
});
