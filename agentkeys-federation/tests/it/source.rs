use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentkeys_core::{MintError, Token};
use agentkeys_federation::{
    AwsCredentials, CredentialSource, ExchangeError, Exchanger, RoleSession, SourceError,
};
use async_trait::async_trait;

use crate::support::{STS, World, success};

/// Answers each exchange through the real exchanger and counts them.
#[derive(Debug)]
struct Counting {
    world: World2,
    calls: AtomicUsize,
}

#[derive(Debug)]
struct World2 {
    http: Arc<agentkeys_core::testing::FakeHttp>,
    exchanger: agentkeys_federation::AwsExchanger,
    expirations: Vec<&'static str>,
}

#[async_trait]
impl Exchanger for Counting {
    type Target = RoleSession;
    type Credentials = AwsCredentials;

    async fn exchange(&self, token: &Token, target: &RoleSession) -> Result<AwsCredentials, ExchangeError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let expiration = self.world.expirations[call.min(self.world.expirations.len() - 1)];
        self.world.http.answer(STS, 200, success(token, target.role(), expiration));
        self.world.exchanger.exchange(token, target).await
    }
}

fn source(world: &World, expirations: Vec<&'static str>) -> (CredentialSource, Arc<Counting>) {
    let inner = World2 { http: world.http.clone(), exchanger: world.exchanger.clone(), expirations };
    let exchanger = Arc::new(Counting { world: inner, calls: AtomicUsize::new(0) });
    let source = CredentialSource::with_clock(
        world.minter.clone(),
        exchanger.clone(),
        world.identity.clone(),
        world.session.clone(),
        world.clock.clone(),
    );
    (source, exchanger)
}

#[tokio::test]
async fn concurrent_callers_share_one_exchange_and_the_rest_is_kept() {
    let world = World::new();
    let (source, exchanger) = source(&world, vec!["2027-01-15T08:15:00Z"]);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.credentials().await.unwrap().expires_at() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().as_unix(), 1_800_000_900);
    }
    assert_eq!(exchanger.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn w74_credentials_are_renewed_before_their_end() {
    let world = World::new();
    let (source, exchanger) = source(&world, vec!["2027-01-15T08:15:00Z", "2027-01-15T08:25:00Z"]);
    source.credentials().await.unwrap();
    world.clock.advance(Duration::from_secs(599));
    source.credentials().await.unwrap();
    assert_eq!(exchanger.calls.load(Ordering::SeqCst), 1, "301 seconds are left");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(source.credentials().await.unwrap().expires_at().as_unix(), 1_800_001_500);
    assert_eq!(exchanger.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nothing_is_served_past_the_identitys_not_after() {
    let world = World::new();
    let (source, exchanger) = source(&world, vec!["2027-01-15T08:15:00Z", "2027-01-15T08:44:00Z"]);
    source.credentials().await.unwrap();
    world.clock.advance(Duration::from_secs(1799));
    source.credentials().await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    // the credentials would work for 14 minutes more; the identity behind them is gone
    let refused = source.credentials().await.unwrap_err();
    assert!(matches!(refused, SourceError::Mint(MintError::Expired)), "{refused:?}");
    assert_eq!(exchanger.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_source_is_an_aws_sdk_credentials_provider() {
    use aws_sdk_sts::config::ProvideCredentials as _;
    let world = World::new();
    let (source, _) = source(&world, vec!["2027-01-15T08:15:00Z"]);
    let credentials = source.provide_credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), "ASIAEXAMPLE");
    assert_eq!(credentials.session_token(), Some("MARKED-session"));
    assert_eq!(
        credentials.expiry().unwrap(),
        agentkeys_core::Timestamp::from_unix(1_800_000_900).to_system_time().unwrap()
    );
}
