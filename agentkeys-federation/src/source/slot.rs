use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentkeys_core::{AttestedIdentity, ErrorKind, Random, Timestamp};
use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::SourceError;
use super::obtain::Obtain;
use crate::aws::RoleSession;
use crate::credentials::AwsCredentials;

/// The credentials of one key: an immutable state that is read without a lock, and at most one exchange
/// under way, in a task of its own.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: ArcSwap<State>,
    /// Held for a look and never across an await.
    flight: Mutex<Option<Landing>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    held: Option<Held>,
    /// Few are, and what is kept of the others is as small as it can be.
    refused: Option<Box<Refused>>,
}

#[derive(Clone, Debug)]
struct Held {
    credentials: AwsCredentials,
    refresh_at: Timestamp,
}

/// The last exchange failed: nobody asks again for a while.
#[derive(Clone, Debug)]
struct Refused {
    error: SourceError,
    at: Timestamp,
    span: Duration,
}

type Landing = watch::Receiver<Option<Result<AwsCredentials, SourceError>>>;

/// What a state has for a caller.
enum Found {
    /// Credentials, or a refusal that stands.
    Kept(Result<AwsCredentials, SourceError>),
    /// Credentials that are due to be renewed.
    Due(AwsCredentials),
    Nothing,
}

impl Slot {
    pub(super) async fn credentials(
        self: &Arc<Self>,
        obtain: &Arc<Obtain>,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<AwsCredentials, SourceError> {
        let mut again = true;
        loop {
            let now = obtain.clock.now()?;
            if !identity.is_current(now) {
                return Err(SourceError::IdentityExpired);
            }
            let mut landing = match self.kept_or_join(now, obtain, identity, session)? {
                Ok(credentials) => return Ok(credentials),
                Err(landing) => landing,
            };
            let landed = landing.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            // this identity may have ended meanwhile
            if !identity.is_current(obtain.clock.now()?) {
                return Err(SourceError::IdentityExpired);
            }
            match landed.unwrap_or(Err(SourceError::Interrupted)) {
                // it was another caller's, whose identity ended
                Err(SourceError::IdentityExpired) if again => again = false,
                outcome => return outcome,
            }
        }
    }

    /// What can be said at once, or what to wait for.
    fn kept_or_join(
        self: &Arc<Self>,
        now: Timestamp,
        obtain: &Arc<Obtain>,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<Result<AwsCredentials, Landing>, SourceError> {
        loop {
            let seen = self.state.load();
            match seen.find(now) {
                Found::Kept(outcome) => return outcome.map(Ok),
                Found::Due(credentials) => {
                    // whoever asks when these are over meets its failure
                    let _in_background = self.join(&seen, obtain, identity, session);
                    return Ok(Ok(credentials));
                }
                Found::Nothing => {
                    if let Some(landing) = self.join(&seen, obtain, identity, session)? {
                        return Ok(Err(landing));
                    }
                }
            }
        }
    }

    /// The exchange that is under way, or a new one; none where one has landed since `seen`.
    fn join(
        self: &Arc<Self>,
        seen: &Arc<State>,
        obtain: &Arc<Obtain>,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<Option<Landing>, SourceError> {
        let mut flight = self.lock();
        // one whose task is gone without an outcome has a closed channel
        if let Some(landing) = flight.as_ref().filter(|landing| landing.has_changed().is_ok()) {
            return Ok(Some(landing.clone()));
        }
        if !Arc::ptr_eq(seen, &self.state.load()) {
            return Ok(None);
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| SourceError::NoRuntime)?;
        let (sender, landing) = watch::channel(None);
        *flight = Some(landing.clone());
        let (slot, obtain) = (Arc::clone(self), Arc::clone(obtain));
        let (identity, session) = (identity.clone(), session.clone());
        runtime.spawn(async move {
            let outcome = obtain.obtain(&identity, &session).await;
            slot.land(&obtain, outcome.clone());
            sender.send_replace(Some(outcome));
        });
        Ok(Some(landing))
    }

    fn land(&self, obtain: &Obtain, outcome: Result<AwsCredentials, SourceError>) {
        let mut flight = self.lock();
        let now = obtain.clock.now().unwrap_or(Timestamp::from_unix(0));
        let state = match outcome {
            Ok(credentials) => {
                let held = Some(Held::new(credentials, now, &*obtain.random));
                State { held, refused: None }
            }
            Err(error) => {
                let denied = error.kind() == ErrorKind::Denied;
                // who is denied now gets nothing of before
                let held = self.state.load().held.clone().filter(|_| !denied);
                State { held, refused: Refused::of(error, now).map(Box::new) }
            }
        };
        self.state.store(Arc::new(state));
        *flight = None;
    }

    /// What is kept and need not be renewed yet.
    pub(super) fn kept(&self, now: Timestamp) -> Option<AwsCredentials> {
        match self.state.load().find(now) {
            Found::Kept(outcome) => outcome.ok(),
            Found::Due(_) | Found::Nothing => None,
        }
    }

    /// When what is kept ends; the epoch where nothing is.
    pub(super) fn ends_at(&self) -> Timestamp {
        let held = self.state.load().held.as_ref().map(|held| held.credentials.expires_at());
        held.unwrap_or(Timestamp::from_unix(0))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Landing>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, now: Timestamp) -> Found {
        let refused = self.refused.as_ref().filter(|refused| refused.stands(now));
        match (self.held.as_ref().filter(|held| held.is_good(now)), refused) {
            (Some(held), None) if now >= held.refresh_at => Found::Due(held.credentials.clone()),
            (Some(held), _) => Found::Kept(Ok(held.credentials.clone())),
            (None, Some(refused)) => Found::Kept(Err(refused.error.clone())),
            (None, None) => Found::Nothing,
        }
    }
}

impl Held {
    fn new(credentials: AwsCredentials, now: Timestamp, random: &dyn Random) -> Self {
        let ends = credentials.expires_at();
        let early = random.jittered(REFRESH_SPREAD * 2) - REFRESH_SPREAD;
        // those that live for less than that are still used for half of their life
        let refresh_at = ends.minus(REFRESH_MARGIN + early).max(now.plus(ends.since(now) / 2));
        Self { credentials, refresh_at }
    }

    fn is_good(&self, now: Timestamp) -> bool {
        now.plus(MIN_LEFT) < self.credentials.expires_at()
    }
}

impl Refused {
    /// None for what says nothing of the next identity of the same agent.
    fn of(error: SourceError, at: Timestamp) -> Option<Self> {
        if matches!(error, SourceError::IdentityExpired) {
            return None;
        }
        let span = error.retry_after().unwrap_or(REFUSED_FOR);
        Some(Self { error, at, span })
    }

    /// A clock that ran ahead and was set back must not keep a refusal until that time comes again.
    fn stands(&self, now: Timestamp) -> bool {
        now.since(self.at).max(self.at.since(now)) < self.span
    }
}

/// Credentials are renewed when less than this is left, and a random time of up to a minute before: AWS SDKs
/// renew within the last five minutes.
pub const REFRESH_MARGIN: Duration = Duration::from_secs(300);

/// Credentials with no more than this left are not served: who gets them must have time to use them.
pub const MIN_LEFT: Duration = Duration::from_secs(60);

/// For how long a denial or a misconfiguration is remembered, so that a caller in a loop does not become a
/// loop at the STS. What is unavailable is left alone for its own `retry_after`.
pub const REFUSED_FOR: Duration = Duration::from_secs(10);

/// By how much sources that began together are pulled apart.
const REFRESH_SPREAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use agentkeys_core::testing::{ManualClock, SeededRandom};
    use agentkeys_core::{
        Assurance, EvidenceKind, Issuer, KeyRing, LocalSigner, MintError, Minter, RandomError, SystemRandom,
        Token,
    };
    use async_trait::async_trait;

    use super::*;
    use crate::exchanger::{ExchangeError, Exchanger};

    fn at(second: u64) -> Timestamp {
        Timestamp::from_unix(second)
    }

    fn credentials(ends: u64) -> AwsCredentials {
        AwsCredentials::new("ASIAEXAMPLE", "secret".into(), "token".into(), at(ends))
    }

    #[derive(Debug)]
    struct Always(u8);

    impl Random for Always {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
            buffer.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn short_lives_are_used_for_half_of_their_time() {
        for (ends, drawn, refresh_at) in
            [(1900, 0, 1600), (1900, 0xff, 1540), (1600, 0, 1300), (1400, 0, 1200), (1100, 0xff, 1050)]
        {
            let held = Held::new(credentials(ends), at(1000), &Always(drawn));
            assert_eq!(held.refresh_at, at(refresh_at), "{ends} {drawn}");
        }
    }

    #[test]
    fn an_error_of_one_identity_is_not_remembered_against_the_next() {
        assert!(Refused::of(MintError::Expired.into(), at(1000)).is_none());
        for (kept, span) in [
            (SourceError::from(ExchangeError::Denied), 10),
            (ExchangeError::TokenExpired.into(), 10),
            (MintError::SelfAsserted.into(), 10),
            (ExchangeError::Throttled.into(), 5),
            (SourceError::Timeout, 1),
        ] {
            assert_eq!(Refused::of(kept, at(1000)).unwrap().span.as_secs(), span);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_refusal() {
        let refused = Refused::of(ExchangeError::Denied.into(), at(1000)).unwrap();
        for (now, stands) in
            [(989, false), (990, false), (991, true), (1000, true), (1009, true), (1010, false)]
        {
            assert_eq!(refused.stands(at(now)), stands, "{now}");
        }
    }

    #[derive(Debug)]
    struct Never;

    #[async_trait]
    impl Exchanger for Never {
        type Target = RoleSession;
        type Credentials = AwsCredentials;

        async fn exchange(&self, _: &Token, _: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn who_looked_before_an_exchange_landed_looks_again_and_begins_none() {
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let issuer = Issuer::parse("https://broker.example.org").unwrap();
        let minter = Minter::new(issuer, KeyRing::new(Arc::new(signer)));
        let mut obtain = Obtain::new(minter, Arc::new(Never));
        obtain.clock = ManualClock::new(at(1_800_000_000));
        obtain.random = SeededRandom::new(1);
        let obtain = Arc::new(obtain);
        let (kind, now) = (EvidenceKind::from_static("aws-stsweb"), at(1_800_000_000));
        let (root, agent) = ("cluster".parse().unwrap(), "blue".parse().unwrap());
        let ends = now.plus(Duration::from_secs(60));
        let identity =
            AttestedIdentity::assertion(kind, root, agent, Assurance::PlatformAttested, now, ends).unwrap();
        let session = RoleSession::new("arn:aws:iam::123456789012:role/x".parse().unwrap());

        let slot = Arc::new(Slot::default());
        let seen = slot.state.load_full();
        slot.land(&obtain, Ok(credentials(1_800_000_900)));
        assert!(slot.join(&seen, &obtain, &identity, &session).unwrap().is_none());
        let kept = slot.kept_or_join(now, &obtain, &identity, &session).unwrap();
        assert_eq!(kept.unwrap().expires_at(), at(1_800_000_900));
        let seen = slot.state.load_full();
        assert!(slot.join(&seen, &obtain, &identity, &session).unwrap().is_some());
    }
}
