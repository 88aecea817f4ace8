use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elliptic_curve::pkcs8::DecodePublicKey as _;
use elliptic_curve::sec1::ToSec1Point as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::algorithm::Algorithm;
use super::compact::{decode_segment, encode_segment};
use super::crypto::{KeyRejected, PublicKey, sha256};
use super::json::{Text, is_object, nesting_within, present};

/// A key's name inside one issuer's set. It says nothing outside it (L16): AWS calls its keys
/// `RSA_0` and `EC384_0` for every account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// 1 to 256 printable ASCII characters.
    ///
    /// # Errors
    /// [`JwkError::KeyId`].
    pub fn parse(text: &str) -> Result<Self, JwkError> {
        let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if text.is_empty() || text.len() > MAX_KEY_ID || !printable {
            return Err(JwkError::KeyId);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyId {
    /// The name, not copied.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One public key of somebody's set, parsed and ready to verify.
#[derive(Clone, Debug)]
pub struct Jwk {
    kid: Option<KeyId>,
    key: PublicKey,
}

impl Jwk {
    /// A key and its name.
    #[must_use]
    pub const fn new(kid: Option<KeyId>, key: PublicKey) -> Self {
        Self { kid, key }
    }

    /// Reads one JWK (<https://www.rfc-editor.org/rfc/rfc7517#section-4>).
    ///
    /// The key's type decides the one algorithm that it verifies; `alg`, `use` and `key_ops` must
    /// agree with that where they are present (W19). AWS leaves `alg` out of its RSA key; SPIRE says
    /// `use: jwt-svid`. A JWK with private members is refused.
    ///
    /// # Errors
    /// [`JwkError`] says which rule it breaks.
    pub fn parse(json: &str) -> Result<Self, JwkError> {
        if !is_object(json.as_bytes()) || !nesting_within(json.as_bytes()) {
            return Err(JwkError::Malformed);
        }
        let members: Members<'_> = serde_json::from_str(json).map_err(|_| JwkError::Malformed)?;
        let Members { d, k, p, q, dp, dq, qi, oth, .. } = &members;
        if [d, k, p, q, dp, dq, qi, oth].into_iter().any(Option::is_some) {
            return Err(JwkError::SecretMaterial);
        }
        if !matches!(members.usage.as_ref().map(|usage| usage.0.as_ref()), None | Some("sig" | "jwt-svid")) {
            return Err(JwkError::Use);
        }
        if members.key_ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err(JwkError::Use);
        }
        let bytes = |member: Option<Text<'_>>| {
            member.and_then(|text| decode_segment(&text.0).ok()).ok_or(JwkError::Malformed)
        };
        let key = match (members.kty.as_ref(), members.crv.as_ref().map(|crv| crv.0.as_ref())) {
            ("EC", Some("P-256")) => {
                PublicKey::from_ec_coordinates(Algorithm::Es256, &bytes(members.x)?, &bytes(members.y)?)?
            }
            ("EC", Some("P-384")) => {
                PublicKey::from_ec_coordinates(Algorithm::Es384, &bytes(members.x)?, &bytes(members.y)?)?
            }
            ("OKP", Some("Ed25519")) => PublicKey::from_ed25519(&bytes(members.x)?)?,
            ("RSA", None) => PublicKey::from_rsa_components(&bytes(members.n)?, &bytes(members.e)?)?,
            _ => return Err(JwkError::Type),
        };
        if members.alg.is_some_and(|alg| alg.0 != key.algorithm().as_str()) {
            return Err(JwkError::Algorithm);
        }
        let kid = members.kid.map(|kid| KeyId::parse(&kid.0)).transpose()?;
        Ok(Self { kid, key })
    }

    /// Its name, where it has one.
    #[must_use]
    pub const fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// One issuer's keys. Sets of different issuers are never merged (L16).
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Jwk>,
    skipped: usize,
    contradicted: usize,
}

impl KeySet {
    /// A set of these keys. Identical doubles collapse; different keys under one name are all dropped
    /// and counted, because nothing says which one is meant.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Jwk>) -> Self {
        let mut set = Self::default();
        let mut contradicted: Vec<KeyId> = Vec::new();
        for jwk in keys {
            // keys without a name contradict nothing: they are doubles or different keys
            let twin = set
                .keys
                .iter()
                .find(|known| known.kid == jwk.kid && (jwk.kid.is_some() || known.key.is_same_key(&jwk.key)));
            match (twin, &jwk.kid) {
                (Some(twin), _) if twin.key.is_same_key(&jwk.key) => {}
                (Some(_), Some(kid)) => contradicted.push(kid.clone()),
                _ => set.keys.push(jwk),
            }
        }
        let before = set.keys.len();
        set.keys.retain(|jwk| jwk.kid.as_ref().is_none_or(|kid| !contradicted.contains(kid)));
        set.contradicted = contradicted.len() + before - set.keys.len();
        set
    }

    /// Reads a JWK Set (<https://www.rfc-editor.org/rfc/rfc7517#section-5>) key by key: what cannot be
    /// used is skipped and counted, the rest is kept.
    ///
    /// # Errors
    /// [`KeySetError`] where the document itself is not a key set, is too large, or no key is left.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLarge);
        }
        if !is_object(json) || !nesting_within(json) {
            return Err(KeySetError::Malformed);
        }
        let text = std::str::from_utf8(json).map_err(|_| KeySetError::Malformed)?;
        let document: Document<'_> = serde_json::from_str(text).map_err(|_| KeySetError::Malformed)?;
        if document.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let count = document.keys.len();
        let mut set = Self::new(document.keys.iter().filter_map(|raw| Jwk::parse(raw.get()).ok()));
        set.skipped = count.saturating_sub(set.keys.len() + set.contradicted);
        if set.keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(set) }
    }

    /// The usable keys.
    #[must_use]
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// How many keys were left out because they could not be used, or were doubles.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// How many keys were dropped because another key has the same name.
    #[must_use]
    pub const fn contradicted(&self) -> usize {
        self.contradicted
    }

    /// The same keys; those that are in `older` too go on with what was prepared for them there.
    pub(crate) fn keeping_tables_of(mut self, older: &Self) -> Self {
        for jwk in &mut self.keys {
            if let Some(known) = older.keys.iter().find(|known| known.key.is_same_key(&jwk.key)) {
                jwk.key.share_table_of(&known.key);
            }
        }
        self
    }

    /// The key of this name.
    #[must_use]
    pub fn by_kid(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|jwk| jwk.kid.as_ref().is_some_and(|known| known.as_str() == kid))
    }
}

/// A public P-256 key as we publish it: `kty crv x y kid use alg` and nothing else, because AWS refuses
/// a key that says `key_ops`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    kid: KeyId,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<Vec<String>>,
}

impl PublicJwk {
    /// From affine coordinates. The name is the RFC 7638 thumbprint: it belongs to the key and to no
    /// other (W38).
    #[must_use]
    pub fn es256(x: &[u8; 32], y: &[u8; 32]) -> Self {
        let (x, y) = (encode_segment(x), encode_segment(y));
        // https://www.rfc-editor.org/rfc/rfc7638#section-3.2: required members only, in this order
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = KeyId(encode_segment(sha256(canonical.as_bytes())).into());
        Self { kty: "EC", crv: "P-256", x, y, kid, usage: "sig", alg: Algorithm::Es256.as_str(), x5c: None }
    }

    /// From a DER `SubjectPublicKeyInfo` (<https://www.rfc-editor.org/rfc/rfc5480#section-2>).
    ///
    /// # Errors
    /// [`JwkError::Type`] where it is not a P-256 key and nothing else.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, JwkError> {
        let key = p256::PublicKey::from_public_key_der(der).map_err(|_| JwkError::Type)?;
        Self::from_sec1_point(key.to_sec1_point(false).as_bytes())
    }

    /// From an uncompressed point (<https://www.secg.org/sec1-v2.pdf>, section 2.3.3).
    ///
    /// # Errors
    /// [`JwkError::Type`] for another form; [`JwkError::Rejected`] where it is not a point of P-256.
    pub fn from_sec1_point(point: &[u8]) -> Result<Self, JwkError> {
        let coordinates = point.strip_prefix(&[0x04]).and_then(|rest| {
            let (x, y) = rest.split_at_checked(32)?;
            Some((x.try_into().ok()?, y.try_into().ok()?))
        });
        let (x, y): ([u8; 32], [u8; 32]) = coordinates.ok_or(JwkError::Type)?;
        let public = Self::es256(&x, &y);
        public.to_jwk()?;
        Ok(public)
    }

    /// Reads one as it is published, without `x5c`; its name must be its thumbprint.
    ///
    /// # Errors
    /// [`JwkError`] says which rule it breaks.
    pub fn parse(json: &str) -> Result<Self, JwkError> {
        if !is_object(json.as_bytes()) {
            return Err(JwkError::Malformed);
        }
        let read: Published<'_> = serde_json::from_str(json).map_err(|_| JwkError::Malformed)?;
        match (read.kty, read.crv, read.usage, read.alg) {
            ("EC", "P-256", "sig", "ES256") => {}
            ("EC", "P-256", "sig", _) => return Err(JwkError::Algorithm),
            ("EC", "P-256", _, _) => return Err(JwkError::Use),
            _ => return Err(JwkError::Type),
        }
        let coordinate = |text: &str| {
            decode_segment(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(JwkError::Malformed)
        };
        let key = Self::es256(&coordinate(read.x)?, &coordinate(read.y)?);
        if key.kid.as_str() != read.kid {
            return Err(JwkError::Thumbprint);
        }
        key.to_jwk()?;
        Ok(key)
    }

    /// With the key's certificate chain (DER, its own first): some consumers read nothing else.
    /// <https://www.rfc-editor.org/rfc/rfc7517#section-4.7>
    ///
    /// # Errors
    /// [`JwkError::Certificate`] where the first certificate does not hold this key.
    pub fn with_x5c(mut self, chain: &[&[u8]]) -> Result<Self, JwkError> {
        let coordinate = |text: &str| decode_segment(text).map_err(|_| JwkError::Malformed);
        let point = [vec![0x04], coordinate(&self.x)?, coordinate(&self.y)?].concat();
        let own = chain.first().is_some_and(|der| der.windows(point.len()).any(|window| window == point));
        if !own {
            return Err(JwkError::Certificate);
        }
        self.x5c = Some(chain.iter().map(|der| STANDARD.encode(der)).collect());
        Ok(self)
    }

    pub(crate) fn without_x5c(mut self) -> Self {
        self.x5c = None;
        self
    }

    /// The thumbprint.
    #[must_use]
    pub const fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// The same key, ready to verify.
    ///
    /// # Errors
    /// [`JwkError`] where the coordinates are not a point of the curve.
    pub fn to_jwk(&self) -> Result<Jwk, JwkError> {
        let coordinate = |text: &str| decode_segment(text).map_err(|_| JwkError::Malformed);
        let key =
            PublicKey::from_ec_coordinates(Algorithm::Es256, &coordinate(&self.x)?, &coordinate(&self.y)?)?;
        Ok(Jwk::new(Some(self.kid.clone()), key))
    }
}

/// Why one JWK cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// `alg` is not the algorithm of this key's type.
    #[error("the key's alg does not fit its type")]
    Algorithm,
    /// The first certificate of a chain is not of this key.
    #[error("the certificate is not of this key")]
    Certificate,
    /// `kid` is empty, too long or not printable ASCII.
    #[error("a kid is 1 to 256 printable ASCII characters")]
    KeyId,
    /// Not a JWK: not an object, a doubled or mistyped member, a missing one.
    #[error("not a well-formed JWK")]
    Malformed,
    /// A weak key or a bogus point.
    #[error(transparent)]
    Rejected(#[from] KeyRejected),
    /// The JWK has private or symmetric members.
    #[error("the key has secret members")]
    SecretMaterial,
    /// The key's name is not its thumbprint.
    #[error("the kid is not the key's thumbprint")]
    Thumbprint,
    /// A type or curve that is not used here.
    #[error("the key's type is not supported")]
    Type,
    /// `use` or `key_ops` is not for verifying.
    #[error("the key is not for verifying")]
    Use,
}

/// Why a key set is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Not a JWK Set.
    #[error("not a well-formed JWK set")]
    Malformed,
    /// Nothing in it can be used.
    #[error("the JWK set has no usable key")]
    NoUsableKey,
    /// Larger than [`MAX_KEY_SET_BYTES`].
    #[error("the JWK set is larger than {MAX_KEY_SET_BYTES} bytes")]
    TooLarge,
    /// More than [`MAX_KEYS`].
    #[error("the JWK set has more than {MAX_KEYS} keys")]
    TooManyKeys,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published<'a> {
    kty: &'a str,
    crv: &'a str,
    x: &'a str,
    y: &'a str,
    kid: &'a str,
    #[serde(rename = "use")]
    usage: &'a str,
    alg: &'a str,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    kid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    alg: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present", rename = "use")]
    usage: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    key_ops: Option<Vec<String>>,
    #[serde(borrow, default, deserialize_with = "present")]
    crv: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    x: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    y: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    n: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    e: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    d: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    k: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    p: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    q: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    dp: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    dq: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    qi: Option<serde::de::IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    oth: Option<serde::de::IgnoredAny>,
}

/// The largest key set that is read: 128 KiB, room for AWS's 100 RSA and 100 EC keys without `x5c`.
pub const MAX_KEY_SET_BYTES: usize = 128 * 1024;

/// The most keys in a set: AWS takes 100 RSA and 100 EC keys of an OIDC provider.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>
pub const MAX_KEYS: usize = 200;

const MAX_KEY_ID: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    // RFC 7517 appendix A.1
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1"}"#;
    // RFC 7515 appendix A.3
    const OTHER_EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","kid":"1"}"#;

    fn set(keys: &[&str]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
    }

    #[test]
    fn w19_alg_use_and_key_ops_must_agree_with_the_key() {
        let with = |member: &str| EC.replace(r#""use":"sig""#, member);
        assert!(Jwk::parse(EC).is_ok());
        assert!(Jwk::parse(&with(r#""use":"jwt-svid""#)).is_ok());
        assert!(Jwk::parse(&with(r#""alg":"ES256""#)).is_ok());
        let array = r#"["EC","1","ES256","sig",["verify"],"P-256","MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"]"#;
        assert_eq!(Jwk::parse(array).err(), Some(JwkError::Malformed));
        for (member, error) in [
            (r#""alg":"ES384""#, JwkError::Algorithm),
            (r#""alg":"HS256""#, JwkError::Algorithm),
            (r#""use":"enc""#, JwkError::Use),
            (r#""key_ops":["sign"]"#, JwkError::Use),
            (r#""d":"AAAA""#, JwkError::SecretMaterial),
            (r#""p":"AAAA""#, JwkError::SecretMaterial),
            (r#""q":"AAAA""#, JwkError::SecretMaterial),
            (r#""dp":"AAAA""#, JwkError::SecretMaterial),
            (r#""dq":"AAAA""#, JwkError::SecretMaterial),
            (r#""qi":"AAAA""#, JwkError::SecretMaterial),
            (r#""oth":[]"#, JwkError::SecretMaterial),
            (r#""crv":"P-384","crv":"P-256""#, JwkError::Malformed),
            (r#""use":7"#, JwkError::Malformed),
            (r#""use":null"#, JwkError::Malformed),
            (r#""alg":null"#, JwkError::Malformed),
            (r#""key_ops":null"#, JwkError::Malformed),
            (r#""n":null"#, JwkError::Malformed),
            (r#""d":null"#, JwkError::SecretMaterial),
            (r#""k":"""#, JwkError::SecretMaterial),
        ] {
            assert_eq!(Jwk::parse(&with(member)).err(), Some(error), "{member}");
        }
    }

    #[test]
    fn w49_symmetric_unknown_and_bogus_keys_are_skipped_and_the_rest_is_kept() {
        let off_curve = EC.replace("MKBC", "MKBD").replace("\"1\"", "\"2\"");
        let oct = r#"{"kty":"oct","k":"AAAA","kid":"3"}"#;
        let unknown = r#"{"kty":"NEW","kid":"4"}"#;
        let untyped = r#"{"kid":"5"}"#;
        let found = set(&[oct, &off_curve, unknown, untyped, EC]).unwrap();
        assert_eq!((found.keys().len(), found.skipped()), (1, 4));
        assert!(found.by_kid("1").is_some());
        assert_eq!(set(&[oct, unknown]).err(), Some(KeySetError::NoUsableKey));
    }

    #[test]
    fn identical_doubles_collapse_and_contradictions_are_dropped() {
        let same = set(&[EC, EC]).unwrap();
        assert_eq!((same.keys().len(), same.contradicted()), (1, 0));
        let (nameless, other) = (EC.replace(r#","kid":"1""#, ""), OTHER_EC.replace(r#","kid":"1""#, ""));
        let same = set(&[&nameless, &nameless, &other]).unwrap();
        assert_eq!((same.keys().len(), same.skipped(), same.contradicted()), (2, 1, 0));
        assert_eq!(set(&[EC, OTHER_EC]).err(), Some(KeySetError::NoUsableKey));
        let third = OTHER_EC.replace("\"1\"", "\"2\"");
        let kept = set(&[EC, OTHER_EC, &third]).unwrap();
        assert_eq!((kept.keys().len(), kept.contradicted()), (1, 2));
        assert!(kept.by_kid("1").is_none());
    }

    #[test]
    fn a_set_has_bounds() {
        assert_eq!(KeySet::parse(&vec![b' '; MAX_KEY_SET_BYTES + 1]).err(), Some(KeySetError::TooLarge));
        assert_eq!(set(&vec!["{}"; MAX_KEYS + 1]).err(), Some(KeySetError::TooManyKeys));
        for bad in ["", "[]", "{}", "[[]]", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[]} x"#]
        {
            assert_eq!(KeySet::parse(bad.as_bytes()).err(), Some(KeySetError::Malformed), "{bad}");
        }
    }

    #[test]
    fn w38_the_kid_is_the_rfc_7638_thumbprint_of_the_key() {
        let jwk = Jwk::parse(EC).unwrap();
        let point = decode_segment("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4").unwrap();
        let y = decode_segment("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM").unwrap();
        let published = PublicJwk::es256(&point.try_into().unwrap(), &y.try_into().unwrap());
        // computed with an independent implementation (jsonwebtoken's thumbprint, see tests/it/vectors.rs)
        assert_eq!(published.kid().as_str(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
        assert!(published.to_jwk().unwrap().key().is_same_key(jwk.key()));
        let json = serde_json::to_value(&published).unwrap();
        let members: BTreeSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"]));
    }
}
