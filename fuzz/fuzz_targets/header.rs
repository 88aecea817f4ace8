//! Any bytes as a JOSE header: what is accepted reads back as itself, and has no member that is refused.

#![no_main]

use agentkeys_core::jose::Header;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

mod members;
use members::Members;

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
            let members = Members::read(input);
            assert!(header.has_ignored_members && members.has("ver"));
            assert!(!members.has("crit") && !members.has("jwk"));
        }
        return;
    };
    // read the slow way: the same members and no other
    let members = Members::read(input);
    for name in members.names() {
        assert!(["alg", "kid", "typ"].contains(&name) || IGNORED.contains(&name), "{name}");
    }
    assert_eq!(members.text("alg").as_deref(), Some(header.alg.as_ref()));
    assert_eq!(members.text("kid").as_deref(), header.kid.as_deref());
    assert_eq!(members.text("typ").as_deref(), header.typ.as_deref());
    assert_eq!(header.has_ignored_members, IGNORED.iter().any(|name| members.has(name)));

    let text = written(&header);
    let again = Header::parse(text.as_bytes()).expect("what was accepted is accepted again");
    assert!(!again.has_ignored_members);
    assert_eq!(written(&again), text);
});
