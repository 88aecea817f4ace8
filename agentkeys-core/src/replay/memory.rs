use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{ReplayError, ReplayGuard, UseId};
use crate::clock::{Clock, Timestamp};

/// A [`ReplayGuard`] in this process's memory, for a host that runs alone.
///
/// Each use takes about 120 bytes until it is over. With room for `capacity` uses, a host that takes
/// evidence for 15 minutes takes `capacity / 900` pieces a second and no more: full, it fails closed.
/// Restarted, it has forgotten: evidence of the last minutes is then good once more.
pub struct MemoryReplayGuard {
    clock: Arc<dyn Clock>,
    capacity: NonZeroUsize,
    uses: Mutex<Uses>,
}

struct Uses {
    seen: HashSet<UseId>,
    by_end: BTreeSet<(Timestamp, UseId)>,
    /// A clock that is set back must not bring back what was forgotten.
    latest: Timestamp,
}

impl MemoryReplayGuard {
    /// Nothing used yet, room for `capacity` uses at a time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, capacity: NonZeroUsize) -> Self {
        Self { clock, capacity, uses: Mutex::new(Uses::none()) }
    }
}

#[async_trait]
impl ReplayGuard for MemoryReplayGuard {
    async fn first_use(&self, id: &UseId, until: Timestamp) -> Result<(), ReplayError> {
        let now = self.clock.now()?;
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).admit(*id, until, now, self.capacity)
    }
}

impl Uses {
    fn none() -> Self {
        Self { seen: HashSet::new(), by_end: BTreeSet::new(), latest: Timestamp::from_unix(0) }
    }

    fn admit(
        &mut self,
        id: UseId,
        until: Timestamp,
        now: Timestamp,
        capacity: NonZeroUsize,
    ) -> Result<(), ReplayError> {
        let now = now.max(self.latest);
        self.latest = now;
        while let Some(&(end, over)) = self.by_end.first().filter(|(end, _)| *end <= now) {
            self.by_end.remove(&(end, over));
            self.seen.remove(&over);
        }
        if self.seen.contains(&id) {
            return Err(ReplayError::Replayed);
        }
        if until <= now {
            return Err(ReplayError::Expired);
        }
        if self.seen.len() >= capacity.get() {
            let first = self.by_end.first().map_or(now, |(end, _)| *end);
            return Err(ReplayError::Full { retry_after: first.since(now) });
        }
        self.seen.insert(id);
        self.by_end.insert((until, id));
        Ok(())
    }
}

impl fmt::Debug for MemoryReplayGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryReplayGuard").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kind::EvidenceKind;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix(second)
    }

    fn id(name: u8) -> UseId {
        UseId::of(&EvidenceKind::from_static("k"), &[&[name]])
    }

    const ROOM: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    #[test]
    fn w8_l8_a_use_is_the_first_exactly_once_until_it_is_over() {
        let mut uses = Uses::none();
        assert!(uses.admit(id(1), at(20), at(10), ROOM).is_ok());
        for second in [10, 15, 19] {
            assert!(matches!(uses.admit(id(1), at(20), at(second), ROOM), Err(ReplayError::Replayed)));
            // another end does not make it another use
            assert!(matches!(uses.admit(id(1), at(99), at(second), ROOM), Err(ReplayError::Replayed)));
        }
        assert!(matches!(uses.admit(id(1), at(20), at(20), ROOM), Err(ReplayError::Expired)));
        assert!(uses.admit(id(1), at(30), at(20), ROOM).is_ok());
    }

    #[test]
    fn w8_a_clock_that_is_set_back_brings_nothing_back() {
        let mut uses = Uses::none();
        assert!(uses.admit(id(1), at(20), at(10), ROOM).is_ok());
        assert!(uses.admit(id(2), at(40), at(20), ROOM).is_ok());
        assert!(matches!(uses.admit(id(1), at(20), at(10), ROOM), Err(ReplayError::Expired)));
    }

    #[test]
    fn w8_a_full_guard_fails_closed_and_says_until_when() {
        let mut uses = Uses::none();
        assert!(uses.admit(id(1), at(20), at(10), ROOM).is_ok());
        assert!(uses.admit(id(2), at(25), at(10), ROOM).is_ok());
        let refused = uses.admit(id(3), at(30), at(12), ROOM);
        assert!(matches!(refused, Err(ReplayError::Full { retry_after }) if retry_after.as_secs() == 8));
        // what was seen is still known, and room comes back with time only
        assert!(matches!(uses.admit(id(1), at(20), at(12), ROOM), Err(ReplayError::Replayed)));
        assert!(uses.admit(id(3), at(30), at(20), ROOM).is_ok());
        assert_eq!((uses.seen.len(), uses.by_end.len()), (2, 2));
    }

    #[test]
    fn debug_shows_no_use() {
        let guard = MemoryReplayGuard::new(Arc::new(crate::clock::SystemClock::new()), ROOM);
        assert_eq!(format!("{guard:?}"), "MemoryReplayGuard { capacity: 2, .. }");
    }

    proptest! {
        #[test]
        fn w8_no_sequence_of_uses_lets_one_pass_twice(
            steps in proptest::collection::vec((0_u8..6, 0_u64..5, 1_u64..20), 0..60),
        ) {
            let (mut uses, mut now) = (Uses::none(), 100);
            let mut ends = std::collections::BTreeMap::new();
            for (name, passed, life) in steps {
                now += passed;
                let room = NonZeroUsize::new(4).unwrap();
                let admitted = uses.admit(id(name), at(now + life), at(now), room).is_ok();
                let live = ends.get(&name).is_some_and(|end| *end > now);
                prop_assert!(!(admitted && live));
                if admitted {
                    ends.insert(name, now + life);
                }
                let alive = ends.values().filter(|end| **end > now).count();
                prop_assert!(alive <= 4);
                // nothing is refused without a reason
                prop_assert!(admitted || live || alive == 4);
            }
        }
    }
}
