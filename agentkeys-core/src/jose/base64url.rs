//! Canonical, unpadded base64url (<https://www.rfc-editor.org/rfc/rfc7515#section-2>): the segments of a token are
//! most of what is read and written around its signature. The `base64` crate's engine looks at many characters at once where
//! the processor can, in its one module with `unsafe`; the tests and the fuzz target `compact_jwt` hold it to its
//! portable engine.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::{Simd, general_purpose::NO_PAD};

static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));

/// Encodes behind what `text` holds already.
pub(super) fn encode(bytes: &[u8], text: &mut Vec<u8>) {
    let begin = text.len();
    text.resize(begin + (bytes.len() * 4).div_ceil(3), 0);
    let places = text.get_mut(begin..).unwrap_or_default();
    let written = ENGINE.encode_slice(bytes, places);
    debug_assert_eq!(written, Ok(places.len()), "there is room for all of it");
}

/// Decodes into the beginning of `out` and answers how much that is.
///
/// # Errors
/// [`NotDecoded`].
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> Result<usize, NotDecoded> {
    let out = out.get_mut(..decoded_length(text.len())).ok_or(NotDecoded::NoRoom)?;
    ENGINE.decode_slice(text, out).map_err(|_| NotDecoded::NotCanonical)
}

/// How many bytes so many characters are.
pub(super) const fn decoded_length(characters: usize) -> usize {
    characters / 4 * 3 + (characters % 4).saturating_sub(1)
}

/// Why nothing was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotDecoded {
    NoRoom,
    NotCanonical,
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn decoded(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0xa5; text.len()];
        decode(text, &mut out).ok().map(|length| out[..length].to_vec())
    }

    #[test]
    fn every_length_encodes_and_decodes_as_without_many_at_once() {
        for length in 0..300_usize {
            for seed in 0..16_usize {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 167 + seed * 29 + at / 7) as u8).collect();
                let mut text = b"x.".to_vec();
                encode(&bytes, &mut text);
                assert_eq!(text[2..], *URL_SAFE_NO_PAD.encode(&bytes).as_bytes());
                assert_eq!(decoded(&text[2..]), Some(bytes));
            }
        }
    }

    #[test]
    fn l12_every_ending_is_canonical_or_refused_as_without_many_at_once() {
        for end in 0..=u32::from(u16::MAX) {
            let [_, _, a, b] = end.to_be_bytes();
            for text in [&[a][..], &[a, b], &[b'Q', a, b], &[b'Q', b'-', a, b]] {
                for before in [&b""[..], b"_-9A", b"_-9Azz0Q", &[b'z'; 96]] {
                    let text = [before, text].concat();
                    assert_eq!(decoded(&text), URL_SAFE_NO_PAD.decode(&text).ok(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn l12_a_character_outside_the_alphabet_is_refused_at_every_place() {
        let outside = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte);
        // from 64 characters on many are looked at together
        for length in (0..40).chain(64..68).chain([96, 103, 130]).filter(|length| length % 4 != 1) {
            let good = vec![b'A'; length];
            assert!(decoded(&good).is_some());
            for place in 0..length {
                for wrong in (0..=u8::MAX).filter(outside) {
                    let mut bad = good.clone();
                    bad[place] = wrong;
                    assert_eq!(decoded(&bad), None, "{wrong} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_room_is_not_decoded_at_all() {
        let mut out = [7; 3];
        assert_eq!(decode(b"AAAAAA", &mut out), Err(NotDecoded::NoRoom));
        assert_eq!(out, [7; 3]);
        assert_eq!(decode(b"AAAA", &mut out), Ok(3));
    }
}
