//! The whole flow of agentkeys on one machine, with every check shown: what the `quickstart` example runs
//! and what the end-to-end tests look at.
//!
//! - [`Demo`] is a small world: an STS and S3 on loopback that share no code with agentkeys, an issuer, and
//!   roles and buckets for three classes of data;
//! - [`Agent`] goes from evidence to credentials in it;
//! - [`SpireDemo`] is such a world beside a real SPIRE;
//! - [`run`] walks two agents through, fills the isolation matrix, cheats, and gives a [`Report`].

mod agent;
mod cheating;
mod demo;
mod isolation;
mod issuer;
pub mod policies;
mod report;
mod serve;
mod spire;

use std::error::Error;

pub use agent::{Agent, Credentials};
pub use demo::{DataClass, Demo};
pub use report::{Cell, Refusal, Report, Step};
pub use serve::serve;
pub use spire::{SpireDemo, SpireServer};

/// What anything here may end with: shown to a person and nothing else.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs everything the quickstart shows.
///
/// # Errors
/// Where a step that must succeed fails; a check that does not hold is part of the report instead.
pub async fn run() -> Result<Report, Failure> {
    let demo = Demo::start().await?;
    let mut report = Report::default();
    demo.introduce(&mut report);
    let mut agents = Vec::new();
    for name in ["blue", "red"] {
        agents.push(Agent::start(&demo, name, &mut report).await?);
    }
    let [blue, red] = agents.as_slice() else { return Err("two agents were started".into()) };
    isolation::fill_matrix(&demo, blue, red, &mut report).await?;
    cheating::try_everything(&demo, blue, red, &mut report).await?;
    Ok(report)
}

/// The README's example is a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
