//! Any bytes as a JOSE header: what is accepted reads back as itself, and has no member that is refused.

#![no_main]

use agentkeys_core::jose::Header;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const IGNORED: [&str; 3] = ["cty", "x5t", "x5t#S256"];

/// What a header says, in the one way that we would write it.
fn written(header: &Header<'_>) -> String {
    let mut members = Map::new();
    members.insert("alg".to_owned(), header.alg.as_ref().into());
    for (name, value) in [("kid", &header.kid), ("typ", &header.typ)] {
        if let Some(value) = value {
            members.insert(name.to_owned(), value.as_ref().into());
        }
    }
    Value::Object(members).to_string()
}

fuzz_target!(|input: &[u8]| {
    let Ok(header) = Header::parse(input) else {
        // a name more that may be ignored opens no other door
        if let Ok(header) = Header::parse_ignoring(input, &["ver", "crit", "jwk"]) {
            let members: Map<String, Value> = serde_json::from_slice(input).unwrap();
            assert!(header.has_ignored_members && members.contains_key("ver"));
            assert!(!members.contains_key("crit") && !members.contains_key("jwk"));
        }
        return;
    };
    // read the slow way: the same members and no other
    let members: Map<String, Value> =
        serde_json::from_slice(input).expect("it was accepted, so it is an object");
    for name in members.keys() {
        assert!(["alg", "kid", "typ"].contains(&name.as_str()) || IGNORED.contains(&name.as_str()), "{name}");
    }
    assert_eq!(members["alg"], header.alg.as_ref());
    assert_eq!(members.get("kid").and_then(Value::as_str), header.kid.as_deref());
    assert_eq!(members.get("typ").and_then(Value::as_str), header.typ.as_deref());
    assert_eq!(header.has_ignored_members, IGNORED.iter().any(|name| members.contains_key(*name)));

    let text = written(&header);
    let again = Header::parse(text.as_bytes()).expect("what was accepted is accepted again");
    assert!(!again.has_ignored_members);
    assert_eq!(written(&again), text);
});
