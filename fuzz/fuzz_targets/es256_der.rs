//! Any bytes as an ECDSA signature in DER: what is read has this one form, and r and s stand where they belong.

#![no_main]

use agentkeys_core::jose::es256_from_der;
use libfuzzer_sys::fuzz_target;

/// A positive integer, written down anew.
fn integer(fixed: &[u8]) -> Vec<u8> {
    let mut number: Vec<u8> = fixed.iter().copied().skip_while(|byte| *byte == 0).collect();
    if number.first().is_none_or(|first| first & 0x80 != 0) {
        number.insert(0, 0);
    }
    [&[0x02, u8::try_from(number.len()).unwrap()][..], &number].concat()
}

fuzz_target!(|input: &[u8]| {
    let Some(fixed) = es256_from_der(input) else { return };
    let (r, s) = fixed.split_at(32);
    // neither is zero, which no signature has
    assert!(r.iter().any(|byte| *byte != 0) && s.iter().any(|byte| *byte != 0));
    let inner = [integer(r), integer(s)].concat();
    assert_eq!([&[0x30, u8::try_from(inner.len()).unwrap()][..], &inner].concat(), input);
    // and nothing may follow
    assert_eq!(es256_from_der(&[input, &[0]].concat()), None);
});
