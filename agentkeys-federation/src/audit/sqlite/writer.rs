use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::arrivals::Last;
use super::store::Store;
use crate::audit::chain::ChainHead;
use crate::audit::queue::{Ends, Queue};

/// Writes what comes, in batches, until it is closed, nobody is left to append, or the store is in doubt.
#[expect(clippy::disallowed_methods, reason = "not the time of day")]
pub(super) fn run(mut store: Store, queue: &Queue<Condvar>, shown: &Mutex<ChainHead>) {
    let ends = Ends(queue);
    let mut last = Last::NONE;
    while let Some(arrivals) = queue.arrivals(&last, || store.rest()) {
        let begun = Instant::now();
        let answers = store.write(arrivals);
        last = Last { rows: answers.len(), meanwhile: queue.waiting(), took: begun.elapsed() };
        *shown.lock().unwrap_or_else(PoisonError::into_inner) = store.head();
        for (told, answer) in answers {
            // nobody need be there any more
            let _ = told.send(answer);
        }
        if store.is_in_doubt() {
            return;
        }
    }
    let closed = store.close();
    if let Some(told) = ends.0.end() {
        let _ = told.send(closed);
    }
}
