//! One issuer, one moment, one good token to spoil.

use std::sync::{Arc, LazyLock};

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeIssuer, ManualClock};
use agentkeys_core::{
    AgentId, Assurance, AttestedIdentity, Audience, Clock, ClockError, ErrorKind, EvidenceKind, Issuer,
    KeyRing, LocalSigner, NoClaims, Profile, Purpose, StaticKeys, SystemRandom, Timestamp, TokenSigner as _,
    VerifiedToken, Verifier, VerifyError,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The moment at which every test begins.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const AUDIENCE: &str = "orders-api";
pub(crate) const ISSUER: &str = "https://issuer.example/tenant";

pub(crate) const fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

pub(crate) fn fake() -> &'static FakeIssuer {
    static FAKE: LazyLock<FakeIssuer> = LazyLock::new(|| FakeIssuer::new(Issuer::parse(ISSUER).unwrap()));
    &FAKE
}

/// Another issuer, with other keys under the same names.
pub(crate) fn other() -> &'static FakeIssuer {
    static OTHER: LazyLock<FakeIssuer> =
        LazyLock::new(|| FakeIssuer::new(Issuer::parse("https://other.example").unwrap()));
    &OTHER
}

pub(crate) fn clock() -> Arc<ManualClock> {
    ManualClock::new(at(NOW))
}

/// A clock that nobody set.
#[derive(Debug)]
pub(crate) struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Result<Timestamp, ClockError> {
        Err(ClockError::new())
    }
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "system:serviceaccount:acme:blue", "aud": AUDIENCE, "iat": NOW - 10,
        "nbf": NOW - 10, "exp": NOW + 300, "jti": "Zm9v",
    })
}

/// The good claims but for one.
pub(crate) fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

/// The good claims without one.
pub(crate) fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name).unwrap();
    claims
}

pub(crate) fn sign(claims: &Value) -> String {
    fake().sign(Algorithm::Es256, claims)
}

pub(crate) fn sign_with_header(header: &str) -> String {
    fake().sign_raw(Algorithm::Es256, header, &claims().to_string())
}

pub(crate) fn verifier() -> Verifier {
    let keys = Arc::new(StaticKeys::new(fake().key_set()));
    Verifier::new(Profile::oidc(fake().issuer().clone(), keys), Audience::parse(AUDIENCE).unwrap())
        .with_clock(clock())
}

pub(crate) type Verdict = Result<VerifiedToken<NoClaims>, VerifyError>;

pub(crate) fn judge(token: &str) -> Verdict {
    verifier().verify_with_known_keys(token, at(NOW))
}

pub(crate) fn judge_claims(claims: &Value) -> Verdict {
    judge(&sign(claims))
}

/// Asserts that a verdict is this refusal and that the token is to blame.
macro_rules! refused {
    ($verdict:expr, $pattern:pat) => {{
        let refused = $verdict.expect_err("it must be refused");
        assert!(matches!(refused, $pattern), "{refused:?}");
        assert_eq!(refused.kind(), agentkeys_core::ErrorKind::Invalid);
        assert_eq!(refused.retry_after(), None);
    }};
}
pub(crate) use refused;

pub(crate) fn unavailable(refused: &VerifyError) {
    assert!(matches!(refused, VerifyError::Keys(_)), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.retry_after().is_some());
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(segment: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(segment).unwrap()
}

/// Header and claims of a token, unverified.
pub(crate) fn open(token: &str) -> (Value, Value) {
    let mut segments = token.split('.').map(|segment| serde_json::from_slice(&decode(segment)));
    (segments.next().unwrap().unwrap(), segments.next().unwrap().unwrap())
}

pub(crate) fn signer() -> Arc<LocalSigner> {
    Arc::new(LocalSigner::generate(&SystemRandom::new()).unwrap().0)
}

pub(crate) fn ring<P: Purpose>() -> KeyRing<P> {
    KeyRing::new(signer())
}

pub(crate) fn kid(signer: &LocalSigner) -> &str {
    signer.public_jwk().kid().as_str()
}

pub(crate) static KIND: EvidenceKind = EvidenceKind::from_static("oidc");

pub(crate) fn identity_with(assurance: Assurance, not_after: u64) -> AttestedIdentity {
    let root = "https://issuer.example/tenant".parse().unwrap();
    let agent = AgentId::parse("blue").unwrap();
    AttestedIdentity::assertion(KIND.clone(), root, agent, assurance, at(NOW), at(not_after)).unwrap()
}

/// Attested now, good for a thousand seconds.
pub(crate) fn identity() -> AttestedIdentity {
    identity_with(Assurance::PlatformAttested, NOW + 1000)
}
