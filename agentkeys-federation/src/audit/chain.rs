use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use agentkeys_core::ErrorKind;
use agentkeys_core::jose::sha256;

use super::row::{AuditRow, AuditValue};

pub(super) type Hash = [u8; 32];

/// How many rows there are and the hash of the last: it stands for all of them.
///
/// It is kept outside the table, and its text (`ak-audit-1 <count> <64 hex digits>`) somewhere that whoever
/// can write the table cannot write: then no row can be deleted, edited, moved, slipped in or cut off at the
/// end without [`verify_chain`] finding it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    count: u64,
    hash: Hash,
}

impl ChainHead {
    /// Before the first row.
    pub const EMPTY: Self = Self { count: 0, hash: [0; 32] };

    /// How many rows there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The hash of the last; zeros where there is none.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(super) const fn at(count: u64, hash: Hash) -> Self {
        Self { count, hash }
    }
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD_PREFIX}{} ", self.count)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ChainHead {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        let rest = text.strip_prefix(HEAD_PREFIX).ok_or(ChainError::HeadText)?;
        let (count, digits) = rest.split_once(' ').ok_or(ChainError::HeadText)?;
        let count = count.parse().map_err(|_| ChainError::HeadText)?;
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| ChainError::HeadText)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ChainError::HeadText)?;
        }
        let head = Self { count, hash };
        // one spelling: what is not written just so was not written by us
        if head.to_string() == text { Ok(head) } else { Err(ChainError::HeadText) }
    }
}

/// Checks that `rows`, in the order of their numbers, are all the rows that `head` stands for, unchanged,
/// and no other.
///
/// # Errors
/// [`ChainError`].
pub fn verify_chain<R: Borrow<AuditRow>>(
    rows: impl IntoIterator<Item = R>,
    head: &ChainHead,
) -> Result<(), ChainError> {
    let mut walk = ChainWalk::new(*head);
    for row in rows {
        walk.step(row.borrow())?;
    }
    if walk.finish()? == *head { Ok(()) } else { Err(ChainError::Surplus) }
}

/// Walks along the rows of a log, from the first, past a head that is known.
#[derive(Clone, Debug)]
pub struct ChainWalk {
    at: ChainHead,
    known: ChainHead,
    bytes: Vec<u8>,
}

impl ChainWalk {
    /// Before the first row.
    #[must_use]
    pub fn new(known: ChainHead) -> Self {
        Self::from(ChainHead::EMPTY, known)
    }

    pub(super) fn from(at: ChainHead, known: ChainHead) -> Self {
        Self { at, known, bytes: Vec::with_capacity(1024) }
    }

    /// The next row.
    ///
    /// # Errors
    /// [`ChainError::Row`] where it does not follow the one before, or is not as it was written;
    /// [`ChainError::Head`] where it should be the known head's.
    pub fn step(&mut self, row: &AuditRow) -> Result<(), ChainError> {
        self.cells(row.values().iter().map(AuditValue::cell), row.hash())
    }

    pub(super) fn cells<'c>(
        &mut self,
        cells: impl Iterator<Item = Cell<'c>>,
        stored: &[u8],
    ) -> Result<(), ChainError> {
        let seq = self.at.count.saturating_add(1);
        let mut cells = cells.peekable();
        let numbered =
            matches!(cells.peek(), Some(Cell::Integer(number)) if u64::try_from(*number) == Ok(seq));
        let hash = link(&self.at.hash, cells, &mut self.bytes);
        if !numbered || hash != *stored {
            return Err(ChainError::Row(seq));
        }
        self.at = ChainHead { count: seq, hash };
        if seq == self.known.count && hash != self.known.hash {
            return Err(ChainError::Head);
        }
        Ok(())
    }

    /// After the last row: the head that was come to.
    ///
    /// # Errors
    /// [`ChainError::Missing`] where the rows end before the known head.
    pub const fn finish(&self) -> Result<ChainHead, ChainError> {
        if self.at.count < self.known.count {
            return Err(ChainError::Missing { found: self.at.count, expected: self.known.count });
        }
        Ok(self.at)
    }
}

/// How rows are not the ones that a head stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The rows are a chain, and another one: all of them were written anew.
    #[error("the rows are not those of the head")]
    Head,
    /// Not a head's text.
    #[error("a head is ak-audit-1, a count and 64 lower-case hex digits")]
    HeadText,
    /// Rows are missing at the end.
    #[error("there are {found} rows of {expected}")]
    Missing {
        /// How many there are.
        found: u64,
        /// How many there must be.
        expected: u64,
    },
    /// The row at this place, counted from 1, was edited, or one before it was taken out, put in or moved.
    #[error("row {0} is not what was written there")]
    Row(u64),
    /// There are more rows than the head knows.
    #[error("there are more rows than the head stands for")]
    Surplus,
}

impl ChainError {
    /// Always [`ErrorKind::Misconfigured`].
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Misconfigured
    }
}

/// A value while it is hashed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'c> {
    Null,
    Integer(i64),
    Text(&'c [u8]),
    /// Of a type that no row of ours has.
    #[cfg(feature = "sqlite")]
    Foreign,
}

/// The hash of a row: SHA-256 over the domain with its version, the hash of the row before, and each value
/// as a tag and its bytes, texts after their length. `bytes` is room to work in.
pub(super) fn link<'c>(before: &Hash, cells: impl Iterator<Item = Cell<'c>>, bytes: &mut Vec<u8>) -> Hash {
    bytes.clear();
    bytes.extend_from_slice(DOMAIN);
    bytes.extend_from_slice(before);
    for cell in cells {
        match cell {
            Cell::Null => bytes.push(0),
            Cell::Integer(number) => {
                bytes.push(1);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Cell::Text(text) => {
                bytes.push(2);
                bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
                bytes.extend_from_slice(text);
            }
            #[cfg(feature = "sqlite")]
            Cell::Foreign => bytes.push(3),
        }
    }
    sha256(bytes)
}

const DOMAIN: &[u8] = b"agentkeys/audit-row/v1\0";

const HEAD_PREFIX: &str = "ak-audit-1 ";
