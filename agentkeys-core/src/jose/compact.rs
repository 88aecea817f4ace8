use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::base64url::{self, NotDecoded};
use super::json::{Text, nesting_within};

/// A compact JWS taken apart, nothing of it verified.
///
/// Exactly three segments of canonical, unpadded base64url
/// (<https://www.rfc-editor.org/rfc/rfc7515#section-7.1>), at most [`MAX_TOKEN_BYTES`] together.
/// `Debug` shows no part of the token.
pub struct Compact<'t> {
    signing_input: &'t str,
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

impl<'t> Compact<'t> {
    /// Splits a token.
    ///
    /// # Errors
    /// [`CompactError`] where it is too large or not three segments.
    pub fn split(token: &'t str) -> Result<Self, CompactError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(CompactError::TooLarge);
        }
        let dot = |text: &str| memchr::memchr(b'.', text.as_bytes());
        let (header, rest) = split_at_dot(token, dot(token))?;
        let (payload, signature) = split_at_dot(rest, dot(rest))?;
        if dot(signature).is_some() || header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(CompactError::Segments);
        }
        let signing_input = token.get(..=header.len() + payload.len()).unwrap_or_default();
        Ok(Self { signing_input, header, payload, signature })
    }

    /// The bytes that the signature covers.
    #[must_use]
    pub fn signing_input(&self) -> &'t [u8] {
        self.signing_input.as_bytes()
    }

    /// The header's segment, still encoded.
    pub(crate) const fn header(&self) -> &'t str {
        self.header
    }

    /// The JOSE header's JSON.
    ///
    /// # Errors
    /// [`CompactError::Base64`].
    pub fn header_json(&self) -> Result<Vec<u8>, CompactError> {
        decode_segment(self.header)
    }

    /// The payload.
    ///
    /// # Errors
    /// [`CompactError::Base64`].
    pub fn payload(&self) -> Result<Vec<u8>, CompactError> {
        decode_segment(self.payload)
    }

    /// The signature.
    ///
    /// # Errors
    /// [`CompactError::Base64`].
    pub fn signature(&self) -> Result<Vec<u8>, CompactError> {
        decode_segment(self.signature)
    }

    /// The signature, in `buffer`; none where it is longer than that of any key.
    pub(crate) fn signature_in<'b>(
        &self,
        buffer: &'b mut [u8; MAX_SIGNATURE],
    ) -> Result<Option<&'b [u8]>, CompactError> {
        match base64url::decode(self.signature.as_bytes(), buffer) {
            Ok(length) => Ok(buffer.get(..length)),
            Err(NotDecoded::NoRoom) => Ok(None),
            Err(NotDecoded::NotCanonical) => Err(CompactError::Base64),
        }
    }
}

impl fmt::Debug for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compact([redacted])")
    }
}

/// The members of a JOSE header that are read; the rest is refused or known to be harmless.
///
/// Known and ignored: `cty`, `x5t`, `x5t#S256`. Refused: `crit`, `b64`, `zip`, and every way to bring
/// a key along (`jku`, `x5u`, `jwk`, `x5c`), and every member that is not known (W20, L12) or named by
/// the reader.
#[derive(Debug)]
#[non_exhaustive]
pub struct Header<'h> {
    /// `alg`, not yet looked up.
    pub alg: Cow<'h, str>,
    /// `kid`.
    pub kid: Option<Cow<'h, str>>,
    /// `typ`.
    pub typ: Option<Cow<'h, str>>,
    /// Whether any of the known or named and ignored members is there; a stricter profile refuses them.
    pub has_ignored_members: bool,
}

impl<'h> Header<'h> {
    /// Reads a header's JSON.
    ///
    /// # Errors
    /// [`CompactError`] where it is not a JSON object with an `alg`, a member is doubled, of the wrong
    /// type, or refused.
    pub fn parse(json: &'h [u8]) -> Result<Self, CompactError> {
        Self::parse_ignoring(json, &[])
    }

    /// The same for an issuer whose headers have members of these `names` too: their values are ignored.
    /// Naming a member that brings a key or changes what the token means is of no effect.
    ///
    /// # Errors
    /// As [`Header::parse`].
    pub fn parse_ignoring(json: &'h [u8], names: &[&str]) -> Result<Self, CompactError> {
        if !nesting_within(json) {
            return Err(CompactError::TooDeep);
        }
        // of bytes, what is skipped would not be checked to be text
        let text = std::str::from_utf8(json).map_err(|_| CompactError::HeaderJson)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let parts =
            deserializer.deserialize_map(HeaderVisitor(names)).map_err(|_| CompactError::HeaderJson)?;
        deserializer.end().map_err(|_| CompactError::HeaderJson)?;
        if parts.refused {
            return Err(CompactError::HeaderMember);
        }
        let alg = parts.alg.ok_or(CompactError::HeaderJson)?;
        Ok(Self { alg, kid: parts.kid, typ: parts.typ, has_ignored_members: parts.ignored != 0 })
    }
}

impl Header<'_> {
    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Header<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Header {
            alg: owned(self.alg),
            kid: self.kid.map(owned),
            typ: self.typ.map(owned),
            has_ignored_members: self.has_ignored_members,
        }
    }
}

/// Why a token could not be taken apart. All are [`crate::ErrorKind::Invalid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// A segment is not canonical unpadded base64url.
    #[error("a segment is not canonical, unpadded base64url")]
    Base64,
    /// The header is not the JSON object that it must be.
    #[error("the token's header is not a well-formed JOSE header")]
    HeaderJson,
    /// The header has a member that is refused here.
    #[error("the token's header has a member that is refused")]
    HeaderMember,
    /// Not three segments.
    #[error("not a compact JWS of three segments")]
    Segments,
    /// Arrays or objects nest deeper than [`super::MAX_NESTING`].
    #[error("the token's JSON nests too deeply")]
    TooDeep,
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is larger than {MAX_TOKEN_BYTES} bytes")]
    TooLarge,
}

#[derive(Default)]
struct HeaderParts<'h> {
    alg: Option<Cow<'h, str>>,
    kid: Option<Cow<'h, str>>,
    typ: Option<Cow<'h, str>>,
    ignored: u32,
    refused: bool,
}

/// With the names of further members to ignore.
struct HeaderVisitor<'n>(&'n [&'n str]);

impl<'h> Visitor<'h> for HeaderVisitor<'_> {
    type Value = HeaderParts<'h>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'h>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = HeaderParts::default();
        while let Some(Text(name)) = map.next_key()? {
            let slot = match name.as_ref() {
                "alg" => &mut parts.alg,
                "kid" => &mut parts.kid,
                "typ" => &mut parts.typ,
                other => {
                    let known = if NEVER_IGNORED.contains(&other) {
                        None
                    } else {
                        IGNORED.iter().chain(self.0).position(|name| *name == other)
                    };
                    let bit = known.and_then(|at| 1_u32.checked_shl(u32::try_from(at).ok()?)).unwrap_or(0);
                    parts.refused |= bit == 0;
                    if parts.ignored & bit != 0 {
                        return Err(serde::de::Error::custom("a header member is doubled"));
                    }
                    parts.ignored |= bit;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.replace(map.next_value::<Text<'_>>()?.0).is_some() {
                return Err(serde::de::Error::custom("a header member is doubled"));
            }
        }
        Ok(parts)
    }
}

/// Both sides of the dot that is there.
fn split_at_dot(text: &str, dot: Option<usize>) -> Result<(&str, &str), CompactError> {
    let parts = dot.and_then(|dot| Some((text.get(..dot)?, text.get(dot + 1..)?)));
    parts.ok_or(CompactError::Segments)
}

/// Encodes canonical, unpadded base64url.
pub(crate) fn encode_segment(bytes: impl AsRef<[u8]>) -> String {
    let mut text = Vec::new();
    append_segment(bytes, &mut text);
    // ASCII, so it is text
    String::from_utf8(text).unwrap_or_default()
}

/// The same, behind what `text` holds already.
pub(crate) fn append_segment(bytes: impl AsRef<[u8]>, text: &mut Vec<u8>) {
    base64url::encode(bytes.as_ref(), text);
}

/// Decodes canonical, unpadded base64url; trailing bits must be zero.
pub(crate) fn decode_segment(segment: &str) -> Result<Vec<u8>, CompactError> {
    let mut bytes = vec![0; base64url::decoded_length(segment.len())];
    base64url::decode(segment.as_bytes(), &mut bytes).map_err(|_| CompactError::Base64)?;
    Ok(bytes)
}

/// A signature of RSA's longest key, 8192 bits.
pub(crate) const MAX_SIGNATURE: usize = 1024;

/// Members that every reader ignores.
const IGNORED: [&str; 3] = ["cty", "x5t", "x5t#S256"];

/// Members that no reader ignores: they bring a key or change what the token means
/// (<https://www.rfc-editor.org/rfc/rfc8725#section-3.10>).
const NEVER_IGNORED: [&str; 8] = ["b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"];

/// The longest token that is looked at: 16 KiB. AWS takes 20,000 characters in
/// `WebIdentityToken` and its own tokens hold at most 14,984 bytes of claims, of which an EKS Pod
/// Identity uses about one.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l12_only_three_canonical_segments_split() {
        assert!(Compact::split("aGk.aGk.aGk").is_ok());
        for bad in ["", "a", "a.b", "a.b.c.d", ".b.c", "a..c", "a.b.", "..", "a.b.c.d.e"] {
            assert_eq!(Compact::split(bad).err(), Some(CompactError::Segments), "{bad:?}");
        }
        for bad in ["aGk=", "aG k", "aGl", "a+k", "a/k", "aGk\n", "é"] {
            assert_eq!(decode_segment(bad), Err(CompactError::Base64), "{bad:?}");
        }
    }

    #[test]
    fn w20_the_size_cap_comes_before_anything_else() {
        assert_eq!(Compact::split(&"a".repeat(MAX_TOKEN_BYTES + 1)).err(), Some(CompactError::TooLarge));
        let most = format!("a.{}.b", "c".repeat(MAX_TOKEN_BYTES - 4));
        assert!(Compact::split(&most).is_ok());
    }

    #[test]
    fn w20_l12_header_members_that_bring_keys_or_semantics_are_refused() {
        for member in ["crit", "b64", "zip", "jku", "x5u", "jwk", "x5c", "enc", "anything"] {
            let json = format!("{{\"alg\":\"ES256\",\"{member}\":[]}}");
            assert_eq!(Header::parse(json.as_bytes()).err(), Some(CompactError::HeaderMember), "{member}");
        }
        let known = Header::parse(br#"{"alg":"ES256","cty":"x","x5t":"x","x5t#S256":"x"}"#).unwrap();
        assert!(known.has_ignored_members);
        let plain = Header::parse(br#"{"alg":"ES256","kid":"a","typ":"JWT"}"#).unwrap();
        assert!(!plain.has_ignored_members);
    }

    #[test]
    fn w20_a_named_member_is_ignored_but_never_one_that_brings_keys_or_semantics() {
        let json = br#"{"alg":"ES256","ver":"1.0"}"#;
        assert_eq!(Header::parse(json).err(), Some(CompactError::HeaderMember));
        assert_eq!(Header::parse_ignoring(json, &["tty"]).err(), Some(CompactError::HeaderMember));
        assert!(Header::parse_ignoring(json, &["tty", "ver"]).unwrap().has_ignored_members);
        let doubled = br#"{"alg":"ES256","ver":"1.0","ver":"1.0"}"#;
        assert_eq!(Header::parse_ignoring(doubled, &["ver"]).err(), Some(CompactError::HeaderJson));
        for name in NEVER_IGNORED {
            let json = format!("{{\"alg\":\"ES256\",\"{name}\":[]}}");
            let refused = Header::parse_ignoring(json.as_bytes(), &[name]).err();
            assert_eq!(refused, Some(CompactError::HeaderMember), "{name}");
        }
        // more names than can be told apart are refused, not mixed up
        let many = [&["x"; 40][..], &["ver"]].concat();
        assert_eq!(Header::parse_ignoring(json, &many).err(), Some(CompactError::HeaderMember));
    }

    #[test]
    fn w20_doubled_mistyped_and_missing_members_are_refused() {
        for bad in [
            r#"{"alg":"ES256","alg":"ES256"}"#,
            r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
            r#"{"alg":"ES256","x5t":"a","x5t":"b"}"#,
            r#"{"alg":"ES256","\u0061lg":"none"}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":"ES256","kid":1}"#,
            r#"{"kid":"a"}"#,
            r#"["ES256"]"#,
            r#"{"alg":"ES256"} x"#,
            "",
        ] {
            assert_eq!(Header::parse(bad.as_bytes()).err(), Some(CompactError::HeaderJson), "{bad}");
        }
    }

    #[test]
    fn a_header_that_is_not_utf8_is_refused_even_where_it_is_ignored() {
        let refused = Header::parse(b"{\"alg\":\"ES256\",\"cty\":\"\xff\"}").err();
        assert_eq!(refused, Some(CompactError::HeaderJson));
    }

    #[test]
    fn debug_shows_no_part_of_the_token() {
        assert_eq!(format!("{:?}", Compact::split("aGk.aGk.aGk").unwrap()), "Compact([redacted])");
    }
}
