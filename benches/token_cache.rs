//! Verifying a JWT that was verified before, and what remembering costs where it was not.
//!
//! - `hit`: one of 16 ES256 tokens that are remembered, the time and the key read and checked each time, beside
//!   all other ways of `verify`;
//! - `miss`: a token that is not remembered, beside the same verifier without a cache (`verifier`).

use std::hint::black_box;
use std::num::NonZeroUsize;

use agentkeys_benches::{Candidate, Outcome, Plan, compare, run};
use agentkeys_core::jose::Algorithm as Ours;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{CachedVerifier, Clock as _, Issuer, SystemClock, TokenCacheSize, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey};

mod tokens;

use tokens::{
    All, ISSUER, Private, claims, our_raw, our_verifier, our_verifier_with_table, parts, published, raw_key,
    their_validation,
};

fn cached(verifier: Verifier, entries: usize) -> CachedVerifier<Private> {
    let (entries, bytes) = (NonZeroUsize::new(entries).unwrap(), NonZeroUsize::new(64 << 20).unwrap());
    CachedVerifier::new(verifier, TokenCacheSize::new(entries, bytes))
}

fn signed(issuer: &FakeIssuer, count: usize) -> Vec<String> {
    let now = SystemClock::new().now().unwrap().as_unix();
    (0..count).map(|at| issuer.sign(Ours::Es256, &claims(now, at))).collect()
}

fn hit() -> Outcome {
    let issuer = FakeIssuer::new(Issuer::parse(ISSUER).unwrap());
    let (plan, clock) = (Plan { items: 16, slice: 64, rounds: 301 }, SystemClock::new());
    let tokens = signed(&issuer, plan.items);
    let parts = parts(&tokens);
    let verifier = cached(our_verifier(&issuer), 1000);
    let own_raw = our_raw(&issuer, Ours::Es256).unwrap();
    let jwk = published(&issuer, Ours::Es256);
    let raw = raw_key(&jwk, Ours::Es256);
    let decoding_key = DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
    let validation = their_validation(Algorithm::ES256);
    let now = || clock.now().unwrap();
    for token in &tokens {
        verifier.verify_with_known_keys(token, now()).unwrap();
    }
    assert_eq!(verifier.len(), tokens.len());
    compare(
        "hit",
        plan,
        vec![
            Candidate::new("agentkeys", |at| {
                let verified = verifier.verify_with_known_keys(&tokens[at], now()).unwrap();
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
                jsonwebtoken::decode_header(&tokens[at]).unwrap();
                black_box(jsonwebtoken::decode::<All>(&tokens[at], &decoding_key, &validation).unwrap());
            }),
            Candidate::new("own_raw", |at| {
                let (input, signature) = &parts[at];
                assert!(own_raw.verifies(input.as_bytes(), signature));
            }),
        ],
    )
}

fn miss() -> Outcome {
    let issuer = FakeIssuer::new(Issuer::parse(ISSUER).unwrap());
    let (plan, clock) = (Plan { items: 4096, slice: 64, rounds: 301 }, SystemClock::new());
    let tokens = signed(&issuer, plan.items);
    let parts = parts(&tokens);
    // four of 4096: whoever comes round again is not there any more
    let remembering = cached(our_verifier(&issuer), 4);
    let with_table = cached(our_verifier_with_table(&issuer, Ours::Es256), 4);
    let plain = our_verifier(&issuer);
    let raw = raw_key(&published(&issuer, Ours::Es256), Ours::Es256);
    let now = || clock.now().unwrap();
    compare(
        "miss",
        plan,
        vec![
            Candidate::new("agentkeys", |at| {
                black_box(remembering.verify_with_known_keys(&tokens[at], now()).unwrap());
            }),
            Candidate::new("raw", |at| {
                let (input, signature) = &parts[at];
                raw.verify_sig(input.as_bytes(), signature).unwrap();
            }),
            Candidate::new("verifier", |at| {
                black_box(plain.verify_with_known_keys::<Private>(&tokens[at], now()).unwrap());
            }),
            Candidate::new("with_table", |at| {
                black_box(with_table.verify_with_known_keys(&tokens[at], now()).unwrap());
            }),
        ],
    )
}

fn main() {
    let cases: [fn() -> Outcome; 2] = [hit, miss];
    run("token_cache", cases.map(|case| Box::new(case) as Box<dyn FnOnce() -> Outcome>));
}
