use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Who signs a token: an `https://` URL, compared byte for byte for ever (R34, R116).
///
/// Nothing is normalised: a trailing slash, an upper-case letter and `:443` each make another issuer.
/// The same bytes feed `iss`, the discovery document, the provider's ARN and the trust policy (R36).
/// No query, fragment or user info; at most [`MAX_ISSUER`] characters.
/// <https://openid.net/specs/openid-connect-discovery-1_0.html#IssuerDiscovery>
///
/// ```
/// # use agentkeys_core::{Issuer, IssuerError};
/// let issuer = Issuer::parse("https://broker.example.org")?;
/// assert_ne!(issuer, Issuer::parse("https://broker.example.org/")?); // another issuer
/// assert_eq!(issuer.discovery_url(), "https://broker.example.org/.well-known/openid-configuration");
/// assert_eq!(Issuer::parse("http://broker.example.org"), Err(IssuerError::Scheme));
/// # Ok::<(), IssuerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Issuer(String);

impl Issuer {
    /// An issuer on the network.
    ///
    /// # Errors
    /// [`IssuerError`] where it is not an `https://` URL of the form above.
    pub fn parse(url: &str) -> Result<Self, IssuerError> {
        let rest = url.strip_prefix("https://").ok_or(IssuerError::Scheme)?;
        check_rest(url, rest)?;
        Ok(Self(url.to_owned()))
    }

    /// An `http://` issuer on this machine's loopback interface, for tests and demonstrations: nothing
    /// protects its keys on the way. Only `127.0.0.1`, `[::1]` and `localhost`.
    ///
    /// # Errors
    /// [`IssuerError`] for anything that is not loopback.
    pub fn loopback_http_for_tests(url: &str) -> Result<Self, IssuerError> {
        let rest = url.strip_prefix("http://").ok_or(IssuerError::Scheme)?;
        let authority = check_rest(url, rest)?;
        if is_loopback(host_of(authority)) { Ok(Self(url.to_owned())) } else { Err(IssuerError::Host) }
    }

    /// The URL, exactly as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL without its scheme: what AWS puts behind `oidc-provider/` and before `:aud`.
    #[must_use]
    pub fn without_scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.without_scheme().split('/').next().unwrap_or_default()
    }

    /// Whether this came from [`Issuer::loopback_http_for_tests`].
    #[must_use]
    pub fn is_loopback_http(&self) -> bool {
        self.0.starts_with("http://")
    }

    /// Where its discovery document lies. The one place where a trailing slash is left out, as
    /// <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationRequest> says.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.strip_suffix('/').unwrap_or(&self.0))
    }

    /// Where we publish our own keys.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.0.strip_suffix('/').unwrap_or(&self.0))
    }
}

impl FromStr for Issuer {
    type Err = IssuerError;

    fn from_str(url: &str) -> Result<Self, IssuerError> {
        Self::parse(url)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a token is for, compared byte for byte: 1 to [`MAX_AUDIENCE`] printable ASCII characters.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(Arc<str>);

impl Audience {
    /// An audience.
    ///
    /// # Errors
    /// [`IssuerError::Audience`].
    pub fn parse(text: &str) -> Result<Self, IssuerError> {
        let printable = text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if text.is_empty() || text.len() > MAX_AUDIENCE || !printable {
            return Err(IssuerError::Audience);
        }
        Ok(Self(text.into()))
    }

    /// The text, exactly as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = IssuerError;

    fn from_str(text: &str) -> Result<Self, IssuerError> {
        Self::parse(text)
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an issuer or an audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// Not an audience.
    #[error("an audience is 1 to {MAX_AUDIENCE} printable ASCII characters without spaces")]
    Audience,
    /// The host is missing, malformed or not allowed here.
    #[error("the issuer's host is missing or not allowed")]
    Host,
    /// Longer than [`MAX_ISSUER`].
    #[error("an issuer is at most {MAX_ISSUER} characters")]
    Length,
    /// A query, fragment, user info, dot segment or a character that a URL path cannot have.
    #[error("an issuer has no query, fragment, user info or unusual character")]
    Path,
    /// Not `https://`.
    #[error("an issuer begins with https://")]
    Scheme,
}

fn check_rest<'r>(url: &str, rest: &'r str) -> Result<&'r str, IssuerError> {
    if url.len() > MAX_ISSUER {
        return Err(IssuerError::Length);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains(['@', '?', '#']) {
        return Err(IssuerError::Path);
    }
    let host = host_of(authority);
    let port = authority.strip_prefix(host).unwrap_or_default();
    let named = !host.is_empty()
        && !host.starts_with(['.', '-'])
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    let numbered = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let numbered = numbered.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if !(named || numbered) || !port_ok {
        return Err(IssuerError::Host);
    }
    // https://www.rfc-editor.org/rfc/rfc3986#section-3.3 without percent-encoding, which invites doubt
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    if !path.bytes().all(allowed) || path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(IssuerError::Path);
    }
    Ok(authority)
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, _)) if !authority.ends_with(']') => host,
        _ => authority,
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The longest URL that AWS takes for an OIDC provider.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html>
pub const MAX_ISSUER: usize = 255;

/// The longest audience that AWS puts into a token.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html>
pub const MAX_AUDIENCE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r34_issuers_are_compared_byte_for_byte() {
        let issuer = Issuer::parse("https://broker.example.org").unwrap();
        for other in
            ["https://broker.example.org/", "https://Broker.example.org", "https://broker.example.org:443"]
        {
            assert_ne!(Issuer::parse(other).unwrap(), issuer, "{other}");
            assert_eq!(Issuer::parse(other).unwrap().as_str(), other);
        }
        let path = Issuer::parse("https://h.example/a/").unwrap();
        assert_eq!(path.discovery_url(), "https://h.example/a/.well-known/openid-configuration");
        assert_eq!((path.authority(), path.without_scheme()), ("h.example", "h.example/a/"));
    }

    #[test]
    fn r116_w50_only_plain_https_urls_are_issuers() {
        for bad in [
            "http://broker.example.org",
            "HTTPS://broker.example.org",
            "https://",
            "https:///x",
            "https://u@h",
            "https://h?x",
            "https://h#x",
            "https://h/?x",
            "https://h/a#x",
            "https://h/../x",
            "https://h/%2e",
            "https://h/a b",
            "https://h:99999",
            "https://h:",
            "https://h:x",
            "https://-h",
            "https://h\u{e9}",
            "https://[::1",
            "https://a:b@h",
            "",
            "ftp://h",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Issuer::parse(&format!("https://{}", "h".repeat(250))), Err(IssuerError::Length));
    }

    #[test]
    fn w50_plain_http_is_for_loopback_under_a_name_that_says_so() {
        for good in ["http://127.0.0.1:4599", "http://[::1]:1/x", "http://localhost"] {
            assert!(Issuer::loopback_http_for_tests(good).is_ok(), "{good}");
            assert!(Issuer::parse(good).is_err(), "{good}");
        }
        for bad in ["http://127.0.0.1.example.org", "http://example.org", "http://0.0.0.0", "http://10.0.0.1"]
        {
            assert!(Issuer::loopback_http_for_tests(bad).is_err(), "{bad}");
        }
        assert!(Issuer::loopback_http_for_tests("https://127.0.0.1").is_err());
    }

    #[test]
    fn audiences_are_bounded_printable_text() {
        assert!(Audience::parse("sts.amazonaws.com").is_ok());
        for bad in ["", " ", "a b", "a\n", "é", &"a".repeat(MAX_AUDIENCE + 1)] {
            assert!(Audience::parse(bad).is_err(), "{bad}");
        }
    }
}
