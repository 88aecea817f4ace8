use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use smallvec::SmallVec;

use crate::clock::{Clock, ClockError, SystemClock, Timestamp};
use crate::error::ErrorKind;
use crate::identity::{Assurance, AttestedIdentity};
use crate::issuer::{Audience, Issuer};
use crate::jose::{append_segment, encode_segment};
use crate::keys::{KeyRing, Oidc};
use crate::random::{Random, RandomError, SystemRandom};
use crate::secret::Secret;
use crate::signer::{SignError, TokenSigner};
use crate::token::Token;

mod jti;

use jti::Jtis;
pub(crate) use jti::{Jti, one as one_jti};

/// Mints our own short-lived token for an attested identity.
///
/// Takes nothing but an [`AttestedIdentity`] that is still current and, unless the host says otherwise,
/// whose name the platform attested (R41); the token never outlives it. Nothing of the evidence is copied: the claims are `iss`, `sub`,
/// `aud`, `iat`, `nbf`, `exp`, `jti` and the request's [`ExtraClaims`] (L24).
///
/// It draws random bits for some tokens ahead: a process that forks builds its minter anew.
#[derive(Clone, Debug)]
pub struct Minter {
    issuer: Issuer,
    keys: KeyRing<Oidc>,
    header: Arc<str>,
    quoted_issuer: Arc<str>,
    self_asserted_too: bool,
    clock: Arc<dyn Clock>,
    jtis: Arc<Jtis>,
}

impl Minter {
    /// A minter for `issuer`, signing with the active key of `keys`.
    #[must_use]
    pub fn new(issuer: Issuer, keys: KeyRing<Oidc>) -> Self {
        let (header, quoted_issuer) = (header(keys.active(), "JWT"), quoted(issuer.as_str()));
        let (clock, jtis) =
            (Arc::new(SystemClock::new()), Arc::new(Jtis::new(Arc::new(SystemRandom::new()))));
        Self { issuer, keys, header, quoted_issuer, self_asserted_too: false, clock, jtis }
    }

    /// Also for agents that named themselves: whoever may start one may then start it under any other's
    /// name and get its tokens (W9). For hosts whose platform vouches for that in another way.
    #[must_use]
    pub const fn with_self_asserted_identities_accepted(mut self) -> Self {
        self.self_asserted_too = true;
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another source of `jti`s.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.jtis = Arc::new(Jtis::new(random));
        self
    }

    /// The issuer whose tokens these are.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The keys to publish.
    #[must_use]
    pub const fn keys(&self) -> &KeyRing<Oidc> {
        &self.keys
    }

    /// Mints a token for `identity`.
    ///
    /// # Errors
    /// [`MintError::Expired`] past the identity's `not_after`, [`MintError::SelfAsserted`] where the agent
    /// named itself (W9), or what the signer says.
    pub async fn mint(&self, identity: &AttestedIdentity, request: MintRequest) -> Result<Token, MintError> {
        let now = self.clock.now()?;
        let lifetime = request.lifetime;
        let head = Head {
            issuer: &self.quoted_issuer,
            audience: &request.audience,
            header: &self.header,
            lifetime,
            self_asserted_too: self.self_asserted_too,
        };
        sign(head, self.keys.active(), self.jtis.draw()?, identity, request.extra, now).await
    }
}

/// What to mint.
#[derive(Clone, Debug)]
pub struct MintRequest {
    audience: Audience,
    lifetime: TokenLifetime,
    extra: ExtraClaims,
}

impl MintRequest {
    /// A token for `audience`, [`TokenLifetime::DEFAULT`], no extra claims.
    #[must_use]
    pub fn new(audience: Audience) -> Self {
        Self { audience, lifetime: TokenLifetime::DEFAULT, extra: ExtraClaims::new() }
    }

    /// Another lifetime.
    #[must_use]
    pub const fn with_lifetime(mut self, lifetime: TokenLifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// With these claims.
    #[must_use]
    pub fn with_claims(mut self, extra: ExtraClaims) -> Self {
        self.extra = extra;
        self
    }
}

/// How long a token lives: 60 to 3600 seconds (R39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLifetime(Duration);

impl TokenLifetime {
    /// Five minutes.
    pub const DEFAULT: Self = Self(Duration::from_secs(300));

    /// A lifetime.
    ///
    /// # Errors
    /// [`MintError::Lifetime`] outside 60 to 3600 seconds.
    pub const fn from_secs(seconds: u64) -> Result<Self, MintError> {
        if seconds < 60 || seconds > 3600 {
            return Err(MintError::Lifetime);
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// Claims that the token's target reads: session tags, a source identity, a role pin. The minter signs
/// them unread; it only keeps the reserved names for itself.
#[derive(Clone, Default)]
pub struct ExtraClaims {
    /// Where the name of each is, quotes included.
    names: SmallVec<[Range<usize>; 4]>,
    /// The members as they are signed, a brace before the first and a comma before each other.
    json: Vec<u8>,
}

impl ExtraClaims {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more claim.
    ///
    /// # Errors
    /// [`MintError::ReservedClaim`] for a name in [`RESERVED_CLAIMS`] or one that is there already;
    /// [`MintError::Claim`] where the value cannot be JSON.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Result<Self, MintError> {
        if RESERVED_CLAIMS.contains(&name) || name.is_empty() {
            return Err(MintError::ReservedClaim);
        }
        self.json.reserve(CLAIMS_ROOM);
        self.json.push(if self.json.is_empty() { b'{' } else { b',' });
        let begin = self.json.len();
        append_quoted(&mut self.json, name)?;
        let name = begin..self.json.len();
        // one writer writes a name in one way
        if self.names().any(|known| self.json.get(name.clone()) == Some(known)) {
            return Err(MintError::ReservedClaim);
        }
        self.json.push(b':');
        serde_json::to_writer(&mut self.json, &value).map_err(|_| MintError::Claim)?;
        self.names.push(name);
        Ok(self)
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().filter_map(|name| self.json.get(name.clone()))
    }
}

impl fmt::Debug for ExtraClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().map(String::from_utf8_lossy).collect();
        f.debug_struct("ExtraClaims").field("names", &names).finish_non_exhaustive()
    }
}

/// Why no token was minted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// An extra claim cannot be JSON.
    #[error("an extra claim cannot be written as JSON")]
    Claim,
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The identity is past its `not_after`: attest again.
    #[error("the identity has expired: attest again")]
    Expired,
    /// Not a lifetime.
    #[error("a token lives 60 to 3600 seconds")]
    Lifetime,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// An extra claim has a reserved name, an empty one, or one that is there already.
    #[error("an extra claim has a reserved, empty or doubled name")]
    ReservedClaim,
    /// The agent named itself.
    #[error("the identity is self-asserted")]
    SelfAsserted,
    /// The signer.
    #[error("the token could not be signed")]
    Sign(#[from] SignError),
    /// The token would be larger than anybody takes.
    #[error("the token would be larger than {MAX_MINTED_BYTES} bytes")]
    TooLarge,
}

impl MintError {
    /// What an embedder must know.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Expired => ErrorKind::Invalid,
            Self::SelfAsserted => ErrorKind::Denied,
            Self::Sign(error) => error.kind(),
            Self::Claim
            | Self::Clock(_)
            | Self::Lifetime
            | Self::Random(_)
            | Self::ReservedClaim
            | Self::TooLarge => ErrorKind::Misconfigured,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.kind().is_retryable().then_some(Duration::from_secs(1))
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Claim => "mint_claim",
            Self::Clock(_) => "clock",
            Self::Expired => "identity_expired",
            Self::Lifetime => "mint_lifetime",
            Self::Random(_) => "random",
            Self::ReservedClaim => "mint_reserved_claim",
            Self::SelfAsserted => "identity_self_asserted",
            Self::Sign(_) => "signer",
            Self::TooLarge => "mint_too_large",
        }
    }
}

/// What is fixed about a token before its identity and extra claims are known.
pub(crate) struct Head<'h> {
    /// As JSON.
    pub(crate) issuer: &'h str,
    pub(crate) audience: &'h Audience,
    /// Encoded, of the key that signs.
    pub(crate) header: &'h str,
    pub(crate) lifetime: TokenLifetime,
    pub(crate) self_asserted_too: bool,
}

/// The one place where a token is put together: for OIDC and for sessions.
pub(crate) async fn sign(
    head: Head<'_>,
    signer: &dyn TokenSigner,
    jti: Jti,
    identity: &AttestedIdentity,
    extra: ExtraClaims,
    now: Timestamp,
) -> Result<Token, MintError> {
    if !identity.is_current(now) {
        return Err(MintError::Expired);
    }
    if identity.assurance() != Assurance::PlatformAttested && !head.self_asserted_too {
        return Err(MintError::SelfAsserted);
    }
    let expires_at = now.plus(head.lifetime.0).min(identity.not_after());
    let (mut json, subject, audience) = (extra.json, identity.subject(), head.audience.as_str());
    json.reserve(head.issuer.len() + subject.as_str().len() + audience.len() + FIXED_ROOM);
    json.push(if json.is_empty() { b'{' } else { b',' });
    json.extend_from_slice(b"\"iss\":");
    json.extend_from_slice(head.issuer.as_bytes());
    json.extend_from_slice(b",\"sub\":");
    append_quoted(&mut json, subject.as_str())?;
    json.extend_from_slice(b",\"aud\":");
    append_quoted(&mut json, audience)?;
    append(&mut json, b",\"iat\":", now)?;
    append(&mut json, b",\"nbf\":", now.minus(NOT_BEFORE_MARGIN))?;
    append(&mut json, b",\"exp\":", expires_at)?;
    json.extend_from_slice(b",\"jti\":\"");
    append_segment(jti, &mut json);
    let jti = *json.last_chunk().ok_or(MintError::Claim)?;
    json.extend_from_slice(b"\"}");
    let length = head.header.len() + json.len() * 4 / 3 + SIGNATURE_ROOM;
    let mut jwt = Vec::with_capacity(length);
    jwt.extend_from_slice(head.header.as_bytes());
    jwt.push(b'.');
    append_segment(json, &mut jwt);
    let signature = signer.sign(&jwt).await?;
    jwt.push(b'.');
    append_segment(signature, &mut jwt);
    if jwt.len() > MAX_MINTED_BYTES {
        return Err(MintError::TooLarge);
    }
    let kid = signer.public_jwk().kid().shared();
    let jwt = String::from_utf8(jwt).map_err(|_| MintError::Claim)?;
    Ok(Token::new(Secret::new(jwt), jti, kid, expires_at))
}

/// `text` as JSON.
pub(crate) fn quoted(text: &str) -> Arc<str> {
    Value::from(text).to_string().into()
}

/// The encoded JOSE header of all tokens of one key and type.
pub(crate) fn header(signer: &dyn TokenSigner, typ: &str) -> Arc<str> {
    let kid = quoted(signer.public_jwk().kid().as_str());
    encode_segment(format!(r#"{{"alg":"ES256","kid":{kid},"typ":"{typ}"}}"#)).into()
}

/// `text` as JSON, behind what `json` holds already: as it is, where nothing in it needs an escape.
fn append_quoted(json: &mut Vec<u8>, text: &str) -> Result<(), MintError> {
    // without a way out in between, so that the compiler looks at many bytes at once
    let plain =
        text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
    if !plain {
        return serde_json::to_writer(json, text).map_err(|_| MintError::Claim);
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
    Ok(())
}

/// One more member, its name quoted and between comma and colon.
fn append(json: &mut Vec<u8>, name: &[u8], value: impl Serialize) -> Result<(), MintError> {
    json.extend_from_slice(name);
    serde_json::to_writer(json, &value).map_err(|_| MintError::Claim)
}

/// The claims that only the minter writes.
pub const RESERVED_CLAIMS: &[&str] = &["iss", "sub", "aud", "iat", "nbf", "exp", "jti"];

/// AWS takes 4 to 20,000 characters.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
pub const MAX_MINTED_BYTES: usize = 20_000;

/// What most extra claims and the minter's own need together.
const CLAIMS_ROOM: usize = 1024;

/// The names of the minter's own claims, three times and a `jti`, rounded up.
const FIXED_ROOM: usize = 160;

/// An ES256 signature, two dots, and what rounding up adds.
const SIGNATURE_ROOM: usize = 96;

/// `nbf` lies this far before `iat`, for verifiers whose clock runs behind (W45).
const NOT_BEFORE_MARGIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_is_quoted_as_serde_json_quotes_it(text in any::<String>(), byte in 0_u8..128, at in 0_usize..64) {
            let mut with_byte = format!("{text:0>64}");
            if with_byte.is_char_boundary(at) {
                with_byte.insert(at, char::from(byte));
            }
            for text in [text, with_byte] {
                let mut json = b"[".to_vec();
                append_quoted(&mut json, &text).unwrap();
                prop_assert_eq!(json, format!("[{}", serde_json::to_string(&text).unwrap()).into_bytes());
            }
        }
    }
}
