use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::store::Store;
use crate::audit::AuditError;
use crate::audit::chain::ChainHead;
use crate::audit::event::AuditEvent;

#[derive(Debug)]
pub(super) enum Command {
    Append(Box<Append>),
    Close(oneshot::Sender<Result<ChainHead, AuditError>>),
}

#[derive(Debug)]
pub(super) struct Append {
    pub(super) event: AuditEvent,
    pub(super) answer: oneshot::Sender<Result<(), AuditError>>,
}

/// Writes what comes, in batches, until it is closed, nobody is left to send, or the store is in doubt.
pub(super) fn run(mut store: Store, waiting: &Receiver<Command>, shown: &Mutex<ChainHead>) {
    let mut size = 1;
    while let Ok(first) = waiting.recv() {
        let (batch, close) = gather(first, size, waiting);
        // whoever stopped waiting was told that it is not durable
        let batch: Vec<_> = batch.into_iter().filter(|append| !append.answer.is_closed()).collect();
        size = batch.len().max(1);
        let answers = store.write(batch.iter().map(|append| &append.event));
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = store.head();
        for (append, answer) in batch.into_iter().zip(answers) {
            // nobody need be there any more
            let _ = append.answer.send(answer);
        }
        if let Some(close) = close {
            let closed = store.close();
            let _ = close.send(closed);
            return;
        }
        if store.is_in_doubt() {
            return;
        }
    }
    // nobody is left to be told
    let _ = store.close();
}

/// Everything that waits. Those who were answered together come back together: as long as there are fewer
/// than the last time, it waits a moment for each more.
fn gather(
    first: Command,
    last: usize,
    waiting: &Receiver<Command>,
) -> (Vec<Append>, Option<oneshot::Sender<Result<ChainHead, AuditError>>>) {
    let mut batch = Vec::with_capacity(last);
    let mut next = Some(first);
    while let Some(command) = next {
        match command {
            Command::Append(append) => batch.push(*append),
            Command::Close(close) => return (batch, Some(close)),
        }
        next = if batch.len() >= MAX_BATCH {
            None
        } else if batch.len() < last {
            waiting.recv_timeout(MOMENT).ok()
        } else {
            waiting.try_recv().ok()
        };
    }
    (batch, None)
}

/// The most rows of one transaction.
const MAX_BATCH: usize = 256;

/// A fraction of what a disk needs for an `fsync`.
const MOMENT: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use agentkeys_core::Timestamp;

    use super::*;
    use crate::audit::{AuditCode, Refusal};

    fn append() -> Command {
        let id = "ak-AAAAAAAAAAgAAAAAAAAACQ".parse().unwrap();
        let refusal = Refusal::new(id, Timestamp::from_unix(1), AuditCode::new("denied").unwrap());
        let (answer, _) = oneshot::channel();
        Command::Append(Box::new(Append { event: AuditEvent::Refusal(refusal), answer }))
    }

    #[test]
    fn what_waits_is_written_together() {
        let (commands, waiting) = sync_channel(1000);
        for _ in 0..63 {
            commands.try_send(append()).unwrap();
        }
        let (batch, close) = gather(append(), 1, &waiting);
        assert!(batch.len() == 64 && close.is_none());
        for _ in 0..300 {
            commands.try_send(append()).unwrap();
        }
        let (batch, _) = gather(append(), 1, &waiting);
        assert_eq!(batch.len(), MAX_BATCH);
    }

    #[test]
    fn what_came_before_the_end_is_written_before_it() {
        let (commands, waiting) = sync_channel(10);
        commands.try_send(append()).unwrap();
        let (close, _) = oneshot::channel();
        commands.try_send(Command::Close(close)).unwrap();
        commands.try_send(append()).unwrap();
        let (batch, close) = gather(append(), 9, &waiting);
        assert!(batch.len() == 2 && close.is_some());
    }

    #[test]
    fn as_many_as_the_last_time_are_waited_for() {
        let (commands, waiting) = sync_channel(10);
        std::thread::scope(|scope| {
            // it comes when it comes: only a batch that waits has it
            scope.spawn(|| {
                let _ = commands.send(append());
            });
            let mut found = 0;
            while found == 0 {
                found = gather(append(), 2, &waiting).0.len() - 1;
            }
        });
        assert_eq!(gather(append(), 5, &waiting).0.len(), 1, "and no longer than a moment");
    }
}
