//! The rules of [`CredentialCache`](agentkeys_federation::CredentialCache) in plain numbers: seconds, and for each
//! key when its credentials end and from when on they are renewed.

use agentkeys_federation::{MIN_LEFT, REFRESH_MARGIN, SessionDuration};

use super::Drawn;

/// What is asked, and of whom.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Workload {
    /// How many agents there are; each uses one role.
    pub agents: u32,
    /// The mean time between two requests of an agent, in seconds; the times are exponential.
    pub gap: u32,
    /// How long credentials last.
    pub session: SessionDuration,
    /// How long an agent's attested identity lasts, in seconds: the next request after it attests again.
    pub identity: u32,
    /// How many caches there are, one in each replica: with more than one, each request goes to any of them.
    pub caches: u32,
    /// How long it runs before anything is counted, in seconds.
    pub warm_up: u32,
    /// How long it is counted, in seconds.
    pub counted: u32,
    /// What everything that is drawn follows from.
    pub seed: u64,
}

impl Workload {
    /// Agents that ask once a minute and attest every five, in front of one cache; counted for an hour after an
    /// hour of warming up.
    #[must_use]
    pub const fn new(agents: u32, session: SessionDuration) -> Self {
        let (gap, identity, caches, hour, seed) = (60, 300, 1, 3600, 1);
        Self { agents, gap, session, identity, caches, warm_up: hour, counted: hour, seed }
    }

    /// The same in front of so many caches that share nothing.
    #[must_use]
    pub const fn anywhere(mut self, caches: u32) -> Self {
        self.caches = caches;
        self
    }

    pub(super) const fn end(&self) -> u32 {
        self.warm_up + self.counted
    }

    /// When an agent asks, and which of the caches.
    pub(super) fn requests(&self, agent: u32) -> impl Iterator<Item = (u32, u32)> {
        // far apart, so that no two agents draw the same
        let drawn = Drawn::new(Drawn::new(self.seed ^ (u64::from(agent) << 20)).next());
        let (gap, caches, end) = (f64::from(self.gap), self.caches, f64::from(self.end()));
        let mut at = 0.0;
        std::iter::from_fn(move || {
            at -= gap * (1.0 - drawn.part()).ln();
            let cache = if caches > 1 { drawn.next() % u64::from(caches) } else { 0 };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole seconds before the end"
            )]
            (at < end).then_some((at as u32, cache as u32))
        })
    }
}

/// What came of it, in the time that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests for credentials.
    pub requests: u64,
    /// Those that had to wait for the STS.
    pub waited: u64,
    /// Calls of the STS, those in the background included.
    pub exchanges: u64,
    /// The most calls of the STS in one second.
    pub peak: u32,
    /// How often an agent was attested.
    pub attested: u64,
    /// How many keys hold credentials at the end.
    pub keys: u64,
}

impl Counts {
    /// What part of the requests was served at once.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn hit_ratio(&self) -> f64 {
        1.0 - self.waited as f64 / self.requests as f64
    }
}

/// Runs it.
#[must_use]
pub fn run(workload: &Workload) -> Counts {
    let (mut counts, mut calls) = (Counts::default(), Seconds::of(workload));
    let jitter = Drawn::new(!workload.seed);
    let session = workload.session.as_secs();
    let mut keys = vec![Key::default(); usize::try_from(workload.caches).unwrap_or(1)];
    for agent in 0..workload.agents {
        keys.fill(Key::default());
        let mut identity_ends = 0;
        for (now, cache) in workload.requests(agent) {
            let counted = u64::from(now >= workload.warm_up);
            counts.requests += counted;
            if now >= identity_ends {
                identity_ends = now + workload.identity;
                counts.attested += counted;
            }
            let Some(key) = keys.get_mut(cache as usize) else { continue };
            let met = key.request(now);
            if met != Met::Kept {
                counts.waited += counted * u64::from(met == Met::Nothing);
                key.renew(now, session, jitter.part());
                calls.add(now);
            }
        }
        counts.keys +=
            keys.iter().map(|key| u64::from(key.request(workload.end()) != Met::Nothing)).sum::<u64>();
    }
    (counts.exchanges, counts.peak) = calls.counted();
    counts
}

/// Calls of the STS, second by second.
#[derive(Debug)]
pub(super) struct Seconds {
    warm_up: usize,
    calls: Vec<u32>,
}

impl Seconds {
    pub(super) fn of(workload: &Workload) -> Self {
        Self { warm_up: workload.warm_up as usize, calls: vec![0; workload.end() as usize] }
    }

    pub(super) fn add(&mut self, second: u32) {
        if let Some(calls) = self.calls.get_mut(second as usize) {
            *calls += 1;
        }
    }

    /// All of them and the most in one second.
    pub(super) fn counted(&self) -> (u64, u32) {
        let counted = || self.calls.iter().skip(self.warm_up).copied();
        (counted().map(u64::from).sum(), counted().max().unwrap_or(0))
    }
}

/// What is kept for one agent in one cache.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    ends: u32,
    renew_at: u32,
}

/// What a request finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    Kept,
    /// Served, and renewed in the background.
    Due,
    /// Or what has too little time left.
    Nothing,
}

impl Key {
    fn request(self, now: u32) -> Met {
        if now + seconds(MIN_LEFT) >= self.ends {
            Met::Nothing
        } else if now >= self.renew_at {
            Met::Due
        } else {
            Met::Kept
        }
    }

    /// With `part` of the minute by which renewals are pulled apart.
    fn renew(&mut self, now: u32, session: u32, part: f64) {
        self.ends = now + session;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "up to a minute")]
        let early = seconds(REFRESH_MARGIN) + (part * 60.0) as u32;
        self.renew_at = self.ends.saturating_sub(early).max(now + session / 2);
    }
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(seconds: u32) -> SessionDuration {
        SessionDuration::from_secs(seconds).unwrap()
    }

    #[test]
    fn a_key_is_kept_then_due_then_nothing() {
        let mut key = Key::default();
        assert_eq!(key.request(0), Met::Nothing, "nothing was exchanged yet");
        key.renew(1000, 900, 0.0);
        for (now, met) in
            [(1000, Met::Kept), (1599, Met::Kept), (1600, Met::Due), (1839, Met::Due), (1840, Met::Nothing)]
        {
            assert_eq!(key.request(now), met, "{now}");
        }
        // a whole minute earlier at most, and never before half of its life
        key.renew(1000, 900, 0.999);
        assert_eq!((key.request(1540), key.request(1541)), (Met::Kept, Met::Due));
        key.renew(1000, 600, 0.999);
        assert_eq!((key.request(1299), key.request(1300)), (Met::Kept, Met::Due));
    }

    /// A request in each second: a call at 0, at 600 and so on, each time when renewal is due.
    #[test]
    fn small_cases_are_as_by_hand() {
        let mut key = Key::default();
        let mut calls = Vec::new();
        for now in 0..2000 {
            if key.request(now) != Met::Kept {
                key.renew(now, 900, 0.0);
                calls.push(now);
            }
        }
        assert_eq!(calls, [0, 600, 1200, 1800]);

        // one request every 15 minutes finds nothing each time, one every 10 is always served
        for (gap, waited) in [(900, 4), (600, 1)] {
            let mut key = Key::default();
            let mut found = 0;
            for now in (0..4 * gap).step_by(gap as usize) {
                found += u32::from(key.request(now) == Met::Nothing);
                if key.request(now) != Met::Kept {
                    key.renew(now, 900, 0.0);
                }
            }
            assert_eq!(found, waited, "{gap}");
        }
    }

    #[test]
    fn seconds_before_the_counted_time_are_not_counted() {
        let workload = Workload { warm_up: 10, counted: 5, ..Workload::new(1, session(900)) };
        let mut calls = Seconds::of(&workload);
        for second in [0, 9, 10, 10, 14, 15, 99] {
            calls.add(second);
        }
        assert_eq!(calls.counted(), (3, 2));
    }

    /// The renewal theorem: an agent calls once in the time to its renewal and the wait for its next request.
    #[test]
    fn the_rate_is_that_of_the_renewal_theorem() {
        for (seconds, gap) in [(3600, 60), (3600, 30), (900, 30)] {
            let workload = Workload { gap, ..Workload::new(2000, session(seconds)) };
            let counts = run(&workload);
            let cycle = f64::from(seconds) - 300.0 - 30.0 + f64::from(gap);
            let expected = 2000.0 * 3600.0 / cycle;
            let ratio = counts.exchanges as f64 / expected;
            // an hour of hour-long sessions is a cycle and a bit: the theorem speaks of long times
            assert!((ratio - 1.0).abs() < 0.1, "{seconds} {gap}: {ratio}");
            let requests = counts.requests as f64 * f64::from(gap) / (2000.0 * 3600.0);
            assert!((requests - 1.0).abs() < 0.01, "{requests}");
        }
    }

    #[test]
    fn more_agents_call_more_and_longer_sessions_call_less() {
        let mut last = 0;
        for agents in [10, 100, 1000, 5000] {
            let counts = run(&Workload::new(agents, session(900)));
            assert!(counts.exchanges > last && counts.keys <= u64::from(agents));
            last = counts.exchanges;
        }
        let calls = |workload| run(&workload).exchanges;
        let short = Workload::new(1000, session(900));
        assert!(calls(short) > calls(Workload::new(1000, session(1800))));
        assert!(calls(Workload::new(1000, session(1800))) > calls(Workload::new(1000, session(3600))));
        // caches that share nothing each have to ask
        assert!(calls(short.anywhere(3)) > 2 * calls(short));
        assert!(run(&short.anywhere(3)).hit_ratio() < run(&short).hit_ratio());
    }

    #[test]
    fn the_same_seed_gives_the_same_and_another_does_not() {
        let workload = Workload::new(200, session(900));
        assert_eq!(run(&workload), run(&workload));
        assert_ne!(run(&workload), run(&Workload { seed: 2, ..workload }));
    }
}
