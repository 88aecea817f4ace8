use std::collections::VecDeque;

use agentkeys_core::testing::SeededRandom;
use agentkeys_core::{ErrorKind, Timestamp};

use super::*;
use crate::audit::postgres::anchor::Last;
use crate::audit::queue::APPEND_TIMEOUT;
use crate::audit::{AuditCode, AuditEvent, AuditId, ChainWalk, Refusal};

/// What a session does with the next rows.
enum Play {
    /// They are written, and the connection is lost before it says so.
    Written,
    /// The connection is lost before they are written.
    Lost,
    /// They are written, and it never answers.
    Silent,
}

/// A database in memory.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    chains: BTreeMap<ChainName, Vec<(ChainHead, String)>>,
    plays: VecDeque<Play>,
    batches: Vec<usize>,
    /// So many do not get in.
    shut: usize,
    tries: Vec<Instant>,
}

struct FakeRows(Fake, ChainName);
struct FakeSession(Fake, ChainName);

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn chain(&self, chain: &str) -> Vec<(ChainHead, String)> {
        self.state().chains.get(&name(chain)).cloned().unwrap_or_default()
    }

    /// A chain with the row that begins it, and its writer.
    fn begin(&self, chain: &str) -> Log {
        let chain = name(chain);
        let (mut place, anchor) =
            (Place::default(), Anchor { chain: chain.clone(), events: 0, heads: BTreeMap::new() });
        let head = place.after(&ChainHead::EMPTY, &anchor.spell());
        let text = String::from_utf8(place.text().to_vec()).unwrap();
        self.state().chains.insert(chain.clone(), vec![(head, text)]);
        let queue = Arc::new(Queue::new(100));
        let shown = Arc::new(Mutex::new(head));
        let tail = Tail { head, events: 0, ids: Ids::default() };
        let (rows, session) =
            (FakeRows(self.clone(), chain.clone()), FakeSession(self.clone(), chain.clone()));
        let writer = Writer::new(rows, chain, session, tail, SeededRandom::new(7));
        tokio::spawn(writer.run(Arc::clone(&queue), Arc::clone(&shown)));
        Log { queue, shown }
    }

    fn is_chain(&self, chain: &str) -> u64 {
        let rows = self.chain(chain);
        let mut walk = ChainWalk::new(ChainHead::EMPTY);
        for (head, text) in &rows {
            walk.text(head.count() as i64, text.as_bytes(), head.hash()).unwrap();
        }
        walk.finish().unwrap().count()
    }

    fn anchors(&self, chain: &str) -> Vec<Anchor> {
        let rows = self.chain(chain);
        rows.iter().filter_map(|(_, text)| Anchor::read(text).unwrap()).collect()
    }
}

impl Rows for FakeRows {
    type Session = FakeSession;

    async fn enter(&mut self) -> Result<FakeSession, PostgresAuditError> {
        let mut state = self.0.state();
        state.tries.push(Instant::now());
        if state.shut > 0 {
            state.shut -= 1;
            return Err(Fault::Lost.into());
        }
        Ok(FakeSession(self.0.clone(), self.1.clone()))
    }
}

impl Session for FakeSession {
    async fn heads(&self) -> Result<Heads, PostgresAuditError> {
        let state = self.0.state();
        let last = |(name, rows): (&ChainName, &Vec<(ChainHead, String)>)| {
            rows.last().map(|(head, text)| (name.clone(), Last::of(*head, text)))
        };
        Ok(state.chains.iter().filter_map(last).collect())
    }

    async fn insert(&self, before: &ChainHead, batch: &Batch) -> Result<(), Fault> {
        let play = {
            let mut state = self.0.state();
            let play = state.plays.pop_front();
            state.batches.push(batch.seqs.len());
            let rows = state.chains.entry(self.1.clone()).or_default();
            if rows.last().is_none_or(|(head, _)| head != before) {
                return Err(Fault::Moved);
            }
            if !matches!(play, Some(Play::Lost)) {
                for ((seq, text), hash) in batch.seqs.iter().zip(&batch.texts).zip(&batch.hashes) {
                    rows.push((ChainHead::at(*seq as u64, *hash), text.clone()));
                }
            }
            play
        };
        match play {
            None => Ok(()),
            Some(Play::Written | Play::Lost) => Err(Fault::Lost),
            Some(Play::Silent) => std::future::pending().await,
        }
    }

    async fn lost(&mut self) {
        std::future::pending().await
    }

    async fn close(self) {}
}

#[derive(Clone)]
struct Log {
    queue: Arc<Queue<Notify>>,
    shown: Arc<Mutex<ChainHead>>,
}

impl Log {
    async fn refusal(&self, refusal: &Refusal) -> Result<(), AuditError> {
        self.queue.append(&AuditEvent::Refusal(refusal)).await
    }

    fn head(&self) -> ChainHead {
        *self.shown.lock().unwrap()
    }
}

fn name(chain: &str) -> ChainName {
    chain.parse().unwrap()
}

fn refusal(seed: u64) -> Refusal {
    let id = AuditId::generate(&*SeededRandom::new(seed)).unwrap();
    Refusal::new(id, Timestamp::from_unix(1), AuditCode::new("denied").unwrap())
}

fn unavailable(answer: &Result<(), AuditError>) -> bool {
    matches!(answer, Err(AuditError::Storage(_) | AuditError::Slow))
        && answer.as_ref().unwrap_err().kind() == ErrorKind::Unavailable
}

#[tokio::test(start_paused = true)]
async fn w56_what_waits_shares_a_transaction_and_what_is_refused_leaves_it_alone() {
    let fake = Fake::default();
    let log = fake.begin("a");
    let (one, two) = (refusal(1), refusal(2));
    let answers = tokio::join!(log.refusal(&one), log.refusal(&two), log.refusal(&one));
    assert!(answers.0.is_ok() && answers.1.is_ok() && matches!(answers.2, Err(AuditError::Doubled)));
    assert_eq!(fake.state().batches, [2]);
    assert_eq!((fake.is_chain("a"), log.head().count()), (3, 3));
    assert_eq!(log.queue.close().await.unwrap(), log.head());
    assert!(matches!(log.refusal(&refusal(3)).await, Err(AuditError::Closed)));
}

#[tokio::test(start_paused = true)]
async fn w56_rows_that_were_written_after_all_stay_and_the_chain_goes_on_after_them() {
    let fake = Fake::default();
    let log = fake.begin("a");
    fake.state().plays.push_back(Play::Written);
    let first = refusal(1);
    assert!(unavailable(&log.refusal(&first).await));
    log.refusal(&refusal(2)).await.unwrap();
    assert!(matches!(log.refusal(&first).await, Err(AuditError::Doubled)), "it is there");
    assert_eq!((fake.is_chain("a"), log.head().count()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn w56_rows_that_were_not_written_may_come_again() {
    let fake = Fake::default();
    let log = fake.begin("a");
    fake.state().plays.push_back(Play::Lost);
    let first = refusal(1);
    assert!(unavailable(&log.refusal(&first).await));
    log.refusal(&first).await.unwrap();
    assert_eq!((fake.is_chain("a"), log.head().count()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn w56_a_server_that_does_not_answer_is_unavailable_in_time() {
    let fake = Fake::default();
    let log = fake.begin("a");
    fake.state().plays.push_back(Play::Silent);
    let begun = Instant::now();
    assert!(matches!(log.refusal(&refusal(1)).await, Err(AuditError::Storage(_))));
    assert!(begun.elapsed() < APPEND_TIMEOUT, "{:?}", begun.elapsed());
    log.refusal(&refusal(2)).await.unwrap();
    assert_eq!((fake.is_chain("a"), log.head().count()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn w56_without_a_connection_events_are_refused_at_once_and_it_is_tried_again_with_pauses() {
    let fake = Fake::default();
    let log = fake.begin("a");
    (fake.state().shut, fake.state().plays) = (8, VecDeque::from([Play::Lost]));
    assert!(unavailable(&log.refusal(&refusal(1)).await));
    let begun = Instant::now();
    for seed in 2..20 {
        assert!(unavailable(&log.refusal(&refusal(seed)).await));
    }
    assert!(begun.elapsed() < Duration::from_millis(1));
    tokio::time::sleep(Duration::from_secs(40)).await;
    let tries = fake.state().tries.clone();
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses.len(), 8, "and then it is there");
    let mut longest = FIRST_PAUSE;
    for pause in pauses {
        assert!(
            pause >= longest / 2 && pause <= longest + Duration::from_millis(2),
            "{pause:?} of {longest:?}"
        );
        longest = (longest * 2).min(LONGEST_PAUSE);
    }
    log.refusal(&refusal(30)).await.unwrap();
    assert_eq!(fake.is_chain("a"), 2);
}

#[tokio::test(start_paused = true)]
async fn w56_r87_a_chain_that_somebody_else_wrote_meanwhile_is_closed() {
    for rows in [1, 3] {
        let fake = Fake::default();
        let log = fake.begin("a");
        fake.state().plays.push_back(Play::Lost);
        assert!(unavailable(&log.refusal(&refusal(1)).await));
        // the same place or one after it: in neither case is it ours
        for _ in 0..rows {
            let head = fake.chain("a").last().unwrap().0;
            let mut place = Place::default();
            let head = place.after(&head, b"[1,\"ak-other\",\"refusal\"]");
            let text = String::from_utf8(place.text().to_vec()).unwrap();
            fake.state().chains.get_mut(&name("a")).unwrap().push((head, text));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(matches!(log.refusal(&refusal(2)).await, Err(AuditError::Closed)));
        assert!(matches!(log.queue.close().await, Err(AuditError::Closed)));
        assert_eq!(fake.is_chain("a"), 1 + rows, "nothing was written after it");
    }
}

#[tokio::test(start_paused = true)]
async fn w56_r87_a_chain_whose_end_is_gone_is_closed_before_anything_is_written() {
    let fake = Fake::default();
    let log = fake.begin("a");
    log.refusal(&refusal(1)).await.unwrap();
    fake.state().chains.get_mut(&name("a")).unwrap().pop();
    tokio::time::sleep(ANCHOR_EVERY * 2).await;
    assert!(matches!(log.refusal(&refusal(2)).await, Err(AuditError::Closed)));
    assert_eq!(fake.is_chain("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn w56_a_head_that_is_in_doubt_is_not_told() {
    let fake = Fake::default();
    let log = fake.begin("a");
    (fake.state().shut, fake.state().plays) = (100, VecDeque::from([Play::Written]));
    assert!(unavailable(&log.refusal(&refusal(1)).await));
    assert!(matches!(log.queue.close().await, Err(AuditError::Closed)));
    assert_eq!(log.head().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn r87_each_chain_records_the_others_and_two_idle_ones_fall_silent() {
    let fake = Fake::default();
    let (a, b) = (fake.begin("a"), fake.begin("b"));
    tokio::time::sleep(ANCHOR_EVERY * 2).await;
    a.refusal(&refusal(1)).await.unwrap();
    let event = a.head();
    tokio::time::sleep(ANCHOR_EVERY * 2).await;
    let last = fake.anchors("b").pop().unwrap();
    assert_eq!((last.chain, last.events, last.heads), (name("b"), 0, BTreeMap::from([(name("a"), event)])));
    let rows = (fake.is_chain("a"), fake.is_chain("b"));
    tokio::time::sleep(ANCHOR_EVERY * 100).await;
    assert_eq!((fake.is_chain("a"), fake.is_chain("b")), rows);
    assert!(rows.0 <= 4 && rows.1 <= 3, "{rows:?}");
    // an event brings with it what there is to tell: the row that tells of the first event
    let told = b.head();
    a.refusal(&refusal(2)).await.unwrap();
    tokio::time::sleep(ANCHOR_EVERY * 2).await;
    a.refusal(&refusal(3)).await.unwrap();
    let tells =
        |anchor: &Anchor| anchor.heads.get(&name("b")).is_some_and(|head| head.count() >= told.count());
    assert!(fake.anchors("a").iter().any(tells));
    let anchor = fake.anchors("a").pop().unwrap();
    assert!(anchor.events > 0, "{anchor:?}");
}

#[tokio::test(start_paused = true)]
async fn w56_r87_a_replica_closes_when_what_it_saw_of_another_is_gone() {
    for whole in [false, true] {
        let fake = Fake::default();
        let (a, b) = (fake.begin("a"), fake.begin("b"));
        b.refusal(&refusal(1)).await.unwrap();
        tokio::time::sleep(ANCHOR_EVERY * 3).await;
        a.refusal(&refusal(2)).await.unwrap();
        if whole {
            fake.state().chains.remove(&name("b"));
        } else {
            fake.state().chains.get_mut(&name("b")).unwrap().truncate(1);
        }
        tokio::time::sleep(ANCHOR_EVERY * 2).await;
        assert!(matches!(a.refusal(&refusal(3)).await, Err(AuditError::Closed)), "{whole}");
    }
}
