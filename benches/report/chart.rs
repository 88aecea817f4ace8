//! Draws points in rows, on a logarithmic axis.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::Failure;

/// What is drawn.
#[derive(Debug)]
pub(crate) struct Chart<'c> {
    /// For those who do not see it.
    pub(crate) title: &'c str,
    pub(crate) heading: &'c str,
    pub(crate) note: &'c str,
    /// Below the axis.
    pub(crate) unit: &'c str,
    /// The powers of ten from left to right.
    pub(crate) decades: RangeInclusive<i32>,
    pub(crate) groups: Vec<(String, Vec<Point>)>,
}

#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) value: f64,
    /// What stands beside it.
    pub(crate) label: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Ours,
    Other,
    /// What bounds the others: a ring.
    Bound,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 56.0;
const ROW: f64 = 18.0;
const GAP: f64 = 30.0;
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}\
    .h{font-weight:600}.n{text-anchor:end}.t{text-anchor:middle;fill:#59636e}\
    line{stroke:#d1d9e0}circle{fill:#818b98}.o{fill:#0969da}.r{fill:none;stroke:#818b98;stroke-width:2}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.t{fill:#9198a1}line{stroke:#3d444d}\
    circle{fill:#9198a1}.o{fill:#4493f8}.r{fill:none;stroke:#9198a1}}";

impl Chart<'_> {
    pub(crate) fn draw(&self) -> Result<String, Failure> {
        let (mut points, mut y) = (String::new(), TOP);
        for (title, group) in &self.groups {
            y += GAP;
            writeln!(points, r#"<text class="h" x="12" y="{y:.0}">{title}</text>"#)?;
            for point in group {
                y += ROW;
                let (x, middle, class) = (self.place(point.value), y - 4.0, point.kind.class());
                let name = &point.name;
                writeln!(points, r#"<text class="n" x="{:.0}" y="{y:.0}">{name}</text>"#, LEFT - 10.0)?;
                writeln!(points, r#"<circle{class} cx="{x:.1}" cy="{middle:.0}" r="5"/>"#)?;
                writeln!(points, r#"<text x="{:.1}" y="{y:.0}">{}</text>"#, x + 10.0, point.label)?;
            }
        }
        let (bottom, mut grid) = (y + 12.0, String::new());
        for decade in self.decades.clone() {
            let value = 10_f64.powi(decade);
            let x = self.place(value);
            writeln!(grid, r#"<line x1="{x:.1}" y1="{TOP:.0}" x2="{x:.1}" y2="{bottom:.0}"/>"#)?;
            writeln!(grid, r#"<text class="t" x="{x:.1}" y="{:.0}">{value}</text>"#, bottom + 16.0)?;
        }
        let (axis, height) = (bottom + 36.0, bottom + 50.0);
        let Self { title, heading, note, unit, .. } = self;
        Ok(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" role="img">
<title>{title}</title>
<style>{STYLE}</style>
<text class="h" x="12" y="24">{heading}</text>
<text class="t" style="text-anchor:start" x="12" y="42">{note}</text>
{grid}{points}<text class="t" x="{:.0}" y="{axis:.0}">{unit}</text>
</svg>
"#,
            f64::midpoint(LEFT, RIGHT)
        ))
    }

    /// Where a value is.
    fn place(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(*self.decades.start()), f64::from(*self.decades.end()));
        LEFT + (value.log10() - first) / (last - first) * (RIGHT - LEFT)
    }
}

impl Kind {
    const fn class(self) -> &'static str {
        match self {
            Self::Ours => r#" class="o""#,
            Self::Other => "",
            Self::Bound => r#" class="r""#,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_much_is_a_decade_further() {
        let (title, heading, note, unit) = ("", "", "", "");
        let chart = Chart { title, heading, note, unit, decades: -1..=3, groups: Vec::new() };
        assert!((chart.place(0.1) - LEFT).abs() < 1e-9);
        assert!((chart.place(1000.0) - RIGHT).abs() < 1e-9);
        assert!((chart.place(10.0) - f64::midpoint(LEFT, RIGHT)).abs() < 1e-9);
    }
}
