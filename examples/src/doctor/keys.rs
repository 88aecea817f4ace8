use std::collections::BTreeSet;

use agentkeys_core::jose::{KeySet, MAX_KEY_SET_BYTES};
use serde_json::{Map, Value};

use super::{Check, shown};

pub(super) const MAX_BYTES: usize = MAX_KEY_SET_BYTES;

/// What AWS makes of a key set: at most 100 keys of each type, each with a `kid` of its own, for signatures.
pub(super) fn check(body: &[u8]) -> Check {
    let set: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        return wrong("it is no JWK set", "publish {\"keys\":[…]}");
    };
    if keys.is_empty() {
        return wrong("there is no key in it", "publish the key that signs");
    }
    let (mut names, mut rsa, mut ec, mut others) = (BTreeSet::new(), 0, 0, 0);
    for key in keys {
        let Some(key) = key.as_object() else { return wrong("a key is no object", "publish JWKs") };
        let kid = text(key, "kid");
        let name = if kid.is_empty() { "a key".to_owned() } else { format!("key {}", shown(kid)) };
        if PRIVATE.iter().any(|member| key.contains_key(*member)) {
            return wrong(
                format!("{name} is published with its private half"),
                "withdraw it now: whoever has read it signs as this issuer. Make a new key",
            );
        }
        if kid.is_empty() {
            return wrong("a key has no kid", "give each a kid: AWS takes none without");
        }
        if !names.insert(kid) {
            return wrong(format!("{name} is there twice"), "give each a kid of its own: AWS takes the last");
        }
        if key.contains_key("key_ops") {
            return wrong(format!("{name} has key_ops"), "leave key_ops out: AWS refuses such a key");
        }
        if !matches!(text(key, "use"), "" | "sig") {
            return wrong(format!("{name} is not for signatures"), "publish \"use\":\"sig\"");
        }
        match (text(key, "kty"), text(key, "crv"), text(key, "alg")) {
            ("RSA", _, "" | "RS256" | "RS384" | "RS512") => rsa += 1,
            ("EC", "P-256", "" | "ES256") | ("EC", "P-384", "" | "ES384") | ("EC", "P-521", "" | "ES512") => {
                ec += 1;
            }
            _ => others += 1,
        }
    }
    if rsa > MOST || ec > MOST {
        return wrong(format!("{rsa} RSA and {ec} EC keys"), "publish at most 100 of each type");
    }
    let found = format!("{} keys: {ec} EC, {rsa} RSA", keys.len());
    if rsa + ec == 0 {
        return wrong(format!("{found}, none that AWS takes"), "sign with ES256 or RS256");
    }
    if let Err(error) = KeySet::parse(body) {
        return wrong(error.to_string(), "publish kty, crv, x, y, kid, use and alg, and nothing else");
    }
    if others > 0 {
        return Check::warn(
            NAME,
            format!("{found}, {others} that AWS passes over"),
            "sign with ES256 or RS256",
        );
    }
    Check::ok(NAME, found)
}

fn text<'k>(key: &'k Map<String, Value>, member: &str) -> &'k str {
    key.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn wrong(found: impl Into<String>, mend: &str) -> Check {
    Check::wrong(NAME, found, mend)
}

const NAME: &str = "keys";
const MOST: usize = 100;
/// <https://www.rfc-editor.org/rfc/rfc7518#section-6>
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
