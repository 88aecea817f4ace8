//! The chart of `docs/performance.md`: the times of one operation, a point each.

use serde_json::Value;

use crate::chart::{Chart, Kind, Point};
use crate::{Failure, micros};

/// What is drawn: bench, case and what it says above the points.
const GROUPS: [(&str, &str, &str); 6] = [
    ("verify", "es256", "verify ES256, with tables"),
    ("verify", "es384", "verify ES384, with tables"),
    ("verify", "rs256", "verify RS256"),
    ("verify", "eddsa", "verify EdDSA, with tables"),
    ("token_cache", "hit", "verify ES256, token remembered"),
    ("mint", "es256", "mint ES256"),
];

/// Each that is drawn, and as what.
const NAMES: [(&str, &str); 5] = [
    ("agentkeys", "agentkeys"),
    ("raw", "signature alone (aws-lc-rs)"),
    ("jsonwebtoken", "jsonwebtoken"),
    ("josekit", "josekit"),
    ("jwt-simple", "jwt-simple"),
];

pub(crate) fn draw(found: &Value) -> Result<String, Failure> {
    let results = found["results"].as_array().ok_or("no results")?;
    let mut groups = Vec::new();
    for (bench, case, title) in GROUPS {
        let of = |line: &&Value| line["bench"] == bench && line["case"] == case;
        let line = results.iter().find(of).ok_or_else(|| format!("no {bench} {case}"))?;
        let ours = line["ns"].as_f64().ok_or("no time")?;
        let point = |&(name, shown): &(&str, &str)| {
            // the others are told as ratios to it
            let ratio = if name == "agentkeys" { Some(1.0) } else { line["vs"][name].as_f64() };
            let ns = ours * ratio?;
            let kind = match name {
                "agentkeys" => Kind::Ours,
                "raw" => Kind::Bound,
                _ => Kind::Other,
            };
            Some(Point { name: shown.to_owned(), kind, value: ns / 1000.0, label: micros(ns) })
        };
        groups.push((title.to_owned(), NAMES.iter().filter_map(point).collect()));
    }
    let chart = Chart {
        title: "Time of one token, in microseconds, on a logarithmic axis",
        heading: "Time of one token, one thread",
        note: "full verification or minting; less is better; logarithmic axis",
        unit: "microseconds (logarithmic)",
        decades: -1..=3,
        groups,
    };
    chart.draw()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_group_is_drawn_and_a_missing_one_is_an_error() {
        let line = |(bench, case, _): &(&str, &str, &str)| json!({ "bench": bench, "case": case, "ns": 20_000.0, "vs": { "raw": 3.0, "josekit": 4.0 } });
        let mut lines: Vec<Value> = GROUPS.iter().map(line).collect();
        let drawn = draw(&json!({ "results": lines })).unwrap();
        assert_eq!(drawn.matches("<circle").count(), GROUPS.len() * 3);
        assert!(drawn.contains(">60.0<") && drawn.contains(">20.0<"));
        lines.pop();
        assert!(draw(&json!({ "results": lines })).is_err());
    }
}
