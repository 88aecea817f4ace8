//! Verifying a JWT in full where other work has emptied the processor's first two caches since the last one:
//! what a server that does more than verify tokens sees. The candidates are those of `verify`.

use std::hint::black_box;
use std::sync::Arc;

use agentkeys_benches::{Candidate, Outcome, Plan, compare_cold, run};
use agentkeys_core::jose::Algorithm as Ours;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{Clock as _, Issuer, SystemClock};
use jsonwebtoken::{Algorithm, DecodingKey};

mod tokens;

use tokens::{
    All, ISSUER, Private, claims, our_raw, our_verifier_with_table, parts, published, raw_key,
    their_validation,
};

fn case(name: &'static str, ours: Ours, theirs: Algorithm, issuer: &FakeIssuer) -> Outcome {
    let plan = Plan { items: 1024, slice: 8, rounds: 63 };
    let clock = SystemClock::new();
    let now = clock.now().unwrap().as_unix();
    let tokens: Vec<String> = (0..plan.items).map(|at| issuer.sign(ours, &claims(now, at))).collect();
    let parts = parts(&tokens);
    let verifier = our_verifier_with_table(issuer, ours);
    let own_raw = our_raw(issuer, ours).unwrap();
    let jwk = published(issuer, ours);
    let raw = raw_key(&jwk, ours);
    let decoding_key = DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap();
    let validation = their_validation(theirs);
    compare_cold(
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

fn main() {
    let issuer = Arc::new(FakeIssuer::new(Issuer::parse(ISSUER).unwrap()));
    let cases = [("es256", Ours::Es256, Algorithm::ES256), ("es384", Ours::Es384, Algorithm::ES384)];
    let mut all: Vec<Box<dyn FnOnce() -> Outcome>> = Vec::new();
    for (name, ours, theirs) in cases {
        let issuer = Arc::clone(&issuer);
        all.push(Box::new(move || case(name, ours, theirs, &issuer)));
    }
    run("verify_cold", all);
}
