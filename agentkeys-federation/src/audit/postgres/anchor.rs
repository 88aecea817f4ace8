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

    /// The heads of others that no anchor of ours has. Where nothing else is written there are none, unless
    /// there is an event among them: otherwise chains would answer each other's anchors for ever.
    pub(super) fn news(&self, own: &ChainName, heads: &Heads, idle: bool) -> BTreeMap<ChainName, ChainHead> {
        let new =
            |(name, last): &(&ChainName, &Last)| *name != own && self.anchored.get(*name) != Some(&last.head);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Place;

    fn name(chain: &str) -> ChainName {
        chain.parse().unwrap()
    }

    fn head(count: u64) -> ChainHead {
        ChainHead::at(count, [7; 32])
    }

    fn anchor() -> Anchor {
        Anchor { chain: name("a"), events: 3, heads: BTreeMap::from([(name("b"), head(5))]) }
    }

    fn spelled() -> String {
        let mut place = Place::default();
        place.after(&head(8), &anchor().spell());
        String::from_utf8(place.text().to_vec()).unwrap()
    }

    #[test]
    fn r87_an_anchor_is_spelled_in_one_way() {
        let digits = "07".repeat(32);
        let nulls = "null,".repeat(20);
        let told = format!(r#"{{"chain":"a","events":3,"heads":{{"b":"ak-audit-1 5 {digits}"}}}}"#);
        let text = spelled();
        assert_eq!(text, format!(r#"[9,null,null,"anchor",{nulls}{told}]"#));
        assert_eq!(Anchor::read(&text), Ok(Some(anchor())));
        let values: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(values.len(), AUDIT_COLUMNS.len() + 1);
        for (from, to) in [
            ("\"chain\":\"a\"", "\"chain\":\"A\""),
            ("\"b\":", "\"B\":"),
            ("ak-audit-1 5", "ak-audit-1 05"),
            ("\"events\":3", "\"events\":-3"),
            ("\"events\":3,", ""),
            ("\"events\":3,", "\"events\":3,\"more\":1,"),
            ("}]", "}"),
            ("null,{", "{"),
        ] {
            assert!(text.contains(from));
            assert_eq!(Anchor::read(&text.replacen(from, to, 1)), Err(Misspelled), "{from}");
        }
        for other in
            ["", "[1,2,\"ak-x\",\"refusal\"]", "[1,null,null,\"anchors\"]", "[1,7,null,\"anchor\",null]"]
        {
            assert_eq!(Anchor::read(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn the_last_event_of_a_chain_is_known_from_its_last_row() {
        assert_eq!(Last::of(head(9), &spelled()).events, 3);
        assert_eq!(Last::of(head(9), "[9,1,\"ak-x\",\"refusal\"]").events, 9);
        assert_eq!(Last::of(head(9), &spelled().replace("events", "x")).events, 9, "as new as can be");
    }

    #[test]
    fn r87_a_chain_only_grows() {
        let heads = |count, hash| {
            Heads::from([(name("b"), Last { head: ChainHead::at(count, [hash; 32]), events: count })])
        };
        let mut known = Known::default();
        known.see(&heads(5, 7)).unwrap();
        for good in [(5, 7), (6, 8)] {
            known.see(&heads(good.0, good.1)).unwrap();
        }
        for bad in [heads(6, 9), heads(5, 7), heads(0, 0), Heads::new()] {
            assert_eq!(known.see(&bad), Err(name("b")), "{bad:?}");
        }
    }

    #[test]
    fn r87_what_was_not_recorded_is_news() {
        let (a, mut known) = (name("a"), Known::default());
        let mut heads = Heads::from([(a.clone(), Last { head: head(4), events: 4 })]);
        assert!(known.news(&a, &heads, false).is_empty(), "not its own");
        heads.insert(name("b"), Last { head: head(5), events: 5 });
        let news = known.news(&a, &heads, true);
        assert_eq!(news, BTreeMap::from([(name("b"), head(5))]));
        known.anchored(news);
        assert!(known.news(&a, &heads, false).is_empty(), "told once");
        // a row that is no event's waits for one of ours
        heads.insert(name("b"), Last { head: head(6), events: 5 });
        assert!(known.news(&a, &heads, true).is_empty());
        assert_eq!(known.news(&a, &heads, false).len(), 1);
        heads.insert(name("c"), Last { head: head(1), events: 0 });
        assert_eq!(known.news(&a, &heads, true).len(), 2, "a chain that nobody recorded is news");
    }
}
