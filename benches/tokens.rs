//! What the benches of verification share: tokens, their keys, and a verifier.

use std::sync::Arc;

use agentkeys_core::jose::{Algorithm as Ours, FixedKey, KeyTables, VERIFIES_BEFORE_TABLE};
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{Audience, Clock as _, Profile, StaticKeys, SystemClock, Verifier};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://oidc.example.com/tenants/agents-production";
pub(crate) const AUDIENCE: &str = "sts.amazonaws.com";

#[derive(Serialize, Deserialize)]
pub(crate) struct Tags {
    pub(crate) principal_tags: PrincipalTags,
    pub(crate) transitive_tag_keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PrincipalTags {
    pub(crate) tenant: Vec<String>,
    pub(crate) agent: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Private {
    #[serde(rename = "https://aws.amazon.com/tags")]
    pub(crate) tags: Tags,
}

/// What jsonwebtoken's users read: registered and private claims in one struct.
#[derive(Deserialize)]
#[allow(dead_code, reason = "deserialising is the work that is measured")]
pub(crate) struct All {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
    #[serde(rename = "https://aws.amazon.com/tags")]
    pub(crate) tags: Tags,
}

pub(crate) fn claims(now: u64, at: usize) -> Value {
    let agent = format!("agent-{at:08}");
    json!({
        "iss": ISSUER, "sub": format!("aws-stsweb/arn:aws:eks:eu-central-1:111122223333:cluster%2Fprod/acme/{agent}"),
        "aud": AUDIENCE, "iat": now - 10, "nbf": now - 15, "exp": now + 3000,
        "jti": URL_SAFE_NO_PAD.encode([(at % 251) as u8; 16]),
        "https://aws.amazon.com/tags": {
            "principal_tags": { "tenant": ["acme-production-europe"], "agent": [agent] },
            "transitive_tag_keys": ["tenant", "agent"],
        },
    })
}

pub(crate) fn raw_key(jwk: &Value, algorithm: Ours) -> ParsedPublicKey {
    let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = || [vec![4], member("x"), member("y")].concat();
    match algorithm {
        Ours::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point()).unwrap(),
        Ours::Es384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point()).unwrap(),
        Ours::EdDsa => ParsedPublicKey::new(&ED25519, member("x")).unwrap(),
        _ => PublicKeyComponents { n: member("n"), e: member("e") }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .unwrap(),
    }
}

pub(crate) fn our_verifier(issuer: &FakeIssuer) -> Verifier {
    let keys = Arc::new(StaticKeys::new(issuer.key_set()));
    Verifier::new(Profile::oidc(issuer.issuer().clone(), keys), Audience::parse(AUDIENCE).unwrap())
}

/// The same once the table of the key of `algorithm` is there.
pub(crate) fn our_verifier_with_table(issuer: &FakeIssuer, algorithm: Ours) -> Verifier {
    let tables = KeyTables::on();
    let verifier = our_verifier(issuer).with_key_tables(tables.clone());
    let now = SystemClock::new().now().unwrap();
    let token = issuer.sign(algorithm, &claims(now.as_unix(), 0));
    for _ in 0..VERIFIES_BEFORE_TABLE {
        verifier.verify_with_known_keys::<Private>(&token, now).unwrap();
    }
    while tables.health().tables == 0 {
        std::thread::yield_now();
    }
    verifier
}

/// The bare check with a table, for `own_raw`.
pub(crate) fn our_raw(issuer: &FakeIssuer, algorithm: Ours) -> Option<FixedKey> {
    let keys = issuer.key_set();
    FixedKey::new(keys.by_kid(FakeIssuer::kid(algorithm)).unwrap().key())
}

pub(crate) fn their_validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_nbf = true;
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

pub(crate) fn published(issuer: &FakeIssuer, algorithm: Ours) -> Value {
    let jwks = issuer.jwks();
    let mut keys = jwks["keys"].as_array().unwrap().iter();
    keys.find(|jwk| jwk["kid"] == FakeIssuer::kid(algorithm)).unwrap().clone()
}

/// What is signed and the signature of each token.
pub(crate) fn parts(tokens: &[String]) -> Vec<(&str, Vec<u8>)> {
    let parts = tokens.iter().map(|token| token.rsplit_once('.').unwrap());
    parts.map(|(input, signature)| (input, URL_SAFE_NO_PAD.decode(signature).unwrap())).collect()
}
