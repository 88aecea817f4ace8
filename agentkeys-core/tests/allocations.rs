//! The hot path of the key cache, counted by an allocator: a binary of its own, because that serves all of it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::Algorithm;
use agentkeys_core::testing::{FakeHttp, FakeIssuer, ManualClock};
use agentkeys_core::{CacheAges, Clock as _, Issuer, JwksCache, KeySource as _, Timestamp};

#[tokio::test]
async fn key_lookup_allocates_nothing_fresh_or_while_a_refresh_runs() {
    let issuer = FakeIssuer::new(Issuer::parse("https://issuer.example").unwrap());
    let (http, clock) = (FakeHttp::new(), ManualClock::new(Timestamp::from_unix(1_800_000_000)));
    issuer.publish(&http);
    let (client, time) = (Arc::clone(&http) as _, Arc::clone(&clock) as _);
    let cache = JwksCache::with_settings(issuer.issuer().clone(), client, time, CacheAges::default());
    cache.prefetch().await.unwrap();
    let look_up = || {
        let now = clock.now().unwrap();
        let found = cache.read(now).unwrap().by_kid(FakeIssuer::kid(Algorithm::Es256)).is_some();
        assert!(found);
    };
    look_up(); // a thread's first read makes its place among the readers
    assert_eq!(allocation_counter::measure(|| (0..100).for_each(|_| look_up())).count_total, 0);

    let _held = http.hold().await;
    clock.advance(Duration::from_secs(600));
    look_up(); // begins the refresh
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(http.requests().len(), 3);
    assert_eq!(allocation_counter::measure(|| (0..100).for_each(|_| look_up())).count_total, 0);
    // the allocator does count
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7)))).count_total > 0);
}
