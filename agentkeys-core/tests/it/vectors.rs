//! The examples of the RFCs, each a file that says where it is from.

use agentkeys_core::jose::{Compact, Header, Jwk, PublicJwk};
use jsonwebtoken::jwk::ThumbprintHash;
use serde_json::{Value, json};

use crate::support::{decode, signer};

fn verify(file: &str, alg: &str, payload: &str) {
    let vector: Value = serde_json::from_str(file).unwrap();
    assert!(vector["source"].as_str().unwrap().starts_with("https://www.rfc-editor.org/rfc/"));
    let jwk = Jwk::parse(&vector["jwk"].to_string()).unwrap();
    let jws = vector["jws"].as_str().unwrap();
    let compact = Compact::split(jws).unwrap();
    let header_json = compact.header_json().unwrap();
    let header = Header::parse(&header_json).unwrap();
    assert_eq!((header.alg.as_ref(), jwk.key().algorithm().as_str()), (alg, alg));
    assert_eq!(compact.payload().unwrap(), payload.as_bytes());
    let signature = compact.signature().unwrap();
    assert!(jwk.key().verifies(compact.signing_input(), &signature));
    for at in 0..signature.len() {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        assert!(!jwk.key().verifies(compact.signing_input(), &changed), "{at}");
    }
    assert!(!jwk.key().verifies(b"something else", &signature));
}

const CLAIMS: &str = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";

#[test]
fn rfc7515_appendix_a_2_rs256() {
    verify(include_str!("../data/rfc7515-a2-rs256.json"), "RS256", CLAIMS);
}

#[test]
fn rfc7515_appendix_a_3_es256() {
    verify(include_str!("../data/rfc7515-a3-es256.json"), "ES256", CLAIMS);
}

#[test]
fn rfc8037_appendix_a_4_eddsa() {
    verify(include_str!("../data/rfc8037-a4-eddsa.json"), "EdDSA", "Example of Ed25519 signing");
}

#[test]
fn w38_r33_our_kid_is_the_thumbprint_that_another_library_computes() {
    let vector: Value = serde_json::from_str(include_str!("../data/rfc7515-a3-es256.json")).unwrap();
    let coordinate = |name: &str| decode(vector["jwk"][name].as_str().unwrap()).try_into().unwrap();
    let published = [PublicJwk::es256(&coordinate("x"), &coordinate("y")), {
        use agentkeys_core::TokenSigner as _;
        signer().public_jwk().clone()
    }];
    for ours in published {
        let json = json!(ours);
        let theirs: jsonwebtoken::jwk::Jwk = serde_json::from_value(json).unwrap();
        assert_eq!(theirs.thumbprint(ThumbprintHash::SHA256).unwrap(), ours.kid().as_str());
    }
}
