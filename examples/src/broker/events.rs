//! What happened to each agent, for itself and for the operator (R22, R23). No token, evidence or credential
//! has a place in an event (W35): digests of nothing either, only the `jti`, the access key id and the end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use agentkeys_core::{
    AgentId, AttestedIdentity, Random, RandomError, Subject, SystemRandom, Timestamp, Token,
};
use agentkeys_federation::{AwsCredentials, DataClass};
use serde::Serialize;
use serde_json::{Value, json};

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    /// Its evidence was appraised; `issuer` is who vouches (R17).
    Registered { issuer: String, expires_at: Timestamp },
    /// A token was let go.
    TokenIssued { class: DataClass, jti: String, kid: String, expires_at: Timestamp },
    /// Credentials were let go.
    CredentialsIssued { class: DataClass, access_key_id: String, expires_at: Timestamp },
    /// Something was refused to it.
    Refused { class: Option<DataClass>, code: &'static str },
}

impl Happened {
    pub(crate) fn token(class: DataClass, token: &Token) -> Self {
        let (jti, kid) = (token.jti().to_owned(), token.kid().to_owned());
        Self::TokenIssued { class, jti, kid, expires_at: token.expires_at() }
    }

    pub(crate) fn credentials(class: DataClass, credentials: &AwsCredentials) -> Self {
        let access_key_id = credentials.access_key_id().to_owned();
        Self::CredentialsIssued { class, access_key_id, expires_at: credentials.expires_at() }
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "registered",
            Self::TokenIssued { .. } => "token_issued",
            Self::CredentialsIssued { .. } => "credentials_issued",
            Self::Refused { .. } => "refused",
        }
    }

    fn payload(&self) -> Value {
        match self {
            Self::Registered { issuer, expires_at } => json!({ "issuer": issuer, "expiration": expires_at }),
            Self::TokenIssued { class, jti, kid, expires_at } => {
                json!({ "class": class.as_str(), "jti": jti, "kid": kid, "expiration": expires_at })
            }
            Self::CredentialsIssued { class, access_key_id, expires_at } => {
                json!({ "class": class.as_str(), "access_key_id": access_key_id, "expiration": expires_at })
            }
            Self::Refused { class, code } => json!({ "class": class.map(DataClass::as_str), "code": code }),
        }
    }
}

/// The events of the agents that were seen last: [`MAX_AGENTS`] of them, [`MAX_EVENTS`] of each. They are this
/// process's memory and go with it; what must last is in the audit log.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    of: HashMap<Subject, Timeline>,
    /// Who was seen first.
    order: VecDeque<Subject>,
}

#[derive(Debug)]
struct Timeline {
    agent: AgentId,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Event {
    id: [u8; 16],
    at: Timestamp,
    happened: Happened,
}

impl Events {
    /// Keeps what happened to `identity`.
    ///
    /// # Errors
    /// Without random bytes for its id.
    pub(crate) fn keep(
        &self,
        identity: &AttestedIdentity,
        at: Timestamp,
        happened: Happened,
    ) -> Result<(), RandomError> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id)?;
        let subject = identity.subject();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.of.contains_key(&subject) {
            if kept.of.len() >= MAX_AGENTS
                && let Some(first) = kept.order.pop_front()
            {
                kept.of.remove(&first);
            }
            kept.order.push_back(subject.clone());
        }
        let new = || Timeline { agent: identity.agent().clone(), events: VecDeque::new() };
        let events = &mut kept.of.entry(subject).or_insert_with(new).events;
        if events.len() >= MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(Event { id, at, happened });
        Ok(())
    }

    /// The events of one agent, oldest first.
    pub(crate) fn of(&self, subject: &Subject) -> Vec<Told> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.of.get(subject).map_or_else(Vec::new, |timeline| timeline.told(subject))
    }

    /// Those of every agent of this name, whoever vouches for it.
    pub(crate) fn of_all_named(&self, agent: &AgentId) -> Vec<Told> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = kept.of.iter().filter(|(_, timeline)| timeline.agent == *agent);
        let mut told: Vec<_> = named.flat_map(|(subject, timeline)| timeline.told(subject)).collect();
        told.sort_by(|one, other| (one.timestamp, &one.subject).cmp(&(other.timestamp, &other.subject)));
        told
    }
}

impl Timeline {
    fn told(&self, subject: &Subject) -> Vec<Told> {
        let told = |event: &Event| Told {
            id: format!("ev-{}", hex(&event.id)),
            timestamp: event.at,
            source: "BROKER",
            kind: event.happened.label(),
            subject: subject.as_str().to_owned(),
            payload: event.happened.payload(),
        };
        self.events.iter().map(told).collect()
    }
}

/// An event as it is told.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    id: String,
    timestamp: Timestamp,
    source: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: String,
    payload: Value,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many agents' events are kept.
const MAX_AGENTS: usize = 16_384;

/// How many events of each.
const MAX_EVENTS: usize = 16;

#[cfg(test)]
mod tests {
    use agentkeys_core::Assurance;

    use super::*;

    fn identity(root: &str, agent: &str) -> AttestedIdentity {
        let (at, end) = (Timestamp::from_unix(1_800_000_000), Timestamp::from_unix(1_800_000_300));
        let (kind, root, agent) = ("oidc".parse().unwrap(), root.parse().unwrap(), agent.parse().unwrap());
        AttestedIdentity::assertion(kind, root, agent, Assurance::PlatformAttested, at, end).unwrap()
    }

    fn refused(events: &Events, identity: &AttestedIdentity, code: &'static str) {
        let at = Timestamp::from_unix(1_800_000_000);
        events.keep(identity, at, Happened::Refused { class: None, code }).unwrap();
    }

    #[test]
    fn w29_agents_of_one_name_have_each_their_own_events() {
        let events = Events::default();
        let (here, there) = (identity("https://a.example", "blue"), identity("https://b.example", "blue"));
        refused(&events, &here, "one");
        assert_eq!((events.of(&here.subject()).len(), events.of(&there.subject()).len()), (1, 0));
        refused(&events, &there, "two");
        assert_eq!(events.of_all_named(&"blue".parse().unwrap()).len(), 2);
        assert!(events.of_all_named(&"red".parse().unwrap()).is_empty());
    }

    #[test]
    fn w35_event_ids_are_random_and_what_is_kept_is_bounded() {
        let events = Events::default();
        let first = identity("https://a.example", "first");
        for _ in 0..MAX_EVENTS + 5 {
            refused(&events, &first, "again");
        }
        let told = events.of(&first.subject());
        let ids: std::collections::BTreeSet<_> = told.iter().map(|told| told.id.clone()).collect();
        assert_eq!((told.len(), ids.len()), (MAX_EVENTS, MAX_EVENTS));
        for number in 0..MAX_AGENTS {
            refused(&events, &identity("https://a.example", &format!("a{number}")), "other");
        }
        assert!(events.of(&first.subject()).is_empty());
        assert_eq!(events.0.lock().unwrap().of.len(), MAX_AGENTS);
        assert_eq!(events.0.lock().unwrap().order.len(), MAX_AGENTS);
    }
}
