use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use agentkeys_federation::vend::UNSET;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::settings::KNOWN;
use crate::Failure;

/// What a command's environment is changed by: nothing that leads an SDK to another identity stays, and the endpoint
/// is there.
///
/// Beside the variables of [`UNSET`] and the keys themselves, the shared files are named as `/dev/null`: SDKs read
/// them before they ask an endpoint, even where no variable names them. What the workload proves itself with stays
/// readable for a process that looks for it: this keeps an SDK from going wrong, and is no prison.
#[derive(Clone, Debug)]
pub struct CommandEnvironment {
    set: Vec<(&'static str, OsString)>,
}

impl CommandEnvironment {
    /// The environment of the endpoint at `uri`, whose token is in `token_file`.
    #[must_use]
    pub fn new(uri: &str, token_file: &Path) -> Self {
        let set = vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.into()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file.into()),
            ("AWS_SHARED_CREDENTIALS_FILE", NOTHING.into()),
            ("AWS_CONFIG_FILE", NOTHING.into()),
            // where the endpoint fails, nobody goes on to the machine's own role
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ];
        Self { set }
    }

    /// The names of the variables that are taken out.
    pub fn unset(&self) -> impl Iterator<Item = &'static str> {
        UNSET.into_iter().chain(KEYS).chain(PROOF).chain(KNOWN.iter().copied())
    }

    /// The variables that are set.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        self.set.iter().map(|(name, value)| (*name, value.as_os_str()))
    }

    /// Runs a command in it, passes on the signals that come in meanwhile, and answers how the command ended, as a
    /// shell does: its status, 128 and the number of the signal that ended it, 127 where there is no such command
    /// and 126 where it cannot be run.
    ///
    /// # Errors
    /// Where no command is given or no signal can be waited for.
    pub async fn run(&self, command: &[OsString]) -> Result<u8, Failure> {
        let (program, arguments) = command.split_first().ok_or("there is no command")?;
        let mut command = Command::new(program);
        command.args(arguments);
        for name in self.unset() {
            command.env_remove(name);
        }
        command.envs(self.set());
        let mut signals = Signals::new()?;
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(127),
            Err(_) => return Ok(126),
        };
        loop {
            tokio::select! {
                status = child.wait() => return Ok(as_shell(status?)),
                signal = signals.next() => pass_on(&child, signal),
            }
        }
    }
}

fn as_shell(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| signal.saturating_add(128));
    status.code().or(signal).and_then(|status| u8::try_from(status).ok()).unwrap_or(1)
}

fn pass_on(child: &Child, signal: Signal) {
    // a terminal has sent its own signals to the command as well
    if [Signal::INT, Signal::QUIT].contains(&signal) && io::stdin().is_terminal() {
        return;
    }
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        let _ended = kill_process(pid, signal);
    }
}

/// The signals that are passed on.
struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Signals {
    fn new() -> io::Result<Self> {
        let passed =
            [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::WINCH];
        let waiting = passed.into_iter().map(|kind| Ok((kind, signal(SignalKind::from_raw(kind.as_raw()))?)));
        Ok(Self(waiting.collect::<io::Result<_>>()?))
    }

    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (kind, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*kind);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Static or stolen, they come before every endpoint.
const KEYS: [&str; 4] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"];

/// What the sidecar proves itself with.
const PROOF: [&str; 5] =
    ["ATTESTOR", "AWSSTS_AUDIENCE", "SPIFFE_ENDPOINT_SOCKET", "SPIRE_AUDIENCE", "STSWEB_AUDIENCE"];

const NOTHING: &str = "/dev/null";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell_says_how_a_command_ended() {
        for (wait_status, said) in [(0, 0), (7 << 8, 7), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(as_shell(ExitStatus::from_raw(wait_status)), said);
        }
    }
}
