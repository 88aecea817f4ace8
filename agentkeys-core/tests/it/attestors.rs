//! Dispatch: the declared kind chooses the one attestor, and nothing falls through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentkeys_core::{
    Assurance, AttestError, AttestedIdentity, Attestor, Attestors, ErrorKind, Evidence, EvidenceKind,
    MAX_IDENTITY_AGE, ReplayError, VerifyError,
};
use async_trait::async_trait;

use crate::support::*;

/// Says yes to everything, as `says`, and counts.
#[derive(Clone, Debug)]
struct Yes {
    kind: EvidenceKind,
    says: EvidenceKind,
    asked: Arc<AtomicUsize>,
}

impl Yes {
    fn new(kind: &'static str) -> Self {
        let kind = EvidenceKind::from_static(kind);
        Self { says: kind.clone(), kind, asked: Arc::default() }
    }
}

#[async_trait]
impl Attestor for Yes {
    fn kind(&self) -> &EvidenceKind {
        &self.kind
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if evidence.expose() == b"no" {
            return Err(AttestError::Pin("audience"));
        }
        let (root, agent) = ("root".parse()?, "blue".parse()?);
        let attested = Assurance::PlatformAttested;
        let identity =
            AttestedIdentity::assertion(self.says.clone(), root, agent, attested, at(NOW), at(NOW + 86_400))?;
        Ok(identity)
    }
}

fn evidence(kind: &'static str, content: &str) -> Evidence {
    Evidence::new(EvidenceKind::from_static(kind), content).unwrap()
}

#[tokio::test]
async fn r2_w58_the_declared_kind_chooses_and_nothing_falls_through() {
    let (one, two) = (Yes::new("one"), Yes::new("two"));
    let attestors = Attestors::new().with(one.clone()).unwrap().with(two.clone()).unwrap();
    let identity = attestors.attest(&evidence("two", "x")).await.unwrap();
    assert_eq!(identity.kind().as_str(), "two");
    assert_eq!((one.asked.load(Ordering::SeqCst), two.asked.load(Ordering::SeqCst)), (0, 1));
    let refused = attestors.attest(&evidence("one", "no")).await.unwrap_err();
    assert!(matches!(refused, AttestError::Pin("audience")));
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert_eq!((one.asked.load(Ordering::SeqCst), two.asked.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn r2_evidence_of_an_unknown_kind_is_refused() {
    for attestors in [Attestors::new(), Attestors::default().with(Yes::new("one")).unwrap()] {
        for kind in ["two", "one-more", "on"] {
            let refused = attestors.attest(&evidence(kind, "x")).await.unwrap_err();
            assert!(matches!(refused, AttestError::UnknownKind));
            assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, "evidence_kind_unknown"));
        }
    }
}

#[test]
fn two_attestors_for_one_kind_are_refused() {
    let refused = Attestors::new().with(Yes::new("one")).unwrap().with(Yes::new("one")).unwrap_err();
    assert!(matches!(refused, AttestError::TwoAttestors));
    assert_eq!(refused.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn w29_an_attestor_that_answers_for_another_kind_is_caught() {
    let liar = Yes { says: EvidenceKind::from_static("two"), ..Yes::new("one") };
    let refused = Attestors::new().with(liar).unwrap().attest(&evidence("one", "x")).await.unwrap_err();
    assert!(matches!(refused, AttestError::WrongKind));
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn identities_have_an_age_that_a_host_can_only_shorten() {
    let attestors = |age: Option<Duration>| {
        let attestors = Attestors::new().with(Yes::new("one")).unwrap();
        age.map_or(attestors.clone(), |age| attestors.with_identity_age(age))
    };
    for (age, wanted) in [
        (None, MAX_IDENTITY_AGE),
        (Some(Duration::from_secs(60)), Duration::from_secs(60)),
        (Some(Duration::MAX), MAX_IDENTITY_AGE),
    ] {
        let identity = attestors(age).attest(&evidence("one", "x")).await.unwrap();
        assert_eq!(identity.not_after(), at(NOW).plus(wanted), "{age:?}");
    }
}

#[test]
fn a_verifiers_verdict_keeps_its_kind_and_code_as_an_attestors() {
    let refused = AttestError::from(VerifyError::Audience);
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Invalid, "token_audience"));
    let stale = agentkeys_core::KeyError::Stale { retry_after: Duration::from_secs(7) };
    let down = AttestError::from(VerifyError::from(stale));
    assert_eq!((down.kind(), down.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(7))));
}

#[test]
fn a_replay_and_one_who_does_not_answer_keep_their_kind_code_and_wait() {
    let replayed = AttestError::from(ReplayError::Replayed);
    assert_eq!((replayed.kind(), replayed.code()), (ErrorKind::Invalid, "evidence_replayed"));
    let full = AttestError::from(ReplayError::Full { retry_after: Duration::from_secs(3) });
    assert_eq!((full.kind(), full.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(3))));
    let source: Box<dyn std::error::Error + Send + Sync> = "down".into();
    let down = AttestError::Unavailable { retry_after: Duration::from_secs(2), source: source.into() };
    assert_eq!((down.kind(), down.retry_after()), (ErrorKind::Unavailable, Some(Duration::from_secs(2))));
    let away = AttestError::Misdirected { signed_for: "a".into(), would_call: "b".into() };
    assert_eq!(away.to_string(), "the evidence is signed for a, and b would be called");
    for refused in [away, AttestError::Expired, AttestError::NotYetValid, AttestError::Rejected("x")] {
        assert_eq!((refused.kind(), refused.retry_after()), (ErrorKind::Invalid, None), "{refused}");
    }
}

#[test]
fn w33_every_refusal_has_a_code_of_its_own_and_one_line() {
    let source: Box<dyn std::error::Error + Send + Sync> = "down".into();
    let refusals = [
        AttestError::Clock(agentkeys_core::ClockError::new()),
        AttestError::Expired,
        AttestError::Identity(agentkeys_core::IdentityError::Agent),
        AttestError::Malformed("x"),
        AttestError::Misdirected { signed_for: "a".into(), would_call: "b".into() },
        AttestError::Missing("x"),
        AttestError::NotYetValid,
        AttestError::Pin("x"),
        AttestError::Rejected("x"),
        AttestError::from(ReplayError::Replayed),
        AttestError::TwoAttestors,
        AttestError::Unavailable { retry_after: Duration::ZERO, source: source.into() },
        AttestError::UnknownKind,
        AttestError::from(VerifyError::Expired),
        AttestError::WrongKind,
    ];
    let codes: std::collections::BTreeSet<_> = refusals.iter().map(AttestError::code).collect();
    assert_eq!(codes.len(), refusals.len());
    for refusal in &refusals {
        let text = refusal.to_string();
        assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{text}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(refusal.code().bytes().all(plain), "{}", refusal.code());
        assert_eq!(refusal.retry_after().is_some(), refusal.kind().is_retryable(), "{text}");
    }
}
