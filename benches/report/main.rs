//! Makes the tables of `docs/performance.md` and `docs/performance.svg`.
//!
//! Without an argument it runs all benches and `benches/peers/run.sh`, writes what they print to
//! `docs/performance.json`, and draws. `--draw` draws what that file holds; `--check` fails where the
//! other two do not follow from it.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

mod chart;
mod measure;
mod tables;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let (figures, page, chart) =
        (docs.join("performance.json"), docs.join("performance.md"), docs.join("performance.svg"));
    let argument = env::args().nth(1);
    match argument.as_deref() {
        None => fs::write(&figures, measure::all()?)?,
        Some("--draw" | "--check") => {}
        Some(other) => return Err(format!("no such option: {other}").into()),
    }
    let found = serde_json::from_str(&fs::read_to_string(&figures)?)?;
    let before = fs::read_to_string(&page)?;
    let (tables, drawn) = (tables::into_page(&before, &found)?, chart::draw(&found)?);
    if argument.as_deref() != Some("--check") {
        fs::write(&page, tables)?;
        fs::write(&chart, drawn)?;
    } else if tables != before || drawn != fs::read_to_string(&chart)? {
        return Err("docs/performance.md or .svg does not follow from docs/performance.json".into());
    }
    Ok(())
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
    fn times_have_three_figures() {
        assert_eq!([121.6, 1234.0, 17_250.0, 612_345.0].map(micros), ["0.122", "1.23", "17.2", "612"]);
    }
}
