//! The whole flow of agentkeys on one machine, with every check shown: what the `quickstart` example runs
//! and what the end-to-end tests look at.
//!
//! - [`Demo`] is a small world: an STS and S3 on loopback that share no code with agentkeys, an issuer, and
//!   roles and buckets for three classes of data;
//! - [`Agent`] goes from evidence to credentials in it;
//! - [`SpireDemo`] is such a world beside a real SPIRE;
//! - [`broker`] is what the `broker` example runs, [`sidecar`] the `sidecar` example, [`doctor`] the `doctor` example;
//! - [`run`] walks agents of each platform through, fills the isolation matrix, cheats, and gives a [`Report`].

mod agent;
pub mod broker;
mod ceph;
mod cheating;
mod demo;
mod deployment;
pub mod doctor;
mod expectations;
mod isolation;
mod issuer;
mod minio;
mod place;
pub mod replicas;
mod report;
mod serve;
pub mod sidecar;
pub mod simulate;
mod spire;
mod stack;

use std::error::Error;
use std::time::Duration;

use agent::Platform;
pub use agent::{Agent, Credentials};
use agentkeys_attest::spire::WorkloadSocket;
use agentkeys_federation::{AuditValue, verify_chain};
pub use ceph::{CephGateway, prove_on_ceph, spire_prefix_on_ceph};
pub use demo::{CLASSES, Demo, next, own_prefix};
pub use deployment::{BucketDocuments, Deployment, Documents, ProviderDocuments, RoleDocuments};
pub use expectations::{Asker, Document, Expectation, Keys};
pub use minio::prove_on_minio;
pub use report::{Cell, Refusal, Report, Step};
pub use serve::serve;
pub use spire::{SpireDemo, SpireServer};
pub use stack::RunningStack;

/// What anything here may end with: shown to a person and nothing else.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A failure and what is behind it.
#[must_use]
pub fn told(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut next = failure.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Runs everything the quickstart shows; with SPIRE as well, where the socket of its agent is given.
///
/// # Errors
/// Where a step that must succeed fails; a check that does not hold is part of the report instead.
pub async fn run(spire: Option<WorkloadSocket>) -> Result<Report, Failure> {
    let demo = Demo::beside(spire).await?;
    let mut report = Report::default();
    demo.introduce(&mut report);
    let mut platforms = vec![("blue", Platform::Pod), ("red", Platform::Pod), ("green", Platform::Role)];
    platforms.extend(demo.spire.clone().map(|socket| (SPIRE_AGENT, Platform::Spire(socket))));
    let mut agents = Vec::new();
    for (name, platform) in platforms {
        agents.push(Agent::start(&demo, &platform, name, &mut report).await?);
    }
    isolation::fill_matrix(&demo, &agents, &mut report).await?;
    let [blue, red, ..] = agents.as_slice() else { return Err("two agents were started".into()) };
    cheating::try_everything(&demo, blue, red, &mut report).await?;
    show_audit(&demo, agents.len(), &mut report);
    Ok(report)
}

/// What is in the broker's audit log: for each agent and class a token's two rows and an exchange's two.
fn show_audit(demo: &Demo, agents: usize, report: &mut Report) {
    let (rows, head) = demo.audit.rows();
    let issued = rows.iter().filter(|row| row.value("outcome") == Some(&AuditValue::Text("issued".into())));
    let saw = format!("{} rows, {} issued, {head}", rows.len(), issued.clone().count());
    report.step("", "audit", saw, Duration::ZERO);
    let expected = agents * CLASSES.len() * 2;
    report.check(issued.count() == expected && rows.len() == 2 * expected);
    report.check(verify_chain(&rows, &head).is_ok());
    // without its last row, the log is not the one of this head
    report.check(rows.split_last().is_some_and(|(_, cut)| verify_chain(cut, &head).is_err()));
}

/// The agent of the process that runs this, where a SPIFFE agent is given: its registration entry says so.
const SPIRE_AGENT: &str = "violet";

/// The README's example is a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So are the guide's.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embed.md")]
struct Guide;
