use serde::{Deserialize, Serialize};

use crate::issuer::Issuer;
use crate::jose::{Algorithm, is_object, nesting_within};

/// The discovery document that we publish for an issuer of ours: all of it follows from the issuer
/// (W48, R31, R36).
/// <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata>
#[derive(Debug, Serialize)]
pub struct DiscoveryDocument<'i> {
    issuer: &'i str,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 1],
    scopes_supported: [&'static str; 1],
    claims_supported: [&'static str; 7],
}

impl<'i> DiscoveryDocument<'i> {
    /// The document of `issuer`.
    #[must_use]
    pub fn new(issuer: &'i Issuer) -> Self {
        Self {
            issuer: issuer.as_str(),
            jwks_uri: issuer.jwks_url(),
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: [Algorithm::Es256.as_str()],
            scopes_supported: ["openid"],
            claims_supported: ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"],
        }
    }
}

/// What is read of somebody else's discovery document: that it speaks for this issuer, and where the keys
/// are. AWS's has none of the members that OpenID calls required beyond these.
#[derive(Debug)]
pub struct ProviderMetadata {
    jwks_uri: String,
}

impl ProviderMetadata {
    /// Reads the document that was fetched from `issuer`.
    ///
    /// # Errors
    /// Where it is not JSON, its `issuer` is not byte for byte this one (R34), or its `jwks_uri` is on
    /// another host or has another scheme (L10, W24). The text says which and shows nothing of it.
    pub fn parse(json: &[u8], issuer: &Issuer) -> Result<Self, &'static str> {
        if json.len() > MAX_DISCOVERY_BYTES || !nesting_within(json) {
            return Err("it is too large or nests too deeply");
        }
        if !is_object(json) {
            return Err("it is not provider metadata");
        }
        let text = std::str::from_utf8(json).map_err(|_| "it is not provider metadata")?;
        let document: Document = serde_json::from_str(text).map_err(|_| "it is not provider metadata")?;
        if document.issuer != issuer.as_str() {
            return Err("its issuer is another one");
        }
        let scheme = if issuer.is_loopback_http() { "http://" } else { "https://" };
        let rest = document.jwks_uri.strip_prefix(scheme).ok_or("its jwks_uri has the wrong scheme")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority != issuer.authority() {
            return Err("its jwks_uri is on another host");
        }
        if !is_plain(rest) {
            return Err("its jwks_uri is malformed");
        }
        Ok(Self { jwks_uri: document.jwks_uri })
    }

    /// Where the keys are.
    #[must_use]
    pub fn jwks_uri(&self) -> &str {
        &self.jwks_uri
    }
}

/// Where an issuer's keys are, where the host says so itself: an `https://` URL on any host, without user
/// info and fragment, at most [`MAX_JWKS_URI`] bytes. Never built from what a token or a document says (L10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUri {
    url: String,
    origin: Issuer,
}

impl JwksUri {
    /// Reads an address.
    ///
    /// # Errors
    /// [`JwksUriError`].
    pub fn parse(url: &str) -> Result<Self, JwksUriError> {
        let rest = url.strip_prefix("https://").ok_or(JwksUriError)?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        // the host and its port have the form of an issuer's
        let origin = Issuer::parse(&format!("https://{authority}")).map_err(|_| JwksUriError)?;
        if url.len() > MAX_JWKS_URI || !is_plain(rest) {
            return Err(JwksUriError);
        }
        Ok(Self { url: url.to_owned(), origin })
    }

    /// The URL, exactly as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Its scheme and host, and its port where there is one.
    #[must_use]
    pub const fn origin(&self) -> &Issuer {
        &self.origin
    }
}

/// Not the address of a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("a key set's address is an https:// URL without user info and fragment")]
pub struct JwksUriError;

fn is_plain(rest: &str) -> bool {
    rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\')
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// The largest discovery document that is read: 64 KiB.
pub const MAX_DISCOVERY_BYTES: usize = 64 * 1024;

/// The longest address of a key set that a host can configure, in bytes.
pub const MAX_JWKS_URI: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(issuer: &str, jwks_uri: &str) -> Result<ProviderMetadata, &'static str> {
        let json = serde_json::json!({ "issuer": issuer, "jwks_uri": jwks_uri, "other": [1] });
        ProviderMetadata::parse(json.to_string().as_bytes(), &Issuer::parse("https://h.example/a").unwrap())
    }

    #[test]
    fn r31_our_own_document_reads_back_as_ours() {
        for text in ["https://broker.example.org", "https://broker.example.org/a/"] {
            let issuer = Issuer::parse(text).unwrap();
            let json = serde_json::to_vec(&DiscoveryDocument::new(&issuer)).unwrap();
            assert_eq!(ProviderMetadata::parse(&json, &issuer).unwrap().jwks_uri(), issuer.jwks_url());
        }
    }

    #[test]
    fn w24_l10_a_document_speaks_only_for_its_own_issuer_and_host() {
        assert!(read("https://h.example/a", "https://h.example/keys?x=1").is_ok());
        for (issuer, uri) in [
            ("https://h.example/a/", "https://h.example/keys"),
            ("https://H.example/a", "https://h.example/keys"),
            ("https://h.example/a", "http://h.example/keys"),
            ("https://h.example/a", "https://evil.example/keys"),
            ("https://h.example/a", "https://h.example:8443/keys"),
            ("https://h.example/a", "https://h.example@evil.example/keys"),
            ("https://h.example/a", "https://h.example#@evil.example/"),
            ("https://h.example/a", "https://h.example\\@evil.example/"),
            ("https://h.example/a", "https://h.example/a b"),
            ("https://h.example/a", "file:///etc/passwd"),
            ("https://h.example/a", ""),
        ] {
            assert!(read(issuer, uri).is_err(), "{issuer} {uri}");
        }
        let issuer = Issuer::parse("https://h.example/a").unwrap();
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"issuer":"https://h.example/a"}"#,
            r#"["https://h.example/a","https://h.example/k"]"#,
        ] {
            assert!(ProviderMetadata::parse(bad.as_bytes(), &issuer).is_err(), "{bad}");
        }
        let doubled = r#"{"issuer":"https://h.example/a","issuer":"https://h.example/a","jwks_uri":"https://h.example/k"}"#;
        assert!(ProviderMetadata::parse(doubled.as_bytes(), &issuer).is_err());
        assert!(ProviderMetadata::parse(&vec![b' '; MAX_DISCOVERY_BYTES + 1], &issuer).is_err());
    }

    #[test]
    fn l10_w24_only_https_addresses_are_configured_for_key_sets() {
        for good in ["https://keys.example/a?x=1", "https://keys.example:8443", "https://[::1]/k"] {
            assert_eq!(JwksUri::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "http://keys.example/a",
            "HTTPS://keys.example/a",
            "https://",
            "https:///a",
            "https://u@keys.example/a",
            "https://keys.example/a#b",
            "https://keys.example/a b",
            "https://keys.example\\@evil.example/",
            "https://keys.example:x/",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(JwksUri::parse(bad), Err(JwksUriError), "{bad}");
        }
        let long = format!("https://keys.example/{}", "a".repeat(MAX_JWKS_URI));
        assert_eq!(JwksUri::parse(&long), Err(JwksUriError));
    }
}
