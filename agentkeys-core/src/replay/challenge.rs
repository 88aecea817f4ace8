use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{ReplayError, ReplayGuard, UseId};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::jose::{MacKey, decode_segment, encode_segment};
use crate::random::{Random, SystemRandom};
use crate::secret::Secret;

/// One-time challenges that a workload signs into its evidence, so that evidence which was signed before it
/// was asked for, or for another host, is of no use (L8).
///
/// Issuing keeps nothing: a challenge carries its own end and a MAC under the host's key. Only a redeemed
/// one is remembered, by the [`ReplayGuard`]. Replicas that share key and guard redeem each other's.
#[derive(Clone)]
pub struct Challenges {
    guard: Arc<dyn ReplayGuard>,
    key: Arc<MacKey>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Challenges {
    /// Challenges under `key`: 32 random bytes that nobody but the host's replicas knows.
    #[must_use]
    pub fn new(guard: Arc<dyn ReplayGuard>, key: &Secret<[u8; 32]>) -> Self {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        Self { guard, key: Arc::new(MacKey::new(key.expose())), clock, random }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With another source of challenges.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// A fresh challenge, good for [`CHALLENGE_LIFETIME`].
    ///
    /// # Errors
    /// [`ReplayError::Clock`] or [`ReplayError::Random`].
    pub fn issue(&self) -> Result<Challenge, ReplayError> {
        let end = self.clock.now()?.plus(CHALLENGE_LIFETIME);
        let mut nonce = [0; NONCE];
        self.random.fill(&mut nonce)?;
        let mut bytes = [&end.as_unix().to_be_bytes()[..], &nonce].concat();
        let mac = self.key.mac(&bytes);
        bytes.extend_from_slice(&mac);
        Ok(Challenge(encode_segment(bytes)))
    }

    /// Takes a challenge back, once.
    ///
    /// # Errors
    /// [`ReplayError::Expired`] where it is over or not of these challenges, [`ReplayError::Replayed`]
    /// where it was redeemed before, or what the guard says.
    pub async fn redeem(&self, challenge: &str) -> Result<(), ReplayError> {
        if challenge.len() > MAX_CHALLENGE {
            return Err(ReplayError::Expired);
        }
        let bytes = decode_segment(challenge).map_err(|_| ReplayError::Expired)?;
        let (signed, mac) = bytes.split_at_checked(SIGNED).ok_or(ReplayError::Expired)?;
        if !self.key.verifies(signed, mac) {
            return Err(ReplayError::Expired);
        }
        let (end, _nonce) = signed.split_first_chunk::<8>().ok_or(ReplayError::Expired)?;
        let end = Timestamp::from_unix(u64::from_be_bytes(*end));
        if end <= self.clock.now()? {
            return Err(ReplayError::Expired);
        }
        self.guard.first_use(&UseId::hashed(b"agentkeys use of a challenge", &[signed]), end).await
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenges").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// A challenge: URL-safe characters, at most [`MAX_CHALLENGE`] of them. No secret until it is signed, and
/// none after it is redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

impl Challenge {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a challenge is good: one minute.
pub const CHALLENGE_LIFETIME: Duration = Duration::from_secs(60);

/// The longest text that is read as a challenge.
pub const MAX_CHALLENGE: usize = 128;

const NONCE: usize = 16;

/// Its end and the nonce.
const SIGNED: usize = 8 + NONCE;

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::ClockError;
    use crate::replay::MemoryReplayGuard;

    #[derive(Debug)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Result<Timestamp, ClockError> {
            Ok(Timestamp::from_unix(self.0.load(Ordering::SeqCst)))
        }
    }

    #[derive(Debug)]
    struct Always;

    #[async_trait::async_trait]
    impl ReplayGuard for Always {
        async fn first_use(&self, _: &UseId, _: Timestamp) -> Result<(), ReplayError> {
            Ok(())
        }
    }

    fn challenges(key: u8) -> (Challenges, Arc<Hand>) {
        let clock = Arc::new(Hand(AtomicU64::new(1_800_000_000)));
        let guard = Arc::new(MemoryReplayGuard::new(clock.clone(), NonZeroUsize::new(9).unwrap()));
        (Challenges::new(guard, &Secret::new([key; 32])).with_clock(clock.clone()), clock)
    }

    #[tokio::test]
    async fn l8_a_challenge_is_redeemed_once() {
        let (challenges, _) = challenges(1);
        let (one, other) = (challenges.issue().unwrap(), challenges.issue().unwrap());
        assert_ne!(one, other);
        assert!(one.as_str().len() <= MAX_CHALLENGE);
        assert!(challenges.redeem(one.as_str()).await.is_ok());
        assert!(matches!(challenges.redeem(one.as_str()).await, Err(ReplayError::Replayed)));
        assert!(challenges.redeem(other.as_str()).await.is_ok());
    }

    #[tokio::test]
    async fn l8_a_challenge_is_good_for_a_minute() {
        let (challenges, clock) = challenges(1);
        let (one, other) = (challenges.issue().unwrap(), challenges.issue().unwrap());
        clock.0.fetch_add(59, Ordering::SeqCst);
        assert!(challenges.redeem(one.as_str()).await.is_ok());
        clock.0.fetch_add(1, Ordering::SeqCst);
        assert!(matches!(challenges.redeem(other.as_str()).await, Err(ReplayError::Expired)));
        // whatever the guard makes of its time
        let trusting = Challenges { guard: Arc::new(Always), ..challenges };
        assert!(matches!(trusting.redeem(other.as_str()).await, Err(ReplayError::Expired)));
    }

    #[tokio::test]
    async fn l8_what_this_host_did_not_issue_is_refused() {
        let ((ours, _), (theirs, _)) = (challenges(1), challenges(2));
        let good = ours.issue().unwrap();
        assert!(matches!(theirs.redeem(good.as_str()).await, Err(ReplayError::Expired)));
        for at in 0..good.as_str().len() {
            let mut forged = good.as_str().as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(matches!(ours.redeem(&forged).await, Err(ReplayError::Expired)), "{at}");
        }
        let bytes = decode_segment(good.as_str()).unwrap();
        for cut in [0, 7, SIGNED, bytes.len() - 1] {
            let short = encode_segment(&bytes[..cut]);
            assert!(matches!(ours.redeem(&short).await, Err(ReplayError::Expired)), "{cut}");
        }
        let long = encode_segment([&bytes[..], &[0]].concat());
        for bad in ["", "=", "é", &long, &"A".repeat(MAX_CHALLENGE + 4)] {
            assert!(matches!(ours.redeem(bad).await, Err(ReplayError::Expired)), "{bad}");
        }
        assert!(ours.redeem(good.as_str()).await.is_ok());
    }

    #[test]
    fn debug_shows_no_key() {
        let (challenges, _) = challenges(b'K');
        assert!(!format!("{challenges:?}").contains("75, 75"));
    }
}
