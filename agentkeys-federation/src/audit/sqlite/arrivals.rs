use std::sync::{Condvar, PoisonError};
use std::time::{Duration, Instant};
use std::{mem, thread, vec};

use crate::audit::queue::{Append, Queue, Wake};

impl Wake for Condvar {
    fn wake(&self) {
        self.notify_one();
    }
}

impl Queue<Condvar> {
    /// What comes next, as soon as there is something; none when nothing will come any more.
    ///
    /// Those who were answered together come back together: as long as there are fewer than `last`, more are
    /// waited for, a moment at a time.
    pub(super) fn arrivals(&self, last: usize, idle: impl FnOnce()) -> Option<Arrivals<'_>> {
        // whoever is alone does something else before the next
        let mut here = self.soon(if last > 1 { MOMENT } else { Duration::ZERO });
        if here.is_empty() {
            idle();
            let mut state = self.state();
            while state.waiting.is_empty() {
                if state.end.is_some() {
                    return None;
                }
                state.asleep = true;
                state = self.awake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.asleep = false;
            here = mem::take(&mut state.waiting);
        }
        Some(Arrivals { queue: self, here: here.into_iter(), taken: 0, last })
    }

    /// What comes in so short a time. It is waited for awake: to fall asleep and be woken takes as long.
    #[expect(clippy::disallowed_methods, reason = "not the time of day")]
    fn soon(&self, patience: Duration) -> Vec<Append> {
        let begun = Instant::now();
        loop {
            let late = begun.elapsed() >= patience;
            let mut state = self.state();
            if late || state.end.is_some() || !state.waiting.is_empty() {
                return mem::take(&mut state.waiting);
            }
            drop(state);
            thread::yield_now();
        }
    }
}

/// The rows of one transaction, while they come.
#[derive(Debug)]
pub(super) struct Arrivals<'q> {
    queue: &'q Queue<Condvar>,
    here: vec::IntoIter<Append>,
    taken: usize,
    last: usize,
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
            if self.here.len() == 0 && self.taken < self.last.min(MAX_BATCH) {
                self.here = self.queue.soon(MOMENT).into_iter();
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

/// About as long as a good disk needs for an `fsync`.
const MOMENT: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentkeys_core::Timestamp;
    use tokio::sync::oneshot;

    use super::*;
    use crate::audit::queue::Append;
    use crate::audit::{AuditCode, AuditEvent, Refusal};

    type Answered = oneshot::Receiver<Result<(), AuditError>>;

    fn append() -> (Append, Answered) {
        let id = "ak-AAAAAAAAAAgAAAAAAAAACQ".parse().unwrap();
        let refusal = Refusal::new(id, Timestamp::from_unix(1), AuditCode::new("denied").unwrap());
        Append::new(&AuditEvent::Refusal(&refusal))
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
        assert_eq!(queue.arrivals(1, || panic!("it does not wait")).unwrap().count(), 64);
    }

    #[test]
    fn a_transaction_ends_when_it_is_large() {
        let (queue, _answered) = waiting(MAX_BATCH);
        let mut arrivals = queue.arrivals(usize::MAX, || ()).unwrap();
        assert_eq!(arrivals.by_ref().take(MAX_BATCH).count(), MAX_BATCH);
        let (more, _answer) = append();
        queue.push(more).unwrap();
        assert!(arrivals.next().is_none());
        assert_eq!(queue.arrivals(1, || ()).unwrap().count(), 1);
    }

    #[test]
    fn whoever_stopped_waiting_has_no_row() {
        let (queue, mut answered) = waiting(3);
        drop(answered.remove(1));
        assert_eq!(queue.arrivals(1, || ()).unwrap().count(), 2);
    }

    #[test]
    fn what_came_before_the_end_is_written_before_it() {
        let (queue, _answered) = waiting(2);
        let (closed, _close) = oneshot::channel();
        queue.ask_to_close(closed);
        assert!(matches!(queue.push(append().0), Err(AuditError::Closed)));
        assert_eq!(queue.arrivals(9, || ()).unwrap().count(), 2);
        assert!(queue.arrivals(9, || ()).is_none() && queue.end().is_some());
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
                found += queue.arrivals(2, idle).unwrap().count();
            }
        });
        queue.leave();
        assert!(queue.arrivals(5, || ()).is_none());
    }
}
