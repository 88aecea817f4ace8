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
        let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
        let digits = self.hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        write!(f, "{HEAD_PREFIX}{} {}", self.count, digits.collect::<String>())
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
    text: Vec<u8>,
    room: Vec<u8>,
}

impl ChainWalk {
    /// Before the first row.
    #[must_use]
    pub fn new(known: ChainHead) -> Self {
        Self::from(ChainHead::EMPTY, known)
    }

    pub(super) fn from(at: ChainHead, known: ChainHead) -> Self {
        Self { at, known, text: Vec::new(), room: Vec::new() }
    }

    /// The next row.
    ///
    /// # Errors
    /// [`ChainError::Row`] where it does not follow the one before, or is not as it was written;
    /// [`ChainError::Head`] where it should be the known head's.
    pub fn step(&mut self, row: &AuditRow) -> Result<(), ChainError> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        spell(row.values().iter().map(AuditValue::cell), &mut text);
        let seq = row.head().count();
        let followed = self.text(i64::try_from(seq).unwrap_or_default(), &text, row.hash());
        self.text = text;
        followed
    }

    /// The next row, as it is spelled, in place `number`.
    pub(super) fn text(&mut self, number: i64, text: &[u8], stored: &[u8]) -> Result<(), ChainError> {
        let seq = self.at.count.saturating_add(1);
        let spelled = text.strip_prefix(b"[").and_then(|text| text.split(|byte| *byte == b',').next());
        let numbered = u64::try_from(number) == Ok(seq) && spelled == Some(seq.to_string().as_bytes());
        let hash = link(&self.at.hash, text, &mut self.room);
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

/// A value while it is spelled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'c> {
    Null,
    Integer(i64),
    Text(&'c str),
}

/// A row's text: the JSON array of its values, without a space, with `"`, `\` and U+0000 to U+001F escaped
/// (the short forms where there are some) and nothing else.
/// <https://www.rfc-editor.org/rfc/rfc8785#section-3.2.2.2>
pub(super) fn spell<'c>(cells: impl Iterator<Item = Cell<'c>>, text: &mut Vec<u8>) {
    let mut between = b'[';
    for cell in cells {
        text.push(between);
        between = b',';
        // writing to memory does not fail
        let _ = match cell {
            Cell::Null => serde_json::to_writer(&mut *text, &()),
            Cell::Integer(number) => serde_json::to_writer(&mut *text, &number),
            Cell::Text(value) => serde_json::to_writer(&mut *text, value),
        };
    }
    text.push(b']');
}

/// The hash of a row: SHA-256 over the domain with its version, the hash of the row before, and the row's
/// text. `room` is to work in.
pub(super) fn link(before: &Hash, text: &[u8], room: &mut Vec<u8>) -> Hash {
    room.clear();
    room.extend_from_slice(DOMAIN);
    room.extend_from_slice(before);
    room.extend_from_slice(text);
    sha256(room)
}

/// A row's place, while rows are written one after another.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[derive(Debug, Default)]
pub(super) struct Place {
    text: Vec<u8>,
    room: Vec<u8>,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Place {
    /// The head with a row as the last whose values but for its number are spelled in `values`.
    pub(super) fn after(&mut self, head: &ChainHead, values: &[u8]) -> ChainHead {
        let count = head.count.saturating_add(1);
        self.text.clear();
        self.text.extend_from_slice(b"[");
        self.text.extend_from_slice(count.to_string().as_bytes());
        self.text.extend_from_slice(b",");
        self.text.extend_from_slice(values.get(1..).unwrap_or_default());
        ChainHead { count, hash: link(&head.hash, &self.text, &mut self.room) }
    }

    /// The text of that row.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

const DOMAIN: &[u8] = b"agentkeys/audit-row/v2\0";

const HEAD_PREFIX: &str = "ak-audit-1 ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_says_another_number_is_found_though_its_hash_is_right() {
        for (number, text) in [
            (1, "[2,7]"),
            (2, "[1,7]"),
            (1, "1,7]"),
            (1, "[01,7]"),
            (1, "[-1,7]"),
            (1, "[]"),
            (-1, "[1,7]"),
            (0, "[0]"),
        ] {
            let hash = link(&ChainHead::EMPTY.hash, text.as_bytes(), &mut Vec::new());
            let mut walk = ChainWalk::new(ChainHead::EMPTY);
            assert_eq!(walk.text(number, text.as_bytes(), &hash), Err(ChainError::Row(1)), "{number} {text}");
        }
        let hash = link(&ChainHead::EMPTY.hash, b"[1,7]", &mut Vec::new());
        assert_eq!(ChainWalk::new(ChainHead::EMPTY).text(1, b"[1,7]", &hash), Ok(()));
    }
}
