//! Canonical, unpadded base64url (<https://www.rfc-editor.org/rfc/rfc7515#section-2>), with larger tables than
//! the `base64` crate and one look at what is wrong at the end: the segments of a token are most of what is
//! read and written around its signature. The tests compare it with that crate.

/// Encodes behind what `text` holds already.
pub(super) fn encode(bytes: &[u8], text: &mut Vec<u8>) {
    let begin = text.len();
    text.resize(begin + (bytes.len() * 4).div_ceil(3), 0);
    let places = text.get_mut(begin..).unwrap_or_default();
    let ((sixes, rest), (eights, tail)) = (bytes.as_chunks::<6>(), places.as_chunks_mut::<8>());
    for (&[a, b, c, d, e, f], characters) in sixes.iter().zip(eights) {
        let ([a, b, c, d], [e, f, g, h]) = (four_characters([a, b, c]), four_characters([d, e, f]));
        *characters = [a, b, c, d, e, f, g, h];
    }
    let mut padded = [0; 6];
    padded.iter_mut().zip(rest).for_each(|(padded, byte)| *padded = *byte);
    let [a, b, c, d, e, f] = padded;
    let ends = [four_characters([a, b, c]), four_characters([d, e, f])];
    tail.iter_mut().zip(ends.as_flattened()).for_each(|(place, character)| *place = *character);
}

/// Decodes into the beginning of `out` and answers how much that is.
///
/// # Errors
/// [`NotDecoded`].
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> Result<usize, NotDecoded> {
    let length = decoded_length(text.len());
    let out = out.get_mut(..length).ok_or(NotDecoded::NoRoom)?;
    let ((eights, rest), (sixes, tail)) = (text.as_chunks::<8>(), out.as_chunks_mut::<6>());
    let mut all = 0;
    for (characters, bytes) in eights.iter().zip(sixes) {
        let &[a, b, c, d, e, f, g, h] = characters;
        let (first, second) = (three_bytes([a, b, c, d]), three_bytes([e, f, g, h]));
        all |= first | second;
        let [_, a, b, c] = first.to_be_bytes();
        let [_, d, e, f] = second.to_be_bytes();
        *bytes = [a, b, c, d, e, f];
    }
    let (fours, rest) = rest.as_chunks::<4>();
    // `A` stands for zero bits
    let (last, spare) = match *rest {
        [] => (0, 0),
        [a, b] => (three_bytes([a, b, b'A', b'A']), 0xffff),
        [a, b, c] => (three_bytes([a, b, c, b'A']), 0xff),
        _ => return Err(NotDecoded::NotCanonical),
    };
    let mut places = tail.iter_mut();
    for value in fours.iter().map(|four| three_bytes(*four)).chain([last]) {
        all |= value;
        value.to_be_bytes().iter().skip(1).zip(places.by_ref()).for_each(|(byte, place)| *place = *byte);
    }
    if all & NONE != 0 || last & spare != 0 {
        return Err(NotDecoded::NotCanonical);
    }
    Ok(length)
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

fn four_characters([a, b, c]: [u8; 3]) -> [u8; 4] {
    let bits = u32::from_be_bytes([0, a, b, c]);
    let pair = |bits: u32| PAIRS.get((bits & 0xfff) as usize).copied().unwrap_or_default();
    let ([a, b], [c, d]) = (pair(bits >> 12), pair(bits));
    [a, b, c, d]
}

/// 24 bits, or with [`NONE`] where one is not of the alphabet.
fn three_bytes([a, b, c, d]: [u8; 4]) -> u32 {
    let value = |of: &[u32; 256], character: u8| of.get(usize::from(character)).copied().unwrap_or(NONE);
    let [first, second, third, fourth] = &VALUES;
    value(first, a) | value(second, b) | value(third, c) | value(fourth, d)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Above all 24 bits.
const NONE: u32 = 1 << 31;

/// The two characters of 12 bits.
static PAIRS: [[u8; 2]; 4096] = pairs();

/// What each character stands for in each of the four places.
static VALUES: [[u32; 256]; 4] = [values(18), values(12), values(6), values(0)];

#[expect(clippy::indexing_slicing, reason = "at compile time, where it is an error to build")]
const fn pairs() -> [[u8; 2]; 4096] {
    let mut pairs = [[0; 2]; 4096];
    let mut at = 0;
    while at < pairs.len() {
        pairs[at] = [ALPHABET[at >> 6], ALPHABET[at & 63]];
        at += 1;
    }
    pairs
}

#[expect(clippy::indexing_slicing, reason = "at compile time, where it is an error to build")]
const fn values(shift: u32) -> [u32; 256] {
    let mut values = [NONE; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        values[ALPHABET[at] as usize] = (at as u32) << shift;
        at += 1;
    }
    values
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
    fn every_length_encodes_and_decodes_as_the_crate_does_it() {
        for length in 0..200_usize {
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
    fn l12_every_ending_is_canonical_or_refused_as_the_crate_does_it() {
        for end in 0..=u32::from(u16::MAX) {
            let [_, _, a, b] = end.to_be_bytes();
            for text in [&[a][..], &[a, b], &[b'Q', a, b], &[b'Q', b'-', a, b]] {
                for before in [&b""[..], b"_-9A", b"_-9Azz0Q"] {
                    let text = [before, text].concat();
                    assert_eq!(decoded(&text), URL_SAFE_NO_PAD.decode(&text).ok(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn l12_a_character_outside_the_alphabet_is_refused_at_every_place() {
        for length in (0..40).filter(|length| length % 4 != 1) {
            let good = vec![b'A'; length];
            assert!(decoded(&good).is_some());
            for place in 0..length {
                for wrong in (0..=u8::MAX).filter(|byte| !ALPHABET.contains(byte)) {
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
