//! What fails and what recovers when a part is killed or cut off under load; and nothing is let go without its row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::Whole;
use super::load::{Asked, Event, Load, Told};
use crate::Failure;

pub(super) async fn prove(whole: &mut Whole, say: &impl Fn(&str)) -> Result<(), Failure> {
    let (mut jtis, mut access_keys) = (BTreeSet::new(), BTreeSet::new());
    for fault in ["replica", "redis", "postgres", "network"] {
        let load = Load::begin(whole, MINTERS, true).await?;
        tokio::time::sleep(BEFORE).await;
        let begun = Instant::now();
        match fault {
            "replica" => {
                let killed = whole.replicas.get_mut(1).ok_or("three replicas")?;
                // SIGKILL
                killed.child.kill().await?;
            }
            "redis" => drop(whole.script("redis-kill").await?),
            "postgres" => drop(whole.script("postgres-kill").await?),
            _ => drop(whole.script("cut").await?),
        }
        tokio::time::sleep(LASTS).await;
        match fault {
            "replica" => {
                let again = whole.process(1).await?;
                *whole.replicas.get_mut(1).ok_or("three replicas")? = again;
            }
            "redis" => drop(whole.script("redis-start").await?),
            "postgres" => drop(whole.script("postgres-start").await?),
            _ => drop(whole.script("mend").await?),
        }
        let mended = Instant::now();
        tokio::time::sleep(AFTER).await;
        let told = load.end().await?;
        tell(fault, &told, begun, mended, say)?;
        jtis.extend(told.jtis.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        access_keys.extend(told.access_keys.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
    }
    let rows = whole.script("rows").await?;
    let rows: BTreeSet<_> = rows.split_whitespace().collect();
    let missing =
        |released: &BTreeSet<String>| released.iter().filter(|id| !rows.contains(id.as_str())).count();
    let (tokens, credentials) = (missing(&jtis), missing(&access_keys));
    say(&format!(
        "rows: {} tokens and {} sets of credentials were let go under 4 faults; without a row: {tokens} and {credentials}",
        jtis.len(),
        access_keys.len()
    ));
    let enough = jtis.len() > 100 && access_keys.len() > 10;
    if tokens + credentials == 0 && enough {
        Ok(())
    } else {
        Err("something was let go without a row".into())
    }
}

/// For each kind of request: what failed while the fault lasted, and when the first was well after it.
fn tell(
    fault: &str,
    told: &Told,
    begun: Instant,
    mended: Instant,
    say: &impl Fn(&str),
) -> Result<(), Failure> {
    let mut line = format!("fault {fault}:");
    let mut recovered = true;
    for asked in [Asked::Token, Asked::Session, Asked::Credentials] {
        let events: Vec<Event> = told.events().into_iter().filter(|event| event.asked == asked).collect();
        let during: Vec<_> = events.iter().filter(|event| event.at >= begun).collect();
        let mut why = BTreeMap::new();
        for failed in during.iter().filter_map(|event| event.failed.as_ref()) {
            *why.entry(failed.clone()).or_insert(0_usize) += 1;
        }
        let well = during.iter().filter(|event| event.failed.is_none()).count();
        let last = during.iter().filter(|event| event.failed.is_some()).map(|event| event.at).max();
        // from then on nothing failed
        let after = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(mended));
        let since = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(begun));
        line += &format!(
            " {asked:?}: {well} well, failed {why:?}, the last {} ms after the fault and {} ms after it was mended;",
            since.as_millis(),
            after.as_millis()
        );
        let end = events.iter().rev().take(3).all(|event| event.failed.is_none());
        recovered &= end && !events.is_empty();
    }
    say(line.trim_end_matches(';'));
    if recovered { Ok(()) } else { Err(format!("after the fault {fault} not everything is well").into()) }
}

const MINTERS: usize = 8;
const BEFORE: Duration = Duration::from_secs(1);
const LASTS: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(6);
