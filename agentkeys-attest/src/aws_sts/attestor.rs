use std::sync::Arc;

use agentkeys_core::{
    AttestError, AttestedIdentity, Attestor, Challenges, Clock, Evidence, EvidenceKind, HttpClient,
    ReplayGuard, SystemClock, UseId,
};
use async_trait::async_trait;

use super::wire::Presigned;
use super::{AWS_STS, AwsStsPins, AwsStsPinsError, answer};

/// Appraises presigned `sts:GetCallerIdentity` requests of the sessions of named roles.
///
/// # Contract
/// As [`Attestor`]'s. The trust root is the role, `arn:PARTITION:iam::ACCOUNT:role/NAME`; the agent is who
/// its [`StsRole`](super::StsRole) says. Evidence can be presented until it is as old as its
/// `X-Amz-Expires` says (1 to 900 seconds) and for five minutes at most; no grace is added behind, 30
/// seconds are allowed ahead. The identity is good for the 15 minutes from its date for which STS takes the
/// request. Evidence is taken once. One request goes to STS for it, and nothing is tried again.
///
/// # Security
/// - **Nothing of the client's request is sent.** Each signed parameter is parsed, and URL, method and
///   headers are written anew (W3, L1): parameters that are doubled, unknown, missing or encoded in another
///   way, other actions, versions, signed headers and dates are refused before anything is sent (W1, L2, L5).
/// - **We choose whom to ask.** The evidence must be signed for a configured endpoint's host and region
///   both; its own address is compared and never called (W2, L4, L9).
/// - **It is for us.** Our audience goes into a header that must be signed, so evidence for somebody else has
///   a wrong signature (W7, L8).
/// - **Only the documented answer counts**, as XML of STS's namespace; whom it names is compared field by
///   field (W5, L3), and only named roles are let in (W6, L6).
/// - **It is used once** (W8), and signed for us just now where [`AwsStsAttestor::with_challenges`] is used.
///
/// The session's name is a fact under the name `self-asserted-session-name`, because whoever assumed the
/// role chose it.
///
/// # Errors
/// [`AttestError`]; nothing shows any part of the evidence or of STS's answer. What STS answers in another
/// form than the documented one is `Unavailable`: it is no word about the evidence.
#[derive(Clone, Debug)]
pub struct AwsStsAttestor {
    pins: AwsStsPins,
    http: Arc<dyn HttpClient>,
    guard: Arc<dyn ReplayGuard>,
    challenges: Option<Challenges>,
    clock: Arc<dyn Clock>,
}

impl AwsStsAttestor {
    /// An attestor that asks STS through `http` and lets `guard` remember what was used, until 15 minutes
    /// after it was signed.
    ///
    /// # Errors
    /// [`AwsStsPinsError`] where a pin is missing or two contradict each other.
    pub fn new(
        pins: AwsStsPins,
        http: Arc<dyn HttpClient>,
        guard: Arc<dyn ReplayGuard>,
    ) -> Result<Self, AwsStsPinsError> {
        pins.check()?;
        let clock = Arc::new(SystemClock::new());
        Ok(Self { pins, http, guard, challenges: None, clock })
    }

    /// And only with a signed challenge, which is redeemed instead of the signature: nothing that was signed
    /// before the host issued it is of any use (L8).
    #[must_use]
    pub fn with_challenges(mut self, challenges: Challenges) -> Self {
        self.challenges = Some(challenges);
        self
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What is read of evidence before anybody is asked.
    fn read(&self, evidence: &Evidence) -> Result<Presigned<'_>, AttestError> {
        let presigned = Presigned::parse(evidence.expose(), &self.pins.endpoints)?;
        match (&self.challenges, &presigned.challenge) {
            (Some(_), None) => Err(AttestError::Missing("challenge")),
            // it was signed for a verifier with other settings, and nobody would redeem it
            (None, Some(_)) => Err(AttestError::Malformed("nobody asked for its challenge")),
            _ => Ok(presigned),
        }
    }

    /// Lets evidence pass that has not passed before.
    ///
    /// Called when STS has said yes to a role that is let in, for three reasons. Whatever comes before must
    /// be content with signatures that nobody has checked: it would let anyone fill the guard with junk, and
    /// a full guard refuses everybody; it would let whoever saw a challenge, or half of somebody's evidence,
    /// use it up for him; and evidence that STS had no time for could not be presented again. What this
    /// order costs is a call to STS for each replay, and that is no more than any made-up signature costs:
    /// only STS can tell those, so calls are limited by whoever limits requests to the host. Two that come
    /// at the same time are both asked about, and the guard lets one of them pass.
    async fn use_once(&self, presigned: &Presigned<'_>) -> Result<(), AttestError> {
        if let (Some(challenges), Some(challenge)) = (&self.challenges, &presigned.challenge) {
            // redeemed once, it makes all that was signed with it good once
            return Ok(challenges.redeem(challenge).await?);
        }
        let id = UseId::of(&AWS_STS, &[presigned.signature().as_bytes()]);
        Ok(self.guard.first_use(&id, presigned.good_until()).await?)
    }
}

#[async_trait]
impl Attestor for AwsStsAttestor {
    fn kind(&self) -> &EvidenceKind {
        const { &AWS_STS }
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        if evidence.kind() != self.kind() {
            return Err(AttestError::WrongKind);
        }
        let presigned = self.read(evidence)?;
        let now = self.clock.now()?;
        presigned.check_time(now)?;

        let request = presigned.request(&self.pins.audience);
        let caller = answer::read(&self.http.send(request).await.map_err(answer::unreachable)?)?;
        let found = self.pins.appraise(&caller, presigned.endpoint)?;
        self.use_once(&presigned).await?;

        let identity = AttestedIdentity::assertion(
            AWS_STS,
            found.trust_root,
            found.agent,
            found.assurance,
            now,
            presigned.good_until(),
        )?;
        Ok(identity
            .with_fact("account", caller.arn.account().as_str())?
            .with_fact("region", presigned.endpoint.region().as_str())?
            .with_fact("role", caller.arn.role_name())?
            .with_fact("role-unique-id", caller.unique_id.as_str())?
            .with_fact("self-asserted-session-name", caller.arn.session_name())?)
    }
}
