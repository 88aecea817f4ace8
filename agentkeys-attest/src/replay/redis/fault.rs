use redis::{ErrorKind, RedisError};

/// Why Redis could not tell whether a use is the first. Shows nothing of what the server said but its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisFault {
    /// No connection, or it was closed.
    #[error("there is no connection to redis")]
    Connection,
    /// The server let nobody in.
    #[error("redis takes neither the user nor the password")]
    Credentials,
    /// It may forget uses to make room.
    #[error("redis evicts keys: its maxmemory-policy must be noeviction")]
    Evicts,
    /// It keeps no append-only file and was started a short while ago.
    #[error(
        "redis may have forgotten: it keeps no append-only file (appendonly yes) and has not been up for an hour"
    )]
    Forgetful,
    /// It answers with something else than it should.
    #[error("redis's answer is not understood")]
    NotUnderstood,
    /// It answers with an error.
    #[error("redis refuses: {0}")]
    Refused(&'static str),
    /// It does not answer in time. What was asked may have been done.
    #[error("redis does not answer in time")]
    Timeout,
    /// The certificate, or the connection's encryption.
    #[error("there is no tls connection to redis")]
    Tls,
    /// One node of a cluster says that another is asked, and that one says the same.
    #[error("redis's cluster does not agree whom to ask")]
    Undecided,
}

pub(super) fn of(error: &RedisError) -> RedisFault {
    if error.is_timeout() {
        return RedisFault::Timeout;
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => RedisFault::Credentials,
        ErrorKind::Io => RedisFault::Connection,
        ErrorKind::Server(_) | ErrorKind::Extension => RedisFault::Refused(code(error.code())),
        _ => RedisFault::NotUnderstood,
    }
}

/// A code that is known, and none of the server's own words.
fn code(said: Option<&str>) -> &'static str {
    KNOWN.iter().find(|known| said == Some(**known)).copied().unwrap_or("ERR")
}

const KNOWN: [&str; 13] = [
    "ASK",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
];
