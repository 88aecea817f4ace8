//! Compares implementations of the same work without being fooled by the machine.
//!
//! All candidates run in one process, one after another in every round, and each round begins with the next
//! of them; a ratio is taken within a round and the median over the rounds is what is told. Every candidate
//! walks through many distinct items from a place of its own, so that no two meet the same warm lines.
//! Times are orientation; ratios hold.

use std::fmt;
use std::hint::black_box;
use std::sync::mpsc;
use std::time::Instant;

use serde_json::{Map, Value, json};

/// One implementation of the work, called with the number of an item.
pub struct Candidate<'c> {
    name: &'static str,
    work: Box<dyn FnMut(usize) + 'c>,
}

impl<'c> Candidate<'c> {
    /// `work` panics where its answer is wrong: a fast wrong answer is no result.
    pub fn new(name: &'static str, work: impl FnMut(usize) + 'c) -> Self {
        Self { name, work: Box::new(work) }
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many distinct items there are.
    pub items: usize,
    /// How many of them each candidate does in a round.
    pub slice: usize,
    /// How many rounds; odd, so that there is a middle one.
    pub rounds: usize,
}

/// What was found about the first candidate.
#[derive(Clone, Debug)]
pub struct Outcome {
    case: &'static str,
    nanoseconds: f64,
    /// Its speed relative to each other one; above 1 it is the faster.
    versus: Vec<(&'static str, f64)>,
    /// What else was counted.
    figures: Vec<(&'static str, f64)>,
}

/// Measures the first candidate against the others.
///
/// # Panics
/// Without candidates, or where one of them panics.
#[must_use]
pub fn compare(case: &'static str, plan: Plan, candidates: Vec<Candidate<'_>>) -> Outcome {
    measure(case, plan, candidates, |work, items| {
        let begin = Instant::now();
        items.for_each(work);
        begin.elapsed().as_secs_f64()
    })
}

/// The same with the first two levels of the processor's cache emptied before each call, as other work
/// between two calls does it.
///
/// # Panics
/// Without candidates, or where one of them panics.
#[must_use]
pub fn compare_cold(case: &'static str, plan: Plan, candidates: Vec<Candidate<'_>>) -> Outcome {
    let mut other_work = vec![1_u64; EVICTING_BYTES / size_of::<u64>()];
    measure(case, plan, candidates, |work, items| {
        items.fold(0.0, |sum, item| {
            for line in other_work.chunks_mut(64 / size_of::<u64>()) {
                line[0] = line[0].wrapping_mul(3);
            }
            black_box(&other_work);
            let begin = Instant::now();
            work(item);
            sum + begin.elapsed().as_secs_f64()
        })
    })
}

/// With `time` saying how many seconds a candidate's work with these items takes.
fn measure(
    case: &'static str,
    plan: Plan,
    mut candidates: Vec<Candidate<'_>>,
    mut time: impl FnMut(&mut dyn FnMut(usize), &mut dyn Iterator<Item = usize>) -> f64,
) -> Outcome {
    let count = candidates.len();
    let mut times = vec![Vec::with_capacity(plan.rounds); count];
    let mut cursors: Vec<usize> = (0..count).map(|at| at * plan.items / count).collect();
    for round in 0..=plan.rounds {
        for turn in 0..count {
            let at = (round + turn) % count;
            let (candidate, cursor) = (&mut candidates[at], cursors[at]);
            let mut items = (cursor..cursor + plan.slice).map(|item| item % plan.items);
            let elapsed = time(&mut candidate.work, &mut items);
            cursors[at] = (cursor + plan.slice) % plan.items;
            // the first round warms up
            if round > 0 {
                times[at].push(elapsed * 1e9 / plan.slice as f64);
            }
        }
    }
    let ours = times[0].clone();
    let ratio =
        |theirs: &[f64]| median(theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect());
    let versus = (1..count).map(|at| (candidates[at].name, ratio(&times[at]))).collect();
    Outcome::new(case, median(ours.clone()), versus)
}

/// Three times the second level of a large server's core.
const EVICTING_BYTES: usize = 6 << 20;

/// Measures `one` call against what each of two threads needs for the same call while the other works
/// too: 2 where they do not get in each other's way.
///
/// # Panics
/// Where `one` panics.
#[must_use]
pub fn scale(case: &'static str, plan: Plan, one: impl Fn(usize) + Sync) -> Outcome {
    let slice = |start: usize| {
        let begin = Instant::now();
        for step in 0..plan.slice {
            one((start + step) % plan.items);
        }
        begin.elapsed().as_secs_f64() * 1e9 / plan.slice as f64
    };
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let ((begin, starts), (end, times)) = (mpsc::channel(), mpsc::channel());
        let slice = &slice;
        // one thread for all rounds: a new one begins on its parent's processor
        scope.spawn(move || starts.into_iter().try_for_each(|start| end.send(slice(start))));
        for round in 0..=plan.rounds {
            let start = round * plan.slice;
            let mut single = || alone.push(slice(start));
            let double = || {
                begin.send(start + plan.items / 2).expect("the other thread");
                let ours: f64 = slice(start);
                ours.max(times.recv().expect("the other thread")) / 2.0
            };
            // for each call of the two together
            if round % 2 == 0 {
                single();
                together.push(double());
            } else {
                together.push(double());
                single();
            }
        }
    });
    // the first round warms up
    let (alone, together) = (alone.split_off(1), together.split_off(1));
    let speed = median(alone.iter().zip(&together).map(|(alone, together)| alone / together).collect());
    Outcome::new(case, median(together), vec![("one_thread", speed)])
}

/// The bench's `main`: runs each case and prints a table, or with `--json` one object a line and nothing else.
///
/// Does nothing where cargo only tests that it builds.
pub fn run(bench: &str, cases: impl IntoIterator<Item = Box<dyn FnOnce() -> Outcome>>) {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    if !given("--bench") {
        return;
    }
    for case in cases {
        let outcome = case();
        if given("--json") {
            println!("{}", outcome.to_json(bench));
        } else {
            println!("{bench:10} {outcome}");
        }
    }
}

impl Outcome {
    /// What a case found that has a way of measuring of its own: nanoseconds, and its speed relative to each
    /// other way; above 1 it is the faster.
    #[must_use]
    pub const fn new(case: &'static str, nanoseconds: f64, versus: Vec<(&'static str, f64)>) -> Self {
        Self { case, nanoseconds, versus, figures: Vec::new() }
    }

    /// With something else that was counted.
    #[must_use]
    pub fn with_figure(mut self, name: &'static str, value: f64) -> Self {
        self.figures.push((name, value));
        self
    }

    fn to_json(&self, bench: &str) -> Value {
        let versus: Map<String, Value> =
            self.versus.iter().map(|(name, ratio)| ((*name).to_owned(), json!(rounded(*ratio)))).collect();
        let nanoseconds = (self.nanoseconds * 10.0).round() / 10.0;
        let mut line = json!({ "bench": bench, "case": self.case, "ns": nanoseconds, "vs": versus });
        for (name, value) in &self.figures {
            line[*name] = json!(rounded(*value));
        }
        line
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:15} {:>9.2} us", self.case, self.nanoseconds / 1000.0)?;
        for (name, ratio) in &self.versus {
            write!(f, "   {ratio:.3}x {name}")?;
        }
        for (name, value) in &self.figures {
            write!(f, "   {name} {value}")?;
        }
        Ok(())
    }
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

/// The middle one of these values.
///
/// # Panics
/// Without values.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_one_has_a_ratio_above_one() {
        let spin = |times: u32| {
            move |_| {
                for at in 0..times {
                    std::hint::black_box(at);
                }
            }
        };
        let plan = Plan { items: 7, slice: 3, rounds: 5 };
        let outcome =
            compare("spin", plan, vec![Candidate::new("a", spin(100)), Candidate::new("b", spin(100_000))]);
        assert!(outcome.versus[0].1 > 1.0, "{outcome}");
        assert_eq!(outcome.to_json("x")["case"], "spin");
    }
}
