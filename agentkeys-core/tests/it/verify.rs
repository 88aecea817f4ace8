//! The token as a string: size, segments, header, signature.

use agentkeys_core::jose::{Algorithm, CompactError, MAX_TOKEN_BYTES};
use agentkeys_core::{ErrorKind, NoClaims, TokenType, VerifyError};
use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::json;

use crate::support::*;

#[test]
fn w19_all_four_algorithms_verify() {
    for algorithm in Algorithm::ALL {
        let verified = judge(&fake().sign(*algorithm, &claims())).unwrap();
        assert_eq!(verified.subject(), "system:serviceaccount:acme:blue", "{algorithm}");
        assert_eq!(verified.expires_at(), at(NOW + 300));
        assert_eq!(verified.issued_at(), Some(at(NOW - 10)));
        assert_eq!(verified.jti(), Some("Zm9v"));
    }
}

#[test]
fn private_claims_are_read_as_the_callers_type() {
    #[derive(Debug, serde::Deserialize)]
    struct Wanted {
        tenant: String,
    }
    let token = sign(&with("tenant", "acme"));
    let verified = verifier().verify_with_known_keys::<Wanted>(&token, at(NOW)).unwrap();
    assert_eq!(verified.claims().tenant, "acme");
    assert_eq!(verified.into_claims().tenant, "acme");
    let without = verifier().verify_with_known_keys::<Wanted>(&sign(&claims()), at(NOW));
    refused!(without, VerifyError::Claims);
}

#[test]
fn l11_an_hmac_under_the_public_key_is_no_signature() {
    let jwks = fake().jwks();
    let rsa = &jwks["keys"][0];
    for secret in [rsa.to_string().into_bytes(), decode(rsa["n"].as_str().unwrap())] {
        let header = encode(json!({ "alg": "HS256", "kid": "RSA_0", "typ": "JWT" }).to_string());
        let input = format!("{header}.{}", encode(claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
        refused!(judge(&format!("{input}.{}", encode(tag))), VerifyError::Algorithm);
    }
}

#[test]
fn l11_none_is_no_algorithm_however_it_is_written() {
    for name in ["none", "None", "NONE", "noNE", ""] {
        let header = json!({ "alg": name, "kid": "EC256_0" }).to_string();
        refused!(judge(&sign_with_header(&header)), VerifyError::Algorithm);
        let unsigned = format!("{}.{}.", encode(&header), encode(claims().to_string()));
        refused!(judge(&unsigned), VerifyError::Malformed(CompactError::Segments));
    }
}

#[test]
fn w19_l11_the_alg_of_another_key_is_refused() {
    for (alg, kid, signing) in [
        ("ES384", "EC256_0", Algorithm::Es384),
        ("ES256", "RSA_0", Algorithm::Es256),
        ("RS256", "EC256_0", Algorithm::Rs256),
        ("EdDSA", "EC256_0", Algorithm::EdDsa),
    ] {
        let header = json!({ "alg": alg, "kid": kid }).to_string();
        let token = fake().sign_raw(signing, &header, &claims().to_string());
        refused!(judge(&token), VerifyError::Algorithm);
    }
}

#[test]
fn w19_only_the_allowed_algorithms_verify() {
    let narrow = verifier().with_algorithms(&[Algorithm::Rs256, Algorithm::Es384]);
    for algorithm in Algorithm::ALL {
        let verdict = narrow.verify_with_known_keys::<NoClaims>(&fake().sign(*algorithm, &claims()), at(NOW));
        match algorithm {
            Algorithm::Rs256 | Algorithm::Es384 => drop(verdict.unwrap()),
            _ => refused!(verdict, VerifyError::Algorithm),
        }
    }
    let none = verifier().with_algorithms(&[]);
    refused!(none.verify_with_known_keys::<NoClaims>(&sign(&claims()), at(NOW)), VerifyError::Algorithm);
}

#[test]
fn w44_l31_typ_is_jwt_or_absent_unless_another_is_asked_for() {
    let typed =
        |typ: &str| sign_with_header(&json!({ "alg": "ES256", "kid": "EC256_0", "typ": typ }).to_string());
    let untyped = sign_with_header(r#"{"alg":"ES256","kid":"EC256_0"}"#);
    judge(&typed("JWT")).unwrap();
    judge(&typed("jwt")).unwrap();
    judge(&untyped).unwrap();
    for typ in ["at+jwt", "JOSE", "agentkeys-session+jwt", "dpop+jwt", "JWT ", ""] {
        refused!(judge(&typed(typ)), VerifyError::Type);
    }
    let session = verifier().with_type(TokenType::new("agentkeys-session+jwt"));
    let judge = |token: &str| session.verify_with_known_keys::<NoClaims>(token, at(NOW));
    judge(&typed("Agentkeys-Session+JWT")).unwrap();
    refused!(judge(&typed("JWT")), VerifyError::Type);
    refused!(judge(&untyped), VerifyError::Type);
}

#[test]
fn w20_l12_headers_that_bring_keys_or_semantics_are_refused() {
    for member in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""b64":false"#,
        r#""b64":false,"crit":["b64"]"#,
        r#""zip":"DEF""#,
        r#""jku":"https://evil.example/keys""#,
        r#""x5u":"https://evil.example/chain""#,
        r#""jwk":{}"#,
        r#""x5c":[]"#,
        r#""enc":"A256GCM""#,
        r#""future":1"#,
    ] {
        let token = sign_with_header(&format!(r#"{{"alg":"ES256","kid":"EC256_0",{member}}}"#));
        refused!(judge(&token), VerifyError::Malformed(CompactError::HeaderMember));
    }
    for harmless in [r#""cty":"JWT""#, r#""x5t":"AA""#, r#""x5t#S256":"AA""#] {
        judge(&sign_with_header(&format!(r#"{{"alg":"ES256","kid":"EC256_0",{harmless}}}"#))).unwrap();
    }
}

#[test]
fn w20_doubled_and_mistyped_header_members_are_refused() {
    for header in [
        r#"{"alg":"ES256","alg":"ES256","kid":"EC256_0"}"#,
        r#"{"alg":"none","alg":"ES256","kid":"EC256_0"}"#,
        r#"{"alg":"ES256","kid":"other","kid":"EC256_0"}"#,
        r#"{"alg":"ES256","kid":"EC256_0","typ":"JWT","typ":"JWT"}"#,
        r#"{"alg":"ES256","kid":1}"#,
        r#"{"alg":"ES256","kid":null}"#,
        r#"{"alg":["ES256"],"kid":"EC256_0"}"#,
        r#"{"alg":"ES256","kid":"EC256_0","typ":1}"#,
        r#"{"kid":"EC256_0"}"#,
        r#"["ES256"]"#,
        "ES256",
    ] {
        refused!(judge(&sign_with_header(header)), VerifyError::Malformed(CompactError::HeaderJson));
    }
    let deep = format!(r#"{{"alg":"ES256","kid":"EC256_0","cty":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    refused!(judge(&sign_with_header(&deep)), VerifyError::Malformed(CompactError::TooDeep));
}

#[test]
fn w20_a_token_of_four_mebibytes_is_refused_unread() {
    refused!(judge(&"a".repeat(4 << 20)), VerifyError::Malformed(CompactError::TooLarge));
    let padded = sign(&with("pad", "x".repeat(MAX_TOKEN_BYTES)));
    refused!(judge(&padded), VerifyError::Malformed(CompactError::TooLarge));
    judge(&sign(&with("pad", "x".repeat(MAX_TOKEN_BYTES / 2)))).unwrap();
}

#[test]
fn l12_only_three_segments_of_canonical_base64url_verify() {
    let token = sign(&claims());
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{payload}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{token}.{payload}.{signature}.{signature}"),
        format!("{header}..{signature}"),
        format!("{header}.{payload}."),
        json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
    ] {
        refused!(judge(&bad), VerifyError::Malformed(CompactError::Segments));
    }
    for bad in [
        format!("{token}="),
        format!("{token}\n"),
        format!("{token} "),
        format!(" {token}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}\r.{payload}.{signature}"),
        format!("Bearer {token}"),
        token.replace(&signature[..1], "+"),
        token.replace(&signature[..1], "é"),
    ] {
        refused!(judge(&bad), VerifyError::Malformed(CompactError::Base64));
    }
}

#[test]
fn l12_trailing_bits_that_decode_to_the_same_bytes_are_refused() {
    // 64 bytes leave four unused bits in the last character
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let token = sign(&claims());
    let (kept, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    for bits in 1..16 {
        let twin = format!("{kept}{}", &ALPHABET[value + bits..=value + bits]);
        refused!(judge(&twin), VerifyError::Malformed(CompactError::Base64));
    }
}

#[test]
fn every_segment_is_covered_by_the_signature() {
    let (token, foreign) = (sign(&claims()), sign(&with("sub", "somebody-else")));
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let [_, payload_2, signature_2] = foreign.split('.').collect::<Vec<_>>().try_into().unwrap();
    let reordered = encode(r#"{"kid":"EC256_0","alg":"ES256","typ":"JWT"}"#);
    for spliced in [
        format!("{header}.{payload_2}.{signature}"),
        format!("{header}.{payload}.{signature_2}"),
        format!("{reordered}.{payload}.{signature}"),
        format!("{header}.{payload}.{}", encode([0; 64])),
        format!("{header}.{payload}.{}", encode([0xff; 64])),
        format!("{header}.{payload}.{}", encode(&decode(signature)[..63])),
        format!("{header}.{payload}.{}", encode([decode(signature), vec![0]].concat())),
    ] {
        refused!(judge(&spliced), VerifyError::Signature);
    }
}

#[test]
fn a_high_s_twin_verifies_as_jws_has_it() {
    // n - s for the order n of P-256: nobody may take a signature for an identifier of a token
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&ORDER[2 * at..2 * at + 2], 16).unwrap()).collect();
    let token = sign(&claims());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut twin = decode(signature);
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i16::from(order[at]) - i16::from(twin[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        twin[32 + at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    assert_ne!(twin, decode(signature));
    judge(&format!("{input}.{}", encode(twin))).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_token_with_one_byte_changed_verifies(which in 0..4_usize, position: prop::sample::Index, byte in 0..128_u8) {
        let token = fake().sign(Algorithm::ALL[which], &claims());
        let mut changed = token.clone().into_bytes();
        let position = position.index(changed.len());
        prop_assume!(changed[position] != byte);
        changed[position] = byte;
        let changed = String::from_utf8(changed).unwrap();
        let refused = judge(&changed).expect_err("one byte was changed");
        prop_assert_eq!(refused.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn no_text_verifies_and_none_panics(text in "\\PC{0,60}(\\.\\PC{0,60}){0,4}") {
        prop_assert!(judge(&text).is_err());
    }
}

/// A header that is known already is judged again by each verifier's own rules and keys.
#[test]
fn w19_a_known_header_opens_nothing() {
    let first = verifier();
    let token = sign(&claims());
    for _ in 0..2 {
        first.verify_with_known_keys::<NoClaims>(&token, at(NOW)).unwrap();
    }
    let (header, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let (other_header, _) = open(&other().sign(Algorithm::Es256, &claims()));
    assert_eq!(encode(other_header.to_string()).len(), header.len());
    let judge = |token: &str| first.verify_with_known_keys::<NoClaims>(token, at(NOW));
    refused!(judge(&other().sign(Algorithm::Es256, &claims())), VerifyError::Signature);
    refused!(judge(&format!("{header}.{payload}.{}", encode([0; 64]))), VerifyError::Signature);
    refused!(judge(&format!("{header}.{payload}.{}", encode([1; 1024]))), VerifyError::Signature);
    refused!(judge(&format!("{header}.{payload}.{}", encode([1; 1025]))), VerifyError::Signature);
    refused!(judge(&format!("{header}.{payload}.{}", encode([1; 4096]))), VerifyError::Signature);
    refused!(
        judge(&format!("{header}.{payload}.{signature}=")),
        VerifyError::Malformed(CompactError::Base64)
    );
    refused!(
        judge(&format!("{header}.{payload}.{signature}AAA")),
        VerifyError::Malformed(CompactError::Base64)
    );
    let narrower = first.clone().with_algorithms(&[Algorithm::Rs256]);
    refused!(narrower.verify_with_known_keys::<NoClaims>(&token, at(NOW)), VerifyError::Algorithm);
    let typed = first.clone().with_type(TokenType::new("at+jwt"));
    refused!(typed.verify_with_known_keys::<NoClaims>(&token, at(NOW)), VerifyError::Type);
}
