//! Verifying a JWT in full, beside jsonwebtoken and beside the bare signature check.
//!
//! - ours: split, header, key by name, signature, typed claims, and all of the rules, with the time read each
//!   time;
//! - `jsonwebtoken`: the same work as its users write it: `decode_header` for the `kid`, a map of keys, `decode`
//!   with `exp`, `nbf`, `iss`, `aud` and `sub` checked;
//! - `raw`: `ParsedPublicKey::verify_sig` alone, hashing included, over the signature decoded beforehand: the
//!   floor under any implementation on this back end;
//! - `own_raw`: the same with the table of the key, where there is one;
//! - `josekit`: `decode_with_verifier` and its payload validator with the same rules; `jwt-simple`: `verify_token`
//!   with issuer and audience. Both with a key that was parsed beforehand, without looking it up.
//!
//! `es256`, `es384` and `eddsa` are with the keys' tables, `es256_base`, `es384_base` and `eddsa_base` without,
//! as a verifier is where nobody asks for tables. `es256_2threads` is two threads that share one verifier with a
//! table, `es256_base_2threads` one without, `raw_2threads` the same with the bare signature check, `oversize` a
//! token of 4 MiB that is refused.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use agentkeys_benches::{Candidate, Outcome, Plan, compare, run, scale};
use agentkeys_core::jose::{Algorithm as Ours, CompactError};
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{Clock as _, Issuer, SystemClock, VerifyError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jws::JwsVerifier;
use josekit::jwt::JwtPayloadValidator;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use jwt_simple::prelude::{
    ECDSAP256PublicKeyLike as _, ECDSAP384PublicKeyLike as _, ES256PublicKey, ES384PublicKey,
    Ed25519PublicKey, EdDSAPublicKeyLike as _, RS256PublicKey, RSAPublicKeyLike as _, VerificationOptions,
};
use serde_json::Value;

mod tokens;

use tokens::{
    AUDIENCE, All, ISSUER, Private, claims, our_raw, our_verifier, our_verifier_with_table, parts, published,
    raw_key, their_validation,
};

fn josekit_verifier(jwk: &Value, algorithm: Ours) -> Box<dyn JwsVerifier> {
    use josekit::jws::{ES256, ES384, EdDSA, RS256};
    let jwk = josekit::jwk::Jwk::from_bytes(jwk.to_string()).unwrap();
    match algorithm {
        Ours::Es256 => Box::new(ES256.verifier_from_jwk(&jwk).unwrap()),
        Ours::Es384 => Box::new(ES384.verifier_from_jwk(&jwk).unwrap()),
        Ours::EdDsa => Box::new(EdDSA.verifier_from_jwk(&jwk).unwrap()),
        _ => Box::new(RS256.verifier_from_jwk(&jwk).unwrap()),
    }
}

/// Verifies one token and panics where that fails.
type Simple = Box<dyn Fn(&str)>;

fn jwt_simple_verifier(jwk: &Value, algorithm: Ours) -> Simple {
    let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = || [vec![4], member("x"), member("y")].concat();
    let options = VerificationOptions {
        allowed_issuers: Some([ISSUER.to_owned()].into()),
        allowed_audiences: Some([AUDIENCE.to_owned()].into()),
        ..VerificationOptions::default()
    };
    macro_rules! with {
        ($key:expr) => {{
            let key = $key.unwrap();
            Box::new(move |token| {
                black_box(key.verify_token::<Private>(token, Some(options.clone())).unwrap());
            })
        }};
    }
    match algorithm {
        Ours::Es256 => with!(ES256PublicKey::from_bytes(&point())),
        Ours::Es384 => with!(ES384PublicKey::from_bytes(&point())),
        Ours::EdDsa => with!(Ed25519PublicKey::from_bytes(&member("x"))),
        _ => with!(RS256PublicKey::from_components(&member("n"), &member("e"))),
    }
}

fn case(name: &'static str, ours: Ours, theirs: Algorithm, issuer: &FakeIssuer) -> Outcome {
    let plan = Plan { items: 4096, slice: 128, rounds: 63 };
    let clock = SystemClock::new();
    let now = clock.now().unwrap().as_unix();
    let tokens: Vec<String> = (0..plan.items).map(|at| issuer.sign(ours, &claims(now, at))).collect();

    let own_raw = if name.ends_with("_base") { None } else { our_raw(issuer, ours) };
    let verifier = match own_raw {
        Some(_) => our_verifier_with_table(issuer, ours),
        None => our_verifier(issuer),
    };

    let set: JwkSet = serde_json::from_value(issuer.jwks()).unwrap();
    let decoding_keys: HashMap<String, DecodingKey> = set
        .keys
        .iter()
        .map(|jwk| (jwk.common.key_id.clone().unwrap(), DecodingKey::from_jwk(jwk).unwrap()))
        .collect();
    let validation = their_validation(theirs);

    let jwk = &published(issuer, ours);
    let raw = raw_key(jwk, ours);
    let josekit = josekit_verifier(jwk, ours);
    let mut validator = JwtPayloadValidator::new();
    validator.set_issuer(ISSUER);
    validator.set_audience(AUDIENCE);
    let simple = jwt_simple_verifier(jwk, ours);
    let parts = parts(&tokens);

    let mut candidates = vec![
        Candidate::new("agentkeys", |at| {
            let now = clock.now().unwrap();
            let verified = verifier.verify_with_known_keys::<Private>(&tokens[at], now).unwrap();
            let tags = &verified.claims().tags;
            black_box((&tags.principal_tags.tenant, &tags.principal_tags.agent, &tags.transitive_tag_keys));
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
        Candidate::new("josekit", |at| {
            let (payload, _) = josekit::jwt::decode_with_verifier(&tokens[at], &*josekit).unwrap();
            validator.set_base_time(std::time::SystemTime::now());
            validator.validate(&payload).unwrap();
            black_box(payload);
        }),
        Candidate::new("jwt-simple", |at| simple(&tokens[at])),
    ];
    if let Some(own_raw) = &own_raw {
        candidates.push(Candidate::new("own_raw", |at| {
            let (input, signature) = &parts[at];
            assert!(own_raw.verifies(input.as_bytes(), signature));
        }));
    }
    compare(name, plan, candidates)
}

fn two_threads(name: &'static str, issuer: &FakeIssuer) -> Outcome {
    let plan = Plan { items: 4096, slice: 1024, rounds: 31 };
    let clock = SystemClock::new();
    let now = clock.now().unwrap().as_unix();
    let tokens: Vec<String> = (0..plan.items).map(|at| issuer.sign(Ours::Es256, &claims(now, at))).collect();
    let base = name.contains("_base");
    let verifier = if base { our_verifier(issuer) } else { our_verifier_with_table(issuer, Ours::Es256) };
    scale(name, plan, |at| {
        let now = clock.now().unwrap();
        black_box(verifier.verify_with_known_keys::<Private>(&tokens[at], now).unwrap());
    })
}

/// The bare signature check on two threads: how far the machine itself goes. Two hardware threads of one core
/// share its multipliers.
fn raw_two_threads(issuer: &FakeIssuer) -> Outcome {
    let plan = Plan { items: 4096, slice: 1024, rounds: 31 };
    let now = SystemClock::new().now().unwrap().as_unix();
    let raw = raw_key(&published(issuer, Ours::Es256), Ours::Es256);
    let tokens: Vec<String> = (0..plan.items).map(|at| issuer.sign(Ours::Es256, &claims(now, at))).collect();
    let parts = parts(&tokens);
    scale("raw_2threads", plan, |at| {
        let (input, signature) = &parts[at];
        raw.verify_sig(input.as_bytes(), signature).unwrap();
    })
}

/// Rightly signed, and of 4 MiB.
fn oversize(issuer: &FakeIssuer) -> Outcome {
    let plan = Plan { items: 1, slice: 8, rounds: 31 };
    let clock = SystemClock::new();
    let mut claims = claims(clock.now().unwrap().as_unix(), 0);
    claims["pad"] = "x".repeat(3 << 20).into();
    let token = issuer.sign(Ours::Es256, &claims);
    let verifier = our_verifier(issuer);
    let jwks: JwkSet = serde_json::from_value(issuer.jwks()).unwrap();
    let key = DecodingKey::from_jwk(jwks.find(FakeIssuer::kid(Ours::Es256)).unwrap()).unwrap();
    let validation = their_validation(Algorithm::ES256);
    compare(
        "oversize",
        plan,
        vec![
            Candidate::new("agentkeys", |_| {
                let refused = verifier.verify_with_known_keys::<Private>(&token, clock.now().unwrap());
                assert!(matches!(refused, Err(VerifyError::Malformed(CompactError::TooLarge))));
            }),
            Candidate::new("jsonwebtoken", |_| {
                black_box(jsonwebtoken::decode::<All>(&token, &key, &validation).unwrap());
            }),
        ],
    )
}

fn main() {
    let issuer = Arc::new(FakeIssuer::new(Issuer::parse(ISSUER).unwrap()));
    let cases = [
        ("es256", Ours::Es256, Algorithm::ES256),
        ("es384", Ours::Es384, Algorithm::ES384),
        ("es256_base", Ours::Es256, Algorithm::ES256),
        ("es384_base", Ours::Es384, Algorithm::ES384),
        ("rs256", Ours::Rs256, Algorithm::RS256),
        ("eddsa", Ours::EdDsa, Algorithm::EdDSA),
        ("eddsa_base", Ours::EdDsa, Algorithm::EdDSA),
    ];
    let mut all: Vec<Box<dyn FnOnce() -> Outcome>> = Vec::new();
    for (name, ours, theirs) in cases {
        let issuer = Arc::clone(&issuer);
        all.push(Box::new(move || case(name, ours, theirs, &issuer)));
    }
    for name in ["es256_2threads", "es256_base_2threads"] {
        let issuer = Arc::clone(&issuer);
        all.push(Box::new(move || two_threads(name, &issuer)));
    }
    let (bare, last) = (Arc::clone(&issuer), issuer);
    all.push(Box::new(move || raw_two_threads(&bare)));
    all.push(Box::new(move || oversize(&last)));
    run("verify", all);
}
