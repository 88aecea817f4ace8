//! The guard on Redis against a server that answers whatever a script says: only two answers mean anything.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::replay::{RedisFault, RedisReplayGuard, RedisTrust, RedisUrl, RedisUrlError};
use agentkeys_core::testing::{ManualClock, replay_guard_contract};
use agentkeys_core::{
    Challenges, ClockError, ErrorKind, EvidenceKind, ReplayError, ReplayGuard as _, Secret, Timestamp, UseId,
};
use tokio::net::TcpListener;

use crate::redis_double::{Double, WELL, Wrong};
use crate::support::NOW;

fn id(name: &str) -> UseId {
    UseId::of(&EvidenceKind::from_static("k"), &[name.as_bytes()])
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_unix(second)
}

fn end() -> Timestamp {
    at(NOW + 60)
}

fn clock() -> Arc<ManualClock> {
    ManualClock::new(at(NOW))
}

fn guard(url: &str) -> RedisReplayGuard {
    let url: RedisUrl = url.parse().unwrap();
    RedisReplayGuard::new(&url, &RedisTrust::nobody().unwrap()).with_clock(clock())
}

pub(crate) fn fault(error: &ReplayError) -> RedisFault {
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "replay_guard_unavailable"));
    let fault = match error {
        ReplayError::Unavailable(fault) => fault.downcast_ref().copied(),
        _ => None,
    };
    fault.unwrap()
}

async fn fails(guard: &RedisReplayGuard, id: &UseId) -> RedisFault {
    fault(&guard.first_use(id, end()).await.unwrap_err())
}

#[tokio::test]
async fn w8_the_guard_on_redis_keeps_the_contract() {
    let (server, clock) = (Double::start().await, clock());
    let replica = || {
        let url = server.url().parse().unwrap();
        let guard = RedisReplayGuard::new(&url, &RedisTrust::nobody().unwrap());
        Arc::new(guard.with_clock(clock.clone()))
    };
    replay_guard_contract(replica(), replica(), &clock).await;
    assert_eq!(server.connections(), 2, "each replica keeps its connection");
}

#[tokio::test]
async fn w8_a_use_is_one_atomic_set_of_a_digest_that_outlives_it_by_a_minute() {
    let server = Double::start().await;
    let guard = guard(&server.url());
    let used = id("MARKED evidence");
    guard.first_use(&used, at(NOW + 300)).await.unwrap();
    let digest: String = used.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("agentkeys:use:{digest}");
    assert_eq!(server.commands(), [vec!["INFO"], vec!["SET", &key, "1", "NX", "PX", "360000"]]);
    // the longest that can be said is the server's to refuse
    let huge = guard.first_use(&id("huge"), at(u64::MAX)).await.unwrap_err();
    assert_eq!(fault(&huge), RedisFault::Refused("ERR"));
    assert_eq!(server.commands().last().unwrap()[5], u64::MAX.to_string());
}

#[tokio::test]
async fn w8_whatever_is_neither_ok_nor_nil_is_unavailable_and_never_the_first() {
    let server = Double::start().await;
    let guard = guard(&server.url());
    for (number, (said, expected)) in [
        ("-ERR MARKED\r\n", RedisFault::Refused("ERR")),
        ("-MARKED words\r\n", RedisFault::Refused("ERR")),
        ("-READONLY You can't write against a read only replica.\r\n", RedisFault::Refused("READONLY")),
        ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", RedisFault::Refused("OOM")),
        ("-LOADING Redis is loading the dataset in memory\r\n", RedisFault::Refused("LOADING")),
        ("-NOAUTH Authentication required.\r\n", RedisFault::Refused("NOAUTH")),
        ("-NOPERM MARKED has no permissions\r\n", RedisFault::Refused("NOPERM")),
        ("-MISCONF Errors writing to the AOF file\r\n", RedisFault::Refused("MISCONF")),
        ("-NOREPLICAS Not enough good replicas to write.\r\n", RedisFault::Refused("NOREPLICAS")),
        ("-MASTERDOWN Link with MASTER is down\r\n", RedisFault::Refused("MASTERDOWN")),
        ("-CLUSTERDOWN Hash slot not served\r\n", RedisFault::Refused("CLUSTERDOWN")),
        ("-TRYAGAIN Multiple keys\r\n", RedisFault::Refused("TRYAGAIN")),
        ("-ASK 1 127.0.0.1:1\r\n", RedisFault::Refused("ASK")),
        ("-MOVED\r\n", RedisFault::Refused("MOVED")),
        ("-MOVED 1\r\n", RedisFault::Refused("MOVED")),
        ("-MOVED 1 nowhere\r\n", RedisFault::Refused("MOVED")),
        ("-MOVED 1 127.0.0.1:99999\r\n", RedisFault::Refused("MOVED")),
        // in the clear nobody beyond loopback is asked
        ("-MOVED 1 192.0.2.1:6379\r\n", RedisFault::Refused("MOVED")),
        ("-MOVED 1 redis.example:6379\r\n", RedisFault::Refused("MOVED")),
        ("+ok\r\n", RedisFault::NotUnderstood),
        ("+QUEUED\r\n", RedisFault::NotUnderstood),
        ("+\r\n", RedisFault::NotUnderstood),
        ("$2\r\nOK\r\n", RedisFault::NotUnderstood),
        ("$0\r\n\r\n", RedisFault::NotUnderstood),
        ("$1\r\n1\r\n", RedisFault::NotUnderstood),
        (":1\r\n", RedisFault::NotUnderstood),
        (":0\r\n", RedisFault::NotUnderstood),
        ("*0\r\n", RedisFault::NotUnderstood),
        ("*1\r\n+OK\r\n", RedisFault::NotUnderstood),
        ("#t\r\n", RedisFault::NotUnderstood),
        ("%0\r\n", RedisFault::NotUnderstood),
        ("HTTP/1.1 200 OK\r\n\r\n", RedisFault::NotUnderstood),
    ]
    .into_iter()
    .enumerate()
    {
        server.next(Wrong::Says(said));
        assert_eq!(fails(&guard, &id(said)).await, expected, "{said:?}");
        // none of it was a use, and the next one goes well
        guard.first_use(&id(said), end()).await.unwrap();
        assert_eq!(server.sets(), 2 * (number + 1), "{said:?}: asked once each time");
    }
}

#[tokio::test]
async fn w8_an_answer_that_is_not_understood_ends_the_connection() {
    let server = Double::start().await;
    let guard = guard(&server.url());
    for (said, connections) in [("+QUEUED\r\n", 2), (":1\r\n", 3), ("-LOADING\r\n", 4)] {
        server.next(Wrong::Says(said));
        fails(&guard, &id("a")).await;
        guard.check().await.unwrap();
        assert_eq!(server.connections(), connections, "{said:?}");
    }
}

#[tokio::test]
async fn w8_a_use_whose_answer_is_lost_is_refused_and_so_is_its_second_try() {
    let server = Double::start().await;
    let guard = guard(&server.url());
    guard.check().await.unwrap();
    server.next(Wrong::Closes);
    assert_eq!(fails(&guard, &id("not done")).await, RedisFault::Connection);
    guard.first_use(&id("not done"), end()).await.unwrap();
    server.next(Wrong::DoesAndCloses);
    assert_eq!(fails(&guard, &id("done")).await, RedisFault::Connection);
    let again = guard.first_use(&id("done"), end()).await;
    assert!(matches!(again, Err(ReplayError::Replayed)), "{again:?}");
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn w8_a_server_that_does_not_answer_is_waited_for_a_second_and_left() {
    let server = Double::start().await;
    let guard = guard(&server.url());
    guard.check().await.unwrap();
    server.next(Wrong::DoesAndHangs);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(fails(&guard, &id("a")).await, RedisFault::Timeout);
    let waited = begun.elapsed();
    assert!(waited >= RedisReplayGuard::ANSWER && waited < RedisReplayGuard::CONNECT, "{waited:?}");
    tokio::time::resume();
    // what it did not say it may have done
    let again = guard.first_use(&id("a"), end()).await;
    assert!(matches!(again, Err(ReplayError::Replayed)), "{again:?}");
    assert_eq!(server.connections(), 2, "who hangs is left");
}

#[tokio::test]
async fn w8_a_server_that_takes_the_connection_and_nothing_else_is_unavailable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let (guard, encrypted) = (guard(&format!("redis://{address}")), guard(&format!("rediss://{address}")));
    tokio::time::pause();
    for guard in [&guard, &encrypted] {
        let begun = tokio::time::Instant::now();
        assert_eq!(fault(&guard.check().await.unwrap_err()), RedisFault::Timeout);
        assert!(begun.elapsed() <= RedisReplayGuard::CONNECT + Duration::from_millis(10));
    }
    // many at the same time do not wait for each other for ever
    let begun = tokio::time::Instant::now();
    let ids: Vec<_> = (0..20).map(|number| id(&number.to_string())).collect();
    let mut all = tokio::task::JoinSet::new();
    let guard = Arc::new(guard);
    for id in ids {
        let guard = Arc::clone(&guard);
        all.spawn(async move { fails(&guard, &id).await });
    }
    assert!(all.join_all().await.iter().all(|fault| *fault == RedisFault::Timeout));
    assert!(begun.elapsed() <= RedisReplayGuard::WHOLE + Duration::from_millis(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn w8_where_nobody_listens_it_is_unavailable_until_somebody_does() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let guard = guard(&format!("redis://{address}"));
    assert_eq!(fails(&guard, &id("a")).await, RedisFault::Connection);
    assert_eq!(fault(&guard.check().await.unwrap_err()), RedisFault::Connection);
}

#[tokio::test]
async fn w8_only_a_server_that_keeps_what_it_is_told_is_asked() {
    let server = Double::start().await;
    let guard = guard(&server.url());
    for (info, expected) in [
        (WELL.replace("noeviction", "allkeys-lru"), RedisFault::Evicts),
        (WELL.replace("noeviction", "volatile-ttl"), RedisFault::Evicts),
        (WELL.replace("aof_enabled:1", "aof_enabled:0"), RedisFault::Forgetful),
        (WELL.replace("aof_enabled:1", ""), RedisFault::NotUnderstood),
        (WELL.replace("maxmemory_policy:noeviction", ""), RedisFault::NotUnderstood),
        ("-NOPERM MARKED\r\n".to_owned(), RedisFault::Refused("NOPERM")),
        ("-LOADING\r\n".to_owned(), RedisFault::Refused("LOADING")),
        ("+OK\r\n".to_owned(), RedisFault::NotUnderstood),
        ("$-1\r\n".to_owned(), RedisFault::NotUnderstood),
    ] {
        server.info(&info);
        assert_eq!(fails(&guard, &id("a")).await, expected, "{info}");
        assert_eq!(fault(&guard.check().await.unwrap_err()), expected, "{info}");
    }
    assert_eq!(server.sets(), 0, "nothing is left with a server that may forget it");
    // and each time anew: who comes up after a failover may be another
    server.info(WELL);
    guard.first_use(&id("a"), end()).await.unwrap();
    server.info(&WELL.replace("noeviction", "allkeys-lru"));
    server.next(Wrong::Closes);
    assert_eq!(fails(&guard, &id("b")).await, RedisFault::Connection);
    assert_eq!(fails(&guard, &id("b")).await, RedisFault::Evicts);
}

#[tokio::test]
async fn w8_uses_share_one_connection_and_one_failure_is_not_everybodys() {
    let server = Double::start().await;
    let guard = Arc::new(guard(&server.url()));
    let mut all = tokio::task::JoinSet::new();
    for number in 0..200 {
        let guard = Arc::clone(&guard);
        all.spawn(async move { guard.first_use(&id(&number.to_string()), end()).await });
    }
    assert!(all.join_all().await.iter().all(Result::is_ok));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn w8_a_clusters_redirection_is_followed_and_remembered() {
    let (first, second) = (Double::start().await, Double::start().await);
    let guard = guard(&first.url());
    let moved: &'static str = format!("-MOVED 1 {}\r\n", second.address).leak();
    first.always(Some(Wrong::Says(moved)));
    guard.first_use(&id("a"), end()).await.unwrap();
    assert!(matches!(guard.first_use(&id("a"), end()).await, Err(ReplayError::Replayed)));
    assert_eq!((first.sets(), second.sets()), (1, 2), "the slot's node is known by then");
    assert_eq!((first.connections(), second.connections()), (1, 1));
    // another slot is asked for anew, and goes over the same connection
    guard.first_use(&id("b"), end()).await.unwrap();
    assert_eq!((first.sets(), second.sets(), second.connections()), (2, 3, 1));
    // the node fails: the first is asked again who has the slot
    second.next(Wrong::Closes);
    assert_eq!(fails(&guard, &id("a")).await, RedisFault::Connection);
    first.always(None);
    let here = guard.first_use(&id("a"), end()).await;
    assert!(here.is_ok() && first.sets() == 3, "{here:?}");
}

#[tokio::test]
async fn w8_a_node_without_a_host_is_that_of_who_answers() {
    let (first, second) = (Double::start().await, Double::start().await);
    let moved: &'static str = format!("-MOVED 1 :{}\r\n", second.address.port()).leak();
    first.next(Wrong::Says(moved));
    guard(&first.url()).first_use(&id("a"), end()).await.unwrap();
    assert_eq!(second.sets(), 1);
}

#[tokio::test]
async fn w8_a_node_that_may_forget_is_not_asked_either() {
    let (first, second) = (Double::start().await, Double::start().await);
    second.info(&WELL.replace("noeviction", "allkeys-random"));
    let moved: &'static str = format!("-MOVED 1 {}\r\n", second.address).leak();
    first.always(Some(Wrong::Says(moved)));
    assert_eq!(fails(&guard(&first.url()), &id("a")).await, RedisFault::Evicts);
    assert_eq!(second.sets(), 0);
}

#[tokio::test]
async fn w8_nodes_that_send_one_around_are_left() {
    let (first, second) = (Double::start().await, Double::start().await);
    let to = |other: &Double| -> &'static str { format!("-MOVED 1 {}\r\n", other.address).leak() };
    first.always(Some(Wrong::Says(to(&second))));
    second.always(Some(Wrong::Says(to(&first))));
    assert_eq!(fails(&guard(&first.url()), &id("a")).await, RedisFault::Undecided);
    assert_eq!(first.sets() + second.sets(), 4);
}

#[tokio::test]
async fn w8_l8_a_challenge_of_one_replica_is_redeemed_once_among_all() {
    let server = Double::start().await;
    let replica = |key: u8| {
        Challenges::new(Arc::new(guard(&server.url())), &Secret::new([key; 32])).with_clock(clock())
    };
    let (one, other, stranger) = (replica(1), replica(1), replica(2));
    let challenge = one.issue().unwrap();
    assert!(matches!(stranger.redeem(challenge.as_str()).await, Err(ReplayError::Expired)));
    other.redeem(challenge.as_str()).await.unwrap();
    for replica in [&one, &other] {
        assert!(matches!(replica.redeem(challenge.as_str()).await, Err(ReplayError::Replayed)));
    }
    server.next(Wrong::Closes);
    let unknown = one.redeem(one.issue().unwrap().as_str()).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn w46_without_a_clock_nobody_is_asked() {
    #[derive(Debug)]
    struct NoClock;
    impl agentkeys_core::Clock for NoClock {
        fn now(&self) -> Result<Timestamp, ClockError> {
            Err(ClockError::new())
        }
    }
    let server = Double::start().await;
    let refused = guard(&server.url()).with_clock(Arc::new(NoClock)).first_use(&id("a"), end()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Misconfigured);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn w8_what_is_over_is_refused_without_asking() {
    let server = Double::start().await;
    let guard = guard(&server.url());
    for until in [0, NOW - 1, NOW] {
        assert!(matches!(guard.first_use(&id("a"), at(until)).await, Err(ReplayError::Expired)));
    }
    assert_eq!(server.connections(), 0);
    guard.first_use(&id("a"), at(NOW + 1)).await.unwrap();
}

#[tokio::test]
async fn l29_no_password_and_no_word_of_the_server_is_shown() {
    let server = Double::start().await;
    let url = format!("redis://MARKED-user:MARKED-wrong@{}/3", server.address);
    let parsed: RedisUrl = url.parse().unwrap();
    let guard = RedisReplayGuard::new(&parsed, &RedisTrust::nobody().unwrap()).with_clock(clock());
    let refused = guard.first_use(&id("a"), end()).await.unwrap_err();
    assert_eq!(fault(&refused), RedisFault::Credentials);
    let mut shown = format!("{parsed:?} {parsed:#?} {guard:?} {guard:#?} {refused} {refused:?} {refused:#?}");
    shown += &refused.source().unwrap().to_string();
    let well = self::guard(&server.url());
    for wrong in ["-MARKED text\r\n", "-ERR MARKED\r\n", "+MARKED\r\n", "$6\r\nMARKED\r\n", "MARKED\r\n"] {
        server.next(Wrong::Says(wrong));
        let refused = well.first_use(&id("a"), end()).await.unwrap_err();
        shown += &format!("{refused} {refused:?} {}", refused.source().unwrap());
    }
    for wrong in [
        "redis://MARKED",
        "redis://u:MARKED@192.0.2.1",
        "MARKED",
        "rediss://h/MARKED",
        "rediss://u:MARKED@h#x",
    ] {
        let refused = wrong.parse::<RedisUrl>().unwrap_err();
        shown += &format!("{refused} {refused:?}");
    }
    assert!(!shown.contains("MARKED") && !shown.contains(&server.address.port().to_string()), "{shown}");
    // and yet the server was told who comes
    let login = server.commands().into_iter().find(|command| command[0] == "AUTH").unwrap();
    assert_eq!(login, ["AUTH", "MARKED-user", "MARKED-wrong"]);
}

#[tokio::test]
async fn the_url_says_who_comes_and_which_database() {
    let server = Double::start().await;
    let address = server.address;
    for (url, login) in [
        (format!("redis://{address}"), vec![vec!["INFO"]]),
        (format!("redis://{address}/"), vec![vec!["INFO"]]),
        (format!("redis://{address}/7"), vec![vec!["SELECT", "7"], vec!["INFO"]]),
        (format!("redis://:p%40ss@{address}"), vec![vec!["AUTH", "p@ss"], vec!["INFO"]]),
        (format!("redis://us%3Aer:p@{address}/0"), vec![vec!["AUTH", "us:er", "p"], vec!["INFO"]]),
    ] {
        let before = server.commands().len();
        guard(&url).check().await.unwrap();
        assert_eq!(server.commands()[before..], login, "{url}");
    }
}

#[test]
fn l29_w8_only_a_url_that_can_be_trusted_is_one() {
    for (text, expected) in [
        ("", RedisUrlError::Malformed),
        ("localhost:6379", RedisUrlError::Malformed),
        ("http://localhost", RedisUrlError::Malformed),
        ("valkey://localhost", RedisUrlError::Malformed),
        ("unix:///run/redis.sock", RedisUrlError::Malformed),
        ("redis+unix:///run/redis.sock", RedisUrlError::Malformed),
        ("redis://", RedisUrlError::Malformed),
        ("rediss:///1", RedisUrlError::Malformed),
        ("rediss://h/x", RedisUrlError::Malformed),
        ("rediss://h/1/2", RedisUrlError::Malformed),
        ("rediss://h/-1", RedisUrlError::Malformed),
        ("rediss://h/99999", RedisUrlError::Malformed),
        ("rediss://h:99999", RedisUrlError::Malformed),
        ("rediss://u:%FF@h", RedisUrlError::Malformed),
        ("rediss://user@h", RedisUrlError::NoPassword),
        ("rediss://h/#insecure", RedisUrlError::Parameters),
        ("rediss://h/?protocol=resp3", RedisUrlError::Parameters),
        ("redis://192.0.2.1", RedisUrlError::Plain),
        ("redis://redis.example:6379/0", RedisUrlError::Plain),
        ("redis://localhost.example", RedisUrlError::Plain),
        ("redis://127.0.0.1.example", RedisUrlError::Plain),
        ("redis://[2001:db8::1]", RedisUrlError::Plain),
    ] {
        assert_eq!(text.parse::<RedisUrl>().unwrap_err(), expected, "{text}");
    }
    for text in [
        "redis://localhost",
        "redis://127.0.0.1:1",
        "redis://127.9.9.9",
        "redis://[::1]:1/2",
        "rediss://h",
        "rediss://u:p@h:1/2",
    ] {
        assert!(text.parse::<RedisUrl>().is_ok(), "{text}");
    }
}
