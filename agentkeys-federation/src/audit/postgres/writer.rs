use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentkeys_core::Random;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::anchor::{Anchor, Heads, Known};
use super::{ChainName, Fault, PostgresAuditError};
use crate::audit::AuditError;
use crate::audit::chain::{ChainError, ChainHead, Place};
use crate::audit::ids::Ids;
use crate::audit::queue::{Append, Ends, Queue};

/// Where the rows are kept, as the one who writes a chain sees it.
pub(super) trait Rows: Send + 'static {
    type Session: Session;

    /// A session that nobody else writes this chain beside.
    fn enter(&mut self) -> impl Future<Output = Result<Self::Session, PostgresAuditError>> + Send;
}

/// While it lasts nobody else writes the chain.
pub(super) trait Session: Send + 'static {
    /// The last rows of all chains.
    fn heads(&self) -> impl Future<Output = Result<Heads, PostgresAuditError>> + Send;

    /// Makes rows durable, all or none, where the chain's last row is `before`. After an error nobody knows.
    fn insert(&self, before: &ChainHead, batch: &Batch) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Waits until it is over.
    fn lost(&mut self) -> impl Future<Output = ()> + Send;

    /// Ends it.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Rows of one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) seqs: Vec<i64>,
    pub(super) texts: Vec<String>,
    pub(super) hashes: Vec<[u8; 32]>,
}

impl Batch {
    fn put(&mut self, head: &ChainHead, text: &[u8]) {
        self.seqs.push(i64::try_from(head.count()).unwrap_or(i64::MAX));
        self.texts.push(String::from_utf8_lossy(text).into_owned());
        self.hashes.push(*head.hash());
    }
}

/// The end of a chain.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) head: ChainHead,
    /// The number of the last row that is of an event.
    pub(super) events: u64,
    /// The ids of the last rows.
    pub(super) ids: Ids,
}

/// Writes what comes, in batches, over one session after the other.
pub(super) struct Writer<R: Rows> {
    rows: R,
    chain: ChainName,
    session: Option<R::Session>,
    tail: Tail,
    /// What the last transaction would have come to. Nobody knows whether it has.
    doubt: Option<End>,
    known: Known,
    place: Place,
    random: Arc<dyn Random>,
}

/// Where a transaction ends.
#[derive(Debug)]
struct End {
    head: ChainHead,
    events: u64,
    anchored: BTreeMap<ChainName, ChainHead>,
}

/// Why a writer stops for good.
#[derive(Debug)]
enum Stop {
    /// Nothing more will come.
    Asked,
    /// A chain has not what was written there.
    Changed(ChainName),
}

impl<R: Rows> Writer<R> {
    pub(super) fn new(
        rows: R,
        chain: ChainName,
        session: R::Session,
        tail: Tail,
        random: Arc<dyn Random>,
    ) -> Self {
        let (known, place, session) = (Known::default(), Place::default(), Some(session));
        Self { rows, chain, session, tail, doubt: None, known, place, random }
    }

    /// Until the queue is closed, nobody is left to append, or a chain was changed by somebody else.
    pub(super) async fn run(mut self, queue: Arc<Queue<Notify>>, shown: Arc<Mutex<ChainHead>>) {
        let ends = Ends(&queue);
        let stop = loop {
            if let Err(stop) = self.write_on(&queue, &shown).await {
                break stop;
            }
        };
        if let Stop::Changed(chain) = stop {
            let error = AuditError::storage(PostgresAuditError::Chain(chain, ChainError::Head));
            fail(queue.gather(0).await, &error);
            return;
        }
        if let Some(session) = self.session {
            session.close().await;
        }
        // a head that is in doubt is none
        let answer = if self.doubt.is_none() { Ok(self.tail.head) } else { Err(AuditError::Closed) };
        if let Some(told) = ends.0.end() {
            // nobody need be there any more
            let _ = told.send(answer);
        }
    }

    /// Writes over one session until it is lost.
    async fn write_on(&mut self, queue: &Queue<Notify>, shown: &Mutex<ChainHead>) -> Result<(), Stop> {
        if self.session.is_none() {
            self.enter_again(queue).await?;
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = self.tail.head;
        }
        let (mut look, mut last) = (Instant::now(), 1);
        while let Some(session) = &mut self.session {
            let ready = tokio::select! {
                biased;
                ready = queue.ready() => if ready { true } else { return Err(Stop::Asked) },
                () = session.lost() => { self.session = None; break }
                () = sleep_until(look) => false,
            };
            let mut heads = Heads::new();
            if Instant::now() >= look {
                look = Instant::now() + ANCHOR_EVERY;
                match answered(session.heads()).await {
                    Ok(seen) => heads = self.see(seen)?,
                    Err(_) => {
                        self.session = None;
                        break;
                    }
                }
            }
            let appends = if ready { queue.gather(last).await } else { Vec::new() };
            let news = self.known.news(&self.chain, &heads, appends.is_empty());
            last = appends.len();
            self.write(appends, news, shown).await;
        }
        Ok(())
    }

    /// Makes events durable in one transaction, with what there is to tell of other chains, and answers each.
    async fn write(
        &mut self,
        appends: Vec<Append>,
        news: BTreeMap<ChainName, ChainHead>,
        shown: &Mutex<ChainHead>,
    ) {
        let (mut batch, mut told) = (Batch::default(), Vec::new());
        let mut end = End { head: self.tail.head, events: self.tail.events, anchored: news };
        if !end.anchored.is_empty() {
            let (chain, heads) = (self.chain.clone(), end.anchored.clone());
            let anchor = Anchor { chain, events: end.events, heads };
            end.head = self.place.after(&end.head, &anchor.spell());
            batch.put(&end.head, self.place.text());
        }
        for Append { id, kind, text, told: tell } in appends {
            // an event that is refused leaves the others alone
            match self.tail.ids.check(&id, kind) {
                Ok(()) => {
                    end.head = self.place.after(&end.head, &text);
                    end.events = end.head.count();
                    batch.put(&end.head, self.place.text());
                    self.tail.ids.put(id, kind, end.events);
                    told.push(tell);
                }
                Err(refused) => drop(tell.send(Err(refused))),
            }
        }
        let Some(session) = self.session.as_ref().filter(|_| !batch.seqs.is_empty()) else {
            return;
        };
        let inserted = answered(async { Ok(session.insert(&self.tail.head, &batch).await?) }).await;
        let answer = match inserted {
            Ok(()) => {
                self.come_to(end);
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = self.tail.head;
                Ok(())
            }
            Err(error) => {
                (self.doubt, self.session) = (Some(end), None);
                Err(AuditError::storage(error))
            }
        };
        for tell in told {
            // nobody need be there any more
            let _ = tell.send(answer.clone());
        }
    }

    /// The rows up to there are durable.
    fn come_to(&mut self, end: End) {
        (self.tail.head, self.tail.events) = (end.head, end.events);
        self.known.anchored(end.anchored);
    }

    /// Compares the chains with what was seen of them before.
    fn see(&mut self, heads: Heads) -> Result<Heads, Stop> {
        if heads.get(&self.chain).map(|last| last.head) != Some(self.tail.head) {
            return Err(Stop::Changed(self.chain.clone()));
        }
        self.known.see(&heads).map_err(Stop::Changed)?;
        Ok(heads)
    }

    /// A new session, as soon as there is one. Whoever comes before is told that there is none.
    async fn enter_again(&mut self, queue: &Queue<Notify>) -> Result<(), Stop> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.enter().await {
                Ok(heads) => {
                    self.settle(&heads);
                    return Ok(());
                }
                Err(error) => AuditError::storage(error),
            };
            fail(queue.gather(0).await, &error);
            let mut again = std::pin::pin!(sleep(self.random.jittered(pause)));
            pause = (pause * 2).min(LONGEST_PAUSE);
            loop {
                tokio::select! {
                    () = &mut again => break,
                    ready = queue.ready() => if ready { fail(queue.gather(0).await, &error) } else { return Err(Stop::Asked) },
                }
            }
        }
    }

    async fn enter(&mut self) -> Result<Heads, PostgresAuditError> {
        let session = self.rows.enter().await?;
        let heads = answered(session.heads()).await?;
        self.session = Some(session);
        Ok(heads)
    }

    /// Goes on from where the chain ends: before the transaction that was in doubt, or after it. Nobody else
    /// could write since, and what was sent over the old session is not written any more. Before anything is
    /// written, it is looked whether it is either.
    fn settle(&mut self, heads: &Heads) {
        let there = heads.get(&self.chain).map(|last| last.head);
        if let Some(end) = mem::take(&mut self.doubt) {
            if there == Some(end.head) {
                self.come_to(end);
            } else {
                self.tail.ids.take_back(self.tail.head.count());
            }
        }
    }
}

/// What comes in time.
async fn answered<T>(
    answer: impl Future<Output = Result<T, PostgresAuditError>>,
) -> Result<T, PostgresAuditError> {
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or(Err(Fault::Slow.into()))
}

fn fail(appends: Vec<Append>, error: &AuditError) {
    for append in appends {
        // nobody need be there any more
        let _ = append.told.send(Err(error.clone()));
    }
}

/// How long a transaction may take; less than an event may wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// How often the other chains are looked at, and what is new of them written down.
const ANCHOR_EVERY: Duration = Duration::from_secs(1);

/// Between two tries to connect, and twice as long after each that fails.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
