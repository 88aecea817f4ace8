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
