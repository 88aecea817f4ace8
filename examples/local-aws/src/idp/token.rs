//! A web identity token: first as text, then with its signature verified.

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Map, Value};

use crate::idp::IdpError;
use crate::idp::keys::ProviderKeys;

/// The claims of a token. Of two members with one name the later counts.
pub(crate) type Claims = Map<String, Value>;

/// A token that nothing vouches for yet.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'t> {
    text: &'t str,
    header: Header,
    issuer: String,
    claims: Claims,
}

/// Claims that the issuer signed.
#[derive(Debug)]
pub(crate) struct VerifiedClaims(pub(super) Claims);

impl<'t> UnverifiedToken<'t> {
    /// Takes a token apart, as far as is needed to find out whom to ask about it.
    pub(crate) fn parse(text: &'t str) -> Result<Self, IdpError> {
        let broken = || {
            IdpError::invalid(
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
            )
        };
        let header = jsonwebtoken::decode_header(text).map_err(|_| broken())?;
        let supported =
            [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384];
        if !supported.contains(&header.alg) {
            return Err(IdpError::invalid("Token signature algorithm is not supported"));
        }
        if header.crit.is_some() {
            return Err(IdpError::invalid("Token header has critical members that are not understood"));
        }
        let claims: Claims = jsonwebtoken::dangerous::insecure_decode(text).map_err(|_| broken())?.claims;
        let issuer = claims
            .get("iss")
            .and_then(Value::as_str)
            .ok_or_else(|| IdpError::invalid("Missing a required claim: iss"))?
            .to_owned();
        Ok(Self { text, header, issuer, claims })
    }

    /// Whom the token says it is from.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Verifies the signature, and nothing else: times and audience are AWS's own rules, not those of the library.
    /// Its `decode` is not used because it refuses repeated claims even where it validates none.
    pub(crate) fn verify(self, keys: &ProviderKeys) -> Result<VerifiedClaims, IdpError> {
        let key = keys.find(self.header.kid.as_deref(), self.header.alg)?;
        let wrong = || IdpError::invalid("Token signature is invalid");
        let (message, signature) = self.text.rsplit_once('.').ok_or_else(wrong)?;
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, self.header.alg) {
            Ok(true) => Ok(VerifiedClaims(self.claims)),
            Ok(false) | Err(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn refusal(header: &str, claims: &str) -> String {
        let text = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        UnverifiedToken::parse(&text).unwrap_err().to_string()
    }

    #[test]
    fn only_five_algorithms_are_heard_of() {
        for name in ["none", "HS256", "PS256", "EdDSA", "ES512"] {
            let text = refusal(&format!(r#"{{"alg":"{name}"}}"#), r#"{"iss":"x"}"#);
            assert!(text.contains("not supported") || text.contains("not a valid JWT"), "{name}: {text}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "a.b", "a.b.c", "a.b.c.d", "....", "é.é.é"] {
            assert!(matches!(UnverifiedToken::parse(text), Err(IdpError::Invalid(_))), "{text}");
        }
        assert_eq!(refusal(r#"{"alg":"ES256"}"#, "{}"), "Missing a required claim: iss");
        assert_eq!(refusal(r#"{"alg":"ES256"}"#, r#"{"iss":1}"#), "Missing a required claim: iss");
        assert!(refusal(r#"{"alg":"ES256","crit":["x"]}"#, r#"{"iss":"x"}"#).contains("critical"));
        assert!(refusal(r#"{"alg":"ES256"}"#, "[]").contains("not a valid JWT"));
    }
}
