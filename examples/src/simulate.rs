//! How a number of agents becomes calls, rows and bytes: what the `simulate` example runs.
//!
//! - [`model`] is the credential cache's rules in plain numbers, quick enough for a million agents;
//! - [`real`] sends the same requests, in virtual time, through the caches and the audit log themselves;
//! - [`memory`] fills a credential cache and looks at what the process grew by.
//!
//! The model is believed because [`real`] gives the same figures where both can be had.

pub mod memory;
pub mod model;
pub mod real;

use std::sync::atomic::{AtomicU64, Ordering};

use agentkeys_core::{Clock, ClockError, Random, RandomError, Timestamp};

/// Numbers that are drawn evenly and the same for the same seed: SplitMix64.
/// <https://doi.org/10.1145/2714064.2660195>
#[derive(Debug)]
struct Drawn(AtomicU64);

impl Drawn {
    const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1, which never comes.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
    fn part(&self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Random for Drawn {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        for chunk in buffer.chunks_mut(8) {
            let drawn = self.next().to_be_bytes();
            chunk.iter_mut().zip(drawn).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// Virtual time.
#[derive(Debug, Default)]
struct Virtual(AtomicU64);

impl Virtual {
    fn set(&self, second: u64) {
        self.0.store(BEGIN + second, Ordering::SeqCst);
    }
}

impl Clock for Virtual {
    fn now(&self) -> Result<Timestamp, ClockError> {
        Ok(Timestamp::from_unix(self.0.load(Ordering::SeqCst)))
    }
}

/// When virtual time begins.
const BEGIN: u64 = 1_800_000_000;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_even_and_the_same_for_the_same_seed() {
        // the first values of the reference implementation for the seed 1234567
        let drawn = Drawn::new(1_234_567);
        assert_eq!(drawn.next(), 6_457_827_717_110_365_317);
        assert_eq!(drawn.next(), 3_203_168_211_198_807_973);
        let parts: Vec<_> = (0..10_000).map(|_| drawn.part()).collect();
        assert!(parts.iter().all(|part| (0.0..1.0).contains(part)));
        let mean = parts.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
