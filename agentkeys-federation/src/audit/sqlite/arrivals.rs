use std::sync::{Condvar, PoisonError};
use std::time::{Duration, Instant};
use std::{mem, thread, vec};

use crate::audit::queue::{Append, Queue, State, Wake};

impl Wake for Condvar {
    fn wake(&self) {
        self.notify_one();
    }
}

impl Queue<Condvar> {
    /// What comes next, as soon as there is something; none when nothing will come any more.
    ///
    /// Those who were answered together come back together, and those who came meanwhile are here: as long as
    /// there are fewer than both were, more are waited for; no longer than the last ones took, so that no row
    /// is twice as late for it, and [`PATIENCE`] at most.
    #[expect(clippy::disallowed_methods, reason = "not the time of day")]
    pub(super) fn arrivals(&self, last: &Last, idle: impl FnOnce()) -> Option<Arrivals<'_>> {
        let wanted = last.rows.saturating_add(last.meanwhile).min(MAX_BATCH);
        // whoever is alone does something else before the next
        let patience = if last.rows > 1 { last.took.min(PATIENCE) } else { Duration::ZERO };
        let until = Instant::now() + patience;
        let mut here = self.soon(until, wanted);
        if here.is_empty() {
            idle();
            let mut state = self.state();
            while state.waiting.is_empty() {
                if state.end.is_some() {
                    return None;
                }
                state.asleep = Some(1);
                state = self.awake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.asleep = None;
            here = mem::take(&mut state.waiting);
        }
        Some(Arrivals { queue: self, here: here.into_iter(), taken: 0, wanted, until })
    }

    /// What comes until then. For a [`MOMENT`] it is waited for awake, because to fall asleep and be woken takes
    /// as long; where another needs this core or nothing came it is slept, until there are `enough`.
    #[expect(clippy::disallowed_methods, reason = "not the time of day")]
    fn soon(&self, until: Instant, enough: usize) -> Vec<Append> {
        let begun = Instant::now();
        let mut looked = begun;
        loop {
            let mut state = self.state();
            if looked >= until || state.end.is_some() || !state.waiting.is_empty() {
                return mem::take(&mut state.waiting);
            }
            drop(state);
            thread::yield_now();
            let before = mem::replace(&mut looked, Instant::now());
            if looked - before >= SHARED || looked - begun >= MOMENT {
                return self.asleep(until.saturating_duration_since(looked), enough);
            }
        }
    }

    fn asleep(&self, patience: Duration, enough: usize) -> Vec<Append> {
        let mut state = self.state();
        state.asleep = Some(enough);
        let waits = |state: &mut State| state.end.is_none() && state.waiting.len() < enough;
        let (mut state, _) =
            self.awake.wait_timeout_while(state, patience, waits).unwrap_or_else(PoisonError::into_inner);
        state.asleep = None;
        mem::take(&mut state.waiting)
    }
}

/// What the last transaction was.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) rows: usize,
    /// Who waited for the next one when it was over, before anybody was told.
    pub(super) meanwhile: usize,
    pub(super) took: Duration,
}

impl Last {
    /// There was none.
    pub(super) const NONE: Self = Self { rows: 0, meanwhile: 0, took: Duration::ZERO };
}

/// The rows of one transaction, while they come.
#[derive(Debug)]
pub(super) struct Arrivals<'q> {
    queue: &'q Queue<Condvar>,
    here: vec::IntoIter<Append>,
    taken: usize,
    wanted: usize,
    until: Instant,
}

impl Arrivals<'_> {
    /// Those who came and were not looked at.
    pub(super) fn into_rest(self) -> impl Iterator<Item = Append> {
        self.here
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Append;

    fn next(&mut self) -> Option<Append> {
        loop {
            if self.here.len() == 0 && self.taken < self.wanted {
                self.here = self.queue.soon(self.until, self.wanted - self.taken).into_iter();
            }
            let append = self.here.next()?;
            // whoever stopped waiting was told that it is not durable
            if !append.told.is_closed() {
                self.taken += 1;
                return Some(append);
            }
        }
    }
}

/// So many rows, and what came with them, end a transaction.
const MAX_BATCH: usize = 256;

/// So long is waited awake for the next row.
const MOMENT: Duration = Duration::from_micros(50);

/// How long a transaction waits for more rows at most.
const PATIENCE: Duration = Duration::from_millis(1);

/// Whoever gets the core back after so long has lent it to somebody.
const SHARED: Duration = Duration::from_micros(10);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentkeys_core::Timestamp;
    use tokio::sync::oneshot;

    use super::*;
    use crate::audit::queue::Append;
    use crate::audit::{AuditCode, AuditError, AuditEvent, Refusal};

    type Answered = oneshot::Receiver<Result<(), AuditError>>;

    fn append() -> (Append, Answered) {
        let id = "ak-AAAAAAAAAAgAAAAAAAAACQ".parse().unwrap();
        let refusal = Refusal::new(id, Timestamp::from_unix(1), AuditCode::new("denied").unwrap());
        Append::new(&AuditEvent::Refusal(&refusal))
    }

    fn last(rows: usize) -> Last {
        Last { rows, meanwhile: 0, took: PATIENCE }
    }

    fn waiting(count: usize) -> (Queue<Condvar>, Vec<Answered>) {
        let queue = Queue::new(1000);
        let answered = (0..count).map(|_| {
            let (append, answered) = append();
            queue.push(append).unwrap();
            answered
        });
        let answered = answered.collect();
        (queue, answered)
    }

    #[test]
    fn what_waits_is_written_together() {
        let (queue, _answered) = waiting(64);
        assert_eq!(queue.arrivals(&last(1), || panic!("it does not wait")).unwrap().count(), 64);
    }

    #[test]
    fn a_transaction_ends_when_it_is_large() {
        let (queue, _answered) = waiting(MAX_BATCH);
        let mut arrivals = queue.arrivals(&last(usize::MAX), || ()).unwrap();
        assert_eq!(arrivals.by_ref().take(MAX_BATCH).count(), MAX_BATCH);
        let (more, _answer) = append();
        queue.push(more).unwrap();
        assert!(arrivals.next().is_none());
        assert_eq!(queue.arrivals(&last(1), || ()).unwrap().count(), 1);
    }

    #[test]
    fn whoever_stopped_waiting_has_no_row() {
        let (queue, mut answered) = waiting(3);
        drop(answered.remove(1));
        assert_eq!(queue.arrivals(&last(1), || ()).unwrap().count(), 2);
    }

    #[test]
    fn what_came_before_the_end_is_written_before_it() {
        let (queue, _answered) = waiting(2);
        let (closed, _close) = oneshot::channel();
        queue.ask_to_close(closed);
        assert!(matches!(queue.push(append().0), Err(AuditError::Closed)));
        assert_eq!(queue.arrivals(&last(9), || ()).unwrap().count(), 2);
        assert!(queue.arrivals(&last(9), || ()).is_none() && queue.end().is_some());
        assert!(queue.end().is_none(), "told once");
    }

    #[test]
    fn as_many_as_the_last_time_are_waited_for_and_the_writer_is_woken() {
        let queue = Arc::new(Queue::<Condvar>::new(10));
        std::thread::scope(|scope| {
            let (appends, _answered): (Vec<_>, Vec<_>) = (0..2).map(|_| append()).unzip();
            let brings = queue.clone();
            // it sleeps before anything comes
            let (idle, slept) = std::sync::mpsc::channel();
            scope.spawn(move || {
                slept.recv().unwrap();
                appends.into_iter().for_each(|append| brings.push(append).unwrap());
            });
            let mut found = 0;
            while found < 2 {
                let idle = || idle.send(()).unwrap_or_default();
                found += queue.arrivals(&last(2), idle).unwrap().count();
            }
        });
        queue.leave();
        assert!(queue.arrivals(&last(5), || ()).is_none());
    }
}
