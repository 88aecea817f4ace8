//! The contract suite for replay guards: the guard in memory passes, and each way to break the contract is caught.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use agentkeys_core::testing::{ManualClock, replay_guard_contract};
use agentkeys_core::{Clock as _, MemoryReplayGuard, ReplayError, ReplayGuard, Timestamp, UseId};
use async_trait::async_trait;

use crate::support::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    LooksBeforeItWrites,
    TakesAnotherEndForAnotherUse,
    RemembersOne,
    LetsTheOldPass,
    ForgetsTime,
    CallsEverythingReplayed,
    UsesUpWhatIsOver,
    Talks,
    KeepsEachHandleApart,
}

#[derive(Debug)]
struct Flawed {
    flaw: Flaw,
    clock: Arc<ManualClock>,
    seen: Mutex<HashMap<UseId, Timestamp>>,
}

#[async_trait]
impl ReplayGuard for Flawed {
    async fn first_use(&self, id: &UseId, until: Timestamp) -> Result<(), ReplayError> {
        let now = self.clock.now()?;
        let seen = self.seen.lock().unwrap().get(id).copied();
        if self.flaw == Flaw::LooksBeforeItWrites {
            tokio::task::yield_now().await;
        }
        if self.flaw == Flaw::UsesUpWhatIsOver {
            self.seen.lock().unwrap().insert(*id, until);
        }
        let open = self.flaw == Flaw::LetsTheOldPass || self.flaw == Flaw::ForgetsTime && until == now;
        if until <= now && !open {
            return Err(ReplayError::Expired);
        }
        if let Some(end) = seen.filter(|end| *end > now || self.flaw == Flaw::UsesUpWhatIsOver) {
            if self.flaw == Flaw::TakesAnotherEndForAnotherUse && end != until {
                return Ok(());
            }
            if self.flaw == Flaw::Talks {
                let id = id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                return Err(ReplayError::Unavailable(Arc::new(std::io::Error::other(id))));
            }
            return Err(ReplayError::Replayed);
        }
        if self.flaw == Flaw::CallsEverythingReplayed {
            return Err(ReplayError::Replayed);
        }
        let mut seen = self.seen.lock().unwrap();
        if self.flaw == Flaw::RemembersOne {
            seen.clear();
        }
        seen.insert(*id, until);
        Ok(())
    }
}

async fn run(flaw: Flaw) {
    let clock = clock();
    let guard = || Arc::new(Flawed { flaw, clock: clock.clone(), seen: Mutex::default() });
    let one = guard();
    let other = if flaw == Flaw::KeepsEachHandleApart { guard() } else { one.clone() };
    replay_guard_contract(one, other, &clock).await;
}

async fn complaint(flaw: Flaw) -> String {
    let failed = tokio::spawn(run(flaw)).await.expect_err("the flaw was not seen");
    let panic = failed.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

#[tokio::test]
async fn w8_the_guard_in_memory_keeps_the_contract() {
    let clock = clock();
    let guard = Arc::new(MemoryReplayGuard::new(clock.clone(), NonZeroUsize::new(100).unwrap()));
    replay_guard_contract(guard.clone(), guard, &clock).await;
    run(Flaw::None).await;
}

#[tokio::test]
async fn w8_each_flaw_of_a_guard_is_caught_and_named() {
    for (flaw, says) in [
        (Flaw::LooksBeforeItWrites, "of 64 at the same time"),
        (Flaw::TakesAnotherEndForAnotherUse, "a use comes again"),
        (Flaw::RemembersOne, "known no more"),
        (Flaw::LetsTheOldPass, "a use that is over is Ok"),
        (Flaw::ForgetsTime, "a use that is over is Ok"),
        (Flaw::CallsEverythingReplayed, "a first use is refused"),
        (Flaw::UsesUpWhatIsOver, "a first use is refused"),
        (Flaw::Talks, "a use comes again and is Err"),
        (Flaw::KeepsEachHandleApart, "a use comes again"),
    ] {
        let said = complaint(flaw).await;
        assert!(said.contains(says), "{flaw:?}: {said}");
    }
}
