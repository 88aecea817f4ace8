use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// Everything that was seen, and how much of it was as it must be.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Of what.
    #[serde(skip)]
    name: &'static str,
    /// Fewer checks than these prove nothing.
    #[serde(skip)]
    least: usize,
    /// What each step saw, in order.
    pub steps: Vec<Step>,
    /// Who could do what where.
    pub matrix: Vec<Cell>,
    /// What was tried that must not work.
    pub refusals: Vec<Refusal>,
    /// How many checks were made.
    pub checks: usize,
    /// How many of them held.
    pub held: usize,
}

/// One step.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Which agent; empty for the world around them.
    pub agent: String,
    /// Its name.
    pub step: &'static str,
    /// What it saw.
    pub saw: String,
    /// How long it took, in microseconds.
    pub micros: u128,
}

/// One cell of the isolation matrix.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Cell {
    /// Whose credentials.
    pub agent: String,
    /// Of which class's role.
    pub role: &'static str,
    /// Where.
    pub target: &'static str,
    /// `List`, `Get` or `Put`.
    pub action: &'static str,
    /// `allowed` or `denied`.
    pub expected: &'static str,
    /// `allowed`, `denied`, or the code of another failure.
    pub got: String,
}

/// One attempt to cheat.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// What was tried.
    pub attempt: &'static str,
    /// Who refused it.
    pub refused_by: &'static str,
    /// With which code; `nobody` where it worked.
    pub code: String,
}

impl Default for Report {
    fn default() -> Self {
        Self::new("quickstart", LEAST_CHECKS)
    }
}

impl Report {
    pub(crate) fn new(name: &'static str, least: usize) -> Self {
        let (steps, matrix, refusals) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, least, steps, matrix, refusals, checks: 0, held: 0 }
    }

    /// Whether every check held, and there were as many as there must be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checks == self.held && self.checks >= self.least
    }

    /// The report for a person.
    #[must_use]
    pub fn for_people(&self, colours: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        let (good, bad) = (|text: &str| paint("32", text), |text: &str| paint("31;1", text));
        let mut out = String::new();
        let mut agent = "";
        for step in &self.steps {
            if step.agent != agent {
                agent = &step.agent;
                let heading =
                    if agent.is_empty() { String::new() } else { format!(" agent {}", paint("1", agent)) };
                let _infallible = writeln!(out, "\n{heading}");
            }
            let took = Duration::from_micros(u64::try_from(step.micros).unwrap_or(u64::MAX));
            let took = if step.micros == 0 { String::new() } else { format!("{took:>10.1?}") };
            let _infallible = writeln!(out, "   {:<14} {:<92} {took}", step.step, step.saw);
        }
        let _infallible = writeln!(out, "\n isolation: who may do what where");
        for row in self.matrix.chunks(3) {
            let Some(first) = row.first() else { continue };
            let right = row.iter().all(|cell| cell.got == cell.expected);
            let allowed: Vec<_> =
                row.iter().filter(|cell| cell.got == "allowed").map(|cell| cell.action).collect();
            let denied = row.iter().all(|cell| cell.got == "denied");
            let outcome = if denied { "denied".to_owned() } else { allowed.join(" ") };
            let outcome = if right { good(&outcome) } else { bad(&format!("{row:?}")) };
            let _infallible = writeln!(
                out,
                "   {:<9} {:<12} {:<22} {outcome}",
                first.agent,
                format!("{} role", first.role),
                first.target
            );
        }
        let _infallible = writeln!(out, "\n cheating");
        for refusal in &self.refusals {
            let verdict = format!("refused by {}: {}", refusal.refused_by, refusal.code);
            let verdict = if refusal.code == NOBODY { bad("NOT REFUSED") } else { good(&verdict) };
            let _infallible = writeln!(out, "   {:<66} {verdict}", refusal.attempt);
        }
        let _infallible = writeln!(out, "\n{}", self.summary());
        out
    }

    /// The last line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("{}: {} checks, {} held", self.name, self.checks, self.held)
    }

    pub(crate) fn check(&mut self, held: bool) {
        self.checks += 1;
        self.held += usize::from(held);
    }

    pub(crate) fn step(&mut self, agent: &str, step: &'static str, saw: String, took: Duration) {
        self.steps.push(Step { agent: agent.to_owned(), step, saw, micros: took.as_micros() });
    }

    pub(crate) fn cell(&mut self, cell: Cell) {
        self.check(cell.got == cell.expected);
        self.matrix.push(cell);
    }

    /// Writes an attempt down; it is as it must be where it was refused with just this code.
    pub(crate) fn refusal(
        &mut self,
        attempt: &'static str,
        refused_by: &'static str,
        expected: &str,
        got: Option<String>,
    ) {
        let code = got.unwrap_or_else(|| NOBODY.to_owned());
        self.check(code == expected);
        self.refusals.push(Refusal { attempt, refused_by, code });
    }
}

const NOBODY: &str = "nobody";

/// 135 cells, 19 attempts to cheat, and the objects that are looked at.
const LEAST_CHECKS: usize = 180;
