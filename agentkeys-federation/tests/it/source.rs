use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{Assurance, ErrorKind, MintError};
use agentkeys_federation::{CredentialSource, ExchangeError, SourceError};

use crate::support::{Counting, World, settled};

fn source(world: &World, exchanger: &Arc<Counting>) -> CredentialSource {
    let (minter, identity, session) = (world.minter.clone(), world.identity.clone(), world.session.clone());
    CredentialSource::new(minter, exchanger.clone(), identity, session)
        .with_clock(world.clock.clone())
        .with_random(Arc::new(world.jitter))
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_exchange_and_the_rest_is_kept() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let source = source(&world, &exchanger);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.credentials().await.unwrap().expires_at() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().as_unix(), 1_800_000_900);
    }
    source.credentials().await.unwrap();
    assert_eq!(exchanger.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn w74_credentials_are_renewed_in_the_background_while_the_old_ones_are_served() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let source = source(&world, &exchanger);
    let first = source.credentials().await.unwrap();
    world.clock.advance(Duration::from_secs(599));
    source.credentials().await.unwrap();
    settled().await;
    assert_eq!(exchanger.calls(), 1, "301 seconds are left and the jitter is none");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(source.credentials().await.unwrap().expires_at(), first.expires_at(), "nobody waits");
    settled().await;
    assert_eq!(exchanger.calls(), 2);
    assert_eq!(source.credentials().await.unwrap().expires_at().as_unix(), 1_800_001_500);
}

#[tokio::test(start_paused = true)]
async fn w74_the_jitter_pulls_refreshes_apart_by_up_to_a_minute() {
    let mut world = World::new();
    world.jitter.0 = 0xff;
    let exchanger = Counting::new(&world);
    let source = source(&world, &exchanger);
    source.credentials().await.unwrap();
    world.clock.advance(Duration::from_secs(539));
    source.credentials().await.unwrap();
    settled().await;
    assert_eq!(exchanger.calls(), 1);
    world.clock.advance(Duration::from_secs(1));
    source.credentials().await.unwrap();
    settled().await;
    assert_eq!(exchanger.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn w74_while_the_sts_is_down_the_old_ones_are_served_until_their_last_minute() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let source = source(&world, &exchanger);
    source.credentials().await.unwrap();
    exchanger.fail(Some(ExchangeError::Unavailable));
    world.clock.advance(Duration::from_secs(700));
    for _ in 0..20 {
        source.credentials().await.unwrap();
        settled().await;
    }
    assert_eq!(exchanger.calls(), 2, "one failed refresh, and then the STS is left alone");
    world.clock.advance(Duration::from_secs(1));
    source.credentials().await.unwrap();
    settled().await;
    assert_eq!(exchanger.calls(), 3, "for as long as the error says");
    world.clock.advance(Duration::from_secs(138));
    source.credentials().await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    let refused = source.credentials().await.unwrap_err();
    assert!(matches!(refused, SourceError::Exchange(ExchangeError::Unavailable)), "60 seconds are left");
    assert_eq!((refused.kind(), refused.retry_after().is_some()), (ErrorKind::Unavailable, true));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_past_the_identitys_not_after() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let source = source(&world, &exchanger);
    source.credentials().await.unwrap();
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(599));
        source.credentials().await.unwrap();
        settled().await;
    }
    world.clock.advance(Duration::from_secs(2));
    source.credentials().await.unwrap();
    settled().await;
    world.clock.advance(Duration::from_secs(1));
    // the credentials would work for minutes more; the identity behind them is gone
    let calls = exchanger.calls();
    let refused = source.credentials().await.unwrap_err();
    assert!(matches!(refused, SourceError::IdentityExpired), "{refused:?}");
    assert_eq!((refused.kind(), refused.retry_after()), (ErrorKind::Invalid, None));
    settled().await;
    assert_eq!(exchanger.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn r41_an_identity_that_ends_while_its_exchange_is_under_way_gets_nothing() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let source = source(&world, &exchanger);
    world.clock.advance(Duration::from_secs(1799));
    let asking = source.credentials();
    let ends = async {
        settled().await;
        world.clock.advance(Duration::from_secs(1));
    };
    exchanger.take(Duration::from_secs(1));
    let (refused, ()) = tokio::join!(asking, ends);
    assert!(matches!(refused.unwrap_err(), SourceError::IdentityExpired));
}

#[tokio::test(start_paused = true)]
async fn w64_an_expired_token_is_minted_anew_once_and_never_twice() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    exchanger.fail(Some(ExchangeError::TokenExpired));
    let source = source(&world, &exchanger);
    let refused = source.credentials().await.unwrap_err();
    assert!(matches!(refused, SourceError::Exchange(ExchangeError::TokenExpired)));
    let jtis = exchanger.jtis();
    assert_eq!(jtis.len(), 2);
    assert_ne!(jtis[0], jtis[1], "another token");
    for other in [ExchangeError::Denied, ExchangeError::TokenInvalid, ExchangeError::Unavailable] {
        world.clock.advance(Duration::from_secs(60));
        exchanger.fail(Some(other));
        let before = exchanger.calls();
        source.credentials().await.unwrap_err();
        assert_eq!(exchanger.calls(), before + 1, "{other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn w9_a_source_of_an_agent_that_named_itself_says_what_the_minter_says() {
    let mut world = World::new();
    world.identity = world.identity_of("blue", Assurance::SelfAsserted);
    let exchanger = Counting::new(&world);
    let refused = source(&world, &exchanger).credentials().await.unwrap_err();
    assert!(matches!(&refused, SourceError::Mint(error) if matches!(**error, MintError::SelfAsserted)));
    assert_eq!((refused.kind(), exchanger.calls()), (ErrorKind::Denied, 0));
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let world = World::new();
    let exchanger = Counting::new(&world);
    let source = source(&world, &exchanger);
    let asking = std::pin::pin!(source.credentials());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(refused) = asking.poll(&mut context) else { panic!("it waits") };
    assert!(matches!(refused.unwrap_err(), SourceError::NoRuntime));
}

#[tokio::test(start_paused = true)]
async fn a_source_is_an_aws_sdk_credentials_provider() {
    use aws_sdk_sts::config::ProvideCredentials as _;
    let world = World::new();
    let source = source(&world, &Counting::new(&world));
    let credentials = source.provide_credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
    assert_eq!(credentials.session_token(), Some("MARKED-session"));
    assert_eq!(
        credentials.expiry().unwrap(),
        agentkeys_core::Timestamp::from_unix(1_800_000_900).to_system_time().unwrap()
    );
}
