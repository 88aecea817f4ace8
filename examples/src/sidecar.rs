//! A sidecar: beside an agent it proves who the agent is, keeps session and credentials fresh, and hands the
//! credentials to the agent's own unmodified SDK.
//!
//! ```text
//!  evidence ──> broker /v1/attest ──> session ──> broker /v1/mint-aws-creds/CLASS ──> credentials
//!                                                                                          │
//!   agent's SDK <── 127.0.0.1, token from a 0600 file ── container credentials endpoint <──┘
//! ```
//!
//! [`serve`] keeps the endpoint up, [`execute`] for as long as one command runs, and [`credential_process`] prints
//! credentials once, as an SDK's configuration file can ask for.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use agentkeys_core::{Secret, SystemRandom};
use agentkeys_federation::vend;

mod client;
mod endpoint;
mod exec;
mod folder;
mod keeper;
mod peer;
mod settings;

pub use client::{BrokerClient, BrokerError, BrokerSession, Reason};
pub use endpoint::Endpoint;
pub use exec::CommandEnvironment;
pub use folder::TokenFolder;
pub use keeper::{Keeper, KeeperError, MAX_BACK_OFF, PATIENCE, Prover};
pub use peer::PeerCheck;
pub use settings::SidecarSettings;
use tokio::task::JoinSet;

use crate::Failure;

/// Credentials once, in the form that an SDK's `credential_process` prints.
///
/// # Errors
/// Where there are none; the text is for stderr, which SDKs put into their logs.
pub async fn credential_process(settings: &SidecarSettings) -> Result<Secret, Failure> {
    let keeper = keeper(settings, |_| ()).await?;
    Ok(vend::process(&keeper.obtain_once().await?)?)
}

/// Keeps the endpoint up until SIGTERM or Ctrl-C, its token in `folder`. `say` gets the variables to give to the
/// agent, `notice` each change.
///
/// # Errors
/// Where it cannot begin.
pub async fn serve(
    settings: &SidecarSettings,
    folder: &Path,
    say: impl Fn(&str),
    notice: impl Fn(&str) + Send + Sync + 'static,
) -> Result<(), Failure> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let serving = Serving::start(settings, folder, notice).await?;
    for (name, value) in serving.environment().set().take(2) {
        say(&format!("export {name}={}", value.to_string_lossy()));
    }
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        _ = terminated.recv() => Ok(()),
        ended = serving.ended() => ended,
    }
}

/// Runs a command beside the endpoint, once there are credentials, and answers its exit status.
///
/// # Errors
/// Where there are no credentials, and nothing is run.
pub async fn execute(
    settings: &SidecarSettings,
    folder: &Path,
    command: &[OsString],
    notice: impl Fn(&str) + Send + Sync + 'static,
) -> Result<u8, Failure> {
    let serving = Serving::start(settings, folder, notice).await?;
    serving.keeper.first_credentials(START).await?;
    let environment = serving.environment().clone();
    tokio::select! {
        status = environment.run(command) => status,
        ended = serving.ended() => ended.and(Err("the endpoint ended before the command".into())),
    }
}

/// An endpoint that is up, and what keeps its credentials fresh.
#[derive(Debug)]
struct Serving {
    keeper: Keeper,
    environment: CommandEnvironment,
    tasks: JoinSet<Result<(), Failure>>,
    _folder: TokenFolder,
}

impl Serving {
    async fn start(
        settings: &SidecarSettings,
        folder: &Path,
        notice: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let keeper = keeper(settings, notice).await?;
        let endpoint = Endpoint::bind(settings.port()).await?;
        let folder = TokenFolder::create(folder, &SystemRandom::new())?;
        let environment = CommandEnvironment::new(&endpoint.uri(), &folder.file());
        let mut tasks = JoinSet::new();
        let (running, peer) = (keeper.clone(), settings.peer().map(PeerCheck::new));
        tasks.spawn(async move {
            running.run().await;
            Ok(())
        });
        tasks.spawn(endpoint.run(keeper.clone(), folder.token().clone(), peer));
        Ok(Self { keeper, environment, tasks, _folder: folder })
    }

    const fn environment(&self) -> &CommandEnvironment {
        &self.environment
    }

    /// Neither task ends but by a failure.
    async fn ended(mut self) -> Result<(), Failure> {
        match self.tasks.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }
}

async fn keeper(
    settings: &SidecarSettings,
    notice: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Keeper, Failure> {
    Ok(Keeper::new(settings.client()?, settings.prover().await?, settings.class(), notice))
}

/// How long a command waits for its first credentials.
const START: Duration = Duration::from_secs(30);
