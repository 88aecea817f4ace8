//! The account's own token issuer: the keys, the two documents and the signing of `GetWebIdentityToken`.
//!
//! The documents have the members that AWS's have and no more: the RSA key has no `alg`, and the discovery document
//! has neither an `authorization_endpoint` nor `response_types_supported`.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const RSA_KID: &str = "RSA_0";
const EC_KID: &str = "EC384_0";

/// The two algorithms that `GetWebIdentityToken` offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SigningAlgorithm {
    Rs256,
    Es384,
}

impl SigningAlgorithm {
    /// Reads the request parameter.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "RS256" => Some(Self::Rs256),
            "ES384" => Some(Self::Es384),
            _ => None,
        }
    }

    /// The name in headers and parameters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es384 => "ES384",
        }
    }
}

/// The cryptographic library failed; it says no more than that.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the signing keys cannot be made or used")]
pub(crate) struct KeyFailure;

/// The issuer's keys.
pub(crate) struct IssuerKeys {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl std::fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IssuerKeys(…)")
    }
}

impl IssuerKeys {
    /// Makes new keys.
    pub(crate) fn generate() -> Result<Self, KeyFailure> {
        Ok(Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyFailure)?,
            ec: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(|_| KeyFailure)?,
        })
    }

    /// The key set as AWS publishes it.
    pub(crate) fn jwks(&self) -> Value {
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        // An uncompressed point: one byte of tag, then x and y of equal length.
        let point = self.ec.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        json!({"keys": [
            {"kty": "RSA", "use": "sig", "kid": RSA_KID, "n": base64url(&rsa.n), "e": base64url(&rsa.e)},
            {"kty": "EC", "use": "sig", "kid": EC_KID, "alg": "ES384", "crv": "P-384",
             "x": base64url(x), "y": base64url(y)},
        ]})
    }

    /// Signs claims.
    pub(crate) fn sign(&self, algorithm: SigningAlgorithm, claims: &[u8]) -> Result<String, KeyFailure> {
        let kid = match algorithm {
            SigningAlgorithm::Rs256 => RSA_KID,
            SigningAlgorithm::Es384 => EC_KID,
        };
        let header = json!({"alg": algorithm.name(), "kid": kid, "typ": "JWT"}).to_string();
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims));
        let random = SystemRandom::new();
        let signature = match algorithm {
            SigningAlgorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa
                    .sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                    .map_err(|_| KeyFailure)?;
                signature
            }
            SigningAlgorithm::Es384 => {
                self.ec.sign(&random, message.as_bytes()).map_err(|_| KeyFailure)?.as_ref().to_vec()
            }
        };
        Ok(format!("{message}.{}", base64url(&signature)))
    }
}

/// The discovery document as AWS publishes it.
pub(crate) fn discovery(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "jti", "https://sts.amazonaws.com/"],
        "id_token_signing_alg_values_supported": ["RS256", "ES384"],
        "subject_types_supported": ["public"],
    })
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};

    use super::*;

    #[test]
    fn both_signatures_verify_under_the_published_keys() {
        let keys = IssuerKeys::generate().unwrap();
        let published: JwkSet = serde_json::from_value(keys.jwks()).unwrap();
        for (ours, theirs, kid) in [
            (SigningAlgorithm::Rs256, Algorithm::RS256, RSA_KID),
            (SigningAlgorithm::Es384, Algorithm::ES384, EC_KID),
        ] {
            let token = keys.sign(ours, br#"{"sub":"x","exp":9999999999}"#).unwrap();
            let mut validation = Validation::new(theirs);
            validation.validate_aud = false;
            let key = DecodingKey::from_jwk(published.find(kid).unwrap()).unwrap();
            let read = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
            assert_eq!(read.header.kid.as_deref(), Some(kid));
            assert_eq!(read.claims["sub"], "x");
        }
    }

    #[test]
    fn the_documents_have_only_what_aws_has() {
        let discovery = discovery("http://127.0.0.1:1/u");
        let mut members: Vec<&String> = discovery.as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(
            members,
            [
                "claims_supported",
                "id_token_signing_alg_values_supported",
                "issuer",
                "jwks_uri",
                "subject_types_supported"
            ]
        );
        let jwks = IssuerKeys::generate().unwrap().jwks();
        assert!(jwks["keys"][0].get("alg").is_none());
        assert_eq!(jwks["keys"][1]["alg"], "ES384");
    }
}
