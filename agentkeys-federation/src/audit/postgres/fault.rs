use std::fmt;

use tokio_postgres::Error;

/// Why something is not known to be done. It holds nothing of what was sent or answered: errors of the server
/// show rows, and those of the client parts of what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) enum Fault {
    /// The server answered with an error of this code.
    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    Code([u8; 5]),
    /// There is no connection, or it was lost.
    Lost,
    /// The server's certificate was not accepted, or it speaks no TLS.
    Tls,
    /// It took too long.
    Slow,
    /// The rows before ours are not what they were, or another session was given to us.
    Moved,
    /// The server said that it did not do all that a commit must.
    Warned,
    /// An answer that is none of ours.
    Answer,
}

impl Fault {
    /// Two rows of one place.
    pub(super) const UNIQUE: Self = Self::Code(*b"23505");
    /// There is no such schema or table.
    pub(super) const fn is_absence(self) -> bool {
        matches!(self, Self::Code([b'3', b'F', ..] | [b'4', b'2', b'P', b'0', b'1']))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        if let Some(code) = error.code() {
            return code.code().as_bytes().try_into().map_or(Self::Answer, Self::Code);
        }
        if error.is_closed() {
            return Self::Lost;
        }
        // the kinds have no names that can be matched
        match error.to_string().as_str() {
            "error performing TLS handshake" => Self::Tls,
            "error connecting to server" | "error communicating with the server" => Self::Lost,
            _ => Self::Answer,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Code(code) => {
                let code = std::str::from_utf8(code).unwrap_or("?????");
                return write!(f, "postgresql answered error {code}");
            }
            Self::Lost => "there is no connection to postgresql",
            Self::Tls => "there is no trusted tls connection to postgresql",
            Self::Slow => "postgresql does not answer in time",
            Self::Moved => "the end of the chain is not where it was",
            Self::Warned => "postgresql warned of a commit",
            Self::Answer => "postgresql's answer is not understood",
        };
        f.write_str(word)
    }
}

impl std::error::Error for Fault {}
