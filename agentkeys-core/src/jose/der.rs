//! Signatures of signers that speak DER.

/// An ECDSA signature of P-256 from DER to the form of JWS: r and s, 32 bytes each. None where it is anything
/// but the one DER form (no long length, no needless zero, nothing behind it) of two positive integers that
/// fit.
///
/// <https://www.rfc-editor.org/rfc/rfc3279#section-2.2.3>,
/// <https://www.rfc-editor.org/rfc/rfc7518#section-3.4>
#[must_use]
pub fn es256_from_der(der: &[u8]) -> Option<[u8; 64]> {
    let (sequence, rest) = value(der, SEQUENCE)?;
    let (r, s) = value(sequence, INTEGER)?;
    let (s, end) = value(s, INTEGER)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut fixed = [0; 64];
    let (left, right) = fixed.split_at_mut(32);
    fill(left, r)?;
    fill(right, s)?;
    Some(fixed)
}

/// The content of a value of this type, and what comes after it. No signature of P-256 needs a length of more
/// than one byte.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    if found != tag || length >= LONG_LENGTH {
        return None;
    }
    rest.split_at_checked(usize::from(length))
}

/// Writes a positive integer to the end of `field`.
fn fill(field: &mut [u8], integer: &[u8]) -> Option<()> {
    let number = match integer {
        // a zero stands where a number would read as negative without it, and nowhere else
        [0, number @ ..] if number.first().is_some_and(|first| first & SIGN != 0) => number,
        [first, ..] if *first != 0 && first & SIGN == 0 => integer,
        _ => return None,
    };
    let from = field.len().checked_sub(number.len())?;
    field.get_mut(from..)?.copy_from_slice(number);
    Some(())
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const LONG_LENGTH: u8 = 0x80;
const SIGN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As DER has it, written down anew.
    fn integer(fixed: &[u8]) -> Vec<u8> {
        let mut number: Vec<u8> = fixed.iter().copied().skip_while(|byte| *byte == 0).collect();
        if number.first().is_none_or(|first| first & 0x80 != 0) {
            number.insert(0, 0);
        }
        number
    }

    fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
        let part = |number: &[u8]| [&[0x02, u8::try_from(number.len()).unwrap()][..], number].concat();
        let inner = [part(r), part(s)].concat();
        [&[0x30, u8::try_from(inner.len()).unwrap()][..], &inner].concat()
    }

    #[test]
    fn r45_high_bits_and_leading_zeros_keep_their_place() {
        let mut high = [0xff; 32];
        high[31] = 1;
        let mut short = [0; 32];
        short[30] = 0x80;
        let mut one = [0; 32];
        one[31] = 1;
        for (r, s) in [(high, high), (high, short), (short, high), (one, one), (short, one)] {
            let wanted = [r, s].concat();
            assert_eq!(es256_from_der(&der(&integer(&r), &integer(&s))).unwrap().to_vec(), wanted);
        }
    }

    #[test]
    fn r45_only_the_one_form_of_two_positive_numbers_is_a_signature() {
        let good = [0x11; 32];
        let (one, high) = ([1], [0x80]);
        let wide = [&[1][..], &[0; 32]].concat();
        let padded = [&[0][..], &good].concat();
        for (bad, what) in [
            (der(&[], &good), "no r"),
            (der(&good, &[]), "no s"),
            (der(&[0], &good), "r is zero"),
            (der(&good, &[0]), "s is zero"),
            (der(&high, &good), "r is negative"),
            (der(&good, &high), "s is negative"),
            (der(&padded, &good), "r with a needless zero"),
            (der(&good, &padded), "s with a needless zero"),
            (der(&[&[0, 0][..], &high].concat(), &good), "r with two zeros"),
            (der(&wide, &good), "r of 33 bytes"),
            (der(&good, &wide), "s of 33 bytes"),
            ([der(&good, &good), vec![0]].concat(), "a byte behind it"),
            ([&[0x30, 0x81, 68][..], &der(&good, &good)[2..]].concat(), "a long length"),
            ([&[0x31][..], &der(&good, &good)[1..]].concat(), "a set"),
            ([&[0x30, 6, 0x02, 1, 1, 0x03, 1][..], &one].concat(), "s is no integer"),
            ([&[0x30, 9, 0x02, 1, 1, 0x02, 1, 1, 0x02, 1][..], &one].concat(), "three numbers"),
            ([&[0x30, 0x80, 0x02, 1, 1, 0x02, 1, 1][..], &[0, 0]].concat(), "an open length"),
            ([good, good].concat(), "r and s as they are"),
            (Vec::new(), "nothing"),
        ] {
            assert_eq!(es256_from_der(&bad), None, "{what}");
        }
        let whole = der(&good, &good);
        for end in 0..whole.len() {
            assert_eq!(es256_from_der(&whole[..end]), None, "cut after {end}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn r45_what_is_read_is_what_was_written(
            r in proptest::array::uniform32(any::<u8>()),
            s in proptest::array::uniform32(any::<u8>()),
            zeros in 0_usize..32,
        ) {
            let mut r = r;
            r[..zeros].fill(0);
            r[31] |= 1;
            let s = { let mut s = s; s[0] |= 1; s };
            let fixed = es256_from_der(&der(&integer(&r), &integer(&s))).unwrap();
            prop_assert_eq!(fixed.to_vec(), [r, s].concat());
        }

        #[test]
        fn r45_whatever_is_read_has_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(fixed) = es256_from_der(&bytes) {
                prop_assert_eq!(der(&integer(&fixed[..32]), &integer(&fixed[32..])), bytes);
            }
        }
    }
}
