//! Writes the figures into the page, between `<!-- NAME -->` and `<!-- end -->`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::{Failure, micros};

/// The page with all of its tables made anew; what stands around them is kept.
pub(crate) fn into_page(page: &str, found: &Value) -> Result<String, Failure> {
    let mut page = replaced(page, "machine", &machine(&found["about"])?)?;
    let results = found["results"].as_array().ok_or("no results")?;
    for bench in names(results.iter().filter_map(|line| line["bench"].as_str())) {
        let lines: Vec<_> = results.iter().filter(|line| line["bench"] == bench).collect();
        page = replaced(&page, bench, &table(&lines)?)?;
    }
    replaced(&page, "elsewhere", &elsewhere(found["elsewhere"].as_array().ok_or("nothing elsewhere")?)?)
}

pub(crate) fn replaced(page: &str, name: &str, with: &str) -> Result<String, Failure> {
    let head = format!("<!-- {name} -->\n");
    let missing = || format!("the page has no place for {name}");
    let (before, rest) = page.split_once(&head).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{head}{with}{END}{after}"))
}

const END: &str = "<!-- end -->\n";

pub(crate) fn machine(about: &Value) -> Result<String, Failure> {
    let text = |name: &str| about[name].as_str().ok_or_else(|| format!("no {name}"));
    let (cpu, system, rustc, date) = (text("cpu")?, text("system")?, text("rustc")?, text("date")?);
    let mut out = format!("{cpu}, {} cores; {system}; {rustc}; {date}.", about["cores"]);
    let versions = members(&about["versions"]);
    let each: Vec<_> =
        versions.map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or("?"))).collect();
    if !each.is_empty() {
        write!(out, " Beside: {}.", each.join(", "))?;
    }
    Ok(out + "\n")
}

/// One bench: a row for each case, a column for each that it is compared with.
fn table(lines: &[&Value]) -> Result<String, Failure> {
    let peers = names(lines.iter().flat_map(|line| members(&line["vs"])).map(|(name, _)| name));
    let mut out = "| case | us |".to_owned();
    peers.iter().for_each(|peer| out += &format!(" {peer} |"));
    let counted = |line: &Value| {
        let own = |name: &str| ["bench", "case", "ns", "vs"].contains(&name);
        let figures = members(line).filter(|(name, _)| !own(name));
        figures.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    let with_counted = lines.iter().any(|line| !counted(line).is_empty());
    out += if with_counted { " counted |\n|---|---:|" } else { "\n|---|---:|" };
    out += &"---:|".repeat(peers.len());
    out += if with_counted { "---|\n" } else { "\n" };
    for line in lines {
        let (case, ns) = (line["case"].as_str(), line["ns"].as_f64());
        write!(out, "| `{}` | {} |", case.ok_or("no case")?, micros(ns.ok_or("no time")?))?;
        for peer in &peers {
            out +=
                &line["vs"][peer].as_f64().map_or("  |".to_owned(), |ratio| format!(" {} |", times(ratio)));
        }
        out += &if with_counted { format!(" {} |\n", counted(line)) } else { "\n".to_owned() };
    }
    Ok(out)
}

/// A ratio, to three figures or four.
fn times(ratio: f64) -> String {
    let digits = match ratio {
        ..10.0 => 3,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{ratio:.digits$}")
}

/// Other languages: a row for each library, a column for each case.
fn elsewhere(lines: &[Value]) -> Result<String, Failure> {
    let text = |line: &'_ Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let (cases, mut peers) = (names(lines.iter().filter_map(|line| line["case"].as_str())), Vec::new());
    for line in lines {
        let peer = (text(line, "runtime"), text(line, "peer"));
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    let mut out = "| library | runtime |".to_owned();
    cases.iter().for_each(|case| out += &format!(" {case}, us |"));
    out += &format!("\n|---|---|{}\n", "---:|".repeat(cases.len()));
    for (runtime, peer) in peers {
        write!(out, "| {peer} | {runtime} |")?;
        for case in &cases {
            let of = |line: &&Value| text(line, "peer") == peer && line["case"] == *case;
            let ns = lines.iter().find(of).and_then(|line| line["ns"].as_f64());
            out += &ns.map_or("  |".to_owned(), |ns| format!(" {} |", micros(ns)));
        }
        out += "\n";
    }
    Ok(out)
}

/// By name: what order an object keeps is up to a feature that other packages may turn on.
fn members(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = object.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value)).collect::<BTreeMap<_, _>>().into_iter()
}

/// Each name once, in the order in which they came.
fn names<'n>(all: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    all.fold(Vec::new(), |mut names, name| {
        if !names.contains(&name) {
            names.push(name);
        }
        names
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_for_each_case_a_column_for_each_peer() {
        let lines = [
            json!({ "bench": "b", "case": "one", "ns": 1500.0, "vs": { "raw": 0.5 } }),
            json!({ "bench": "b", "case": "two", "ns": 20.0, "vs": { "peer": 2.0 }, "calls": 7 }),
        ];
        let table = table(&[&lines[0], &lines[1]]).unwrap();
        let wanted = "| case | us | raw | peer | counted |\n|---|---:|---:|---:|---|\n\
            | `one` | 1.50 | 0.500 |  |  |\n| `two` | 0.020 |  | 2.000 | calls 7 |\n";
        assert_eq!(table, wanted);
    }

    #[test]
    fn only_what_stands_between_its_marks_is_replaced() {
        let page = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(replaced(&new, "x", "new\n").unwrap(), new);
        assert!(replaced(page, "z", "").is_err());
    }
}
