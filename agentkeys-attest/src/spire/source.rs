use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{
    Audience, Evidence, EvidenceSource, Random, Secret, SourceError, SpiffeId, SystemRandom,
};
use async_trait::async_trait;

use super::SPIFFE_SVID;
use super::back_off::back_off;
use super::workload_api::{Agent, AgentFailure, WorkloadApi, WorkloadSocket};

/// Fetches this workload's evidence from its SPIFFE agent: a JWT-SVID of the Workload API.
///
/// # Contract
/// As [`EvidenceSource`]'s: one audience, fixed here (W23). Each call asks the agent anew, which may
/// answer with an SVID that it gave before. How long it lives is the registration entry's business.
///
/// # Security
/// The agent finds out by itself who asks; nothing that this side says ends in the SVID but the audience.
///
/// # Errors
/// [`SourceError`]: `Denied` where no registration entry fits this process, `Unavailable` where the agent
/// is away. Both are tried again, nine times in all and within 45 seconds, because an entry made just now
/// reaches an agent some ten seconds later. Nothing that the agent says is kept.
#[derive(Clone)]
pub struct SpireSource {
    agent: Arc<dyn WorkloadApi>,
    audience: Audience,
    spiffe_id: Option<SpiffeId>,
    random: Arc<dyn Random>,
}

impl SpireSource {
    /// A source of evidence for `audience` from the agent that listens on `socket`.
    #[must_use]
    pub fn new(socket: WorkloadSocket, audience: Audience) -> Self {
        Self::of(Arc::new(Agent(socket)), audience)
    }

    fn of(agent: Arc<dyn WorkloadApi>, audience: Audience) -> Self {
        Self { agent, audience, spiffe_id: None, random: Arc::new(SystemRandom::new()) }
    }

    /// As `spiffe_id`, for a workload that is entitled to more than one; otherwise the agent's first.
    #[must_use]
    pub fn with_spiffe_id(mut self, spiffe_id: SpiffeId) -> Self {
        self.spiffe_id = Some(spiffe_id);
        self
    }

    async fn ask(&self) -> Result<Secret<String>, AgentFailure> {
        let asked = self.agent.jwt_svid(&self.audience, self.spiffe_id.as_ref());
        tokio::time::timeout(TRY_TIMEOUT, asked).await.unwrap_or(Err(AgentFailure::TimedOut))
    }
}

#[async_trait]
impl EvidenceSource for SpireSource {
    async fn fetch(&self) -> Result<Evidence, SourceError> {
        let mut failures = 0;
        loop {
            let failure = match self.ask().await {
                Ok(svid) => {
                    let evidence = Evidence::new(SPIFFE_SVID, svid.expose().as_bytes());
                    return evidence.map_err(|_| SourceError::Malformed);
                }
                Err(failure) => failure,
            };
            failures += 1;
            let error = refusal(failure);
            let may_mend = matches!(error, SourceError::Denied(_) | SourceError::Unavailable(_));
            if !may_mend || failures >= MAX_TRIES {
                return Err(error);
            }
            tokio::time::sleep(back_off(failures, MAX_PAUSE, &*self.random)).await;
        }
    }
}

impl fmt::Debug for SpireSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpireSource")
            .field("agent", &self.agent)
            .field("audience", &self.audience)
            .field("spiffe_id", &self.spiffe_id)
            .finish_non_exhaustive()
    }
}

fn refusal(failure: AgentFailure) -> SourceError {
    match failure {
        AgentFailure::NoIdentity => SourceError::Denied(Box::new(failure)),
        AgentFailure::Empty => SourceError::Malformed,
        AgentFailure::Refused => SourceError::Misconfigured {
            what: "the agent does not take the request: another SPIFFE ID or no JWT-SVIDs",
            source: Some(Box::new(failure)),
        },
        AgentFailure::NoKeys
        | AgentFailure::Status(_)
        | AgentFailure::TimedOut
        | AgentFailure::Unreachable => SourceError::Unavailable(Box::new(failure)),
    }
}

const MAX_TRIES: u32 = 9;
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};

    use agentkeys_core::{ErrorKind, testing::SeededRandom};
    use tokio::time::Instant;

    use super::super::workload_api::JwtBundles;
    use super::*;

    /// Answers what it is told, one after the other, and then not at all.
    #[derive(Debug, Default)]
    struct FakeAgent {
        answers: Mutex<VecDeque<Result<String, AgentFailure>>>,
        asked: Mutex<Vec<(String, Option<String>)>>,
    }

    #[async_trait]
    impl WorkloadApi for FakeAgent {
        async fn jwt_svid(
            &self,
            audience: &Audience,
            id: Option<&SpiffeId>,
        ) -> Result<Secret<String>, AgentFailure> {
            let asked = (audience.to_string(), id.map(ToString::to_string));
            {
                let mut so_far = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                so_far.push(asked);
                assert!(so_far.len() < 50, "asked without end");
            }
            let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match answer {
                Some(answer) => answer.map(Secret::new),
                None => std::future::pending().await,
            }
        }

        async fn jwt_bundles(&self) -> Result<Box<dyn JwtBundles>, AgentFailure> {
            Err(AgentFailure::Unreachable)
        }
    }

    fn source(answers: Vec<Result<&str, AgentFailure>>) -> (Arc<FakeAgent>, SpireSource) {
        let answers = answers.into_iter().map(|answer| answer.map(str::to_owned)).collect();
        let agent = Arc::new(FakeAgent { answers: Mutex::new(answers), ..FakeAgent::default() });
        let mut source = SpireSource::of(agent.clone(), "agentkeys".parse().unwrap());
        source.random = SeededRandom::new(7);
        (agent, source)
    }

    fn asked(agent: &FakeAgent) -> usize {
        agent.asked.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn r29_w23_an_svid_is_asked_for_with_one_fixed_audience() {
        let (agent, source) = source(vec![Ok("a.b.c"), Ok("d.e.f")]);
        let evidence = source.fetch().await.unwrap();
        assert_eq!((evidence.kind().as_str(), evidence.expose()), ("spiffe-svid", &b"a.b.c"[..]));
        let id = SpiffeId::parse("spiffe://example.org/agent/acme/blue").unwrap();
        source.clone().with_spiffe_id(id.clone()).fetch().await.unwrap();
        let asked = agent.asked.lock().unwrap().clone();
        assert_eq!(asked, [("agentkeys".to_owned(), None), ("agentkeys".to_owned(), Some(id.to_string()))]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_comes_up_and_an_entry_that_arrives_are_waited_for() {
        let begun = Instant::now();
        let failures = [
            AgentFailure::Unreachable,
            AgentFailure::NoIdentity,
            AgentFailure::Status(tonic::Code::Unavailable),
            AgentFailure::NoIdentity,
            AgentFailure::TimedOut,
            AgentFailure::NoIdentity,
            AgentFailure::NoIdentity,
            AgentFailure::NoIdentity,
        ];
        let (agent, source) = source(failures.map(Err).into_iter().chain([Ok("a.b.c")]).collect());
        source.fetch().await.unwrap();
        assert_eq!(asked(&agent), 9);
        // longer than server and agent take to synchronise, five seconds each
        assert!((11_000..=23_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_bounded_in_number_and_time() {
        for (failure, kind) in [
            (AgentFailure::NoIdentity, ErrorKind::Denied),
            (AgentFailure::Unreachable, ErrorKind::Unavailable),
            (AgentFailure::Status(tonic::Code::Internal), ErrorKind::Unavailable),
        ] {
            let (agent, source) = source(vec![Err(failure); 20]);
            let error = source.fetch().await.unwrap_err();
            assert_eq!((error.kind(), asked(&agent)), (kind, 9));
        }
        let begun = Instant::now();
        let (agent, source) = source(vec![]);
        let error = source.fetch().await.unwrap_err();
        assert_eq!((error.kind(), asked(&agent)), (ErrorKind::Unavailable, 9));
        assert!(begun.elapsed() <= Duration::from_secs(45), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_mend_itself_is_not_tried_again() {
        for (answer, kind) in [
            (Err(AgentFailure::Refused), ErrorKind::Misconfigured),
            (Err(AgentFailure::Empty), ErrorKind::Misconfigured),
            (Ok(""), ErrorKind::Misconfigured),
        ] {
            let (agent, source) = source(vec![answer, Ok("a.b.c")]);
            let error = source.fetch().await.unwrap_err();
            assert_eq!((error.kind(), asked(&agent)), (kind, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neither_source_nor_evidence_shows_the_svid() {
        let (_, source) = source(vec![Ok("MARKED.MARKED.MARKED")]);
        let evidence = source.fetch().await.unwrap();
        assert!(!format!("{source:?} {evidence:?}").contains("MARKED"));
    }
}
