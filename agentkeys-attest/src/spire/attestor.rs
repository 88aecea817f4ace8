use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::{Algorithm, KeyTables};
use agentkeys_core::{
    Assurance, AttestError, AttestedIdentity, Attestor, Audience, Clock, Evidence, EvidenceKind, KeySource,
    NoClaims, Profile, SpiffeId, SystemClock, TrustDomain, VerifiedToken, Verifier,
};
use async_trait::async_trait;

use super::SPIFFE_SVID;
use crate::template::Template;

/// Appraises JWT-SVIDs of one SPIFFE trust domain.
///
/// # Contract
/// As [`Attestor`]'s. The SPIFFE ID's path must have the template's form from its first slash to its last
/// character; the template's `{agent}` and `{tenant}` become the agent and the tenant. The trust root is
/// `spiffe://<trust domain>` with the template's other fields behind it, so two SPIFFE IDs are never one
/// subject (W28, W29). The whole ID and the other fields are facts. The identity is platform-attested.
///
/// # Security
/// Trust domain, audience, expiry, algorithm and signature are always checked (W26, W27): exactly one
/// audience (L15), ES256, ES384 or RS256, one hour from issue to expiry at most. Of the header only
/// `alg`, `kid` and `typ` may be there. A SPIRE server's `iss`, where it writes one, decides nothing.
///
/// An SVID may be shown more than once: SPIRE's agent hands the same one out again until half of its life
/// is over, so a list of those already seen would refuse good workloads, and SVIDs need no `jti`. What
/// bounds a stolen one is its short life and its one audience.
/// <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md>
///
/// # Errors
/// [`AttestError`]; nothing shows any part of the SVID.
///
/// # Keys
/// A verifier that has an agent beside it follows the agent's own bundle with `SpireBundles` (feature
/// `spire-workload-api`): a revoked authority is refused as soon as the agent hears of it. One that has
/// none reads SPIRE's OIDC discovery provider, or any https address of a JWK set, through
/// [`JwksCache`](agentkeys_core::JwksCache); that provider says `no-store`, which the cache takes as
/// [`MIN_SOFT_AGE`](agentkeys_core::MIN_SOFT_AGE).
///
/// ```
/// use std::sync::Arc;
/// use agentkeys_attest::spire::{SpireAttestor, SpirePins};
/// use agentkeys_core::{HttpSettings, JwksCache, ReqwestClient, TrustStore};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::system()))?);
/// let keys = JwksCache::discover("https://oidc.example.org".parse()?, http);
/// let pins = SpirePins {
///     trust_domain: "example.org".parse()?,
///     audience: "agentkeys".parse()?,
///     template: "/agent/{tenant}/{user}/{type}/{agent}".parse()?,
/// };
/// let attestor = SpireAttestor::new(pins, Arc::new(keys))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SpireAttestor {
    root: String,
    template: Template,
    clock: Arc<dyn Clock>,
    verifier: Verifier,
}

impl SpireAttestor {
    /// An attestor that verifies with `keys`, which are the pinned trust domain's and nobody else's.
    ///
    /// # Errors
    /// [`SpirePinsError`] where no SPIFFE ID could ever pass.
    pub fn new(pins: SpirePins, keys: Arc<dyn KeySource>) -> Result<Self, SpirePinsError> {
        let SpirePins { trust_domain, audience, template } = pins;
        let root = format!("spiffe://{trust_domain}");
        if template.as_str().contains("{spiffe-id}") {
            return Err(SpirePinsError::Reserved);
        }
        let example = SpiffeId::parse(&format!("{root}{}", filled(&template)));
        if !example.is_ok_and(|id| template.matches(id.path()).is_some()) {
            return Err(SpirePinsError::Template);
        }
        let verifier = Verifier::new(Profile::jwt_svid([(trust_domain, keys)]), audience)
            .with_algorithms(ALGORITHMS)
            .with_max_lifetime(MAX_LIFETIME);
        Ok(Self { root, template, clock: Arc::new(SystemClock::new()), verifier })
    }

    /// With tables for the trust domain's keys, as [`Verifier::with_key_tables`] has it.
    #[must_use]
    pub fn with_key_tables(mut self, tables: KeyTables) -> Self {
        self.verifier = self.verifier.with_key_tables(tables);
        self
    }

    /// With another clock. The age of keys is told by the key source's own.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.verifier = self.verifier.with_clock(Arc::clone(&clock));
        self.clock = clock;
        self
    }

    fn appraise(&self, svid: &VerifiedToken<NoClaims>) -> Result<AttestedIdentity, AttestError> {
        let id = SpiffeId::parse(svid.subject()).map_err(|_| AttestError::Malformed("not a SPIFFE ID"))?;
        let found = self.template.matches(id.path()).ok_or(AttestError::Pin("SPIFFE ID template"))?;
        let identity = AttestedIdentity::assertion(
            SPIFFE_SVID,
            found.trust_root(&self.root)?,
            found.agent_id()?,
            Assurance::PlatformAttested,
            self.clock.now()?,
            svid.expires_at(),
        )?;
        found.complete(identity.with_fact("spiffe-id", id.as_str())?)
    }
}

#[async_trait]
impl Attestor for SpireAttestor {
    fn kind(&self) -> &EvidenceKind {
        const { &SPIFFE_SVID }
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        if evidence.kind() != self.kind() {
            return Err(AttestError::WrongKind);
        }
        let svid = std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("not text"))?;
        self.appraise(&self.verifier.verify(svid).await?)
    }
}

/// Whose SVIDs pass. Every field decides, none has a default.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pin that can be forgotten is not a pin")]
pub struct SpirePins {
    /// The one trust domain (W27).
    pub trust_domain: TrustDomain,
    /// The one audience that the evidence is for (W27, L15).
    pub audience: Audience,
    /// The form of the whole path of a SPIFFE ID: `/agent/{tenant}/{user}/{type}/{agent}` (W28).
    pub template: Template,
}

/// Why pins let nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpirePinsError {
    /// A field has a name that stands for the whole ID.
    #[error("the template has a field called spiffe-id")]
    Reserved,
    /// No SPIFFE ID can have this form: it does not begin with a slash, ends with one, or has characters or
    /// dot segments that no path has.
    #[error("no SPIFFE ID has a path of the template's form")]
    Template,
}

/// The template with each field as `a`.
fn filled(template: &Template) -> String {
    let mut parts = template.as_str().split(['{', '}']);
    let mut text = parts.next().unwrap_or_default().to_owned();
    // literals and fields take turns
    while let (Some(_field), Some(literal)) = (parts.next(), parts.next()) {
        text.push('a');
        text.push_str(literal);
    }
    text
}

/// Those of <https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md#21-algorithm> that are
/// verified here; EdDSA is not among them.
const ALGORITHMS: &[Algorithm] = &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256];

/// From issue to expiry; SPIRE grants five minutes where nothing else is configured.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
