use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{AttestError, Attestor};
use crate::evidence::Evidence;
use crate::identity::{AttestedIdentity, InstanceId, Subject};
use crate::kind::EvidenceKind;
use crate::replay::ReplayError;

/// An attestor that lets the first instance of each agent in and no other: trust on first use (L21, W14).
///
/// For platforms where somebody may start a second workload under an agent's name: a pod that was made
/// again has the same name and another uid. The host calls [`FirstInstance::forget`] when an agent ends, so
/// that its successor is let in. A second instance that shows up while the first is remembered is either a
/// restart that nobody told of, or a theft: worth an alarm.
///
/// # Security
/// Kept in memory: a host that starts anew takes whoever comes first. Full, it lets no new agent in.
pub struct FirstInstance<A> {
    attestor: A,
    capacity: NonZeroUsize,
    seen: Mutex<BTreeMap<Subject, InstanceId>>,
}

impl<A: Attestor> FirstInstance<A> {
    /// The same attestor, which remembers the instances of at most `capacity` agents, about 500 bytes each.
    #[must_use]
    pub const fn of(attestor: A, capacity: NonZeroUsize) -> Self {
        Self { attestor, capacity, seen: Mutex::new(BTreeMap::new()) }
    }

    /// The agent has ended: its next instance is let in. Answers whether it was remembered.
    pub fn forget(&self, agent: &Subject) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(agent).is_some()
    }

    fn admit(&self, identity: &AttestedIdentity) -> Result<(), AttestError> {
        let instance = identity.instance().ok_or(AttestError::Missing("instance"))?;
        let subject = identity.subject();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(&subject) {
            Some(first) if first == instance => Ok(()),
            Some(_) => Err(AttestError::Pin("instance")),
            None if seen.len() >= self.capacity.get() => {
                Err(ReplayError::Full { retry_after: Duration::from_secs(60) }.into())
            }
            None => {
                seen.insert(subject, instance.clone());
                Ok(())
            }
        }
    }
}

#[async_trait]
impl<A: Attestor> Attestor for FirstInstance<A> {
    fn kind(&self) -> &EvidenceKind {
        self.attestor.kind()
    }

    async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
        let identity = self.attestor.attest(evidence).await?;
        self.admit(&identity)?;
        Ok(identity)
    }
}

impl<A: fmt::Debug> fmt::Debug for FirstInstance<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstInstance")
            .field("attestor", &self.attestor)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::error::ErrorKind;
    use crate::identity::Assurance;

    /// Evidence is `agent` or `agent/instance`.
    #[derive(Debug)]
    struct Plain;

    const PLAIN: EvidenceKind = EvidenceKind::from_static("plain");

    #[async_trait]
    impl Attestor for Plain {
        fn kind(&self) -> &EvidenceKind {
            const { &PLAIN }
        }

        async fn attest(&self, evidence: &Evidence) -> Result<AttestedIdentity, AttestError> {
            let text = std::str::from_utf8(evidence.expose()).map_err(|_| AttestError::Malformed("text"))?;
            let (agent, instance) = text.split_once('/').map_or((text, None), |(a, i)| (a, Some(i)));
            let at = Timestamp::from_unix;
            let identity = AttestedIdentity::assertion(
                PLAIN,
                "root".parse()?,
                agent.parse()?,
                Assurance::PlatformAttested,
                at(1000),
                at(1300),
            )?;
            Ok(match instance {
                Some(instance) => identity.with_instance(instance.parse()?),
                None => identity,
            })
        }
    }

    #[tokio::test]
    async fn l21_w14_the_first_instance_of_an_agent_is_the_only_one() {
        let attestor = FirstInstance::of(Plain, NonZeroUsize::new(2).unwrap());
        let attest = async |text: &str| attestor.attest(&Evidence::new(PLAIN, text).unwrap()).await;
        let blue = attest("blue/1").await.unwrap();
        for _ in 0..2 {
            assert_eq!(attest("blue/1").await.unwrap(), blue);
            let refused = attest("blue/2").await.unwrap_err();
            assert!(matches!(refused, AttestError::Pin("instance")));
        }
        assert!(matches!(attest("blue").await, Err(AttestError::Missing("instance"))));
        // what the attestor refuses is not remembered
        assert!(attest("b l u e/1").await.is_err());
        attest("red/1").await.unwrap();
        let full = attest("green/1").await.unwrap_err();
        assert_eq!((full.kind(), full.code()), (ErrorKind::Unavailable, "replay_guard_full"));
        attest("red/1").await.unwrap();

        assert!(attestor.forget(&blue.subject()));
        assert!(!attestor.forget(&blue.subject()));
        attest("blue/2").await.unwrap();
        assert!(matches!(attest("blue/1").await, Err(AttestError::Pin("instance"))));
        assert_eq!(attestor.kind(), &PLAIN);
    }
}
