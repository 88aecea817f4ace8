//! No credential leaves unless its rows are durable in every sink that must have them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use agentkeys_core::ErrorKind;
use agentkeys_federation::{AuditError, AuditSink, FanOut, FanOutError, verify_chain};

use crate::audit::{Mints, memory};
use crate::support::Faulty;

const GOOD: &[&str] = &[];
const INTENT: &[&str] = &["intent"];
const OUTCOME: &[&str] = &["outcome"];
const BOTH: &[&str] = &["intent", "outcome"];

/// What came of one mint.
#[derive(Debug, PartialEq)]
struct Mint {
    called_sts: bool,
    released: bool,
}

/// One mint as a broker does it.
async fn mint(audit: &dyn AuditSink) -> Mint {
    let mints = Mints::new(7);
    let Ok(receipt) = audit.intent(&mints.intent()).await else {
        return Mint { called_sts: false, released: false };
    };
    let released = audit.outcome(receipt, mints.issued()).await.is_ok();
    Mint { called_sts: true, released }
}

type Faults = &'static [&'static str];

/// Runs a table of where sinks fail, and what must then happen, against whatever joins two sinks.
async fn table(
    join: impl Fn(Arc<dyn AuditSink>, Arc<dyn AuditSink>) -> Arc<dyn AuditSink>,
    cases: [(&str, Faults, Faults, bool, bool); 6],
) {
    for (what, first, second, called_sts, released) in cases {
        let rows = [memory(10), memory(10)];
        let sink = |at: usize, fails_at| Faulty::failing(rows[at].clone(), fails_at);
        let audit = join(sink(0, first), sink(1, second));
        assert_eq!(mint(&*audit).await, Mint { called_sts, released }, "{what}");
        for (rows, faults) in rows.iter().zip([first, second]) {
            let (kept, head) = rows.rows();
            assert_eq!(verify_chain(&kept, &head), Ok(()), "{what}");
            assert!(!released || faults != GOOD || kept.len() == 2, "{what}: a good sink has both rows");
        }
    }
}

#[tokio::test]
async fn r87_with_all_nothing_leaves_unless_every_sink_has_both_rows() {
    table(
        |first, second| Arc::new(FanOut::all(first, vec![second])),
        [
            ("both good", GOOD, GOOD, true, true),
            ("first fails at the intent", INTENT, GOOD, false, false),
            ("second fails at the intent", GOOD, INTENT, false, false),
            ("first fails at the outcome", OUTCOME, GOOD, true, false),
            ("second fails at the outcome", GOOD, OUTCOME, true, false),
            ("both fail", BOTH, BOTH, false, false),
        ],
    )
    .await;
}

#[tokio::test]
async fn r87_with_a_primary_nothing_leaves_unless_the_primary_has_both_rows() {
    table(
        |first, second| Arc::new(FanOut::primary(first, vec![second])),
        [
            ("both good", GOOD, GOOD, true, true),
            ("primary fails at the intent", INTENT, GOOD, false, false),
            ("primary fails at the outcome", OUTCOME, GOOD, true, false),
            ("the other fails at the intent", GOOD, INTENT, true, true),
            ("the other fails at everything", GOOD, BOTH, true, true),
            ("both fail", BOTH, BOTH, false, false),
        ],
    )
    .await;
}

#[tokio::test]
async fn r87_with_a_quorum_nothing_leaves_unless_enough_sinks_have_both_rows() {
    let two = NonZeroUsize::new(2).unwrap();
    let third = |faults: Faults| {
        move |first, second| -> Arc<dyn AuditSink> {
            let third = Faulty::failing(memory(10), faults);
            Arc::new(FanOut::quorum(two, vec![first, second, third]).unwrap())
        }
    };
    let with_a_good_third = [
        ("all good", GOOD, GOOD, true, true),
        ("one fails at the intent", INTENT, GOOD, true, true),
        ("one fails at everything", GOOD, BOTH, true, true),
        ("two fail at the intent", INTENT, INTENT, false, false),
        ("two fail at the outcome", OUTCOME, OUTCOME, true, false),
        // the intent is in the second and the third, the outcome only in the third
        ("one has no intent and another no outcome", INTENT, OUTCOME, true, false),
    ];
    table(third(GOOD), with_a_good_third).await;
    let with_a_bad_third = [
        ("two good", GOOD, GOOD, true, true),
        ("one more fails at the intent", INTENT, GOOD, false, false),
        ("another fails at the intent", GOOD, INTENT, false, false),
        ("one more fails at the outcome", OUTCOME, GOOD, true, false),
        ("another fails at the outcome", GOOD, OUTCOME, true, false),
        ("all fail", BOTH, BOTH, false, false),
    ];
    table(third(BOTH), with_a_bad_third).await;
}

#[test]
fn a_quorum_of_more_sinks_than_there_are_is_refused() {
    for (enough, sinks) in [(1, 0), (2, 1), (3, 2)] {
        let sinks = (0..sinks).map(|_| memory(1) as Arc<dyn AuditSink>).collect();
        let error = FanOut::quorum(NonZeroUsize::new(enough).unwrap(), sinks).unwrap_err();
        assert_eq!((error.kind(), matches!(error, FanOutError { .. })), (ErrorKind::Misconfigured, true));
    }
}

#[tokio::test]
async fn the_error_is_of_the_sink_that_fails() {
    let bad = Faulty::failing(memory(1), BOTH);
    let audit = FanOut::all(memory(9), vec![bad]);
    let error = audit.intent(&Mints::new(7).intent()).await.unwrap_err();
    assert!(matches!(error, AuditError::Storage(_)) && error.kind() == ErrorKind::Unavailable);
    assert!(!format!("{error}").contains("disk"), "the source is behind source()");
}
