use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::ClockError;
use crate::error::ErrorKind;
use crate::evidence::Evidence;
use crate::identity::{AttestedIdentity, IdentityError, MAX_IDENTITY_AGE};
use crate::kind::EvidenceKind;
use crate::replay::ReplayError;
use crate::verifier::VerifyError;

mod first_instance;

pub use first_instance::FirstInstance;

/// Appraises one kind of evidence (RFC 9334).
///
/// # Contract
/// Gives an identity only where the evidence proves it, of the kind that [`Attestor::kind`] names, good no
/// longer than the evidence itself. Two instances with the same settings give the same identity for the
/// same evidence (R16).
///
/// # Security
/// A wrong *yes* is a stolen identity; a wrong *no* costs one agent its start. Nothing may be taken from
/// the evidence that its bearer could have chosen, unless the identity says so
/// ([`crate::Assurance::SelfAsserted`]); nothing may be fetched from an address that the evidence names
/// (L10).
///
/// # Errors
/// [`AttestError`], whose text and `Debug` show nothing of the evidence.
///
/// # Examples
/// An attestor of one's own: the tokens of a build system prove which project a job belongs to.
///
/// ```
/// use agentkeys_core::{
///     Assurance, AttestError, AttestedIdentity, Attestor, Attestors, Clock, Evidence, EvidenceKind, TrustRoot,
///     Verifier,
/// };
/// # use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct BuildJobs {
///     kind: EvidenceKind,
///     root: TrustRoot,
///     verifier: Verifier,
///     clock: Arc<dyn Clock>,
/// }
///
/// #[derive(serde::Deserialize)]
/// struct Claims {
///     project: String,
/// }
///
/// #[async_trait::async_trait]
/// impl Attestor for BuildJobs {
///     fn kind(&self) -> &EvidenceKind {
///         &self.kind
///     }
///
///     async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
///         let token = std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("not a JWT"))?;
///         let verified = self.verifier.verify::<Claims>(token).await?;
///         let identity = AttestedIdentity::assertion(
///             self.kind.clone(),
///             self.root.clone(),
///             // the build system wrote this claim, the job could not
///             verified.claims().project.parse()?,
///             Assurance::PlatformAttested,
///             self.clock.now()?,
///             verified.expires_at(),
///         )?;
///         Ok(identity)
///     }
/// }
/// # use agentkeys_core::{Audience, Issuer, KeySource, Profile, StaticKeys, jose::Algorithm, testing::FakeIssuer, testing::ManualClock, Timestamp};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let builds = FakeIssuer::new(Issuer::parse("https://builds.example")?);
/// # let issuer = builds.issuer().clone();
/// # let keys: Arc<dyn KeySource> = Arc::new(StaticKeys::new(builds.key_set()));
/// # let clock = ManualClock::new(Timestamp::from_unix(1_800_000_000));
/// # let claims = serde_json::json!({ "iss": "https://builds.example", "sub": "job:7", "aud": "broker",
/// #     "iat": 1_800_000_000, "exp": 1_800_000_300, "project": "shop" });
/// # let token = builds.sign(Algorithm::Es256, &claims);
///
/// let verifier = Verifier::new(Profile::oidc(issuer, keys), Audience::parse("broker")?);
/// # let verifier = verifier.with_clock(clock.clone());
/// let kind = EvidenceKind::from_static("build-job");
/// let root = TrustRoot::parse("https://builds.example")?;
/// let attestors = Attestors::new().with(BuildJobs { kind: kind.clone(), root, verifier, clock })?;
///
/// let identity = attestors.attest(&Evidence::new(kind, token)?).await?;
/// assert_eq!(identity.subject().as_str(), "build-job/https:%2F%2Fbuilds.example//shop");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Attestor: fmt::Debug + Send + Sync {
    /// The kind of evidence that this appraises.
    fn kind(&self) -> &EvidenceKind;

    /// Appraises `evidence`.
    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError>;
}

/// The attestors of a host, found by the kind that the evidence declares.
///
/// Evidence of a kind that nobody here appraises is refused; nothing is tried in turn, nothing falls
/// through to another attestor (W58).
#[derive(Clone, Debug)]
pub struct Attestors {
    by_kind: BTreeMap<EvidenceKind, Arc<dyn Attestor>>,
    identity_age: Duration,
}

impl Attestors {
    /// None yet: everything is refused.
    #[must_use]
    pub const fn new() -> Self {
        Self { by_kind: BTreeMap::new(), identity_age: MAX_IDENTITY_AGE }
    }

    /// With `attestor` for its kind.
    ///
    /// # Errors
    /// [`AttestError::TwoAttestors`] where its kind has one already.
    pub fn with(mut self, attestor: impl Attestor + 'static) -> Result<Self, AttestError> {
        let attestor: Arc<dyn Attestor> = Arc::new(attestor);
        match self.by_kind.insert(attestor.kind().clone(), attestor) {
            None => Ok(self),
            Some(_) => Err(AttestError::TwoAttestors),
        }
    }

    /// Identities are good for `age` at most; never more than [`MAX_IDENTITY_AGE`].
    #[must_use]
    pub fn with_identity_age(mut self, age: Duration) -> Self {
        self.identity_age = age.min(MAX_IDENTITY_AGE);
        self
    }

    /// Appraises `evidence` with the attestor of its declared kind.
    ///
    /// # Errors
    /// [`AttestError`].
    pub async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        let attestor = self.by_kind.get(evidence.kind()).ok_or(AttestError::UnknownKind)?;
        let identity = attestor.attest(evidence).await?;
        if identity.kind() != evidence.kind() {
            return Err(AttestError::WrongKind);
        }
        Ok(identity.limited_to(self.identity_age))
    }
}

impl Default for Attestors {
    fn default() -> Self {
        Self::new()
    }
}

/// Why evidence proves nothing here, or cannot be judged now.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The evidence is over.
    #[error("the evidence has expired")]
    Expired,
    /// What the evidence proves cannot be an identity.
    #[error("the evidence names no valid agent")]
    Identity(#[from] IdentityError),
    /// The evidence is not of the form that its kind has.
    #[error("the evidence is malformed: {0}")]
    Malformed(&'static str),
    /// The evidence is signed for one place and would be checked at another. Both are names that this
    /// host knows, never text of the evidence.
    #[error("the evidence is signed for {signed_for}, and {would_call} would be called")]
    Misdirected {
        /// What its signature is for.
        signed_for: String,
        /// Who would be asked.
        would_call: String,
    },
    /// The evidence lacks something that it must have.
    #[error("the evidence has no {0}")]
    Missing(&'static str),
    /// The evidence is not good yet.
    #[error("the evidence is not valid yet")]
    NotYetValid,
    /// The evidence is good and for somebody who is not let in here.
    #[error("the evidence is for another {0}")]
    Pin(&'static str),
    /// Whoever can tell says that the evidence is not good.
    #[error("the evidence is rejected: {0}")]
    Rejected(&'static str),
    /// It was used before, or nobody can tell.
    #[error("the evidence cannot be used")]
    Replay(#[from] ReplayError),
    /// The host gave two attestors for one kind.
    #[error("two attestors for one kind of evidence")]
    TwoAttestors,
    /// Whoever can tell whether the evidence is good does not answer now.
    #[error("the evidence cannot be judged now")]
    Unavailable {
        /// How long to wait before the next try.
        retry_after: Duration,
        /// What went wrong.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody here appraises evidence of this kind.
    #[error("no attestor for this kind of evidence")]
    UnknownKind,
    /// Its token is refused.
    #[error("the evidence's token is refused")]
    Verify(#[from] VerifyError),
    /// The evidence is of another kind than the attestor, or an attestor broke its contract.
    #[error("the evidence is of another kind")]
    WrongKind,
}

impl AttestError {
    /// What an embedder must know.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Clock(error) => error.kind(),
            Self::Identity(error) => error.kind(),
            Self::Replay(error) => error.kind(),
            Self::Verify(error) => error.kind(),
            Self::Expired
            | Self::Malformed(_)
            | Self::Misdirected { .. }
            | Self::Missing(_)
            | Self::NotYetValid
            | Self::Rejected(_)
            | Self::UnknownKind
            | Self::WrongKind => ErrorKind::Invalid,
            Self::Pin(_) => ErrorKind::Denied,
            Self::TwoAttestors => ErrorKind::Misconfigured,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }

    /// How long to wait before the next try; none where trying again is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Replay(error) => error.retry_after(),
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Verify(error) => error.retry_after(),
            _ => None,
        }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Clock(_) => "clock",
            Self::Expired => "evidence_expired",
            Self::Identity(_) => "evidence_identity",
            Self::Malformed(_) => "evidence_malformed",
            Self::Misdirected { .. } => "evidence_misdirected",
            Self::Missing(_) => "evidence_incomplete",
            Self::NotYetValid => "evidence_not_yet_valid",
            Self::Pin(_) => "evidence_pin",
            Self::Rejected(_) => "evidence_rejected",
            Self::Replay(error) => error.code(),
            Self::TwoAttestors => "two_attestors",
            Self::Unavailable { .. } => "evidence_unjudged",
            Self::UnknownKind => "evidence_kind_unknown",
            Self::Verify(error) => error.code(),
            Self::WrongKind => "evidence_kind_wrong",
        }
    }
}
