use std::mem;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::audit::queue::{Append, Queue, Wake};

impl Wake for Notify {
    fn wake(&self) {
        self.notify_one();
    }
}

impl Queue<Notify> {
    /// Waits until there is something; false when nothing will come any more.
    pub(super) async fn ready(&self) -> bool {
        loop {
            {
                let mut state = self.state();
                if !state.waiting.is_empty() {
                    return true;
                }
                if state.end.is_some() {
                    return false;
                }
                state.asleep = Some(1);
            }
            self.awake.notified().await;
        }
    }

    /// What waits. Those who were answered together come back together: as long as there are fewer than `last`,
    /// more are waited for, a moment at a time.
    #[expect(clippy::disallowed_methods, reason = "not the time of day")]
    pub(super) async fn gather(&self, last: usize) -> Vec<Append> {
        let mut here = self.take();
        let mut begun = Instant::now();
        while here.len() < last && begun.elapsed() < MOMENT {
            tokio::task::yield_now().await;
            let mut more = self.take();
            if !more.is_empty() {
                begun = Instant::now();
                here.append(&mut more);
            }
        }
        // whoever stopped waiting was told that it is not durable
        here.retain(|append| !append.told.is_closed());
        here
    }

    fn take(&self) -> Vec<Append> {
        mem::take(&mut self.state().waiting)
    }
}

/// Less than a commit takes.
const MOMENT: Duration = Duration::from_micros(200);
