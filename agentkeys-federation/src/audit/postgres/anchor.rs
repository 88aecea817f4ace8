use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ChainName;
use crate::audit::chain::ChainHead;
use crate::audit::row::AUDIT_COLUMNS;

/// A row that ties its chain to the others: what it is called, and the last rows of others that it knows of.
///
/// It is spelled like every row, with `anchor` as its event and no other value, and with this as a value more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) chain: ChainName,
    /// The number of the last row of this chain that is of an event.
    pub(super) events: u64,
    /// Those that are not in an anchor before.
    pub(super) heads: BTreeMap<ChainName, ChainHead>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    chain: String,
    events: u64,
    heads: BTreeMap<String, String>,
}

/// An anchor that is not spelled as we spell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misspelled;

impl Anchor {
    /// The row's text but for its number.
    pub(super) fn spell(&self) -> Vec<u8> {
        let heads = self.heads.iter().map(|(name, head)| (name.to_string(), head.to_string())).collect();
        let spelled = Spelled { chain: self.chain.to_string(), events: self.events, heads };
        let mut text = format!("[{}", prefix()).into_bytes();
        // writing to memory does not fail
        let _ = serde_json::to_writer(&mut text, &spelled);
        text.push(b']');
        text
    }

    /// What a row's text says, where it is an anchor's.
    pub(super) fn read(text: &str) -> Result<Option<Self>, Misspelled> {
        let values = text.split_once(',').map(|(_, values)| values).unwrap_or_default();
        if !values.starts_with(EVENT) {
            return Ok(None);
        }
        let spelled = values.strip_prefix(prefix().as_str()).and_then(|rest| rest.strip_suffix(']'));
        let spelled: Spelled = serde_json::from_str(spelled.ok_or(Misspelled)?).map_err(|_| Misspelled)?;
        let head = |(name, head): (String, String)| {
            Ok((name.parse().map_err(|_| Misspelled)?, head.parse().map_err(|_| Misspelled)?))
        };
        let heads = spelled.heads.into_iter().map(head).collect::<Result<_, _>>()?;
        let chain = spelled.chain.parse().map_err(|_| Misspelled)?;
        Ok(Some(Self { chain, events: spelled.events, heads }))
    }
}

/// The last row of a chain.
#[derive(Clone, Debug)]
pub(super) struct Last {
    pub(super) head: ChainHead,
    /// The number of the last row that is of an event.
    pub(super) events: u64,
}

impl Last {
    pub(super) fn of(head: ChainHead, text: &str) -> Self {
        let events = match Anchor::read(text) {
            Ok(Some(anchor)) => anchor.events,
            Ok(None) | Err(Misspelled) => head.count(),
        };
        Self { head, events }
    }
}

/// The last rows of all chains.
pub(super) type Heads = BTreeMap<ChainName, Last>;

/// What a chain knows of the others.
#[derive(Debug, Default)]
pub(super) struct Known {
    seen: BTreeMap<ChainName, ChainHead>,
    anchored: BTreeMap<ChainName, ChainHead>,
}

impl Known {
    /// Takes in what is there now; where a chain has not what was seen of it, its name.
    pub(super) fn see(&mut self, heads: &Heads) -> Result<(), ChainName> {
        for (name, seen) in &self.seen {
            let last = heads.get(name).map(|last| last.head);
            let grown = last.is_some_and(|last| last == *seen || last.count() > seen.count());
            if !grown {
                return Err(name.clone());
            }
        }
        self.seen = heads.iter().map(|(name, last)| (name.clone(), last.head)).collect();
        Ok(())
    }

    /// The heads of others that no anchor of ours has. Where nothing else is written there are none, unless there is
    /// an event among them: otherwise chains would answer each other's anchors for ever.
    pub(super) fn news(&self, own: &ChainName, heads: &Heads, idle: bool) -> BTreeMap<ChainName, ChainHead> {
        let new = |(name, last): &(&ChainName, &Last)| {
            *name != own && self.anchored.get(*name) != Some(&last.head)
        };
        let event = |(name, last): (&ChainName, &Last)| {
            self.anchored.get(name).is_none_or(|anchored| last.events > anchored.count())
        };
        if idle && !heads.iter().filter(new).any(event) {
            return BTreeMap::new();
        }
        heads.iter().filter(new).map(|(name, last)| (name.clone(), last.head)).collect()
    }

    /// These are in a row that is durable.
    pub(super) fn anchored(&mut self, heads: BTreeMap<ChainName, ChainHead>) {
        self.anchored.extend(heads);
    }
}

fn prefix() -> String {
    // a number that is not known yet, EVENT, and the rest of the columns
    format!("{EVENT}{}", "null,".repeat(AUDIT_COLUMNS.len() - 4))
}

/// `at`, `id` and `event`: no event of a host has such values.
const EVENT: &str = "null,null,\"anchor\",";
