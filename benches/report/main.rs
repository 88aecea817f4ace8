//! Makes the tables and the chart of `docs/performance.md`, and those of `docs/scale.md`.
//!
//! Without an argument it runs all benches and `benches/peers/run.sh`, writes what they print to
//! `docs/performance.json`, and draws. With `--scale` it runs the simulation, for `docs/scale.json`. With `--draw` it
//! only draws what both files hold.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

mod chart;
mod measure;
mod scale;
mod tables;
mod times;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let pages: &[&Page] = match env::args().nth(1).as_deref() {
        None => {
            fs::write(PERFORMANCE.file("json"), measure::all()?)?;
            &[&PERFORMANCE]
        }
        Some("--scale") => {
            fs::write(SCALE.file("json"), measure::scale()?)?;
            &[&SCALE]
        }
        Some("--draw") => &[&PERFORMANCE, &SCALE],
        Some(other) => return Err(format!("no such option: {other}").into()),
    };
    for page in pages {
        let (text, chart) = page.made()?;
        fs::write(page.file("md"), text)?;
        fs::write(page.file("svg"), chart)?;
    }
    Ok(())
}

/// A page with its figures and its chart.
struct Page {
    name: &'static str,
    into_page: fn(&str, &Value) -> Result<String, Failure>,
    draw: fn(&Value) -> Result<String, Failure>,
}

const PERFORMANCE: Page = Page { name: "performance", into_page: tables::into_page, draw: times::draw };
const SCALE: Page = Page { name: "scale", into_page: scale::into_page, draw: scale::draw };

impl Page {
    /// The page, its tables made anew, and the chart.
    fn made(&self) -> Result<(String, String), Failure> {
        let found = serde_json::from_str(&fs::read_to_string(self.file("json"))?)?;
        let page = fs::read_to_string(self.file("md"))?;
        Ok(((self.into_page)(&page, &found)?, (self.draw)(&found)?))
    }

    fn file(&self, kind: &str) -> PathBuf {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        docs.join(self.name).with_extension(kind)
    }
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
    fn each_page_and_its_chart_follow_from_the_figures() {
        for page in [PERFORMANCE, SCALE] {
            let written = |kind| fs::read_to_string(page.file(kind)).unwrap();
            assert_eq!(page.made().unwrap(), (written("md"), written("svg")), "{}", page.name);
        }
    }

    #[test]
    fn times_have_three_figures() {
        assert_eq!([121.6, 1234.0, 17_250.0, 612_345.0].map(micros), ["0.122", "1.23", "17.2", "612"]);
    }
}
