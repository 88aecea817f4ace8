//! The guard on a real Redis: held to the contract of all guards, then measured beside the same commands
//! without it, over the same kind of connection.
//!
//! ```text
//! cargo run --release -p agentkeys-attest --features redis --example redis_guard -- URL [AUTHORITY.pem] [--json]
//! ```
//!
//! `raw` is the client underneath with pipelines of [`AT_ONCE`] `SET key 1 NX PX`, `guard` is [`AT_ONCE`] uses at
//! the same time. They alternate; the ratio is taken within a round, and the median of the rounds is told. Its
//! status is 0 only if the contract holds and the ratio is [`RATIO`] or more. For plain `redis://` on loopback.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::replay::{RedisReplayGuard, RedisTrust, RedisUrl};
use agentkeys_core::testing::{ManualClock, replay_guard_contract};
use agentkeys_core::{
    Clock as _, EvidenceKind, Random as _, ReplayGuard, SystemClock, SystemRandom, Timestamp, UseId,
};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let places: Vec<_> = arguments.iter().map(String::as_str).filter(|place| *place != "--json").collect();
    match measured(&places, json).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("redis_guard: {error}"));
            ExitCode::from(2)
        }
    }
}

async fn measured(places: &[&str], json: bool) -> Result<bool, Failure> {
    let (url, trust) = match places {
        [url] => (*url, RedisTrust::nobody()?),
        [url, authority] => (*url, RedisTrust::only(&std::fs::read(authority)?)?),
        _ => return Err("usage: redis_guard URL [AUTHORITY.pem] [--json]".into()),
    };
    let parsed: RedisUrl = url.parse()?;
    let clock = ManualClock::new(SystemClock::new().now()?);
    let handle = || Arc::new(RedisReplayGuard::new(&parsed, &trust).with_clock(clock.clone()));
    handle().check().await?;
    replay_guard_contract(handle(), handle(), &clock).await;
    say("redis_guard: the contract of guards holds on a real Redis");
    if places.len() > 1 || cfg!(debug_assertions) {
        say("redis_guard: no rates: they are taken of a release build, without TLS");
        return Ok(true);
    }

    let guard = Arc::new(RedisReplayGuard::new(&parsed, &trust));
    let mut raw = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let end = SystemClock::new().now()?.plus(Duration::from_secs(60));
    let (mut ratios, mut rates) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        let rate = |begun: Instant| (AT_ONCE * EACH) as f64 / begun.elapsed().as_secs_f64();
        let mut of_raw = 0.0;
        let mut of_guard = 0.0;
        for turn in 0..2 {
            if (turn + round) % 2 == 0 {
                let keys = fresh()?;
                let begun = Instant::now();
                pipelines(&mut raw, keys).await?;
                of_raw = rate(begun);
            } else {
                let keys = fresh()?;
                let begun = Instant::now();
                uses(&guard, keys, end).await?;
                of_guard = rate(begun);
            }
        }
        ratios.push(of_guard / of_raw);
        let [raws, guards] = &mut rates;
        raws.push(of_raw);
        guards.push(of_guard);
    }
    let ratio = median(ratios);
    let [of_raw, of_guard] = rates.map(median);
    if json {
        let figures = format!("\"raw_per_second\":{of_raw:.0},\"guard_per_second\":{of_guard:.0}");
        say(&format!("{{\"case\":\"redis guard, {AT_ONCE} at once\",{figures},\"ratio\":{ratio:.3}}}"));
    } else {
        say(&format!(
            "redis_guard: {AT_ONCE} at once on one connection: raw pipelined {of_raw:.0}/s, guard {of_guard:.0}/s, ratio {ratio:.2}"
        ));
    }
    Ok(ratio >= RATIO)
}

/// Uses that nobody has seen.
fn fresh() -> Result<Vec<UseId>, Failure> {
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce)?;
    let kind: EvidenceKind = "redis-bench".parse()?;
    Ok((0..AT_ONCE * EACH).map(|number| UseId::of(&kind, &[&nonce, &number.to_be_bytes()])).collect())
}

async fn pipelines(raw: &mut MultiplexedConnection, keys: Vec<UseId>) -> Result<(), Failure> {
    for keys in keys.chunks(AT_ONCE) {
        let mut pipeline = redis::pipe();
        for key in keys {
            let mut name = "agentkeys:raw:".to_owned();
            for byte in key.as_bytes() {
                for digit in [byte >> 4, byte & 15] {
                    name.extend(char::from_digit(digit.into(), 16));
                }
            }
            pipeline.cmd("SET").arg(name).arg("1").arg("NX").arg("PX").arg(120_000);
        }
        let answers: Vec<redis::Value> = pipeline.query_async(raw).await?;
        if answers.len() != keys.len() || answers.iter().any(|answer| *answer != redis::Value::Okay) {
            return Err("a key was there before".into());
        }
    }
    Ok(())
}

async fn uses(guard: &Arc<RedisReplayGuard>, keys: Vec<UseId>, end: Timestamp) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for keys in keys.chunks(EACH) {
        let (guard, keys) = (Arc::clone(guard), keys.to_vec());
        tasks.spawn(async move {
            for key in keys {
                guard.first_use(&key, end).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// How many are under way.
const AT_ONCE: usize = 64;
/// How many of each of them a round has.
const EACH: usize = 500;
const ROUNDS: usize = 7;
const RATIO: f64 = 0.5;
