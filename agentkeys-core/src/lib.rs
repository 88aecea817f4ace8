//! Who is this workload, and what may be signed for it: the core of agentkeys.
//!
//! A workload presents [`Evidence`]; an [`Attestor`] turns it into an [`AttestedIdentity`] or a typed
//! refusal; a [`Minter`] signs a short-lived [`Token`] for it. Each arrow below is a type, so no step can
//! be skipped by accident.
//!
//! ```text
//!  workload side                  control plane
//!  ┌───────────────┐   evidence   ┌──────────┐ AttestedIdentity ┌────────┐  Token
//!  │EvidenceSource │ ───────────> │ Attestor │ ───────────────> │ Minter │ ──────> a cloud's STS
//!  └───────────────┘  untrusted   └────┬─────┘                  └────────┘
//!                                      │ uses
//!                           Verifier + KeySource
//! ```
//!
//! No cloud is named here: attestors live in `agentkeys-attest`, token exchange in
//! `agentkeys-federation`. This crate serves no HTTP, keeps no global state, takes no setting from the
//! environment, and asks for the time only through a [`Clock`].
//!
//! # Verifying somebody's tokens
//!
//! ```
//! # use std::sync::Arc;
//! # use agentkeys_core::{Audience, HttpSettings, Issuer, JwksCache, NoClaims, Profile, ReqwestClient};
//! # use agentkeys_core::{TrustStore, VerifyError, Verifier};
//! # async fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::system()))?);
//! let issuer = Issuer::parse("https://token.actions.githubusercontent.com")?;
//! let keys = Arc::new(JwksCache::discover(issuer.clone(), http));
//! let verifier = Verifier::new(Profile::oidc(issuer, keys), Audience::parse("orders-api")?);
//!
//! match verifier.verify::<NoClaims>(token).await {
//!     Ok(verified) => println!("this is {}", verified.subject()),
//!     Err(refused) => println!("{}: {refused}", refused.kind().http_status()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Speed
//!
//! By default all signatures are verified by aws-lc-rs. A host that verifies thousands of tokens a second can
//! have ES256 three, ES384 four and EdDSA two times as fast with `Verifier::with_key_tables`, which sessions and
//! attestors have too, and [`KeyTables::on`](jose::KeyTables::on): a table per key, built in the background,
//! bounded, watched. What speaks for that choice and against it stands at [`jose::KeyTables`].
//!
//! # Features
//! - `reqwest` (default): the [`HttpClient`] port over reqwest, rustls and aws-lc-rs.
//! - `pkcs11`: `Pkcs11Signer`, a [`TokenSigner`] whose key is in an HSM.
//! - `tower`: `VerifyLayer`, which lets only requests with a verified token through.
//! - `test-util`: the `testing` module, for tests of hosts.

mod attestor;
#[cfg(feature = "tower")]
mod bearer;
mod clock;
mod discovery;
mod error;
mod evidence;
mod http;
mod identity;
mod issuer;
pub mod jose;
mod keys;
mod kind;
mod minter;
mod random;
mod replay;
mod secret;
mod session;
mod signer;
mod spiffe;
mod token;
mod verifier;

#[cfg(feature = "test-util")]
pub mod testing;

pub use attestor::{AttestError, Attestor, Attestors, FirstInstance};
#[cfg(feature = "tower")]
pub use bearer::{Verified, VerifyLayer, VerifyService};
pub use clock::{CLOCK_FLOOR, Clock, ClockError, SystemClock, Timestamp};
pub use discovery::{
    DiscoveryDocument, JwksUri, JwksUriError, MAX_DISCOVERY_BYTES, MAX_JWKS_URI, ProviderMetadata,
};
pub use error::ErrorKind;
pub use evidence::{Evidence, EvidenceError, EvidenceSource, MAX_EVIDENCE_BYTES, SourceError};
pub use http::{HttpClient, HttpError, HttpMethod, HttpRequest, HttpResponse};
#[cfg(feature = "reqwest")]
pub use http::{HttpSettings, ReqwestClient, TrustStore};
pub use identity::{
    AgentId, Assurance, AttestedIdentity, CLOCK_DIFFERENCE, IdentityError, InstanceId, MAX_FACT, MAX_FACTS,
    MAX_IDENTITY_AGE, Subject, TenantId, TrustRoot,
};
pub use issuer::{Audience, Issuer, IssuerError, MAX_AUDIENCE, MAX_ISSUER};
pub use keys::{
    CacheAges, CacheHealth, JwksCache, JwksDocument, KeyError, KeyRing, KeyRingError, KeySnapshot, KeySource,
    KeyState, MAX_BACK_OFF, MAX_KEY_FILE_BYTES, MAX_RING_KEYS, MAX_SOFT_AGE, MIN_SOFT_AGE, Oidc,
    PublishedJwks, Purpose, RefreshReason, RingKey, RotationTimes, Session, StaticKeys,
};
pub use kind::{EvidenceKind, KindError};
pub use minter::{
    ExtraClaims, MAX_MINTED_BYTES, MintError, MintRequest, Minter, RESERVED_CLAIMS, TokenLifetime,
};
pub use random::{Random, RandomError, SystemRandom};
pub use replay::{
    CHALLENGE_LIFETIME, Challenge, Challenges, MAX_CHALLENGE, MemoryReplayGuard, ReplayError, ReplayGuard,
    UseId,
};
pub use secret::{Secret, Wipe};
pub use session::{SESSION_AUDIENCE, SESSION_TYPE, SessionError, Sessions};
#[cfg(feature = "pkcs11")]
pub use signer::{KeyName, Pkcs11Key, Pkcs11Signer, SIGN_TIMEOUT, TokenName};
pub use signer::{LocalSigner, MaxInFlight, SIGNER_PROBE, SignError, TokenSigner};
pub use spiffe::{SpiffeId, SpiffeIdError, TrustDomain};
pub use token::Token;
pub use verifier::{
    CachedToken, CachedVerifier, MAX_LIFETIME, MAX_TOKEN_CACHE_AGE, NoClaims, Profile, SKEW, TokenCacheSize,
    TokenType, VerifiedToken, Verifier, VerifyError, claimed_issuer,
};
