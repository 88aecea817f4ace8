//! Makes the tables of `docs/performance.md` and `docs/performance.svg`.
//!
//! Without an argument it runs all benches and `benches/peers/run.sh`, writes what they print to
//! `docs/performance.json`, and draws. With `--draw` it only draws what that file holds.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

mod chart;
mod measure;
mod tables;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    match env::args().nth(1).as_deref() {
        None => fs::write(docs("json"), measure::all()?)?,
        Some("--draw") => {}
        Some(other) => return Err(format!("no such option: {other}").into()),
    }
    let (page, chart) = made(&fs::read_to_string(docs("md"))?)?;
    fs::write(docs("md"), page)?;
    fs::write(docs("svg"), chart)?;
    Ok(())
}

/// The page, its tables made anew, and the chart.
fn made(page: &str) -> Result<(String, String), Failure> {
    let found = serde_json::from_str(&fs::read_to_string(docs("json"))?)?;
    Ok((tables::into_page(page, &found)?, chart::draw(&found)?))
}

fn docs(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance").with_extension(kind)
}

/// Nanoseconds as microseconds, to three figures.
fn micros(nanoseconds: f64) -> String {
    let micros = nanoseconds / 1000.0;
    let digits = match micros {
        ..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{micros:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_its_chart_follow_from_the_figures() {
        let page = fs::read_to_string(docs("md")).unwrap();
        assert_eq!(made(&page).unwrap(), (page, fs::read_to_string(docs("svg")).unwrap()));
    }

    #[test]
    fn times_have_three_figures() {
        assert_eq!([121.6, 1234.0, 17_250.0, 612_345.0].map(micros), ["0.122", "1.23", "17.2", "612"]);
    }
}
