//! What 10^3 to 10^6 agents cost: calls of the STS, the hit ratio, key fetches, audit rows, memory, replicas.
//!
//! ```text
//! cargo run --release -p agentkeys-examples --example simulate              about half a minute
//! cargo run -p agentkeys-examples --example simulate -- --short             fewer agents
//! cargo run --release -p agentkeys-examples --example simulate -- --json    an object a line, for docs/scale.md
//! ```
//!
//! Its status is 0 only if the model agrees with the real caches within [`TOLERANCE`], and a cached actor takes no
//! more than [`LIMIT`] bytes.

use std::io::Write as _;
use std::process::{Command, ExitCode};

use agentkeys_examples::simulate::model::{self, Workload};
use agentkeys_examples::simulate::{memory, real};
use agentkeys_examples::{Failure, told};
use agentkeys_federation::SessionDuration;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        // each in a process of its own: what another has freed would be used again, and not seen
        ["--memory", actors, token] => measure(actors, token).await,
        [] => simulate(&LONG, Line::told).await,
        ["--short"] => simulate(&SHORT, Line::told).await,
        ["--json"] => simulate(&LONG, Line::json).await,
        _ => Err("usage: simulate [--short | --json]".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _closed = writeln!(std::io::stderr(), "simulate: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// How much is done.
struct Plan {
    /// So many actors fill a cache.
    filled: u32,
    /// So many agents go through the real caches.
    real: u32,
    /// So many are modelled.
    modelled: &'static [u32],
}

const LONG: Plan = Plan { filled: 40_000, real: 10_000, modelled: &[1_000, 10_000, 100_000, 1_000_000] };
const SHORT: Plan = Plan { filled: 4_000, real: 1_000, modelled: &[1_000, 10_000] };

/// Whether everything held.
async fn simulate(plan: &Plan, tell: fn(&Line)) -> Result<bool, Failure> {
    let mut held = true;
    for token in TOKENS {
        let arguments = ["--memory".to_owned(), plan.filled.to_string(), token.to_string()];
        let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let line = Line(serde_json::from_slice(&output.stdout)?);
        held &= token != TOKEN || line.figure("resident") <= LIMIT;
        tell(&line);
    }

    let session = SessionDuration::from_secs(3600)?;
    for (caches, session) in [(1, session), (3, SessionDuration::MIN)] {
        let workload = Workload::new(plan.real, session).anywhere(caches);
        let (modelled, real) = (model::run(&workload), real::run(&workload).await?);
        let line = Line::of_real(&workload, &modelled, &real);
        held &= line.agrees();
        tell(&line);
    }

    for &agents in plan.modelled {
        for (caches, session) in
            [(1, session), (1, SessionDuration::MIN), (3, session), (3, SessionDuration::MIN)]
        {
            let workload = Workload::new(agents, session).anywhere(caches);
            tell(&Line::of_model(&workload, &model::run(&workload)));
        }
    }
    Ok(held)
}

async fn measure(actors: &str, token: &str) -> Result<bool, Failure> {
    Line::of_memory(&memory::measure(actors.parse()?, token.parse()?).await?).json();
    Ok(true)
}

/// What is said.
struct Line(Value);

impl Line {
    fn of_memory(memory: &memory::Memory) -> Self {
        let (actors, token, credentials) = (memory.actors, memory.token, memory.credentials);
        Self(json!({ "case": "memory", "actors": actors, "token": token, "credentials": credentials,
            "beside": memory.beside(), "resident": memory.resident }))
    }

    fn of_real(workload: &Workload, modelled: &model::Counts, real: &real::Real) -> Self {
        let seconds = f64::from(workload.counted);
        Self(json!({ "case": "real", "agents": workload.agents, "session": workload.session.as_secs(),
            "caches": workload.caches, "requests": real.counts.requests,
            "sts_per_s": per(real.counts.exchanges, seconds), "modelled_sts_per_s": per(modelled.exchanges, seconds),
            "hit_ratio": real.counts.hit_ratio(), "modelled_hit_ratio": modelled.hit_ratio(),
            "rows": real.rows, "exchanges": real.exchanges, "key_fetches": real.key_fetches,
            "same_requests": real.counts.requests == modelled.requests && real.counts.attested == modelled.attested }))
    }

    fn of_model(workload: &Workload, counts: &model::Counts) -> Self {
        let seconds = f64::from(workload.counted);
        Self(json!({ "case": "model", "agents": workload.agents, "session": workload.session.as_secs(),
            "caches": workload.caches, "requests_per_s": per(counts.requests, seconds),
            "attested_per_s": per(counts.attested, seconds), "sts_per_s": per(counts.exchanges, seconds),
            "peak": counts.peak, "hit_ratio": counts.hit_ratio(), "keys": counts.keys }))
    }

    /// Whether the model and the real caches say the same.
    fn agrees(&self) -> bool {
        let figure = |name| self.figure(name);
        let near = |ratio: f64| (ratio - 1.0).abs() <= TOLERANCE;
        near(figure("modelled_sts_per_s") / figure("sts_per_s"))
            && near(figure("modelled_hit_ratio") / figure("hit_ratio"))
            && self.0.get("same_requests") == Some(&Value::Bool(true))
            && figure("rows") == 2.0 * figure("exchanges")
    }

    /// Nothing is near, below or above a figure that is missing.
    fn figure(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn json(&self) {
        let _closed = writeln!(std::io::stdout(), "{}", self.0);
    }

    fn told(&self) {
        let mut line = self.0.get("case").and_then(Value::as_str).unwrap_or_default().to_owned();
        for (name, value) in self.0.as_object().into_iter().flatten().filter(|(name, _)| *name != "case") {
            let part = value.as_f64().filter(|value| value.fract() != 0.0);
            line += &part.map_or_else(|| format!(" {name} {value}"), |part| format!(" {name} {part:.4}"));
        }
        let _closed = writeln!(std::io::stdout(), "{line}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// The model's calls and hit ratio are those of the real caches within one percent.
const TOLERANCE: f64 = 0.01;

/// Session tokens have no fixed length: AWS says that most are below 4096 bytes.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html>
const TOKENS: [u32; 3] = [512, TOKEN, 2048];

/// The length that the limit is for.
const TOKEN: u32 = 1024;

/// What a cached actor may take with a session token of [`TOKEN`] bytes, in bytes.
const LIMIT: f64 = 1536.0;
