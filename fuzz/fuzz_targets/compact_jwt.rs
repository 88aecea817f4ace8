//! No bytes verify without the key, and what verifies is what was signed.
//!
//! The first byte of an input says what the rest is:
//! - `r`: the token itself, whole;
//! - `m`: edits of a token that was signed, each two bytes of position and one to put there;
//! - anything else: a header and claims with a line feed between them, which are signed.

#![no_main]

use std::sync::{Arc, LazyLock};

use agentkeys_core::jose::{Algorithm, Compact, Header};
use agentkeys_core::testing::FakeIssuer;
use agentkeys_core::{Audience, ErrorKind, Issuer, Profile, StaticKeys, Timestamp, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const NOW: u64 = 1_800_000_000;
const HEADER: &str = r#"{"alg":"ES256","kid":"EC256_0","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"iss":"https://i.example","sub":"s","aud":"a","iat":1800000000,"exp":1800000300}"#;

struct World {
    issuer: FakeIssuer,
    verifier: Verifier,
    good: Vec<String>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let issuer = FakeIssuer::new(Issuer::parse("https://i.example").unwrap());
    let keys = Arc::new(StaticKeys::new(issuer.key_set()));
    let profile = Profile::oidc(issuer.issuer().clone(), keys);
    let verifier = Verifier::new(profile, Audience::parse("a").unwrap());
    let claims: Value = serde_json::from_str(CLAIMS).unwrap();
    let mut good: Vec<_> = Algorithm::ALL.iter().map(|algorithm| issuer.sign(*algorithm, &claims)).collect();
    good.push(issuer.sign_raw(Algorithm::Es256, HEADER, CLAIMS));
    World { issuer, verifier, good }
});

/// Whether it verifies; a refusal is always the token's fault here.
fn verifies(token: &str) -> bool {
    match WORLD.verifier.verify_with_known_keys::<Map<String, Value>>(token, Timestamp::from_unix(NOW)) {
        Ok(verified) => {
            // the private claims never hold a registered one
            for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"] {
                assert!(!verified.claims().contains_key(name));
            }
            assert!(!verified.subject().is_empty());
            true
        }
        Err(refused) => {
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            false
        }
    }
}

/// Whoever takes a token apart and puts it together again has the same token.
fn reads_back(token: &str) {
    let compact = Compact::split(token).unwrap();
    let (header, payload) = (compact.header_json().unwrap(), compact.payload().unwrap());
    assert_eq!(compact.signing_input(), &token.as_bytes()[..token.rfind('.').unwrap()]);
    let again = WORLD.issuer.sign_raw(Algorithm::EdDsa, std::str::from_utf8(&header).unwrap(), "{}");
    assert_eq!(again.split('.').next(), token.split('.').next());
    let again = WORLD.issuer.sign_raw(Algorithm::EdDsa, "{}", std::str::from_utf8(&payload).unwrap());
    assert_eq!(again.split('.').nth(1), token.split('.').nth(1));
    Header::parse(&header).unwrap();
}

/// Many characters at once are what they are one by one.
fn segments_decode_as_one_by_one(token: &str) {
    let Ok(compact) = Compact::split(token) else { return };
    let read = [compact.header_json(), compact.payload(), compact.signature()];
    for (segment, read) in token.split('.').zip(read) {
        assert_eq!(URL_SAFE_NO_PAD.decode(segment).ok(), read.ok(), "{segment}");
    }
}

/// The rules once more, read the slow way.
fn keeps_the_rules(claims: &str) {
    let claims: Value = serde_json::from_str(claims).expect("it verified, so it is JSON");
    assert_eq!(claims["iss"], "https://i.example");
    assert!(claims["aud"] == "a" || claims["aud"] == Value::from(vec!["a"]));
    assert!(claims["sub"].as_str().is_some_and(|sub| !sub.is_empty()));
    let time = |name: &str| claims[name].as_u64();
    let (exp, iat) = (time("exp").unwrap(), time("iat").unwrap());
    assert!(exp > NOW - 30 && iat <= NOW + 30 && exp <= iat + 86_400);
    assert!(claims.get("nbf").is_none() || time("nbf").unwrap() <= NOW + 30);
    assert!(claims.get("jti").is_none_or(Value::is_string));
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else { return };
    match mode {
        b'r' => {
            if let Ok(token) = std::str::from_utf8(rest) {
                segments_decode_as_one_by_one(token);
                assert!(!verifies(token), "nobody signed this");
            }
        }
        b'm' => {
            let Some((which, edits)) = rest.split_first() else { return };
            let good = &WORLD.good[usize::from(*which) % WORLD.good.len()];
            let mut bytes = good.clone().into_bytes();
            for edit in edits.chunks_exact(3).take(8) {
                let position = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % bytes.len();
                bytes[position] = edit[2];
            }
            if let Ok(token) = String::from_utf8(bytes) {
                segments_decode_as_one_by_one(&token);
                assert_eq!(verifies(&token), token == *good, "only what was signed verifies");
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            let (header, claims) = text.split_once('\n').unwrap_or((HEADER, text));
            let token = WORLD.issuer.sign_raw(Algorithm::Es256, header, claims);
            if verifies(&token) {
                reads_back(&token);
                keeps_the_rules(claims);
            }
        }
    }
});
