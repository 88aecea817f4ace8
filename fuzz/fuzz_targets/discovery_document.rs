//! Any bytes as an issuer's discovery document: what is accepted speaks for this issuer and for its own host.

#![no_main]

use agentkeys_core::{Issuer, ProviderMetadata};
use libfuzzer_sys::fuzz_target;

mod members;
use members::Members;

const ISSUER: &str = "https://i.example/tenant";

fuzz_target!(|input: &[u8]| {
    let issuer = Issuer::parse(ISSUER).unwrap();
    let Ok(metadata) = ProviderMetadata::parse(input, &issuer) else { return };
    let members = Members::read(input);
    assert_eq!(members.text("issuer").as_deref(), Some(ISSUER));
    assert_eq!(members.text("jwks_uri").as_deref(), Some(metadata.jwks_uri()));
    let rest = metadata.jwks_uri().strip_prefix("https://i.example").expect("another host");
    assert!(rest.is_empty() || rest.starts_with(['/', '?']), "another host");
    assert!(rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\'));
    // another issuer is not spoken for
    assert!(ProviderMetadata::parse(input, &Issuer::parse("https://i.example").unwrap()).is_err());
});
