//! Draws the times of one operation, a point each, on a logarithmic axis.

use std::fmt::Write as _;

use serde_json::Value;

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

const WIDTH: f64 = 760.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 56.0;
const ROW: f64 = 18.0;
const GAP: f64 = 30.0;
/// From 0.1 to 1000 us.
const DECADES: std::ops::RangeInclusive<i32> = -1..=3;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}\
    .h{font-weight:600}.n{text-anchor:end}.t{text-anchor:middle;fill:#59636e}\
    line{stroke:#d1d9e0}circle{fill:#818b98}.o{fill:#0969da}.r{fill:none;stroke:#818b98;stroke-width:2}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.t{fill:#9198a1}line{stroke:#3d444d}\
    circle{fill:#9198a1}.o{fill:#4493f8}.r{fill:none;stroke:#9198a1}}";

pub(crate) fn draw(found: &Value) -> Result<String, Failure> {
    let results = found["results"].as_array().ok_or("no results")?;
    let (mut points, mut y) = (String::new(), TOP);
    for (bench, case, title) in GROUPS {
        let of = |line: &&Value| line["bench"] == bench && line["case"] == case;
        let line = results.iter().find(of).ok_or_else(|| format!("no {bench} {case}"))?;
        y += GAP;
        writeln!(points, r#"<text class="h" x="12" y="{y:.0}">{title}</text>"#)?;
        for (name, shown) in NAMES {
            let ours = line["ns"].as_f64().ok_or("no time")?;
            // the others are told as ratios to it
            let ratio = if name == "agentkeys" { Some(1.0) } else { line["vs"][name].as_f64() };
            let Some(ns) = ratio.map(|ratio| ours * ratio) else { continue };
            y += ROW;
            let (x, middle, class) = (place(ns), y - 4.0, class(name));
            writeln!(points, r#"<text class="n" x="{:.0}" y="{y:.0}">{shown}</text>"#, LEFT - 10.0)?;
            writeln!(points, r#"<circle{class} cx="{x:.1}" cy="{middle:.0}" r="5"/>"#)?;
            writeln!(points, r#"<text x="{:.1}" y="{y:.0}">{}</text>"#, x + 10.0, micros(ns))?;
        }
    }
    let (bottom, mut grid) = (y + 12.0, String::new());
    for decade in DECADES {
        let value = 10_f64.powi(decade);
        let x = place(value * 1000.0);
        writeln!(grid, r#"<line x1="{x:.1}" y1="{TOP:.0}" x2="{x:.1}" y2="{bottom:.0}"/>"#)?;
        writeln!(grid, r#"<text class="t" x="{x:.1}" y="{:.0}">{value}</text>"#, bottom + 16.0)?;
    }
    let (axis, height) = (bottom + 36.0, bottom + 50.0);
    Ok(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img">
<title>Time of one token, in microseconds, on a logarithmic axis</title>
<style>{STYLE}</style>
<text class="h" x="12" y="24">Time of one token, one thread</text>
<text class="t" style="text-anchor:start" x="12" y="42">full verification or minting; less is better; logarithmic axis</text>
{grid}{points}<text class="t" x="{:.0}" y="{axis:.0}">microseconds (logarithmic)</text>
</svg>
"#,
        f64::midpoint(LEFT, RIGHT)
    ))
}

fn class(name: &str) -> &'static str {
    match name {
        "agentkeys" => r#" class="o""#,
        "raw" => r#" class="r""#,
        _ => "",
    }
}

/// Where so many nanoseconds are.
fn place(nanoseconds: f64) -> f64 {
    let (first, last) = (f64::from(*DECADES.start()), f64::from(*DECADES.end()));
    LEFT + ((nanoseconds / 1000.0).log10() - first) / (last - first) * (RIGHT - LEFT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ten_times_as_long_is_a_decade_further() {
        assert!((place(100.0) - LEFT).abs() < 1e-9);
        assert!((place(1e6) - RIGHT).abs() < 1e-9);
        assert!((place(1e4) - f64::midpoint(LEFT, RIGHT)).abs() < 1e-9);
    }

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
