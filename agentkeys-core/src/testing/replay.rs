use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::ManualClock;
use crate::clock::{Clock as _, Timestamp};
use crate::error::ErrorKind;
use crate::kind::EvidenceKind;
use crate::random::{Random as _, SystemRandom};
use crate::replay::{ReplayError, ReplayGuard, UseId};

/// Holds a guard to the contract of [`ReplayGuard`], through two handles as two replicas have them; a guard
/// that is not shared is handed over twice. It must be well, and have room for 100 uses.
///
/// - A use is the first once, through whichever handle, and whatever end is given the next time (W8).
/// - Of 64 at the same time through both handles one is the first.
/// - Uses do not disturb each other.
/// - What is over is `Expired`, and never the first; it uses nothing up.
/// - Once it is over, a use is not the first again.
/// - A refusal shows nothing of the use.
///
/// The clock, by which both go, is moved ahead by the end.
///
/// # Panics
/// Where the contract is broken; the message says how.
#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
pub async fn replay_guard_contract(
    one: Arc<dyn ReplayGuard>,
    other: Arc<dyn ReplayGuard>,
    clock: &ManualClock,
) {
    let Ok(now) = clock.now() else { panic!("the clock stands") };
    let (end, later) = (now.plus(Duration::from_secs(60)), now.plus(Duration::from_secs(240)));

    let used = fresh();
    first(&*one, &used, end).await;
    for (guard, until) in [(&one, end), (&other, end), (&one, later), (&other, later)] {
        match guard.first_use(&used, until).await {
            Err(error @ ReplayError::Replayed) => silent(&error, &used),
            answer => panic!("a use comes again and is {answer:?}"),
        }
    }
    let across = fresh();
    first(&*other, &across, end).await;
    assert!(
        matches!(one.first_use(&across, end).await, Err(ReplayError::Replayed)),
        "a use of the other handle is not known"
    );
    assert!(
        matches!(other.first_use(&used, end).await, Err(ReplayError::Replayed)),
        "a use is known no more after another"
    );

    for _ in 0..2 {
        let at_once = fresh();
        let mut uses = JoinSet::new();
        for at in 0..64 {
            let guard = Arc::clone(if at % 2 == 0 { &one } else { &other });
            uses.spawn(async move { guard.first_use(&at_once, end).await });
        }
        let answers = uses.join_all().await;
        let firsts = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(firsts, 1, "of 64 at the same time not one is the first");
        let rest = answers.iter().filter(|answer| matches!(answer, Err(ReplayError::Replayed))).count();
        assert_eq!(rest, 63, "who was not the first was not told so: {answers:?}");
    }

    let over = fresh();
    for until in [Timestamp::from_unix(0), now.minus(Duration::from_secs(1)), now] {
        match one.first_use(&over, until).await {
            Err(error @ ReplayError::Expired) => {
                assert_eq!(error.kind(), ErrorKind::Invalid);
                silent(&error, &over);
            }
            answer => panic!("a use that is over is {answer:?}"),
        }
    }
    first(&*one, &over, end).await;

    clock.advance(Duration::from_secs(60));
    for guard in [&one, &other] {
        for id in [&used, &across, &over] {
            assert!(guard.first_use(id, end).await.is_err(), "a use that is over is the first once more");
        }
    }
    first(&*other, &fresh(), later).await;
}

/// A use that nobody has seen, in a store that outlives the test too.
#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
fn fresh() -> UseId {
    let mut nonce = [0; 16];
    if SystemRandom::new().fill(&mut nonce).is_err() {
        panic!("there are no random bytes");
    }
    UseId::of(&EvidenceKind::from_static("replay-contract"), &[&nonce])
}

#[expect(clippy::panic, reason = "a test suite says what failed by panicking")]
async fn first(guard: &dyn ReplayGuard, id: &UseId, until: Timestamp) {
    if let Err(error) = guard.first_use(id, until).await {
        panic!("a first use is refused: {error:?}");
    }
}

fn silent(error: &ReplayError, id: &UseId) {
    let shown = format!("{error} {error:?} {error:#?}").to_lowercase();
    let digest: String = id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        !digest.as_bytes().chunks(8).any(|part| shown.contains(&*String::from_utf8_lossy(part))),
        "{shown}"
    );
}
