use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentkeys_core::jose::KeySet;
use agentkeys_core::{
    Clock, KeyError, KeySnapshot, KeySource, Random, RefreshReason, SystemClock, SystemRandom, Timestamp,
    TrustDomain,
};
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::back_off::back_off;
use super::workload_api::{Agent, AgentFailure, WorkloadApi, WorkloadSocket};

/// One trust domain's keys, as this machine's SPIFFE agent says them: a [`KeySource`] that follows the
/// Workload API's stream of JWT bundles.
///
/// The agent sends the whole set again with each change. It replaces the one before at once, so a revoked
/// key stops with the agent's next word; a message without a usable key of the trust domain leaves no key.
/// Readers borrow an immutable set and wait for nobody. Nothing is asked before the keys are first needed
/// (W18), and the stream ends with the last clone.
///
/// Once a minute the agent is asked anew, so that one that hangs is found out. While it is away the last
/// set stands until it is [`MAX_BUNDLE_AGE`] old, then reading fails as `Unavailable` (L28); the agent is
/// tried again with a jittered back-off of half a minute at most. A key that is not in the set makes the
/// agent be asked at most once in five seconds, which a reader waits for two seconds at most (W16).
///
/// The agent answers only processes that it knows: the verifier needs a registration entry of its own, or
/// the agent the setting `allow_unauthenticated_verifiers`.
#[derive(Clone, Debug)]
pub struct SpireBundles {
    agent: Arc<dyn WorkloadApi>,
    followed: Arc<Followed>,
    follower: Arc<Follower>,
}

impl SpireBundles {
    /// The keys of `trust_domain` from the agent that listens on `socket`.
    #[must_use]
    pub fn new(socket: WorkloadSocket, trust_domain: &TrustDomain) -> Self {
        Self::of(Arc::new(Agent(socket)), trust_domain)
    }

    /// With another clock for the age of the set.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        let (id, random) = (self.followed.id.clone(), Arc::clone(&self.followed.random));
        Self::empty(self.agent, id, clock, random)
    }

    /// Asks now, so that the first verification need not wait.
    ///
    /// # Errors
    /// [`KeyError`]; the agent is asked again all the same.
    pub async fn prefetch(&self) -> Result<(), KeyError> {
        self.refresh(RefreshReason::Stale).await
    }

    fn of(agent: Arc<dyn WorkloadApi>, trust_domain: &TrustDomain) -> Self {
        let id = format!("spiffe://{trust_domain}");
        Self::empty(agent, id, Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()))
    }

    fn empty(
        agent: Arc<dyn WorkloadApi>,
        id: String,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let followed = Followed {
            id,
            current: ArcSwapOption::empty(),
            progress: watch::Sender::new(Progress::default()),
            ask_anew: Notify::new(),
            clock,
            random,
        };
        Self { agent, followed: Arc::new(followed), follower: Arc::default() }
    }

    /// Starts to follow the agent, unless that is going on; says whether it was started just now.
    fn follow(&self) -> bool {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        let mut task = self.follower.0.lock().unwrap_or_else(PoisonError::into_inner);
        // the task ends with the runtime that it was started on
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return false;
        }
        let (followed, agent) = (Arc::clone(&self.followed), Arc::clone(&self.agent));
        followed.progress.send_modify(|progress| progress.asking = true);
        *task = Some(runtime.spawn(async move { followed.follow(&*agent).await }));
        true
    }
}

#[async_trait]
impl KeySource for SpireBundles {
    fn read(&self, now: Timestamp) -> Result<KeySnapshot<'_>, KeyError> {
        match self.followed.current.load().as_ref().filter(|set| set.is_fresh(now)) {
            Some(set) => Ok(KeySnapshot::shared(Arc::clone(&set.keys))),
            None => Err(STALE),
        }
    }

    async fn refresh(&self, reason: RefreshReason) -> Result<(), KeyError> {
        // SPIRE gives each key a name of its own: no other key comes under an old one
        if reason == RefreshReason::WrongSignature {
            return Err(KeyError::Unchanged);
        }
        let followed = &self.followed;
        let now = followed.clock.now()?;
        let mut progress = followed.progress.subscribe();
        let before = progress.borrow_and_update().ended;
        if self.follow() || followed.want_to_ask(now) {
            let _none_in_time = timeout(ASK_TIMEOUT, progress.wait_for(|now| now.ended != before)).await;
        }
        let answering = progress.borrow().failures == 0;
        let now = followed.clock.now()?;
        let fresh = followed.current.load().as_ref().is_some_and(|set| set.is_fresh(now));
        // while the agent is away nobody can tell that there is no such key
        let enough = fresh && (answering || reason == RefreshReason::Stale);
        if enough { Ok(()) } else { Err(STALE) }
    }
}

/// What the task that listens to the agent shares with readers.
#[derive(Debug)]
struct Followed {
    /// The trust domain's SPIFFE ID.
    id: String,
    current: ArcSwapOption<Said>,
    progress: watch::Sender<Progress>,
    ask_anew: Notify,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Followed {
    async fn follow(&self, agent: &dyn WorkloadApi) {
        loop {
            self.progress.send_modify(|progress| progress.asking = true);
            if self.listen(agent).await.is_ok() {
                continue;
            }
            let failures = self.progress.borrow().failures.saturating_add(1);
            self.answered(failures);
            tokio::select! {
                () = sleep(back_off(failures, MAX_PAUSE, &*self.random)) => {}
                () = self.ask_anew.notified() => {}
            }
        }
    }

    /// Asks, and listens until it is time to ask anew.
    async fn listen(&self, agent: &dyn WorkloadApi) -> Result<(), AgentFailure> {
        let begin = async {
            let mut bundles = agent.jwt_bundles().await?;
            let first = bundles.next().await?;
            Ok((bundles, first))
        };
        let (mut bundles, first) =
            timeout(ASK_TIMEOUT, begin).await.unwrap_or(Err(AgentFailure::TimedOut))?;
        self.take(&first)?;
        loop {
            tokio::select! {
                next = bundles.next() => self.take(&next?)?,
                () = sleep(ASK_ANEW_AFTER) => return Ok(()),
                () = self.ask_anew.notified() => return Ok(()),
            }
        }
    }

    /// What the agent said last is what holds.
    fn take(&self, bundles: &HashMap<String, Vec<u8>>) -> Result<(), AgentFailure> {
        let keys = bundles.get(&self.id).and_then(|document| KeySet::parse(document).ok());
        let said = keys.zip(self.clock.now().ok());
        let said = said.map(|(keys, at)| Arc::new(Said { keys: Arc::new(keys), at }));
        let usable = said.is_some();
        self.current.store(said);
        if !usable {
            return Err(AgentFailure::NoKeys);
        }
        self.answered(0);
        Ok(())
    }

    fn answered(&self, failures: u32) {
        self.progress.send_modify(|progress| {
            let ended = progress.ended.wrapping_add(u64::from(progress.asking));
            *progress = Progress { asking: false, ended, failures, ..*progress };
        });
    }

    /// Whether an answer is coming that may help: one is being waited for already, or the agent was left
    /// alone for long enough and is asked anew.
    fn want_to_ask(&self, now: Timestamp) -> bool {
        let mut asking = false;
        self.progress.send_if_modified(|progress| {
            asking = progress.asking;
            let rested = progress.wanted_at.is_none_or(|at| apart(now, at) >= COOLDOWN);
            if asking || !rested {
                return false;
            }
            *progress = Progress { asking: true, wanted_at: Some(now), ..*progress };
            self.ask_anew.notify_one();
            asking = true;
            true
        });
        asking
    }
}

/// What the agent said of the trust domain, and when.
#[derive(Debug)]
struct Said {
    keys: Arc<KeySet>,
    at: Timestamp,
}

impl Said {
    fn is_fresh(&self, now: Timestamp) -> bool {
        apart(now, self.at) < MAX_BUNDLE_AGE
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Whether an answer is waited for.
    asking: bool,
    /// How many times one came, or failed to come.
    ended: u64,
    /// How many times in a row it failed to come.
    failures: u32,
    /// When a reader last made the agent be asked.
    wanted_at: Option<Timestamp>,
}

/// The task that listens; it ends with the last handle.
#[derive(Debug, Default)]
struct Follower(Mutex<Option<JoinHandle<()>>>);

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(task) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// How far two moments lie apart, either way: a clock that was set back must not keep a set fresh.
fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

/// How long the last set stands while the agent is away: 15 minutes.
pub const MAX_BUNDLE_AGE: Duration = Duration::from_secs(900);

const STALE: KeyError = KeyError::Stale { retry_after: COOLDOWN };
const ASK_ANEW_AFTER: Duration = Duration::from_secs(60);
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
const COOLDOWN: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use agentkeys_core::testing::{FakeIssuer, ManualClock};
    use agentkeys_core::{Audience, ErrorKind, Secret, SpiffeId};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::super::workload_api::JwtBundles;
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
    const OURS: &str = "spiffe://example.org";

    type Message = HashMap<String, Vec<u8>>;
    type Line = mpsc::UnboundedSender<Result<Message, AgentFailure>>;

    /// Its keys are in the first set,
    static OLD: LazyLock<String> = LazyLock::new(|| key("old"));
    /// and these in the next.
    static NEW: LazyLock<String> = LazyLock::new(|| key("new"));

    fn key(kid: &str) -> String {
        let jwks = FakeIssuer::new("https://spire.example".parse().unwrap()).jwks();
        let mut key = jwks["keys"][2].clone();
        key["kid"] = kid.into();
        // the Workload API's keys have no `use`
        key.as_object_mut().unwrap().remove("use");
        key.to_string()
    }

    fn document(keys: &[&str]) -> Vec<u8> {
        format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes()
    }

    fn ours(keys: &[&str]) -> Message {
        HashMap::from([(OURS.to_owned(), document(keys))])
    }

    /// Opens the streams that it was given, one after the other, and then hangs.
    #[derive(Debug, Default)]
    struct FakeAgent {
        streams: Mutex<VecDeque<Result<Stream, AgentFailure>>>,
        opened: AtomicUsize,
    }

    #[derive(Debug)]
    struct Stream(mpsc::UnboundedReceiver<Result<Message, AgentFailure>>);

    impl FakeAgent {
        fn line(&self) -> Line {
            let (line, stream) = mpsc::unbounded_channel();
            self.streams.lock().unwrap().push_back(Ok(Stream(stream)));
            line
        }

        /// A stream that begins with this.
        fn says(&self, message: Message) -> Line {
            let line = self.line();
            line.send(Ok(message)).unwrap();
            line
        }

        fn refuses(&self, times: usize) {
            self.streams.lock().unwrap().extend((0..times).map(|_| Err(AgentFailure::Unreachable)));
        }

        fn opened(&self) -> usize {
            self.opened.load(Ordering::SeqCst)
        }
    }

    #[async_trait]
    impl WorkloadApi for FakeAgent {
        async fn jwt_svid(
            &self,
            _audience: &Audience,
            _id: Option<&SpiffeId>,
        ) -> Result<Secret<String>, AgentFailure> {
            Err(AgentFailure::Unreachable)
        }

        async fn jwt_bundles(&self) -> Result<Box<dyn JwtBundles>, AgentFailure> {
            self.opened.fetch_add(1, Ordering::SeqCst);
            let next = self.streams.lock().unwrap().pop_front();
            match next {
                Some(stream) => stream.map(|stream| Box::new(stream) as Box<dyn JwtBundles>),
                None => std::future::pending().await,
            }
        }
    }

    #[async_trait]
    impl JwtBundles for Stream {
        async fn next(&mut self) -> Result<Message, AgentFailure> {
            self.0.recv().await.unwrap_or(Err(AgentFailure::Unreachable))
        }
    }

    struct World {
        agent: Arc<FakeAgent>,
        clock: Arc<ManualClock>,
        bundles: SpireBundles,
    }

    impl World {
        fn new() -> Self {
            let (agent, clock) = (Arc::new(FakeAgent::default()), ManualClock::new(NOW));
            let bundles = SpireBundles::of(agent.clone(), &"example.org".parse().unwrap());
            let bundles = bundles.with_clock(clock.clone());
            Self { agent, clock, bundles }
        }

        /// The names of the keys that are trusted now.
        fn keys(&self) -> Result<Vec<String>, ErrorKind> {
            let keys = self.bundles.read(self.clock.now().unwrap()).map_err(|error| error.kind())?;
            Ok(keys.keys().iter().map(|key| key.kid().unwrap().to_string()).collect())
        }

        /// Time passes, on both clocks.
        async fn pass(&self, time: Duration) {
            self.clock.advance(time);
            tokio::time::sleep(time).await;
            settle().await;
        }

        async fn unknown(&self) -> Result<(), ErrorKind> {
            let asked = self.bundles.refresh(RefreshReason::UnknownKey(None)).await;
            asked.map_err(|error| error.kind())
        }
    }

    /// Lets the follower do what it can do now.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn names(names: &[&str]) -> Result<Vec<String>, ErrorKind> {
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn w18_nothing_is_asked_before_keys_are_needed_and_the_stream_ends_with_the_last_handle() {
        let world = World::new();
        let line = world.agent.says(ours(&[&OLD]));
        settle().await;
        assert_eq!((world.agent.opened(), world.keys()), (0, Err(ErrorKind::Unavailable)));
        world.bundles.prefetch().await.unwrap();
        assert_eq!((world.agent.opened(), world.keys()), (1, names(&["old"])));
        let clone = world.bundles.clone();
        drop(world.bundles);
        settle().await;
        assert!(!line.is_closed());
        drop(clone);
        settle().await;
        assert!(line.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn w26_each_word_of_the_agent_replaces_the_whole_set_at_once() {
        let world = World::new();
        let line = world.agent.says(ours(&[&OLD]));
        world.bundles.prefetch().await.unwrap();
        for (said, held) in [(&[&**OLD, &**NEW][..], &["old", "new"][..]), (&[&**NEW], &["new"])] {
            line.send(Ok(ours(said))).unwrap();
            settle().await;
            assert_eq!(world.keys(), names(held));
        }
        assert_eq!(world.agent.opened(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn l16_the_keys_of_other_trust_domains_are_not_read() {
        let world = World::new();
        let mut message = ours(&[&OLD]);
        for (domain, keys) in [
            ("spiffe://other.example", document(&[&NEW])),
            ("example.org", document(&[&NEW])),
            ("spiffe://example.org/", document(&[&NEW])),
            ("spiffe://broken.example", b"MARKED".to_vec()),
        ] {
            message.insert(domain.to_owned(), keys);
        }
        let _line = world.agent.says(message);
        world.bundles.prefetch().await.unwrap();
        assert_eq!(world.keys(), names(&["old"]));
    }

    #[tokio::test(start_paused = true)]
    async fn w26_a_word_without_a_usable_key_leaves_none() {
        let foreign = HashMap::from([("spiffe://other.example".to_owned(), document(&[&OLD]))]);
        let unreadable = HashMap::from([(OURS.to_owned(), b"{}".to_vec())]);
        let symmetric = ours(&[r#"{"kty":"oct","kid":"old","k":"AAAA"}"#]);
        for message in [HashMap::new(), ours(&[]), foreign, unreadable, symmetric] {
            let world = World::new();
            let line = world.agent.says(ours(&[&OLD]));
            world.bundles.prefetch().await.unwrap();
            line.send(Ok(message)).unwrap();
            settle().await;
            assert_eq!(world.keys(), Err(ErrorKind::Unavailable));
            // and it is asked again, after a pause
            let _line = world.agent.says(ours(&[&NEW]));
            world.pass(Duration::from_secs(1)).await;
            assert_eq!(world.keys(), names(&["new"]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn l28_while_the_agent_is_away_the_last_set_stands_for_a_quarter_of_an_hour() {
        let world = World::new();
        let line = world.agent.says(ours(&[&OLD]));
        world.bundles.prefetch().await.unwrap();
        world.agent.refuses(1000);
        drop(line);
        world.pass(MAX_BUNDLE_AGE - Duration::from_secs(1)).await;
        assert_eq!(world.keys(), names(&["old"]));
        assert!(world.bundles.prefetch().await.is_ok());
        // nobody can tell now that there is no such key
        assert_eq!(world.unknown().await, Err(ErrorKind::Unavailable));
        world.pass(Duration::from_secs(1)).await;
        assert_eq!(world.keys(), Err(ErrorKind::Unavailable));
        let error = world.bundles.prefetch().await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Unavailable, Some(COOLDOWN)));
        // it was tried again all the while, and not too often
        assert!((30..=80).contains(&world.agent.opened()), "{}", world.agent.opened());
        // and its return is noticed
        world.agent.streams.lock().unwrap().clear();
        let _line = world.agent.says(ours(&[&NEW]));
        world.pass(MAX_PAUSE).await;
        assert_eq!(world.keys(), names(&["new"]));
    }

    #[tokio::test(start_paused = true)]
    async fn l28_a_clock_that_is_set_back_keeps_no_set_fresh() {
        let world = World::new();
        let _line = world.agent.says(ours(&[&OLD]));
        world.bundles.prefetch().await.unwrap();
        let before = Timestamp::from_unix(NOW.as_unix() - MAX_BUNDLE_AGE.as_secs());
        assert!(world.bundles.read(before).is_err());
        assert!(world.bundles.read(before.plus(Duration::from_secs(1))).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn l28_an_agent_that_hangs_is_found_out() {
        let world = World::new();
        let line = world.agent.says(ours(&[&OLD]));
        world.bundles.prefetch().await.unwrap();
        let second = world.agent.says(ours(&[&NEW]));
        world.pass(ASK_ANEW_AFTER).await;
        assert_eq!((world.agent.opened(), world.keys()), (2, names(&["new"])));
        assert!(line.is_closed(), "one stream at a time, so an older word cannot come after a newer one");
        // from here on nothing answers, though the stream stays open
        world.pass(MAX_BUNDLE_AGE).await;
        assert_eq!(world.keys(), Err(ErrorKind::Unavailable));
        assert!(second.is_closed());
        let _third = world.agent.says(ours(&[&OLD]));
        world.pass(ASK_TIMEOUT + MAX_PAUSE).await;
        assert_eq!(world.keys(), names(&["old"]));
    }

    #[tokio::test(start_paused = true)]
    async fn w16_a_storm_of_unknown_keys_asks_once_and_waits_for_that() {
        let world = World::new();
        let _line = world.agent.says(ours(&[&OLD]));
        world.bundles.prefetch().await.unwrap();
        let _second = world.agent.says(ours(&[&OLD, &NEW]));
        let mut storm = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let bundles = world.bundles.clone();
            storm.spawn(async move {
                bundles.refresh(RefreshReason::UnknownKey(None)).await.unwrap();
                bundles.read(NOW).unwrap().by_kid("new").is_some()
            });
        }
        assert!(storm.join_all().await.into_iter().all(|found| found));
        assert_eq!((world.agent.opened(), world.keys()), (2, names(&["old", "new"])));
        // the agent is left alone for five seconds, and nobody waits
        let begun = Instant::now();
        world.clock.advance(COOLDOWN - Duration::from_secs(1));
        assert_eq!((world.unknown().await, world.agent.opened()), (Ok(()), 2));
        assert_eq!(begun.elapsed(), Duration::ZERO);
        world.clock.advance(Duration::from_secs(1));
        let _third = world.agent.says(ours(&[&OLD]));
        assert_eq!((world.unknown().await, world.agent.opened()), (Ok(()), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn w16_nobody_waits_for_an_agent_that_hangs() {
        let world = World::new();
        let begun = Instant::now();
        assert!(world.bundles.prefetch().await.is_err());
        assert!(begun.elapsed() <= ASK_TIMEOUT, "{:?}", begun.elapsed());
    }

    #[test]
    fn w16_nobody_waits_for_a_runtime_that_stands_still() {
        let world = World::new();
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (still, ours_now) = (runtime().unwrap(), runtime().unwrap());
        let _line = world.agent.says(ours(&[&OLD]));
        still.block_on(world.bundles.prefetch()).unwrap();
        // the follower lives on a runtime that nobody drives any more
        let asked = ours_now.block_on(async { timeout(ASK_TIMEOUT * 2, world.unknown()).await });
        assert_eq!(asked, Ok(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn w16_a_forgery_asks_nothing() {
        let world = World::new();
        let forged = world.bundles.refresh(RefreshReason::WrongSignature).await;
        assert!(matches!(forged, Err(KeyError::Unchanged)));
        settle().await;
        assert_eq!(world.agent.opened(), 0);
    }

    #[test]
    fn a_runtime_that_ends_takes_no_keys_with_it_and_the_next_one_follows_again() {
        let world = World::new();
        for set in [&OLD, &NEW] {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _line = world.agent.says(ours(&[set]));
            runtime.block_on(world.bundles.prefetch()).unwrap();
            drop(runtime);
            assert_eq!(world.keys().map(|keys| keys.len()), Ok(1));
        }
        assert_eq!((world.agent.opened(), world.keys()), (2, names(&["new"])));
    }
}
