use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use super::ManualClock;
use crate::attestor::{AttestError, Attestor};
use crate::clock::Clock as _;
use crate::error::ErrorKind;
use crate::evidence::{Evidence, MAX_EVIDENCE_BYTES};
use crate::identity::{AttestedIdentity, MAX_IDENTITY_AGE};
use crate::kind::EvidenceKind;
use crate::verifier::SKEW;

/// What [`attestor_contract`] needs to know about an attestor.
#[derive(Debug)]
pub struct ContractCases {
    good: [Evidence; 2],
    refused: Vec<(&'static str, Evidence)>,
    clock: Arc<ManualClock>,
}

impl ContractCases {
    /// Two good pieces of evidence of one agent (two, because some evidence is good only once), and the
    /// clock that the attestor goes by.
    #[must_use]
    pub const fn new(good: [Evidence; 2], clock: Arc<ManualClock>) -> Self {
        Self { good, refused: Vec::new(), clock }
    }

    /// With evidence that must be refused, as nearly good as it can be, and what is wrong with it. Three at
    /// least are asked for.
    #[must_use]
    pub fn with_refused(mut self, what: &'static str, evidence: Evidence) -> Self {
        self.refused.push((what, evidence));
        self
    }
}

/// Holds an attestor to the contract of [`Attestor`], with some 400 pieces of evidence:
///
/// - good evidence gives an identity of the attestor's own kind, current, no longer good than an identity
///   may be, and the same each time (R16);
/// - evidence of another kind, garbage, cut and lengthened evidence is refused as `Invalid` or `Denied`,
///   never as something to try again (W16);
/// - no changed byte gives *another* identity (R8);
/// - each of the cases' bad pieces is refused;
/// - once it is over, good evidence is refused;
/// - no refusal shows any 12 bytes of the evidence, in `Display`, `Debug` or any cause (L29), unless the
///   attestor's own settings, as its `Debug` shows them, have the same words.
///
/// The clock is moved ahead by the end.
///
/// # Panics
/// Where the contract is broken; the message says how.
#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
pub async fn attestor_contract(attestor: &dyn Attestor, cases: &ContractCases) {
    assert!(cases.refused.len() >= 3, "the contract wants three pieces of evidence that are refused");
    let [first, second] = &cases.good;
    // before it has seen any evidence: what it shows now is its own
    let settings = format!("{attestor:?}");
    let silent = |refused: &AttestError, bad: &Evidence, what: &str| silent(refused, bad, what, &settings);
    let identity = accepted(attestor, first, cases).await;
    let again = accepted(attestor, second, cases).await;
    assert_eq!(identity.subject(), again.subject(), "the same agent was found to be two subjects");
    assert!(same(&identity, &again), "the same agent was found to be two instances");

    let other = EvidenceKind::from_static("no-such-kind");
    let misnamed = evidence(&other, second.expose());
    match attestor.attest(&misnamed).await {
        Err(AttestError::WrongKind) => {}
        other => panic!("evidence of another kind must be WrongKind, and was {other:?}"),
    }

    for (what, bad) in &cases.refused {
        assert_eq!(bad.kind(), attestor.kind(), "{what}: is evidence of another kind");
        match attestor.attest(bad).await {
            Err(refused) => silent(&refused, bad, what),
            Ok(identity) => panic!("accepted although {what}: {}", identity.subject()),
        }
    }
    for (what, content) in garbage(first.expose()) {
        let bad = evidence(attestor.kind(), &content);
        match attestor.attest(&bad).await {
            Err(refused) => {
                silent(&refused, &bad, what);
                let final_word = matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::Denied);
                assert!(final_word, "{what} must be refused for good, and was {refused:?}");
            }
            Ok(identity) => panic!("accepted {what} as {}", identity.subject()),
        }
    }
    for (at, content) in changed(first.expose()) {
        let bad = evidence(attestor.kind(), &content);
        match attestor.attest(&bad).await {
            Err(refused) => silent(&refused, &bad, "changed evidence"),
            Ok(found) => assert!(same(&identity, &found), "byte {at} changed gives {}", found.subject()),
        }
    }

    let over = identity.not_after().since(identity.attested_at()) + SKEW + MAX_IDENTITY_AGE;
    cases.clock.advance(over + Duration::from_secs(1));
    for evidence in &cases.good {
        match attestor.attest(evidence).await {
            Err(refused) => silent(&refused, evidence, "evidence that is over"),
            Ok(_) => panic!("evidence is still accepted an hour after its identity has ended"),
        }
    }
}

#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
async fn accepted(attestor: &dyn Attestor, good: &Evidence, cases: &ContractCases) -> AttestedIdentity {
    assert_eq!(good.kind(), attestor.kind(), "the good evidence is of another kind than the attestor");
    let identity = match attestor.attest(good).await {
        Ok(identity) => identity,
        Err(refused) => panic!("good evidence is refused: {refused:?}"),
    };
    let Ok(now) = cases.clock.now() else { panic!("the clock stands") };
    assert_eq!(identity.kind(), attestor.kind(), "the identity is of another kind than the attestor");
    assert_eq!(identity.attested_at(), now, "the attestor goes by another clock than the cases'");
    assert!(identity.is_current(now), "the identity is over before it is given");
    assert!(identity.not_after() <= now.plus(MAX_IDENTITY_AGE), "the identity is good for too long");
    identity
}

fn same(one: &AttestedIdentity, other: &AttestedIdentity) -> bool {
    one.subject() == other.subject()
        && (one.kind(), one.trust_root(), one.tenant(), one.agent())
            == (other.kind(), other.trust_root(), other.tenant(), other.agent())
        && (one.instance(), one.assurance()) == (other.instance(), other.assurance())
}

/// Nothing that a log line of the refusal would hold is part of the evidence.
fn silent(refused: &AttestError, evidence: &Evidence, what: &str, settings: &str) {
    let mut shown = format!("{refused} {refused:?} {refused:#?}");
    let mut cause: Option<&(dyn Error + 'static)> = refused.source();
    while let Some(error) = cause {
        shown.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    let content = evidence.expose();
    let leaks = content.windows(WINDOW).any(|part| {
        // runs of one byte are no secret
        part.iter().any(|byte| Some(byte) != part.first())
            && std::str::from_utf8(part).is_ok_and(|part| shown.contains(part) && !settings.contains(part))
    });
    assert!(!leaks, "the refusal of {what} shows a part of the evidence");
    assert!(
        !refused.code().is_empty() && !refused.to_string().is_empty(),
        "{what}: a refusal without a word"
    );
}

/// Contents that no attestor can take, whatever its evidence looks like.
fn garbage(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let cut = |end: usize| good.get(..end).unwrap_or(good).to_vec();
    let mut all = vec![
        ("a space", b" ".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("an empty array", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("a string", br#""x""#.to_vec()),
        ("a NUL", vec![0]),
        ("what is not UTF-8", vec![0xff; 40]),
        ("two dots", b"..".to_vec()),
        ("an unsigned token", b"eyJhbGciOiJub25lIn0.e30.".to_vec()),
        ("deep nesting", [b"{\"a\":".repeat(4000), b"1".to_vec(), b"}".repeat(4000)].concat()),
        ("deep arrays", b"[".repeat(MAX_EVIDENCE_BYTES)),
        ("letters", b"a".repeat(MAX_EVIDENCE_BYTES)),
        ("zeros", vec![0; MAX_EVIDENCE_BYTES]),
        ("the evidence twice", [good, good].concat()),
        ("the evidence and a dot", [good, b"."].concat()),
        ("the evidence and a NUL", [good, &[0]].concat()),
        ("a NUL and the evidence", [&[0], good].concat()),
        ("a line's end and the evidence in quotes", [b"\n\"", good, b"\""].concat()),
        ("the evidence without its end", cut(good.len().saturating_sub(1))),
        ("the evidence without its beginning", good.get(1..).unwrap_or_default().to_vec()),
    ];
    for eighth in 1..8 {
        all.push(("a part of the evidence", cut(good.len() * eighth / 8)));
    }
    all.retain(|(_, content)| !content.is_empty() && content.len() <= MAX_EVIDENCE_BYTES);
    all
}

/// The evidence with one byte changed, at some 300 places.
fn changed(good: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    let step = good.len().div_ceil(300).max(1);
    (0..good.len()).step_by(step).map(|at| {
        let mut content = good.to_vec();
        if let Some(byte) = content.get_mut(at) {
            // stays a letter or a digit where it is one, so that the change gets past the first look
            *byte = match *byte {
                b'z' | b'Z' => b'a',
                b'9' => b'0',
                byte if byte.is_ascii_alphanumeric() => byte + 1,
                byte => byte ^ 1,
            };
        }
        (at, content)
    })
}

#[expect(clippy::expect_used, reason = "sizes are checked where contents are made")]
fn evidence(kind: &EvidenceKind, content: &[u8]) -> Evidence {
    Evidence::new(kind.clone(), content).expect("within the limits of evidence")
}

/// So many bytes of evidence in an error are no accident.
const WINDOW: usize = 12;
