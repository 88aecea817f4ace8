use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::AuditError;
use super::chain::{ChainHead, spell};
use super::event::{AuditEvent, AuditId};
use super::ids::Kind;
use super::row::cells;

/// An event on its way to where it is durable, and whoever waits for it.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) id: AuditId,
    pub(super) kind: Kind,
    /// The row's text but for its number, which is not known yet.
    pub(super) text: Vec<u8>,
    pub(super) told: Told,
}

pub(super) type Told = oneshot::Sender<Result<(), AuditError>>;

impl Append {
    pub(super) fn new(event: &AuditEvent<'_>) -> (Self, oneshot::Receiver<Result<(), AuditError>>) {
        let (told, answered) = oneshot::channel();
        let mut text = Vec::with_capacity(768);
        spell(cells(0, event).into_iter().skip(1), &mut text);
        (Self { id: event.id().clone(), kind: Kind::of(event), text, told }, answered)
    }
}

pub(super) type Closed = oneshot::Sender<Result<ChainHead, AuditError>>;

/// How the one who writes is woken.
pub(super) trait Wake: Debug + Default {
    fn wake(&self);
}

/// What waits for the one who writes.
#[derive(Debug)]
pub(super) struct Queue<W> {
    room: usize,
    state: Mutex<State>,
    pub(super) awake: W,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) waiting: Vec<Append>,
    /// The writer sleeps until so many wait.
    pub(super) asleep: Option<usize>,
    pub(super) end: Option<End>,
}

/// Why nothing more is taken.
#[derive(Debug)]
pub(super) enum End {
    /// Somebody closes the log and waits for it.
    Asked(Closed),
    /// Nobody is left, or the writer is gone.
    Gone,
}

impl<W: Wake> Queue<W> {
    pub(super) fn new(room: usize) -> Self {
        Self { room, state: Mutex::default(), awake: W::default() }
    }

    /// Waits until the event is durable, for [`APPEND_TIMEOUT`] at most.
    pub(super) async fn append(&self, event: &AuditEvent<'_>) -> Result<(), AuditError> {
        let (append, answered) = Append::new(event);
        self.push(append)?;
        match tokio::time::timeout(APPEND_TIMEOUT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AuditError::Closed),
            Err(_) => Err(AuditError::Slow),
        }
    }

    pub(super) fn push(&self, append: Append) -> Result<(), AuditError> {
        let mut state = self.state();
        if state.end.is_some() {
            return Err(AuditError::Closed);
        }
        if state.waiting.len() >= self.room {
            return Err(AuditError::Full);
        }
        state.waiting.push(append);
        let wakes = state.asleep.is_some_and(|enough| state.waiting.len() >= enough);
        if wakes {
            state.asleep = None;
        }
        drop(state);
        if wakes {
            self.awake.wake();
        }
        Ok(())
    }

    /// Takes nothing more, and waits until what waits is written.
    pub(super) async fn close(&self) -> Result<ChainHead, AuditError> {
        let (closed, answered) = oneshot::channel();
        self.ask_to_close(closed);
        answered.await.unwrap_or(Err(AuditError::Closed))
    }

    pub(super) fn ask_to_close(&self, closed: Closed) {
        let mut state = self.state();
        // where it has ended, `closed` is dropped, and that says so
        if state.end.is_none() {
            state.end = Some(End::Asked(closed));
        }
        drop(state);
        self.awake.wake();
    }

    /// Nobody is left to append.
    pub(super) fn leave(&self) {
        self.state().end.get_or_insert(End::Gone);
        self.awake.wake();
    }

    /// The writer is gone: whoever waits is told so.
    pub(super) fn end(&self) -> Option<Closed> {
        let mut state = self.state();
        state.waiting.clear();
        match state.end.replace(End::Gone) {
            Some(End::Asked(closed)) => Some(closed),
            Some(End::Gone) | None => None,
        }
    }

    /// How many wait.
    #[cfg(feature = "sqlite")]
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However the writer ends, nobody waits for it.
#[derive(Debug)]
pub(super) struct Ends<'q, W: Wake>(pub(super) &'q Queue<W>);

impl<W: Wake> Drop for Ends<'_, W> {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}

/// How many events may wait to be durable.
pub const MAX_QUEUE: usize = 1024;

/// How long an event may wait to be durable.
pub const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
