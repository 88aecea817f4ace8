//! Prints what `run.sh` lets other languages verify: 4096 distinct tokens of each case, the keys, and whom
//! they are from and for.

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{Clock as _, Issuer, SystemClock};
use serde_json::{Map, Value, json};

#[path = "../tokens.rs"]
#[allow(dead_code, reason = "the benches use the rest of it")]
mod tokens;

use tokens::{AUDIENCE, ISSUER, claims};

fn main() {
    let issuer = FakeIssuer::new(Issuer::parse(ISSUER).unwrap());
    let now = SystemClock::new().now().unwrap().as_unix();
    let cases = [("es256", Algorithm::Es256), ("rs256", Algorithm::Rs256), ("eddsa", Algorithm::EdDsa)];
    let cases: Map<String, Value> = cases
        .into_iter()
        .map(|(name, algorithm)| {
            let tokens = (0..4096).map(|at| issuer.sign(algorithm, &claims(now, at)).into());
            (name.to_owned(), json!({ "alg": algorithm.as_str(), "tokens": tokens.collect::<Vec<Value>>() }))
        })
        .collect();
    println!("{}", json!({ "issuer": ISSUER, "audience": AUDIENCE, "jwks": issuer.jwks(), "cases": cases }));
}
