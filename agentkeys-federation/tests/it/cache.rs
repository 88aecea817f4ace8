use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentkeys_core::{Assurance, AttestedIdentity, ErrorKind};
use agentkeys_federation::{
    CredentialCache, ExchangeError, RevocationCheck, RevocationError, RoleSession, SessionDuration,
    SessionKey, SessionTags, SourceError, SourceIdentity, TagsForm,
};
use async_trait::async_trait;
use proptest::prelude::*;

use crate::support::{Counting, NOW, World, role, settled};

fn cache(world: &World, exchanger: &Arc<Counting>, capacity: usize) -> CredentialCache {
    CredentialCache::new(world.minter.clone(), exchanger.clone(), NonZeroUsize::new(capacity).unwrap())
        .with_clock(world.clock.clone())
        .with_random(Arc::new(world.jitter))
}

fn session(identity: &AttestedIdentity) -> RoleSession {
    RoleSession::new(role()).with_tags(SessionTags::of(identity))
}

async fn storm() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let held = exchanger.hold().await;
    let cache = cache(&world, &exchanger, 100);
    let actors: Vec<_> =
        (0..100).map(|at| world.identity_of(&format!("actor-{at}"), Assurance::PlatformAttested)).collect();
    let callers: Vec<_> = (0..10_000)
        .map(|at| {
            let (cache, identity) = (cache.clone(), actors[at % 100].clone());
            tokio::spawn(async move { cache.credentials(&identity, &session(&identity)).await.map(|_| ()) })
        })
        .collect();
    while exchanger.calls() < 100 {
        tokio::task::yield_now().await;
    }
    drop(held);
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!((exchanger.calls(), cache.len()), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_for_a_hundred_actors_are_a_hundred_exchanges() {
    storm().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_requests_on_four_threads_are_a_hundred_exchanges_too() {
    storm().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_does_not_take_the_exchange_with_it() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    exchanger.take(Duration::from_secs(5));
    let cache = cache(&world, &exchanger, 8);
    let session = session(&world.identity);
    let first = tokio::time::timeout(Duration::from_secs(1), cache.credentials(&world.identity, &session));
    assert!(first.await.is_err(), "it gave up");
    cache.credentials(&world.identity, &session).await.unwrap();
    assert_eq!(exchanger.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_panics_is_interrupted_and_the_next_caller_begins_anew() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let cache = cache(&world, &exchanger, 8);
    let session = session(&world.identity);
    exchanger.panic_once();
    let refused = cache.credentials(&world.identity, &session).await.unwrap_err();
    assert!(matches!(refused, SourceError::Interrupted), "{refused:?}");
    cache.credentials(&world.identity, &session).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_remembered_for_ten_seconds_and_no_longer() {
    for (error, span) in [
        (ExchangeError::Denied, 10),
        (ExchangeError::TokenRejected, 10),
        (ExchangeError::TokenInvalid, 10),
        (ExchangeError::Refused, 10),
        (ExchangeError::Throttled, 5),
        (ExchangeError::Unavailable, 1),
    ] {
        let world = World::new();
        let exchanger = Counting::new(&world);
        let cache = cache(&world, &exchanger, 8);
        let session = session(&world.identity);
        exchanger.fail(Some(error));
        for _ in 0..100 {
            let refused = cache.credentials(&world.identity, &session).await.unwrap_err();
            assert!(matches!(refused, SourceError::Exchange(known) if known == error));
        }
        world.clock.advance(Duration::from_secs(span - 1));
        cache.credentials(&world.identity, &session).await.unwrap_err();
        assert_eq!(exchanger.calls(), 1, "{error:?}");
        exchanger.fail(None);
        world.clock.advance(Duration::from_secs(1));
        cache.credentials(&world.identity, &session).await.unwrap();
        assert_eq!(exchanger.calls(), 2, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_refresh_drops_what_was_kept_and_a_misconfigured_one_does_not() {
    for (error, served) in [
        (ExchangeError::Denied, false),
        (ExchangeError::TokenRejected, false),
        (ExchangeError::Refused, true),
        (ExchangeError::Unavailable, true),
    ] {
        let world = World::new();
        let exchanger = Counting::new(&world);
        let cache = cache(&world, &exchanger, 8);
        let session = session(&world.identity);
        cache.credentials(&world.identity, &session).await.unwrap();
        world.clock.advance(Duration::from_secs(601));
        exchanger.fail(Some(error));
        cache.credentials(&world.identity, &session).await.unwrap();
        settled().await;
        assert_eq!(cache.credentials(&world.identity, &session).await.is_ok(), served, "{error:?}");
    }
}

#[derive(Debug, Default)]
struct Revoked(std::sync::Mutex<Option<RevocationError>>, AtomicUsize);

impl Revoked {
    fn say(&self, said: Option<RevocationError>) {
        *self.0.lock().unwrap() = said;
    }
}

#[async_trait]
impl RevocationCheck for Revoked {
    async fn check(
        &self,
        _identity: &AttestedIdentity,
        _session: &RoleSession,
    ) -> Result<(), RevocationError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.lock().unwrap().map_or(Ok(()), Err)
    }
}

#[tokio::test(start_paused = true)]
async fn revocation_is_asked_before_every_exchange_and_fails_closed() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let check = Arc::new(Revoked::default());
    let cache = cache(&world, &exchanger, 8).with_revocation(check.clone());
    let session = session(&world.identity);
    for (said, kind) in [
        (RevocationError::Revoked, ErrorKind::Denied),
        (RevocationError::Unavailable, ErrorKind::Unavailable),
    ] {
        check.say(Some(said));
        let refused = cache.credentials(&world.identity, &session).await.unwrap_err();
        assert!(matches!(refused, SourceError::Revocation(known) if known == said));
        assert_eq!((refused.kind(), exchanger.calls()), (kind, 0));
        world.clock.advance(Duration::from_secs(10));
    }
    check.say(None);
    cache.credentials(&world.identity, &session).await.unwrap();
    cache.credentials(&world.identity, &session).await.unwrap();
    assert_eq!((check.1.load(Ordering::SeqCst), exchanger.calls()), (3, 1), "not for what is kept");

    check.say(Some(RevocationError::Unavailable));
    world.clock.advance(Duration::from_secs(601));
    cache.credentials(&world.identity, &session).await.unwrap();
    settled().await;
    cache.credentials(&world.identity, &session).await.unwrap();
    check.say(Some(RevocationError::Revoked));
    world.clock.advance(Duration::from_secs(10));
    cache.credentials(&world.identity, &session).await.unwrap();
    settled().await;
    let refused = cache.credentials(&world.identity, &session).await.unwrap_err();
    assert!(matches!(refused, SourceError::Revocation(RevocationError::Revoked)), "{refused:?}");
    assert_eq!(exchanger.calls(), 1, "neither of them was followed by an exchange");
}

#[derive(Debug)]
struct Hangs;

#[async_trait]
impl RevocationCheck for Hangs {
    async fn check(
        &self,
        _identity: &AttestedIdentity,
        _session: &RoleSession,
    ) -> Result<(), RevocationError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_hangs_is_a_timeout_and_no_hang() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let cache = cache(&world, &exchanger, 8).with_revocation(Arc::new(Hangs));
    let begun = tokio::time::Instant::now();
    let refused = cache.credentials(&world.identity, &session(&world.identity)).await.unwrap_err();
    assert!(matches!(refused, SourceError::Timeout));
    assert_eq!(begun.elapsed().as_secs(), 15);
    assert_eq!((refused.kind(), exchanger.calls()), (ErrorKind::Unavailable, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_exchanged_anew() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let cache = cache(&world, &exchanger, 8);
    let session = session(&world.identity);
    cache.credentials(&world.identity, &session).await.unwrap();
    cache.forget(&SessionKey::of(&world.identity, &session));
    assert!(cache.is_empty());
    cache.credentials(&world.identity, &session).await.unwrap();
    assert_eq!(exchanger.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_full_cache_drops_what_ends_first_and_never_what_is_under_way() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let cache = cache(&world, &exchanger, 2);
    let agent = |name: &str| world.identity_of(name, Assurance::PlatformAttested);
    let (one, two, three, four) = (agent("one"), agent("two"), agent("three"), agent("four"));
    cache.credentials(&one, &session(&one)).await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    cache.credentials(&two, &session(&two)).await.unwrap();
    cache.credentials(&three, &session(&three)).await.unwrap();
    assert_eq!((cache.len(), exchanger.calls()), (2, 3));
    cache.credentials(&two, &session(&two)).await.unwrap();
    assert_eq!(exchanger.calls(), 3, "the first went");

    exchanger.take(Duration::from_secs(5));
    let under_way = [&one, &four].map(|identity| {
        let (cache, identity) = (cache.clone(), (*identity).clone());
        tokio::spawn(async move { cache.credentials(&identity, &session(&identity)).await.map(|_| ()) })
    });
    settled().await;
    let refused = cache.credentials(&two, &session(&two)).await.unwrap_err();
    assert!(matches!(refused, SourceError::Busy), "{refused:?}");
    for caller in under_way {
        caller.await.unwrap().unwrap();
    }
    assert_eq!((cache.len(), exchanger.calls()), (2, 5));
    cache.credentials(&two, &session(&two)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_next_identity_of_an_agent_is_not_refused_for_the_last_ones_end() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let cache = cache(&world, &exchanger, 8);
    let session = session(&world.identity);
    exchanger.take(Duration::from_secs(2));
    exchanger.fail(Some(ExchangeError::TokenExpired));
    world.clock.advance(Duration::from_secs(1799));
    let later = world.identity_from("blue", NOW.plus(Duration::from_secs(1000)));
    let ends = async {
        settled().await;
        world.clock.advance(Duration::from_secs(1));
        exchanger.fail(None);
    };
    let (old, new, ()) = tokio::join!(
        cache.credentials(&world.identity, &session),
        cache.credentials(&later, &session),
        ends,
    );
    assert!(matches!(old.unwrap_err(), SourceError::IdentityExpired));
    new.unwrap();
}

#[tokio::test(start_paused = true)]
async fn w9_an_agent_that_named_itself_is_not_served_what_the_platform_attested() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let cache = cache(&world, &exchanger, 8);
    let session = session(&world.identity);
    cache.credentials(&world.identity, &session).await.unwrap();
    let pretender = world.identity_of("blue", Assurance::SelfAsserted);
    assert_eq!(pretender.subject(), world.identity.subject());
    let refused = cache.credentials(&pretender, &session).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert_eq!(exchanger.calls(), 1);
}

/// Every part of a key, spelled so that parts without their lengths would run into each other.
#[derive(Clone, Debug, PartialEq)]
struct Parts {
    kind: &'static str,
    root: String,
    tenant: Option<String>,
    agent: String,
    instance: Option<String>,
    assurance: Assurance,
    role: String,
    tags: std::collections::BTreeMap<String, (String, bool)>,
    flat: bool,
    seconds: u32,
}

impl Parts {
    fn key(&self) -> SessionKey {
        let mut identity = AttestedIdentity::assertion(
            self.kind.parse().unwrap(),
            self.root.parse().unwrap(),
            self.agent.parse().unwrap(),
            self.assurance,
            NOW,
            NOW.plus(Duration::from_secs(60)),
        )
        .unwrap();
        if let Some(tenant) = &self.tenant {
            identity = identity.with_tenant(tenant.parse().unwrap());
        }
        if let Some(instance) = &self.instance {
            identity = identity.with_instance(instance.parse().unwrap());
        }
        let mut tags = SessionTags::new();
        for (key, (value, transitive)) in &self.tags {
            tags = tags.with(key, value, *transitive).unwrap();
        }
        let session = RoleSession::new(self.role.parse().unwrap())
            .with_tags(tags)
            .with_tags_form(if self.flat { TagsForm::Flat } else { TagsForm::Nested })
            .with_duration(SessionDuration::from_secs(self.seconds).unwrap());
        SessionKey::of(&identity, &session)
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    let name = || "[ab]{1,3}";
    let tags = prop::collection::btree_map("[ab]{1,2}", ("[ab]{0,2}", any::<bool>()), 0..3);
    let role = ("aws(-cn)?", "[12]{12}", "(a/)?[ab]{1,2}");
    let role =
        role.prop_map(|(partition, account, name)| format!("arn:{partition}:iam::{account}:role/{name}"));
    let assurance = prop::bool::ANY
        .prop_map(|attested| if attested { Assurance::PlatformAttested } else { Assurance::SelfAsserted });
    let who = (prop::sample::select(vec!["a", "ab"]), name(), prop::option::of(name()), name());
    let how = (prop::option::of(name()), assurance, role, tags, any::<bool>(), 900_u32..902);
    (who, how).prop_map(|((kind, root, tenant, agent), (instance, assurance, role, tags, flat, seconds))| {
        Parts { kind, root, tenant, agent, instance, assurance, role, tags, flat, seconds }
    })
}

proptest! {
    #[test]
    fn w29_two_keys_are_equal_only_if_every_part_is(one in parts(), other in parts(), taken in 0_u16..1024) {
        // most parts are the same, so that few differences have to show
        let mut mixed = one.clone();
        let take = |part: u16| taken >> part & 1 == 1;
        if take(0) { mixed.kind = other.kind; }
        if take(1) { mixed.root = other.root; }
        if take(2) { mixed.tenant = other.tenant; }
        if take(3) { mixed.agent = other.agent; }
        if take(4) { mixed.instance = other.instance; }
        if take(5) { mixed.assurance = other.assurance; }
        if take(6) { mixed.role = other.role; }
        if take(7) { mixed.tags = other.tags; }
        if take(8) { mixed.flat = other.flat; }
        if take(9) { mixed.seconds = other.seconds; }
        prop_assert_eq!(one == mixed, one.key() == mixed.key());
    }
}

#[test]
fn w29_a_change_of_any_one_part_is_another_key() {
    let all = Parts {
        kind: "a",
        root: "r".to_owned(),
        tenant: None,
        agent: "blue".to_owned(),
        instance: None,
        assurance: Assurance::PlatformAttested,
        role: role().as_str().to_owned(),
        tags: [("k".to_owned(), ("v".to_owned(), false))].into(),
        flat: false,
        seconds: 900,
    };
    let changed: Vec<fn(&mut Parts)> = vec![
        |_| {},
        |parts| parts.kind = "b",
        |parts| parts.root.push('x'),
        |parts| parts.tenant = Some("t".to_owned()),
        |parts| parts.agent.push('x'),
        |parts| parts.instance = Some("i".to_owned()),
        |parts| parts.assurance = Assurance::SelfAsserted,
        |parts| parts.role = parts.role.replace("arn:aws:", "arn:aws-cn:"),
        |parts| parts.role = parts.role.replace("123456789012", "123456789013"),
        |parts| parts.role = parts.role.replace("agents/", "other/"),
        |parts| parts.role.push('x'),
        |parts| parts.tags.clear(),
        |parts| parts.tags = [("l".to_owned(), ("v".to_owned(), false))].into(),
        |parts| parts.tags = [("k".to_owned(), ("w".to_owned(), false))].into(),
        |parts| parts.tags = [("k".to_owned(), ("v".to_owned(), true))].into(),
        // these would be the same text one after the other
        |parts| (parts.kind, parts.root) = ("a-r", "x".to_owned()),
        |parts| (parts.kind, parts.root) = ("a", "-rx".to_owned()),
        |parts| parts.tags = [("kv".to_owned(), (String::new(), false))].into(),
        |parts| (parts.tenant, parts.agent) = (Some("bl".to_owned()), "ue".to_owned()),
        |parts| (parts.agent, parts.instance) = ("bl".to_owned(), Some("ue".to_owned())),
        |parts| parts.tags.extend([("k2".to_owned(), ("v2".to_owned(), false))]),
        |parts| parts.flat = true,
        |parts| parts.seconds = 901,
    ];
    let keys: HashSet<SessionKey> = changed
        .iter()
        .map(|change| {
            let mut parts = all.clone();
            change(&mut parts);
            parts.key()
        })
        .collect();
    assert_eq!(keys.len(), changed.len());
}

#[test]
fn w73_sessions_of_two_source_identities_share_nothing() {
    let world = World::new();
    let session = session(&world.identity);
    let named = |session_id: &str| {
        let source = SourceIdentity::agent("acme", session_id).unwrap();
        SessionKey::of(&world.identity, &session.clone().with_source_identity(source))
    };
    let unattributed = SessionKey::of(&world.identity, &session);
    assert_ne!(named("one"), unattributed);
    assert_ne!(named("one"), named("two"));
    assert_eq!(named("one"), named("one"));
}
