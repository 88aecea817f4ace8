//! The key set of a provider, with the quirks that were measured on AWS.

use std::collections::BTreeMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::idp::IdpError;

/// The most keys of one type: beyond that, no token of that type verifies.
const MAX_KEYS: usize = 100;

/// The usable keys of a provider by their `kid`.
#[derive(Debug)]
pub(crate) struct ProviderKeys {
    usable: BTreeMap<String, Jwk>,
    too_many_rsa: bool,
    too_many_ec: bool,
}

impl ProviderKeys {
    /// Reads a key set. A key counts if it has a `kid`, is not for encryption and has no `key_ops`; of two keys with
    /// one `kid` the later counts.
    pub(crate) fn parse(document: &Value) -> Result<Self, IdpError> {
        let keys = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| IdpError::NoKeys("its key set has no keys".to_owned()))?;
        let of_type =
            |kty: &str| keys.iter().filter(|key| key.get("kty").and_then(Value::as_str) == Some(kty)).count();
        let mut usable = BTreeMap::new();
        for key in keys {
            let Some(kid) = key.get("kid").and_then(Value::as_str) else {
                continue;
            };
            usable.remove(kid);
            if let Some(jwk) = usable_key(key) {
                usable.insert(kid.to_owned(), jwk);
            }
        }
        Ok(Self { usable, too_many_rsa: of_type("RSA") > MAX_KEYS, too_many_ec: of_type("EC") > MAX_KEYS })
    }

    /// The key for a token: the one that its `kid` names or, without a `kid`, the only one there is. The key's own
    /// `alg` has no say; its type and curve do.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, IdpError> {
        let none = || IdpError::NoKeys("no key fits the token".to_owned());
        let crowded = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => self.too_many_ec,
            _ => self.too_many_rsa,
        };
        if crowded {
            return Err(IdpError::NoKeys(format!("it has more than {MAX_KEYS} keys of one type")));
        }
        let key = match kid {
            Some(kid) => self.usable.get(kid).ok_or_else(none)?,
            None if self.usable.len() == 1 => self.usable.values().next().ok_or_else(none)?,
            None => return Err(none()),
        };
        let fits = match (&key.algorithm, algorithm) {
            (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512) => true,
            (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
            (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
            _ => false,
        };
        if !fits {
            return Err(none());
        }
        DecodingKey::from_jwk(key).map_err(|_| none())
    }
}

fn usable_key(key: &Value) -> Option<Jwk> {
    let mut key = key.as_object()?.clone();
    let for_signing = key.get("use").is_none_or(|purpose| purpose.as_str() != Some("enc"));
    if !for_signing || key.contains_key("key_ops") {
        return None;
    }
    // These have no say; some values of theirs would not parse.
    key.remove("alg");
    key.remove("use");
    serde_json::from_value(Value::Object(key)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn ec(kid: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": kid})
    }

    fn with(mut key: Value, member: &str, value: Value) -> Value {
        key[member] = value;
        key
    }

    fn found(keys: &[Value], kid: Option<&str>) -> bool {
        ProviderKeys::parse(&json!({"keys": keys})).unwrap().find(kid, Algorithm::ES256).is_ok()
    }

    #[test]
    fn a_key_is_found_by_its_kid() {
        assert!(found(&[ec("a"), ec("b")], Some("b")));
        assert!(!found(&[ec("a"), ec("b")], Some("c")));
        assert!(found(&[with(ec("a"), "use", json!("sig"))], Some("a")));
        assert!(found(&[with(ec("a"), "alg", json!("RS512"))], Some("a")));
        assert!(found(&[with(ec("a"), "use", json!("jwt-svid"))], Some("a")));
    }

    #[test]
    fn without_a_kid_there_must_be_one_key() {
        assert!(found(&[ec("a")], None));
        assert!(!found(&[ec("a"), ec("b")], None));
        assert!(!found(&[], None));
    }

    #[test]
    fn unusable_keys_do_not_count() {
        let mut nameless = ec("a");
        nameless.as_object_mut().unwrap().remove("kid");
        assert!(!found(&[nameless], None));
        assert!(!found(&[with(ec("a"), "use", json!("enc"))], Some("a")));
        assert!(!found(&[with(ec("a"), "key_ops", json!(["verify"]))], Some("a")));
        assert!(!found(&[with(ec("a"), "crv", json!("P-384"))], Some("a")));
        assert!(!found(&[json!("no key")], None));
        let symmetric = json!({"kty": "oct", "k": "AAAA", "kid": "a"});
        assert!(!found(&[symmetric], Some("a")));
    }

    #[test]
    fn the_later_of_two_counts() {
        let enc = with(ec("a"), "use", json!("enc"));
        assert!(!found(&[ec("a"), enc.clone()], Some("a")));
        assert!(found(&[enc, ec("a")], Some("a")));
    }

    #[test]
    fn too_many_keys_of_one_type_spoil_that_type_only() {
        let many_rsa: Vec<Value> =
            (0..101).map(|n| json!({"kty": "RSA", "kid": n.to_string()})).chain([ec("a")]).collect();
        assert!(found(&many_rsa, Some("a")));
        let many_ec: Vec<Value> = (0..101).map(|n| ec(&n.to_string())).collect();
        assert!(!found(&many_ec, Some("1")));
        assert!(found(many_ec.get(..100).unwrap(), Some("1")));
    }

    #[test]
    fn a_key_set_has_keys() {
        assert!(matches!(ProviderKeys::parse(&json!({})), Err(IdpError::NoKeys(_))));
        assert!(matches!(ProviderKeys::parse(&json!([])), Err(IdpError::NoKeys(_))));
    }
}
