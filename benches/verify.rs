//! Verifying a JWT in full, beside jsonwebtoken and beside the bare signature check.
//!
//! - ours: split, header, key by name, signature, typed claims, and all of the rules, with the time read each
//!   time;
//! - `jsonwebtoken`: the same work as its users write it: `decode_header` for the `kid`, a map of keys, `decode`
//!   with `exp`, `nbf`, `iss`, `aud` and `sub` checked;
//! - `raw`: `ParsedPublicKey::verify_sig` alone, hashing included, over the signature decoded beforehand: the
//!   floor under any implementation on this back end.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use agentkeys_benches::{Candidate, Outcome, Plan, compare, run};
use agentkeys_core::jose::Algorithm as Ours;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{Audience, Clock as _, Issuer, Profile, StaticKeys, SystemClock, Verifier};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

const ISSUER: &str = "https://oidc.example.com/tenants/agents-production";
const AUDIENCE: &str = "sts.amazonaws.com";

#[derive(Deserialize)]
struct Tags {
    principal_tags: PrincipalTags,
    transitive_tag_keys: Vec<String>,
}

#[derive(Deserialize)]
struct PrincipalTags {
    tenant: Vec<String>,
    agent: Vec<String>,
}

#[derive(Deserialize)]
struct Private {
    #[serde(rename = "https://aws.amazon.com/tags")]
    tags: Tags,
}

/// What jsonwebtoken's users read: registered and private claims in one struct.
#[derive(Deserialize)]
#[allow(dead_code, reason = "deserialising is the work that is measured")]
struct All {
    iss: String,
    sub: String,
    aud: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    #[serde(rename = "https://aws.amazon.com/tags")]
    tags: Tags,
}

fn claims(now: u64, at: usize) -> Value {
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

fn raw_key(jwk: &Value, algorithm: Ours) -> ParsedPublicKey {
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

fn case(name: &'static str, ours: Ours, theirs: Algorithm, issuer: Arc<FakeIssuer>) -> Outcome {
    let plan = Plan { items: 4096, slice: 128, rounds: 63 };
    let clock = SystemClock::new();
    let now = clock.now().unwrap().as_unix();
    let tokens: Vec<String> = (0..plan.items).map(|at| issuer.sign(ours, &claims(now, at))).collect();

    let keys = Arc::new(StaticKeys::new(issuer.key_set()));
    let profile = Profile::oidc(issuer.issuer().clone(), keys);
    let verifier = Verifier::new(profile, Audience::parse(AUDIENCE).unwrap());

    let published: JwkSet = serde_json::from_value(issuer.jwks()).unwrap();
    let decoding_keys: HashMap<String, DecodingKey> = published
        .keys
        .iter()
        .map(|jwk| (jwk.common.key_id.clone().unwrap(), DecodingKey::from_jwk(jwk).unwrap()))
        .collect();
    let mut validation = Validation::new(theirs);
    validation.validate_nbf = true;
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);

    let jwks = issuer.jwks();
    let jwk =
        jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == FakeIssuer::kid(ours)).unwrap();
    let raw = raw_key(jwk, ours);
    let parts: Vec<(&str, Vec<u8>)> = tokens
        .iter()
        .map(|token| {
            let (input, signature) = token.rsplit_once('.').unwrap();
            (input, URL_SAFE_NO_PAD.decode(signature).unwrap())
        })
        .collect();

    compare(
        name,
        plan,
        vec![
            Candidate::new("agentkeys", |at| {
                let now = clock.now().unwrap();
                let verified = verifier.verify_with_known_keys::<Private>(&tokens[at], now).unwrap();
                let tags = &verified.claims().tags;
                black_box((
                    &tags.principal_tags.tenant,
                    &tags.principal_tags.agent,
                    &tags.transitive_tag_keys,
                ));
            }),
            Candidate::new("raw", |at| {
                let (input, signature) = &parts[at];
                raw.verify_sig(input.as_bytes(), signature).unwrap();
            }),
            Candidate::new("jsonwebtoken", |at| {
                let header = jsonwebtoken::decode_header(&tokens[at]).unwrap();
                let key = &decoding_keys[header.kid.as_deref().unwrap()];
                black_box(jsonwebtoken::decode::<All>(&tokens[at], key, &validation).unwrap());
            }),
        ],
    )
}

fn main() {
    let issuer = Arc::new(FakeIssuer::new(Issuer::parse(ISSUER).unwrap()));
    let cases = [
        ("es256", Ours::Es256, Algorithm::ES256),
        ("es384", Ours::Es384, Algorithm::ES384),
        ("rs256", Ours::Rs256, Algorithm::RS256),
        ("eddsa", Ours::EdDsa, Algorithm::EdDSA),
    ];
    run(
        "verify",
        cases.map(|(name, ours, theirs)| {
            let issuer = Arc::clone(&issuer);
            Box::new(move || case(name, ours, theirs, issuer)) as Box<dyn FnOnce() -> Outcome>
        }),
    );
}
