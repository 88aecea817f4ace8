//! An independent implementation of JWT agrees with ours, both ways.

use agentkeys_core::jose::Algorithm as Ours;
use agentkeys_core::{Audience, Issuer, MintRequest, Minter};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::support::*;

fn validation(algorithm: Algorithm, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // its clock is the system's, ours stands
    validation.validate_exp = false;
    validation
}

#[tokio::test]
async fn what_we_mint_the_other_verifies_with_the_keys_that_we_publish() {
    let minter = Minter::new(Issuer::parse(ISSUER).unwrap(), ring()).with_clock(clock());
    let request = MintRequest::new(Audience::parse("sts.amazonaws.com").unwrap());
    let token = minter.mint(&identity(), request).await.unwrap();
    let published: JwkSet = serde_json::from_value(json!(minter.keys().jwks())).unwrap();
    let header = jsonwebtoken::decode_header(token.expose()).unwrap();
    let jwk = published.find(&header.kid.unwrap()).unwrap();
    let key = DecodingKey::from_jwk(jwk).unwrap();
    let validation = validation(Algorithm::ES256, "sts.amazonaws.com");
    let claims = jsonwebtoken::decode::<Value>(token.expose(), &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], identity().subject().as_str());
    assert_eq!(claims["exp"], NOW + 300);
}

#[test]
fn what_our_test_issuer_signs_the_other_verifies() {
    let published: JwkSet = serde_json::from_value(fake().jwks()).unwrap();
    for (ours, theirs) in [
        (Ours::Es256, Algorithm::ES256),
        (Ours::Es384, Algorithm::ES384),
        (Ours::Rs256, Algorithm::RS256),
        (Ours::EdDsa, Algorithm::EdDSA),
    ] {
        let token = fake().sign(ours, &claims());
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let key = DecodingKey::from_jwk(published.find(&header.kid.unwrap()).unwrap()).unwrap();
        jsonwebtoken::decode::<Value>(&token, &key, &validation(theirs, AUDIENCE)).unwrap();
    }
}

#[test]
fn what_the_other_signs_we_verify() {
    // PKCS#1 lies behind 26 bytes of PKCS#8 for a 2048-bit key
    let rsa = EncodingKey::from_rsa_der(&fake().rsa_pkcs8()[26..]);
    let p256 = EncodingKey::from_ec_der(&fake().p256_pkcs8());
    for (algorithm, kid, key) in [(Algorithm::RS256, "RSA_0", &rsa), (Algorithm::ES256, "EC256_0", &p256)] {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        let token = jsonwebtoken::encode(&header, &claims(), key).unwrap();
        assert_eq!(judge(&token).unwrap().subject(), "system:serviceaccount:acme:blue");
        let late = jsonwebtoken::encode(&header, &with("exp", NOW - 30), key).unwrap();
        refused!(judge(&late), agentkeys_core::VerifyError::Expired);
    }
}

/// What each library says of a token. All three sign nothing here: the tokens come from the test issuer.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Verdicts {
    ours: bool,
    jsonwebtoken: bool,
    jwt_simple: bool,
}

const fn verdicts(ours: bool, jsonwebtoken: bool, jwt_simple: bool) -> Verdicts {
    Verdicts { ours, jsonwebtoken, jwt_simple }
}

/// All three are asked for the same: this issuer, this audience, ES256, the key of this token's issuer, the
/// time now; jsonwebtoken with every check of its own that it has, jwt-simple as it comes.
fn ask_all(token: &str, now: u64) -> Verdicts {
    use jwt_simple::prelude::{
        ECDSAP256PublicKeyLike as _, ES256PublicKey, NoCustomClaims, VerificationOptions,
    };
    let ours = verifier().verify_with_known_keys::<agentkeys_core::NoClaims>(token, at(now)).is_ok();

    let jwks = fake().jwks();
    let jwk = &jwks["keys"][2];
    let mut validation = validation(Algorithm::ES256, AUDIENCE);
    (validation.validate_exp, validation.validate_nbf, validation.leeway) = (true, true, 30);
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap();
    let jsonwebtoken = jsonwebtoken::decode::<Value>(token, &key, &validation).is_ok();

    let point = [vec![4], decode(jwk["x"].as_str().unwrap()), decode(jwk["y"].as_str().unwrap())].concat();
    let options = VerificationOptions {
        allowed_issuers: Some([ISSUER.to_owned()].into()),
        allowed_audiences: Some([AUDIENCE.to_owned()].into()),
        ..VerificationOptions::default()
    };
    let key = ES256PublicKey::from_bytes(&point).unwrap();
    let jwt_simple = key.verify_token::<NoCustomClaims>(token, Some(options)).is_ok();
    Verdicts { ours, jsonwebtoken, jwt_simple }
}

/// Every header with every set of claims: where the three differ it is by one of these, and nothing else.
#[test]
fn where_three_libraries_differ_the_table_says_why() {
    use agentkeys_core::Clock as _;
    let now = agentkeys_core::SystemClock::new().now().unwrap().as_unix();
    // what is in the header, what the three say where the claims are good, and why where they differ
    let headers = HEADERS;
    let changed = |name: &str, value: Value| (name.to_owned(), Some(value));
    let claims: [(_, Verdicts, &str); 24] = [
        (changed("jti", json!("x")), verdicts(true, true, true), ""),
        (changed("x", json!({ "a": [1] })), verdicts(true, true, true), ""),
        (changed("aud", json!([AUDIENCE])), verdicts(true, true, true), ""),
        (changed("aud", json!("other")), verdicts(false, false, false), ""),
        (changed("aud", json!([])), verdicts(false, false, false), ""),
        (
            changed("aud", json!([AUDIENCE, "other"])),
            verdicts(false, true, true),
            "RFC 8725 3.9: the other can replay it",
        ),
        (changed("aud", json!(42)), verdicts(false, false, false), ""),
        (("aud".to_owned(), None), verdicts(false, false, false), ""),
        (changed("iss", json!("https://other.example")), verdicts(false, false, false), ""),
        (
            changed("iss", json!([ISSUER, "https://other.example"])),
            verdicts(false, true, false),
            "RFC 7519 4.1.1: one string",
        ),
        (("iss".to_owned(), None), verdicts(false, false, false), ""),
        (("sub".to_owned(), None), verdicts(false, false, true), "a token without subject names nobody"),
        (changed("sub", json!("")), verdicts(false, true, true), "an empty subject names nobody"),
        (changed("exp", json!(now - 20)), verdicts(true, true, true), ""),
        (
            changed("exp", json!(now - 300)),
            verdicts(false, false, true),
            "a tolerance of 15 minutes is an attacker's",
        ),
        (changed("exp", json!("x")), verdicts(false, false, false), ""),
        (
            changed("exp", json!(now + 999_999)),
            verdicts(false, true, true),
            "a token lives no longer than a day",
        ),
        (("exp".to_owned(), None), verdicts(false, false, true), "a token without exp is for ever"),
        (
            changed("nbf", json!(now + 300)),
            verdicts(false, false, true),
            "a tolerance of 15 minutes is an attacker's",
        ),
        (changed("nbf", json!(now + 3000)), verdicts(false, false, false), ""),
        (("nbf".to_owned(), None), verdicts(true, true, true), ""),
        (
            changed("iat", json!(now + 300)),
            verdicts(false, true, true),
            "issued in the future: a clock or a lie",
        ),
        (
            ("iat".to_owned(), None),
            verdicts(false, true, true),
            "without iat neither age nor lifetime is known",
        ),
        (changed("jti", json!(1)), verdicts(false, true, false), "RFC 7519 4.1.7: a string"),
    ];
    let good = json!({
        "iss": ISSUER, "sub": "s", "aud": AUDIENCE, "iat": now - 10, "nbf": now - 10, "exp": now + 300,
    });
    let mut wrong = Vec::new();
    for (header, by_header, header_why) in headers {
        for ((name, value), by_claims, claims_why) in &claims {
            let mut claims = good.clone();
            match value {
                Some(value) => claims[name] = value.clone(),
                None => drop(claims.as_object_mut().unwrap().remove(name)),
            }
            let token = fake().sign_raw(Ours::Es256, header, &claims.to_string());
            // what either refuses is refused together
            let expected = verdicts(
                by_header.ours && by_claims.ours,
                by_header.jsonwebtoken && by_claims.jsonwebtoken,
                by_header.jwt_simple && by_claims.jwt_simple,
            );
            let said = ask_all(&token, now);
            if said != expected {
                wrong.push(format!("{header} {name}={value:?}: {said:?}"));
            }
            let differ = |by: &Verdicts| by.ours != by.jsonwebtoken || by.ours != by.jwt_simple;
            assert!(!differ(by_header) || !header_why.is_empty(), "{header}: say why");
            assert!(!differ(by_claims) || !claims_why.is_empty(), "{name}: say why");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const HEADERS: &[(&str, Verdicts, &str)] = &[
    (r#"{"alg":"ES256","kid":"EC256_0","typ":"JWT"}"#, verdicts(true, true, true), ""),
    (r#"{"alg":"ES256"}"#, verdicts(true, true, true), ""),
    (
        r#"{"alg":"ES256","kid":"other"}"#,
        verdicts(false, true, true),
        "the caller gave them the key: they never look",
    ),
    (
        r#"{"alg":"ES256","typ":"at+jwt"}"#,
        verdicts(false, true, true),
        "RFC 8725 3.11: another kind of token",
    ),
    (
        r#"{"alg":"ES256","crit":["new"],"new":1}"#,
        verdicts(false, true, false),
        "RFC 7515 4.1.11: not understood",
    ),
    (r#"{"alg":"ES256","crit":[]}"#, verdicts(false, true, true), "RFC 7515 4.1.11: never empty"),
    (r#"{"alg":"ES256","b64":false}"#, verdicts(false, true, true), "RFC 7797 6: only with crit"),
    (r#"{"alg":"ES256","zip":"DEF"}"#, verdicts(false, true, true), "compression is for JWE"),
    (r#"{"alg":"ES256","new":1,"new":2}"#, verdicts(false, true, true), "RFC 7515 4: no member twice"),
    (r#"{"alg":"ES256","alg":"ES256"}"#, verdicts(false, false, false), ""),
    (r#"{"alg":"RS256"}"#, verdicts(false, false, false), ""),
    (r#"{"alg":"none"}"#, verdicts(false, false, false), ""),
    (r#"{"typ":"JWT"}"#, verdicts(false, false, false), ""),
];
