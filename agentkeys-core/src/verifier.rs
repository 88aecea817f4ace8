use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::clock::{Clock, ClockError, SystemClock, Timestamp};
use crate::error::ErrorKind;
use crate::issuer::{Audience, Issuer};
use crate::jose::{
    Algorithm, Compact, CompactError, Header, Jwk, KeyId, KeySet, KeyTables, MAX_SIGNATURE, Text,
    nesting_within,
};
use crate::keys::{KeyError, KeySource, RefreshReason};
use crate::spiffe::{SpiffeId, TrustDomain};

mod cache;
mod claims;
mod headers;
mod signer;
mod unique;

pub use cache::{CachedVerifier, MAX_TOKEN_CACHE_AGE, TokenCacheSize};
pub use claims::NoClaims;
use claims::Registered;
use headers::KnownHeaders;
use signer::Signer;

/// Checks JWTs of one profile for one audience.
///
/// In this order: size, three canonical segments, header, algorithm, key, signature, and only then the
/// claims. Nothing is fetched because of what a token says but the configured issuer's keys, when a
/// well-formed token names a key that is not known yet (L10, W16).
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    profile: Profile,
    audience: Audience,
    algorithms: Vec<Algorithm>,
    typ: Option<TokenType>,
    header_members: Vec<&'static str>,
    several_audiences: bool,
    max_lifetime: Duration,
    max_age: Option<Duration>,
    clock: Arc<dyn Clock>,
    known_headers: Arc<KnownHeaders>,
    key_tables: KeyTables,
}

impl Verifier {
    /// A verifier of `profile`'s tokens that are for `audience` and nobody else: exactly one `aud`, equal
    /// byte for byte (W21, L15).
    #[must_use]
    pub fn new(profile: Profile, audience: Audience) -> Self {
        Self {
            profile,
            audience,
            algorithms: Algorithm::ALL.to_vec(),
            typ: None,
            header_members: Vec::new(),
            several_audiences: false,
            max_lifetime: MAX_LIFETIME,
            max_age: None,
            clock: Arc::new(SystemClock::new()),
            known_headers: Arc::default(),
            key_tables: KeyTables::off(),
        }
    }

    /// Only these algorithms. The key's own type narrows further: a token's header only selects (L11).
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: &[Algorithm]) -> Self {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// Only tokens whose `typ` is this one; by default `JWT` or none.
    #[must_use]
    pub fn with_type(mut self, typ: TokenType) -> Self {
        self.typ = Some(typ);
        self
    }

    /// Also tokens whose header has the member `name`, whose value is ignored. Members that bring a key or
    /// change what the token means stay refused (L12), and a profile that allows three members still does.
    #[must_use]
    pub fn with_ignored_header_member(mut self, name: &'static str) -> Self {
        self.header_members.push(name);
        // a clone that does not know this name must not meet headers that were read with it
        self.known_headers = Arc::default();
        self
    }

    /// Also tokens that are for others too, as long as they are for our audience. Each of the others can
    /// present such a token here (L15), so this is for issuers that write nothing else.
    #[must_use]
    pub const fn with_several_audiences_accepted(mut self) -> Self {
        self.several_audiences = true;
        self
    }

    /// Only tokens that were issued no longer ago than this, however long they live; `iat` is then
    /// required of every profile.
    #[must_use]
    pub const fn with_max_age(mut self, most: Duration) -> Self {
        self.max_age = Some(most);
        self
    }

    /// Only tokens that live no longer than this from `iat` (where there is none, from now) to `exp`; by
    /// default [`MAX_LIFETIME`], which is also the most.
    #[must_use]
    pub fn with_max_lifetime(mut self, most: Duration) -> Self {
        self.max_lifetime = most.min(MAX_LIFETIME);
        self
    }

    /// With tables for the ES256 and ES384 keys that verify many tokens, which makes them several times as
    /// fast; by default [`KeyTables::off`]. Verifiers may share one value, and with it its bounds.
    #[must_use]
    pub fn with_key_tables(mut self, tables: KeyTables) -> Self {
        self.key_tables = tables;
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whom its tokens are for.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Verifies a compact JWT and reads its private claims as `C`, refreshing the keys where that may
    /// help. `C` sees every claim but the registered ones; [`NoClaims`] wants none.
    ///
    /// # Errors
    /// [`VerifyError`], one variant per cause.
    pub async fn verify<C: DeserializeOwned>(&self, token: &str) -> Result<VerifiedToken<C>, VerifyError> {
        match self.verify_with_known_keys(token, self.clock.now()?) {
            Err(refused) => self.refresh_for(token, refused).await?,
            verified => return verified,
        }
        self.verify_with_known_keys(token, self.clock.now()?)
    }

    /// Asks for newer keys, where they may let a token in that was refused so.
    async fn refresh_for(&self, token: &str, refused: VerifyError) -> Result<(), VerifyError> {
        let reason = match &refused {
            VerifyError::UnknownKey => match self.named_key(token) {
                Ok(kid) => RefreshReason::UnknownKey(kid),
                // no key can have such a name
                Err(_) => return Err(refused),
            },
            VerifyError::Keys(KeyError::Stale { .. }) => RefreshReason::Stale,
            VerifyError::Signature => RefreshReason::WrongSignature,
            _ => return Err(refused),
        };
        let refreshed = match self.keys_for(token) {
            Ok(keys) => keys.refresh(reason).await.map_err(VerifyError::Keys),
            Err(error) => Err(error),
        };
        match refreshed {
            // the keys that are trusted now have decided already
            Err(_) if matches!(refused, VerifyError::Signature) => Err(refused),
            refreshed => refreshed,
        }
    }

    /// The same with the keys that are known already, at the moment `now`: never waits.
    ///
    /// # Errors
    /// [`VerifyError`]; `UnknownKey` and `Keys` may go away after a refresh.
    pub fn verify_with_known_keys<C: DeserializeOwned>(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<VerifiedToken<C>, VerifyError> {
        self.verify_noting(token, now, |_, _, _| ())
    }

    /// The same, and which key it was.
    fn verify_noting_signer<C: DeserializeOwned>(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<(VerifiedToken<C>, Signer), VerifyError> {
        let mut signer = None;
        let verified =
            self.verify_noting(token, now, |source, kid, jwk| signer = Some(Signer::new(source, kid, jwk)))?;
        Ok((verified, signer.ok_or(VerifyError::UnknownKey)?))
    }

    fn verify_noting<C: DeserializeOwned>(
        &self,
        token: &str,
        now: Timestamp,
        note: impl FnOnce(&Arc<dyn KeySource>, Option<&str>, &Jwk),
    ) -> Result<VerifiedToken<C>, VerifyError> {
        let compact = Compact::split(token)?;
        let known = self.known_headers.load();
        if let Some(header) = headers::find(&known, compact.header()) {
            return self.verify_with_header(&compact, header, now, note);
        }
        let header_json = compact.header_json()?;
        let header = Header::parse_ignoring(&header_json, &self.header_members)?;
        let verified = self.verify_with_header(&compact, &header, now, note)?;
        self.known_headers.remember(compact.header(), header);
        Ok(verified)
    }

    fn verify_with_header<C: DeserializeOwned>(
        &self,
        compact: &Compact<'_>,
        header: &Header<'_>,
        now: Timestamp,
        note: impl FnOnce(&Arc<dyn KeySource>, Option<&str>, &Jwk),
    ) -> Result<VerifiedToken<C>, VerifyError> {
        let algorithm = self.check_header(header)?;
        let payload = compact.payload()?;
        if !nesting_within(&payload) {
            return Err(CompactError::TooDeep.into());
        }
        let mut buffer = [0; MAX_SIGNATURE];
        let signature = compact.signature_in(&mut buffer)?.ok_or(VerifyError::Signature)?;
        let source = self.keys_of(&payload)?;
        let keys = source.read(now)?;
        let jwk = select(&keys, header.kid.as_deref(), algorithm)?;
        if !self.key_tables.verifies(jwk.key(), compact.signing_input(), signature) {
            return Err(VerifyError::Signature);
        }
        let (registered, claims) = claims::read(&payload, self.audience.as_str())?;
        let verified = self.check_claims(registered, claims, now)?;
        note(source, header.kid.as_deref(), jwk);
        Ok(verified)
    }

    /// The moment from which a token that was verified is not good any more.
    fn good_until<C>(&self, verified: &VerifiedToken<C>) -> Timestamp {
        let oldest = verified.issued_at.zip(self.max_age).map(|(issued_at, most)| issued_at.plus(most));
        oldest.map_or(verified.expires_at, |oldest| oldest.min(verified.expires_at)).plus(SKEW)
    }

    /// The keys to refresh for a token whose key is not known. Nothing of it is verified, but a token
    /// that does not even claim to be from this issuer causes no fetch (W16).
    fn keys_for(&self, token: &str) -> Result<&Arc<dyn KeySource>, VerifyError> {
        let payload = Compact::split(token)?.payload()?;
        let (registered, NoClaims {}) = claims::read(&payload, self.audience.as_str())?;
        self.check_issuer(&registered)?;
        self.keys_of(&payload)
    }

    /// The `kid` of a token whose header was read before.
    fn named_key(&self, token: &str) -> Result<Option<KeyId>, VerifyError> {
        let header_json = Compact::split(token)?.header_json()?;
        let header = Header::parse_ignoring(&header_json, &self.header_members)?;
        header.kid.as_deref().map(KeyId::parse).transpose().map_err(|_| VerifyError::UnknownKey)
    }

    /// Which keys could verify a token with this payload. What the payload says chooses among configured
    /// sources and does nothing else.
    fn keys_of(&self, payload: &[u8]) -> Result<&Arc<dyn KeySource>, VerifyError> {
        match &self.profile {
            Profile::Oidc { keys, .. } => Ok(keys),
            Profile::JwtSvid { bundles } => {
                let (registered, NoClaims {}) = claims::read(payload, self.audience.as_str())?;
                let Text(subject) = registered.sub.ok_or(VerifyError::Missing("sub"))?;
                let id = SpiffeId::parse(&subject).map_err(|_| VerifyError::Subject)?;
                bundles.get(id.trust_domain()).ok_or(VerifyError::TrustDomain)
            }
        }
    }

    fn check_issuer(&self, registered: &Registered<'_>) -> Result<(), VerifyError> {
        match &self.profile {
            Profile::Oidc { issuer, .. } => {
                let Text(iss) = registered.iss.as_ref().ok_or(VerifyError::Missing("iss"))?;
                if iss == issuer.as_str() { Ok(()) } else { Err(VerifyError::Issuer) }
            }
            // a SPIRE server may say an `iss` for OIDC's sake; it decides nothing here
            Profile::JwtSvid { .. } => Ok(()),
        }
    }

    fn check_header(&self, header: &Header<'_>) -> Result<Algorithm, VerifyError> {
        let algorithm = Algorithm::from_name(&header.alg).filter(|known| self.algorithms.contains(known));
        let algorithm = algorithm.ok_or(VerifyError::Algorithm)?;
        let is = |wanted: &str| header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case(wanted));
        let typ_ok = match (&self.typ, &self.profile) {
            (Some(wanted), _) => is(wanted.0),
            (None, Profile::Oidc { .. }) => header.typ.is_none() || is("JWT"),
            // https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md#23-type
            (None, Profile::JwtSvid { .. }) => header.typ.is_none() || is("JWT") || is("JOSE"),
        };
        if !typ_ok {
            return Err(VerifyError::Type);
        }
        if matches!(self.profile, Profile::JwtSvid { .. }) && header.has_ignored_members {
            return Err(CompactError::HeaderMember.into());
        }
        Ok(algorithm)
    }

    fn check_claims<C>(
        &self,
        registered: Registered<'_>,
        claims: C,
        now: Timestamp,
    ) -> Result<VerifiedToken<C>, VerifyError> {
        self.check_issuer(&registered)?;
        let Registered { sub, aud, exp, nbf, iat: issued_at, jti, .. } = registered;
        let iat_required = matches!(self.profile, Profile::Oidc { .. }) || self.max_age.is_some();
        if issued_at.is_none() && iat_required {
            return Err(VerifyError::Missing("iat"));
        }
        let aud = aud.ok_or(VerifyError::Missing("aud"))?;
        if aud.count > 1 && !self.several_audiences {
            return Err(VerifyError::SeveralAudiences);
        }
        if !aud.has_ours {
            return Err(VerifyError::Audience);
        }
        let Text(subject) = sub.filter(|sub| !sub.0.is_empty()).ok_or(VerifyError::Missing("sub"))?;
        let expires_at = exp.ok_or(VerifyError::Missing("exp"))?;
        if now >= expires_at.plus(SKEW) {
            return Err(VerifyError::Expired);
        }
        if nbf.is_some_and(|not_before| not_before > now.plus(SKEW)) {
            return Err(VerifyError::NotYetValid);
        }
        if issued_at.is_some_and(|issued_at| issued_at > now.plus(SKEW)) {
            return Err(VerifyError::IssuedInFuture);
        }
        if expires_at > issued_at.unwrap_or(now.plus(SKEW)).plus(self.max_lifetime) {
            return Err(VerifyError::LifetimeTooLong);
        }
        if issued_at.zip(self.max_age).is_some_and(|(issued_at, most)| now >= issued_at.plus(most).plus(SKEW))
        {
            return Err(VerifyError::TooOld);
        }
        let (subject, jti) = (subject.into_owned(), jti.map(|Text(jti)| jti.into_owned()));
        Ok(VerifiedToken { subject, expires_at, issued_at, jti, claims })
    }
}

/// The `iss` that a token claims, nothing of it verified: only to choose among issuers that are configured.
/// Nothing may be fetched from it, and it must not be shown (L10).
///
/// # Errors
/// [`VerifyError`] where the token is malformed or has no `iss` that is one string.
pub fn claimed_issuer(token: &str) -> Result<String, VerifyError> {
    let payload = Compact::split(token)?.payload()?;
    if !nesting_within(&payload) {
        return Err(CompactError::TooDeep.into());
    }
    let (registered, NoClaims {}) = claims::read(&payload, "")?;
    registered.iss.map(|Text(iss)| iss.into_owned()).ok_or(VerifyError::Missing("iss"))
}

/// The rules of one kind of issuer, and where its keys are. A profile only adds rules.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Profile {
    /// OpenID Connect style: `iss` is this issuer byte for byte, `iat` is required, the keys are this
    /// issuer's.
    Oidc {
        /// The one issuer.
        issuer: Issuer,
        /// Its keys.
        keys: Arc<dyn KeySource>,
    },
    /// JWT-SVID: `sub` is a SPIFFE ID whose trust domain chooses the keys; `iat` is checked where it is
    /// present; the header has `alg`, `kid` and `typ` only (W26, W27).
    /// <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>
    JwtSvid {
        /// The keys of each trusted domain.
        bundles: BTreeMap<TrustDomain, Arc<dyn KeySource>>,
    },
}

impl Profile {
    /// Tokens of `issuer`, signed with one of `keys`.
    #[must_use]
    pub const fn oidc(issuer: Issuer, keys: Arc<dyn KeySource>) -> Self {
        Self::Oidc { issuer, keys }
    }

    /// JWT-SVIDs of these trust domains.
    #[must_use]
    pub fn jwt_svid(bundles: impl IntoIterator<Item = (TrustDomain, Arc<dyn KeySource>)>) -> Self {
        Self::JwtSvid { bundles: bundles.into_iter().collect() }
    }
}

/// A token that was verified: the only way to get one is [`Verifier::verify`].
#[derive(Clone, Debug)]
pub struct VerifiedToken<C> {
    subject: String,
    expires_at: Timestamp,
    issued_at: Option<Timestamp>,
    jti: Option<String>,
    claims: C,
}

impl<C> VerifiedToken<C> {
    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `exp`.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// `iat`; always there but in a JWT-SVID.
    #[must_use]
    pub const fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
    }

    /// `jti`.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// The private claims.
    #[must_use]
    pub const fn claims(&self) -> &C {
        &self.claims
    }

    /// The private claims, by value.
    #[must_use]
    pub fn into_claims(self) -> C {
        self.claims
    }
}

/// A `typ` header value, compared without regard to case.
/// <https://www.rfc-editor.org/rfc/rfc8725#section-3.11>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenType(&'static str);

impl TokenType {
    /// A type, without `application/`.
    #[must_use]
    pub const fn new(typ: &'static str) -> Self {
        Self(typ)
    }

    /// The value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Why a token is refused, or cannot be judged now. No part of the token is in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// `alg` is not one that is allowed here, or not the algorithm of the key.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// The token has no `kid` and more than one key fits.
    #[error("the token does not say which key signed it")]
    AmbiguousKey,
    /// `aud` is somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// The claims are not a JSON object of the expected form, or a claim is doubled or of the wrong type.
    #[error("the token's claims are malformed")]
    Claims,
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `iat` lies ahead.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `iss` is somebody else.
    #[error("the token is from another issuer")]
    Issuer,
    /// The keys cannot be had.
    #[error("the issuer's keys cannot be had")]
    Keys(#[from] KeyError),
    /// From `iat` to `exp` is longer than allowed.
    #[error("the token lives longer than allowed")]
    LifetimeTooLong,
    /// Not a well-formed compact JWS.
    #[error("the token is malformed")]
    Malformed(#[from] CompactError),
    /// A required claim is not there.
    #[error("the token has no {0}")]
    Missing(&'static str),
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// More than one `aud`.
    #[error("the token is for several audiences")]
    SeveralAudiences,
    /// The signature is not this key's.
    #[error("the token's signature is wrong")]
    Signature,
    /// `sub` is not a SPIFFE ID.
    #[error("the token's subject is not a SPIFFE ID")]
    Subject,
    /// `iat` lies further back than the maximum age.
    #[error("the token was issued too long ago")]
    TooOld,
    /// The trust domain of `sub` is not trusted here.
    #[error("the token's trust domain is not trusted here")]
    TrustDomain,
    /// `typ` is not the one expected.
    #[error("the token is of another type")]
    Type,
    /// The issuer has no such key.
    #[error("the token names a key that its issuer does not publish")]
    UnknownKey,
}

impl VerifyError {
    /// What an embedder must know: [`ErrorKind::Invalid`] for all that is wrong with the token itself.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Clock(error) => error.kind(),
            Self::Keys(error) => error.kind(),
            _ => ErrorKind::Invalid,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Keys(error) = self { error.retry_after() } else { None }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Algorithm => "token_algorithm",
            Self::AmbiguousKey => "token_key_ambiguous",
            Self::Audience => "token_audience",
            Self::Claims => "token_claims",
            Self::Clock(_) => "clock",
            Self::Expired => "token_expired",
            Self::IssuedInFuture => "token_issued_in_future",
            Self::Issuer => "token_issuer",
            Self::Keys(_) => "keys_unavailable",
            Self::LifetimeTooLong => "token_lifetime",
            Self::Malformed(_) => "token_malformed",
            Self::Missing(_) => "token_claim_missing",
            Self::NotYetValid => "token_not_yet_valid",
            Self::SeveralAudiences => "token_several_audiences",
            Self::Signature => "token_signature",
            Self::Subject => "token_subject",
            Self::TooOld => "token_too_old",
            Self::TrustDomain => "token_trust_domain",
            Self::Type => "token_type",
            Self::UnknownKey => "token_key_unknown",
        }
    }
}

fn select<'k>(keys: &'k KeySet, kid: Option<&str>, algorithm: Algorithm) -> Result<&'k Jwk, VerifyError> {
    if let Some(kid) = kid {
        let jwk = keys.by_kid(kid).ok_or(VerifyError::UnknownKey)?;
        return if jwk.key().algorithm() == algorithm { Ok(jwk) } else { Err(VerifyError::Algorithm) };
    }
    let mut fitting = keys.keys().iter().filter(|jwk| jwk.key().algorithm() == algorithm);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(VerifyError::AmbiguousKey),
        (None, _) => Err(VerifyError::UnknownKey),
    }
}

/// How far our clock and an issuer's may be apart (W15). A token is refused from `exp` + skew on, that
/// second included; so is one with a maximum age from `iat` + age + skew on.
pub const SKEW: Duration = Duration::from_secs(30);

/// The longest that a token may live: 24 hours, a projected Kubernetes token's usual most.
pub const MAX_LIFETIME: Duration = Duration::from_secs(86_400);
