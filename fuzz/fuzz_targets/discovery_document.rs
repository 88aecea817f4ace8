//! Any bytes as an issuer's discovery document: what is accepted speaks for this issuer and for its own host.

#![no_main]

use agentkeys_core::{Issuer, ProviderMetadata};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const ISSUER: &str = "https://i.example/tenant";

fuzz_target!(|input: &[u8]| {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let Ok(metadata) = ProviderMetadata::parse(input, &issuer) else { return };
    let members: Map<String, Value> =
        serde_json::from_slice(input).expect("it was accepted, so it is an object");
    assert_eq!(members["issuer"], ISSUER);
    assert_eq!(members["jwks_uri"], metadata.jwks_uri());
    let rest = metadata.jwks_uri().strip_prefix("https://i.example").expect("another host");
    assert!(rest.is_empty() || rest.starts_with(['/', '?']), "another host");
    assert!(rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\'));
    // another issuer is not spoken for
    assert!(ProviderMetadata::parse(input, &Issuer::parse("https://i.example").unwrap()).is_err());
});
