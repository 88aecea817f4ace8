use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogLevel {
    /// Every request.
    #[default]
    Info,
    /// What is wrong.
    Warn,
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "info" => Ok(Self::Info),
            "warn" => Ok(Self::Warn),
            _ => Err("a log level is info or warn"),
        }
    }
}

/// Logs to stderr from now on, one JSON object a line: what this broker says of itself, and nothing of the
/// crates below, whose lines could show a header.
pub fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
    };
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    let ours = Targets::new().with_target("broker", level);
    let _another_logs_already = tracing_subscriber::registry().with(lines).with(ours).try_init();
}
