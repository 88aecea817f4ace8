use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

/// A JSON string, borrowed where it has no escapes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'t>(#[serde(borrow)] pub(crate) Cow<'t, str>);

/// Reads a member that may be left out but is not `null`: to serde's `Option` both are the same.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Whether no array or object in `json` lies deeper than [`MAX_NESTING`].
///
/// A typed reader skips members that it does not know without counting how deep they go; this looks
/// at all of them before anything is read. It need not know whether the JSON is well formed.
pub(crate) fn nesting_within(json: &[u8]) -> bool {
    // what opens no more than that cannot nest deeper: nearly every token, and counting is fast
    if opening(json) <= MAX_NESTING {
        return true;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_NESTING {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// How many `[` and `{` there are, in strings or not. Counted in bytes, 128 at a time, which the compiler
/// does many at once.
fn opening(json: &[u8]) -> usize {
    // the two differ in one bit
    let in_chunk = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(128).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

/// Whether `json` can be an object. A derived reader would also take an array, member by member in the
/// order of its fields.
pub(crate) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// How deep arrays and objects may nest in a token, a key set or a discovery document.
pub const MAX_NESTING: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_and_braces_open() {
        let every_byte: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(opening(&every_byte), 2);
        for count in [0, 1, 127, 128, 129, 255, 256, 1000] {
            assert_eq!(opening("[".repeat(count).as_bytes()), count);
            assert_eq!(opening(format!("{}{{", "}".repeat(count)).as_bytes()), 1);
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(nesting_within(deep(MAX_NESTING).as_bytes()));
        assert!(!nesting_within(deep(MAX_NESTING + 1).as_bytes()));
        let quoted = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(99), "{".repeat(99));
        assert!(nesting_within(quoted.as_bytes()));
        let after = format!("{{\"a\\\"\":\"\\\\\",\"b\":{}}}", deep(MAX_NESTING));
        assert!(!nesting_within(after.as_bytes()));
    }
}
