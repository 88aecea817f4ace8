//! The tables and the chart of `docs/scale.md`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::Failure;
use crate::chart::{Chart, Kind, Point};
use crate::tables::{machine, replaced};

/// The page with its tables made anew; what stands around them is kept.
pub(crate) fn into_page(page: &str, found: &Value) -> Result<String, Failure> {
    let page = replaced(page, "machine", &machine(&found["about"])?)?;
    let page = replaced(&page, "memory", &memory(found)?)?;
    let page = replaced(&page, "real", &real(found)?)?;
    let page = replaced(&page, "one cache", &model(found, 1)?)?;
    replaced(&page, "three caches", &model(found, 3)?)
}

/// Each cached actor, by the length of the session token.
fn memory(found: &Value) -> Result<String, Failure> {
    let mut out = "| session token | credentials' own bytes | beside them | resident |\n".to_owned();
    out += "|---:|---:|---:|---:|\n";
    for line in lines(found, "memory")? {
        let [token, own, beside, resident] = numbers(line, ["token", "credentials", "beside", "resident"])?;
        writeln!(out, "| {token} | {own} | {beside} | {resident} |")?;
    }
    Ok(out)
}

/// The measured points beside the model.
fn real(found: &Value) -> Result<String, Failure> {
    let mut out =
        "| agents | sessions of | caches | requests | STS calls/s | modelled | hit ratio | modelled \
        | audit rows | key fetches |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for line in lines(found, "real")? {
        let [agents, session, caches, requests] = numbers(line, ["agents", "session", "caches", "requests"])?;
        let [sts, modelled, hits, modelled_hits] =
            numbers(line, ["sts_per_s", "modelled_sts_per_s", "hit_ratio", "modelled_hit_ratio"])?;
        let [rows, fetches] = numbers(line, ["rows", "key_fetches"])?;
        writeln!(
            out,
            "| {agents} | {} | {caches} | {requests} | {sts:.3} | {modelled:.3} | {hits:.4} | {modelled_hits:.4} \
             | {rows} | {fetches} |",
            span(session),
        )?;
    }
    Ok(out)
}

/// What the model says, and what follows from it.
fn model(found: &Value, caches: u32) -> Result<String, Failure> {
    let bytes = lines(found, "memory")?.find(|line| line["token"] == TOKEN).ok_or("no memory")?;
    let [resident] = numbers(bytes, ["resident"])?;
    let mut out =
        "| agents | sessions of | requests/s | attested/s | hit ratio | STS calls/s | most in a second \
        | of 600/s | audit rows/s | cached | MiB | replicas | key fetches/h | all anew |\n\
        |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for line in lines(found, "model")?.filter(|line| line["caches"] == caches) {
        let [agents, session, requests, attested] =
            numbers(line, ["agents", "session", "requests_per_s", "attested_per_s"])?;
        let [sts, peak, hits, keys] = numbers(line, ["sts_per_s", "peak", "hit_ratio", "keys"])?;
        let replicas = replicas(requests, keys * resident).max(f64::from(caches));
        writeln!(
            out,
            "| {agents} | {} | {requests:.0} | {attested:.0} | {hits:.4} | {sts:.1} | {peak} | {:.0} % | {:.1} \
             | {keys} | {:.0} | {replicas} | {} | {} |",
            span(session),
            100.0 * sts / QUOTA,
            ROWS_PER_EXCHANGE * sts,
            keys * resident / MIB,
            replicas * FETCHES_PER_HOUR,
            span((agents * f64::from(caches) / QUOTA).ceil()),
        )?;
    }
    Ok(out)
}

/// How many brokers carry it: one of them may be gone.
fn replicas(requests_per_s: f64, bytes: f64) -> f64 {
    let carry = (requests_per_s / REQUESTS_OF_A_REPLICA).max(bytes / BYTES_OF_A_REPLICA).ceil();
    carry.max(1.0) + 1.0
}

pub(crate) fn draw(found: &Value) -> Result<String, Failure> {
    let mut groups: Vec<(String, Vec<Point>)> = Vec::new();
    for line in lines(found, "model")? {
        let [agents, session, caches, sts] = numbers(line, ["agents", "session", "caches", "sts_per_s"])?;
        let (title, one) = (format!("{agents} agents"), caches < 2.0);
        let kind = if one { Kind::Ours } else { Kind::Other };
        let place = if one { "each its own cache" } else { "any of three" };
        let (name, label) = (format!("{}, {place}", span(session)), format!("{sts:.1}"));
        let point = Point { name, kind, value: sts, label };
        match groups.iter_mut().find(|(known, _)| *known == title) {
            Some((_, points)) => points.push(point),
            None => groups.push((title, vec![point])),
        }
    }
    for (_, points) in &mut groups {
        let (name, label) = ("planned quota".to_owned(), format!("{QUOTA}"));
        points.push(Point { name, kind: Kind::Bound, value: QUOTA, label });
    }
    let chart = Chart {
        title: "Calls of the STS in a second, by the number of agents, on a logarithmic axis",
        heading: "Calls of the STS, an agent asking once a minute",
        note: "by the length of sessions, and whether an agent keeps to one replica; less is better",
        unit: "calls a second (logarithmic)",
        decades: -1..=4,
        groups,
    };
    chart.draw()
}

fn lines<'f>(found: &'f Value, case: &'static str) -> Result<impl Iterator<Item = &'f Value>, Failure> {
    let results = found["results"].as_array().ok_or("no results")?;
    if !results.iter().any(|line| line["case"] == case) {
        return Err(format!("no {case}").into());
    }
    Ok(results.iter().filter(move |line| line["case"] == case))
}

fn numbers<const N: usize>(line: &Value, names: [&str; N]) -> Result<[f64; N], Failure> {
    let mut found = [0.0; N];
    for (to, name) in found.iter_mut().zip(names) {
        *to = line[name].as_f64().ok_or_else(|| format!("no {name}"))?;
    }
    Ok(found)
}

/// Seconds, as a person says them.
fn span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds} s"),
        120.0..3600.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0).replace(".0", ""),
    }
}

/// What is planned with, in calls a second: see the page.
const QUOTA: f64 = 600.0;

/// The length of the session tokens that memory is counted with.
const TOKEN: u32 = 1024;

/// An intent and an outcome.
const ROWS_PER_EXCHANGE: f64 = 2.0;

/// Keys are refreshed after ten minutes.
const FETCHES_PER_HOUR: f64 = 6.0;

/// What a broker on two cores is given to carry, in requests a second: see the page.
const REQUESTS_OF_A_REPLICA: f64 = 2000.0;

/// What its cache may take.
const BYTES_OF_A_REPLICA: f64 = 2048.0 * MIB;

const MIB: f64 = 1024.0 * 1024.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found() -> Value {
        let model = |agents: u32, caches: u32, sts: f64| {
            json!({ "case": "model", "agents": agents, "session": 3600, "caches": caches,
                "requests_per_s": f64::from(agents) / 60.0, "attested_per_s": f64::from(agents) / 360.0,
                "sts_per_s": sts, "peak": 40, "hit_ratio": 0.9996, "keys": agents * caches })
        };
        json!({ "results": [
            { "case": "memory", "token": 1024, "credentials": 1084, "beside": 452, "resident": 1536 },
            { "case": "real", "agents": 1000, "session": 900, "caches": 3, "requests": 60_000, "sts_per_s": 3.98,
                "modelled_sts_per_s": 3.97, "hit_ratio": 0.9452, "modelled_hit_ratio": 0.9451, "rows": 10, "key_fetches": 36 },
            model(1_048_576, 1, 300.0), model(1_048_576, 3, 999.0),
        ] })
    }

    #[test]
    fn what_follows_from_the_model_is_as_by_hand() {
        // 2^20 agents of 1.5 KiB are 1536 MiB; 17,476 requests a second are nine brokers, and one that may be gone
        let row = "| 1048576 | 1 h | 17476 | 2913 | 0.9996 | 300.0 | 40 | 50 % | 600.0 | 1048576 | 1536 | 10 | 60 | 29 min |\n";
        let table = model(&found(), 1).unwrap();
        assert!(table.ends_with(row), "{table}");
        assert_eq!(table.lines().count(), 3);
    }

    #[test]
    fn replicas_grow_with_requests_and_with_memory_and_are_two_at_least() {
        let mib = |mib: f64| mib * MIB;
        for (requests, bytes, needed) in [
            (0.0, 0.0, 2.0),
            (2000.0, mib(2048.0), 2.0),
            (2001.0, 0.0, 3.0),
            (0.0, mib(2049.0), 3.0),
            (10_000.0, mib(2048.0), 6.0),
        ] {
            assert!((replicas(requests, bytes) - needed).abs() < f64::EPSILON, "{requests} {bytes}");
        }
    }

    #[test]
    fn spans_are_said_as_people_say_them() {
        assert_eq!(
            [2.0, 119.0, 120.0, 900.0, 3600.0, 5400.0].map(span),
            ["2 s", "119 s", "2 min", "15 min", "1 h", "1.5 h"]
        );
    }

    #[test]
    fn a_group_for_each_number_of_agents_with_the_quota_in_each() {
        let drawn = draw(&found()).unwrap();
        assert_eq!((drawn.matches("<circle").count(), drawn.matches("planned quota").count()), (3, 1));
        for case in ["memory", "real", "model"] {
            let mut cut = found();
            cut["results"].as_array_mut().unwrap().retain(|line| line["case"] != case);
            let page = "<!-- machine -->\n<!-- end -->\n";
            assert!(into_page(page, &cut).is_err());
            assert_eq!(draw(&cut).is_err(), case == "model");
        }
    }
}
