use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use sha1::{Digest as _, Sha1};

use super::document::PolicyError;

/// The SHA-1 of a certificate as IAM writes it: exactly 40 lower-case hex digits, no colons (R71).
///
/// AWS wants that of the **top** certificate authority in the chain that the issuer's server sends. The
/// leaf's changes with every renewal and is the wrong one (W82).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc_verify-thumbprint.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// Of the last certificate of a chain, in the order in which a TLS server sends it: DER, leaf first,
    /// each issued by the next. The names are compared; signatures are the TLS client's business.
    ///
    /// # Errors
    /// [`PolicyError::Chain`], also for a leaf alone.
    pub fn from_chain(chain: &[impl AsRef<[u8]>]) -> Result<Self, PolicyError> {
        let mut issuer_below: Option<&[u8]> = None;
        for certificate in chain {
            let names = Names::of(certificate.as_ref()).ok_or(PolicyError::Chain)?;
            if issuer_below.is_some_and(|issuer| issuer != names.subject) {
                return Err(PolicyError::Chain);
            }
            issuer_below = Some(names.issuer);
        }
        match chain {
            [_leaf, .., top] => Ok(Self::of_certificate(top.as_ref())),
            _ => Err(PolicyError::Chain),
        }
    }

    /// Of one certificate, DER. Whoever uses this has chosen the right one himself: the certificate of the
    /// top authority, or a self-signed one.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(Sha1::digest(der).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Thumbprint {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PolicyError::Thumbprint)
        }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who issued a certificate, and to whom. <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>
struct Names<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
}

impl<'a> Names<'a> {
    fn of(der: &'a [u8]) -> Option<Self> {
        let (certificate, nothing) = value(der, SEQUENCE)?;
        if !nothing.is_empty() {
            return None;
        }
        let (body, _) = value(certificate, SEQUENCE)?;
        let rest = value(body, VERSION).map_or(body, |(_, rest)| rest);
        let (_serial, rest) = value(rest, INTEGER)?;
        let (_algorithm, rest) = value(rest, SEQUENCE)?;
        let (issuer, rest) = value(rest, SEQUENCE)?;
        let (_validity, rest) = value(rest, SEQUENCE)?;
        let (subject, _) = value(rest, SEQUENCE)?;
        Some(Self { issuer, subject })
    }
}

/// The content of the DER value of this tag that `input` begins with, and what follows it.
fn value(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = input.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    if first < 0x80 {
        return rest.split_at_checked(usize::from(first));
    }
    let bytes = usize::from(first & 0x7f);
    if bytes > 3 {
        return None;
    }
    let (length, rest) = rest.split_at_checked(bytes)?;
    let length = length.iter().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: &[u8] = include_bytes!("../../../tests/data/chain/leaf.der");
    const INTERMEDIATE: &[u8] = include_bytes!("../../../tests/data/chain/intermediate.der");
    const ROOT: &[u8] = include_bytes!("../../../tests/data/chain/root.der");

    // the expected digits are what openssl prints
    #[test]
    fn r71_w82_the_thumbprint_is_that_of_the_top_of_the_chain() {
        let top = Thumbprint::from_chain(&[LEAF, INTERMEDIATE]).unwrap();
        assert_eq!(top.as_str(), "57b3bc04c049b86c0921b649cb9012e42e596d11");
        let top = Thumbprint::from_chain(&[LEAF, INTERMEDIATE, ROOT]).unwrap();
        assert_eq!(top.as_str(), "425255f169067dc41cb31a7d3719382c0f814901");
        assert_eq!(Thumbprint::of_certificate(LEAF).as_str(), "4c0141a9ae6ca8134963390c34075ec137a19a32");
    }

    #[test]
    fn w82_a_leaf_alone_and_what_is_no_chain_are_refused() {
        let longer = [ROOT, b"x"].concat();
        let chains: [&[&[u8]]; 9] = [
            &[],
            &[LEAF],
            &[ROOT],
            &[INTERMEDIATE, LEAF],
            &[LEAF, ROOT],
            &[LEAF, LEAF],
            &[LEAF, INTERMEDIATE, b""],
            &[LEAF, &INTERMEDIATE[..INTERMEDIATE.len() - 1]],
            &[LEAF, INTERMEDIATE, &longer],
        ];
        for (at, chain) in chains.into_iter().enumerate() {
            assert_eq!(Thumbprint::from_chain(chain), Err(PolicyError::Chain), "{at}");
        }
        for end in 0..LEAF.len() {
            assert!(Names::of(&LEAF[..end]).is_none());
        }
    }

    #[test]
    fn r71_a_thumbprint_is_40_lower_case_hex_digits() {
        assert!("0123456789abcdef0123456789abcdef01234567".parse::<Thumbprint>().is_ok());
        for bad in [
            "",
            &"a".repeat(39),
            &"a".repeat(41),
            &"a".repeat(64),
            &"A".repeat(40),
            &"g".repeat(40),
            &"aa:".repeat(20)[..59],
            &format!(" {}", "a".repeat(39)),
        ] {
            assert_eq!(bad.parse::<Thumbprint>(), Err(PolicyError::Thumbprint), "{bad}");
        }
    }
}
