use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::queue::{Last, Queue};
use super::store::Store;
use crate::audit::chain::ChainHead;

/// Writes what comes, in batches, until it is closed, nobody is left to append, or the store is in doubt.
#[expect(clippy::disallowed_methods, reason = "not the time of day")]
pub(super) fn run(mut store: Store, queue: &Queue, shown: &Mutex<ChainHead>) {
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

/// However the writer ends, nobody waits for it.
struct Ends<'q>(&'q Queue);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}
