//! The contract suite for attestors: a good one passes, and each way to break the contract is caught.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{ContractCases, ManualClock, attestor_contract};
use agentkeys_core::{
    Assurance, AttestError, AttestedIdentity, Attestor, Clock, Evidence, EvidenceKind, KeySource, Profile,
    StaticKeys, TrustRoot, Verifier, VerifyError,
};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::support::*;

const JOB: EvidenceKind = EvidenceKind::from_static("build-job");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    TakesAnyKind,
    AnswersForAnotherKind,
    IgnoresSignatures,
    IgnoresSignaturesAndCallsItDown,
    IgnoresTime,
    ShowsEvidence,
    ShowsEvidenceInACause,
    NamesEachInstanceAnew,
    NamesEachAgentAnew,
    GoesByAnotherClock,
    LetsTheRefusedIn,
}

#[derive(Debug)]
struct BuildJobs {
    flaw: Flaw,
    verifier: Verifier,
    clock: Arc<ManualClock>,
    count: Mutex<u32>,
}

#[derive(Debug, thiserror::Error)]
#[error("this came: {0}")]
struct Talkative(String);

impl BuildJobs {
    fn new(flaw: Flaw, clock: Arc<ManualClock>) -> Self {
        let keys: Arc<dyn KeySource> = Arc::new(StaticKeys::new(fake().key_set()));
        let verifier = Verifier::new(Profile::oidc(fake().issuer().clone(), keys), "us".parse().unwrap());
        Self { flaw, verifier: verifier.with_clock(clock.clone()), clock, count: Mutex::default() }
    }

    fn cause(text: &str) -> AttestError {
        let source: Box<dyn std::error::Error + Send + Sync> = Box::new(Talkative(text.to_owned()));
        AttestError::Unavailable { retry_after: Duration::ZERO, source: source.into() }
    }

    /// What the payload says, whoever signed it.
    fn unverified(token: &str) -> Result<(String, u64), AttestError> {
        let payload = token.split('.').nth(1).ok_or(AttestError::Malformed("no payload"))?;
        let claims: Value = serde_json::from_slice(
            &base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload)
                .map_err(|_| AttestError::Malformed("no payload"))?,
        )
        .map_err(|_| AttestError::Malformed("no JSON"))?;
        let agent = claims["project"].as_str().ok_or(AttestError::Missing("project"))?;
        Ok((agent.to_owned(), claims["exp"].as_u64().ok_or(AttestError::Missing("exp"))?))
    }
}

#[async_trait]
impl Attestor for BuildJobs {
    fn kind(&self) -> &EvidenceKind {
        const { &JOB }
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        if evidence.kind() != self.kind() && self.flaw != Flaw::TakesAnyKind {
            return Err(AttestError::WrongKind);
        }
        let token = std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("not text"))?;
        let now = self.clock.now()?;
        let verified = match self.verifier.verify::<Value>(token).await {
            Ok(verified) => {
                let project = verified.claims()["project"].as_str().unwrap_or_default().to_owned();
                Ok((project, verified.expires_at().as_unix()))
            }
            Err(VerifyError::Expired) if self.flaw == Flaw::IgnoresTime => {
                Ok((Self::unverified(token)?.0, now.as_unix() + 60))
            }
            Err(VerifyError::Signature) if self.flaw == Flaw::IgnoresSignatures => Self::unverified(token),
            Err(_) if self.flaw == Flaw::IgnoresSignaturesAndCallsItDown => Err(Self::cause("nothing")),
            Err(VerifyError::Signature) if self.flaw == Flaw::ShowsEvidenceInACause => {
                Err(Self::cause(token))
            }
            Err(_) if self.flaw == Flaw::ShowsEvidence => {
                Err(AttestError::Misdirected { signed_for: token.to_owned(), would_call: String::new() })
            }
            Err(error) => Err(error.into()),
        };
        let (project, expires_at) = verified?;
        if project == "forbidden" && self.flaw != Flaw::LetsTheRefusedIn {
            return Err(AttestError::Pin("project"));
        }
        let mut count = self.count.lock().unwrap();
        *count += 1;
        let agent =
            if self.flaw == Flaw::NamesEachAgentAnew { format!("{project}-{count}") } else { project };
        let kind = if self.flaw == Flaw::AnswersForAnotherKind { "another" } else { self.kind().as_str() };
        let earlier = if self.flaw == Flaw::GoesByAnotherClock { 1 } else { 0 };
        let mut identity = AttestedIdentity::assertion(
            kind.parse().unwrap(),
            TrustRoot::parse("https://builds.example")?,
            agent.parse()?,
            Assurance::PlatformAttested,
            now.minus(Duration::from_secs(earlier)),
            at(expires_at),
        )?;
        if self.flaw == Flaw::NamesEachInstanceAnew {
            identity = identity.with_instance(count.to_string().parse()?);
        }
        Ok(identity)
    }
}

fn job(project: &str) -> Evidence {
    let claims = json!({
        "iss": fake().issuer().as_str(), "sub": "job:7", "aud": "us", "project": project,
        "iat": NOW, "exp": NOW + 300, "jti": "Zm9v",
    });
    Evidence::new(JOB, fake().sign(Algorithm::Es256, &claims)).unwrap()
}

async fn run(flaw: Flaw, refused: usize) {
    let clock = clock();
    let mut cases = ContractCases::new([job("shop"), job("shop")], clock.clone());
    for _ in 0..refused {
        cases = cases.with_refused("it is of a project that is not let in", job("forbidden"));
    }
    attestor_contract(&BuildJobs::new(flaw, clock), &cases).await;
}

/// What the suite says about an attestor with this flaw.
async fn complaint(flaw: Flaw, refused: usize) -> String {
    let failed = tokio::spawn(run(flaw, refused)).await.expect_err("the flaw was not seen");
    let panic = failed.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

#[tokio::test]
async fn an_attestor_without_a_flaw_passes() {
    run(Flaw::None, 3).await;
}

#[tokio::test]
async fn each_flaw_is_caught_and_named() {
    for (flaw, says) in [
        (Flaw::TakesAnyKind, "must be WrongKind"),
        (Flaw::AnswersForAnotherKind, "the identity is of another kind"),
        (Flaw::IgnoresSignatures, "build-job/https"),
        (Flaw::IgnoresSignaturesAndCallsItDown, "must be refused for good"),
        (Flaw::IgnoresTime, "an hour after its identity has ended"),
        (Flaw::ShowsEvidence, "shows a part of the evidence"),
        (Flaw::ShowsEvidenceInACause, "shows a part of the evidence"),
        (Flaw::NamesEachInstanceAnew, "two instances"),
        (Flaw::NamesEachAgentAnew, "two subjects"),
        (Flaw::GoesByAnotherClock, "another clock"),
        (Flaw::LetsTheRefusedIn, "accepted although it is of a project that is not let in"),
    ] {
        let said = complaint(flaw, 3).await;
        assert!(said.contains(says), "{flaw:?}: {said}");
    }
}

#[tokio::test]
async fn a_suite_without_refusals_is_none() {
    assert!(complaint(Flaw::None, 2).await.contains("three pieces"));
}
