//! Tables of keys, through the verifier and its keys.

use std::sync::Arc;

use agentkeys_core::jose::{Algorithm, KeyTables, TablesHealth, VERIFIES_BEFORE_TABLE};
use agentkeys_core::testing::{FakeHttp, FakeIssuer};
use agentkeys_core::{
    Audience, CacheAges, Clock as _, JwksCache, KeySource as _, NoClaims, Profile, RefreshReason, StaticKeys,
    Verifier, VerifyError,
};

use crate::support::{AUDIENCE, NOW, at, claims, clock, fake, other, refused, verifier, with};

fn settled(tables: &KeyTables) -> TablesHealth {
    while tables.health().building > 0 {
        std::thread::yield_now();
    }
    tables.health()
}

fn verify(verifier: &Verifier, token: &str) -> Result<(), VerifyError> {
    verifier.verify_with_known_keys::<NoClaims>(token, at(NOW)).map(drop)
}

fn verify_often(verifier: &Verifier, token: &str) {
    for _ in 0..VERIFIES_BEFORE_TABLE {
        verify(verifier, token).unwrap();
    }
}

#[test]
fn with_tables_every_token_has_the_same_verdict() {
    let tables = KeyTables::on();
    let fast = verifier().with_key_tables(tables.clone());
    for algorithm in Algorithm::ALL {
        verify_often(&fast, &fake().sign(*algorithm, &claims()));
    }
    // RSA has none
    assert_eq!(settled(&tables).tables, 3);
    for algorithm in Algorithm::ALL {
        let token = fake().sign(*algorithm, &claims());
        verify(&fast, &token).unwrap();
        refused!(verify(&fast, &fake().sign(*algorithm, &with("exp", NOW - 300))), VerifyError::Expired);
        refused!(verify(&fast, &other().sign(*algorithm, &claims())), VerifyError::Signature);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let changed = if signature.starts_with('A') { "B" } else { "A" };
        refused!(verify(&fast, &format!("{signed}.{changed}{}", &signature[1..])), VerifyError::Signature);
        refused!(verify(&fast, &format!("{signed}.{}", &signature[4..])), VerifyError::Signature);
    }
    let health = tables.health();
    assert_eq!((health.wrongly_accepted, health.wrongly_refused), (0, 0));
}

#[test]
fn nobody_gets_tables_who_does_not_ask() {
    let (tables, plain) = (KeyTables::on(), verifier());
    verify_often(&plain, &fake().sign(Algorithm::Es256, &claims()));
    assert_eq!(tables.health(), TablesHealth::default());
    assert!(format!("{plain:?}").contains("key_tables: KeyTables(None)"));
    assert!(format!("{:?}", KeyTables::default()).contains("None"));
}

#[test]
fn forged_tokens_earn_a_key_no_table() {
    let tables = KeyTables::on();
    let fast = verifier().with_key_tables(tables.clone());
    for _ in 0..2 * VERIFIES_BEFORE_TABLE {
        refused!(verify(&fast, &other().sign(Algorithm::Es256, &claims())), VerifyError::Signature);
    }
    assert_eq!(tables.health(), TablesHealth::default());
}

#[test]
fn verifiers_share_a_pool_and_its_bounds() {
    let tables = KeyTables::within(1, usize::MAX);
    let of = |issuer: &FakeIssuer| {
        let keys = Arc::new(StaticKeys::new(issuer.key_set()));
        let profile = Profile::oidc(issuer.issuer().clone(), keys);
        Verifier::new(profile, Audience::parse(AUDIENCE).unwrap()).with_key_tables(tables.clone())
    };
    let (one, two) = (of(fake()), of(other()));
    verify_often(&one, &fake().sign(Algorithm::Es256, &claims()));
    let mut theirs = claims();
    theirs["iss"] = other().issuer().as_str().into();
    verify_often(&two, &other().sign(Algorithm::Es256, &theirs));
    let health = settled(&tables);
    assert_eq!((health.tables, health.without_room), (1, 1));
    drop(one);
    assert_eq!(settled(&tables).tables, 0);
}

/// A cache with the key's table, behind a verifier.
async fn cached(
    http: &Arc<FakeHttp>,
    tables: &KeyTables,
) -> (JwksCache, Verifier, Arc<agentkeys_core::testing::ManualClock>) {
    let clock = clock();
    fake().publish(http);
    let (client, time) = (Arc::clone(http) as _, Arc::clone(&clock) as _);
    let cache = JwksCache::with_settings(fake().issuer().clone(), client, time, CacheAges::default());
    cache.prefetch().await.unwrap();
    let profile = Profile::oidc(fake().issuer().clone(), Arc::new(cache.clone()));
    let verifier = Verifier::new(profile, Audience::parse(AUDIENCE).unwrap()).with_key_tables(tables.clone());
    verify_often(&verifier, &fake().sign(Algorithm::Es256, &claims()));
    assert_eq!(settled(tables).tables, 1);
    (cache, verifier, clock)
}

#[tokio::test]
async fn a_refresh_keeps_the_tables_of_the_keys_that_stay() {
    let (http, tables) = (FakeHttp::new(), KeyTables::on());
    let (cache, verifier, clock) = cached(&http, &tables).await;
    clock.advance(std::time::Duration::from_secs(600));
    cache.refresh(RefreshReason::Stale).await.unwrap();
    assert_eq!(cache.health(clock.now().unwrap()).refreshes, 2);
    verify(&verifier, &fake().sign(Algorithm::Es256, &claims())).unwrap();
    assert_eq!(settled(&tables).tables, 1, "neither lost nor built again");
}

#[tokio::test]
async fn the_table_of_a_key_that_its_issuer_withdraws_is_dropped() {
    let (http, tables) = (FakeHttp::new(), KeyTables::on());
    let (cache, verifier, clock) = cached(&http, &tables).await;
    let mut jwks = fake().jwks();
    jwks["keys"].as_array_mut().unwrap().retain(|jwk| jwk["kid"] != FakeIssuer::kid(Algorithm::Es256));
    http.answer(&fake().issuer().jwks_url(), 200, jwks.to_string());
    clock.advance(std::time::Duration::from_secs(600));
    cache.refresh(RefreshReason::Stale).await.unwrap();
    refused!(verify(&verifier, &fake().sign(Algorithm::Es256, &claims())), VerifyError::UnknownKey);
    assert_eq!(settled(&tables), TablesHealth::default());
}
