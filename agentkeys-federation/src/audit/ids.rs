use std::collections::{HashMap, VecDeque};

use super::AuditError;
use super::event::{AuditEvent, AuditId};

/// What an event is, as far as an id may have only one of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Intent,
    Outcome,
    Refusal,
}

impl Kind {
    pub(super) const fn of(event: &AuditEvent<'_>) -> Self {
        match event {
            AuditEvent::Intent(_) => Self::Intent,
            AuditEvent::Outcome(..) => Self::Outcome,
            AuditEvent::Refusal(_) => Self::Refusal,
        }
    }

    pub(super) fn parse(label: &str) -> Option<Self> {
        Some(match label {
            "intent" => Self::Intent,
            "outcome" => Self::Outcome,
            "refusal" => Self::Refusal,
            _ => return None,
        })
    }
}

/// The ids of the last rows, and what there is of each.
///
/// They are random: an index over them has a page of its own to write for each row, and that costs more than
/// the row. Refusals have room of their own, because anybody can have himself refused.
#[derive(Debug, Default)]
pub(super) struct Ids {
    minted: Recent,
    refused: Recent,
}

impl Ids {
    /// Whether this event may follow what there is of its id.
    pub(super) fn check(&self, id: &AuditId, kind: Kind) -> Result<(), AuditError> {
        let doubled = match kind {
            Kind::Intent => self.minted.rows.contains_key(id),
            Kind::Outcome => self.minted.rows.get(id).ok_or(AuditError::NoIntent)?.is_some(),
            Kind::Refusal => self.refused.rows.contains_key(id),
        };
        if doubled { Err(AuditError::Doubled) } else { Ok(()) }
    }

    /// Row `seq` is of this id.
    pub(super) fn put(&mut self, id: AuditId, kind: Kind, seq: u64) {
        match kind {
            Kind::Intent => self.minted.put(id, seq),
            Kind::Refusal => self.refused.put(id, seq),
            Kind::Outcome => {
                if let Some(outcome) = self.minted.rows.get_mut(&id) {
                    outcome.get_or_insert(seq);
                }
            }
        }
    }

    /// The rows after `seq` came to nothing.
    pub(super) fn take_back(&mut self, seq: u64) {
        self.minted.take_back(seq);
        self.refused.take_back(seq);
    }
}

/// The last [`MAX_IDS`] ids that had a first row, and the number of the second.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<(u64, AuditId)>,
    rows: HashMap<AuditId, Option<u64>>,
}

impl Recent {
    fn put(&mut self, id: AuditId, seq: u64) {
        self.rows.insert(id.clone(), None);
        self.order.push_back((seq, id));
        if self.order.len() > MAX_IDS
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.rows.remove(&oldest);
        }
    }

    fn take_back(&mut self, after: u64) {
        while let Some((seq, id)) = self.order.pop_back() {
            if seq <= after {
                self.order.push_back((seq, id));
                break;
            }
            self.rows.remove(&id);
        }
        self.rows.values_mut().for_each(|second| *second = second.filter(|second| *second <= after));
    }
}

/// So many ids are known to be used, the last ones, so many to have been refused, and there may be so many
/// mints under way.
pub(super) const MAX_IDS: usize = 16_384;

/// So many rows, the last ones, tell of these ids.
pub(super) const MAX_ID_ROWS: i64 = 2 * MAX_IDS as i64;

#[cfg(test)]
mod tests {
    use agentkeys_core::testing::SeededRandom;

    use super::*;

    fn fresh(random: &SeededRandom) -> AuditId {
        AuditId::generate(random).unwrap()
    }

    fn doubled(answer: Result<(), AuditError>) -> bool {
        matches!(answer, Err(AuditError::Doubled))
    }

    #[test]
    fn an_id_has_one_row_of_each_kind() {
        let (random, mut ids) = (SeededRandom::new(7), Ids::default());
        let id = fresh(&random);
        assert!(matches!(ids.check(&id, Kind::Outcome), Err(AuditError::NoIntent)));
        for (seq, kind) in [(1, Kind::Intent), (2, Kind::Outcome), (3, Kind::Refusal)] {
            assert!(ids.check(&id, kind).is_ok(), "{kind:?}");
            ids.put(id.clone(), kind, seq);
            assert!(doubled(ids.check(&id, kind)), "{kind:?}");
        }
        assert!(ids.check(&fresh(&random), Kind::Intent).is_ok());
    }

    #[test]
    fn what_came_to_nothing_may_come_again() {
        let (random, mut ids) = (SeededRandom::new(7), Ids::default());
        let (old, new) = (fresh(&random), fresh(&random));
        ids.put(old.clone(), Kind::Intent, 1);
        ids.put(old.clone(), Kind::Outcome, 2);
        ids.put(new.clone(), Kind::Intent, 3);
        ids.put(new.clone(), Kind::Refusal, 4);
        ids.take_back(1);
        assert!(doubled(ids.check(&old, Kind::Intent)) && ids.check(&old, Kind::Outcome).is_ok());
        assert!(ids.check(&new, Kind::Intent).is_ok() && ids.check(&new, Kind::Refusal).is_ok());
        assert!(matches!(ids.check(&new, Kind::Outcome), Err(AuditError::NoIntent)));
    }

    #[test]
    fn refusals_do_not_crowd_out_what_is_being_minted() {
        let (random, mut ids) = (SeededRandom::new(7), Ids::default());
        let (minted, refused) = (fresh(&random), fresh(&random));
        ids.put(minted.clone(), Kind::Intent, 1);
        ids.put(refused.clone(), Kind::Refusal, 2);
        for seq in 0..MAX_IDS as u64 {
            assert!(doubled(ids.check(&refused, Kind::Refusal)), "{seq}");
            ids.put(fresh(&random), Kind::Refusal, 3 + seq);
        }
        assert!(ids.check(&refused, Kind::Refusal).is_ok(), "forgotten");
        assert!(ids.check(&minted, Kind::Outcome).is_ok() && doubled(ids.check(&minted, Kind::Intent)));
        assert_eq!((ids.refused.rows.len(), ids.refused.order.len()), (MAX_IDS, MAX_IDS));
        // an outcome whose intent is forgotten is refused: nothing is let go
        for seq in 0..MAX_IDS as u64 {
            ids.put(fresh(&random), Kind::Intent, 100_000 + seq);
        }
        assert!(matches!(ids.check(&minted, Kind::Outcome), Err(AuditError::NoIntent)));
    }
}
