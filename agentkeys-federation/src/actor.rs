use std::fmt;
use std::str::FromStr;

use agentkeys_core::AttestedIdentity;
use agentkeys_core::jose::sha256;

/// The stable number of an actor, 64 lower-case hex digits: what object keys and policies are scoped by
/// (R52, R55).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorOmni(String);

impl ActorOmni {
    /// The number of an attested agent: SHA-256 over a domain tag and the length-prefixed attestor kind,
    /// trust root, tenant and agent, so that no two agents share one (W29, W51).
    #[must_use]
    pub fn of(identity: &AttestedIdentity) -> Self {
        let tenant = identity.tenant().map(|tenant| tenant.as_str());
        let mut message = DOMAIN.to_vec();
        let mut part = |present: bool, text: &str| {
            message.push(u8::from(present));
            message.extend_from_slice(&(text.len() as u64).to_be_bytes());
            message.extend_from_slice(text.as_bytes());
        };
        part(true, identity.kind().as_str());
        part(true, identity.trust_root().as_str());
        part(tenant.is_some(), tenant.unwrap_or_default());
        part(true, identity.agent().as_str());
        Self(hex(&sha256(&message)))
    }

    /// The older number of a wallet: SHA-256 over `agentkeys`, `evm` and the wallet, one after the other
    /// without lengths (W51). For data that was stored under it; new actors have [`ActorOmni::of`].
    #[must_use]
    pub fn legacy_of_wallet(wallet: &Wallet) -> Self {
        Self(hex(&sha256(format!("agentkeysevm{wallet}").as_bytes())))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActorOmni {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        if is_lower_hex(text, 64) { Ok(Self(text.to_owned())) } else { Err(ActorError::Omni) }
    }
}

impl fmt::Display for ActorOmni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An EVM wallet's address, `0x` and 40 lower-case hex digits (W52).
///
/// No evidence holds one: it comes from the host's own context, and where the host has none there is none
/// (W53). Upper case (a checksum) is refused rather than folded, because policies compare bytes (R55).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wallet(String);

impl Wallet {
    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Wallet {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        let digits = text.strip_prefix("0x").ok_or(ActorError::Wallet)?;
        if is_lower_hex(digits, 40) { Ok(Self(text.to_owned())) } else { Err(ActorError::Wallet) }
    }
}

impl fmt::Display for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not an actor's number or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActorError {
    /// Not an actor's number.
    #[error("an actor omni is 64 lower-case hex digits")]
    Omni,
    /// Not an address.
    #[error("a wallet is 0x and 40 lower-case hex digits")]
    Wallet,
}

fn is_lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const DOMAIN: &[u8] = b"agentkeys/actor-omni/v1\0";

#[cfg(test)]
mod tests {
    use agentkeys_core::{Assurance, EvidenceKind, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn identity(kind: &str, root: &str, tenant: Option<&str>, agent: &str) -> AttestedIdentity {
        let identity = AttestedIdentity::assertion(
            kind.parse::<EvidenceKind>().unwrap(),
            root.parse().unwrap(),
            agent.parse().unwrap(),
            Assurance::PlatformAttested,
            Timestamp::from_unix(1),
            Timestamp::from_unix(2),
        )
        .unwrap();
        match tenant {
            Some(tenant) => identity.with_tenant(tenant.parse().unwrap()),
            None => identity,
        }
    }

    // The golden numbers below were computed with Python's hashlib; see docs/rules.md, W51.
    #[test]
    fn w51_golden_vectors_of_attested_agents() {
        let root = "arn:aws:eks:us-east-1:123456789012:cluster/demo";
        for (tenant, agent, omni) in [
            (None, "blue", "00ea228a9e7d24f0a8cd7708cbbcfcc26f6ffcc4cf244b1c3b1e136f10d6262e"),
            (Some("acme"), "blue", "c36bae1220c5130688b0d87de57066379e7742f8364b836b1626fb7aebddb978"),
        ] {
            assert_eq!(ActorOmni::of(&identity("aws-stsweb", root, tenant, agent)).as_str(), omni);
        }
    }

    #[test]
    fn w51_golden_vector_of_the_legacy_form() {
        let wallet: Wallet = "0x00000000000000000000000000000000deadbeef".parse().unwrap();
        assert_eq!(
            ActorOmni::legacy_of_wallet(&wallet).as_str(),
            "5d077c186c4d7ba0d1b9d71e3b1b6c3010820b9661f4087ac65fda90999d36f4"
        );
    }

    #[test]
    fn w52_r55_numbers_and_wallets_are_canonical_lower_case() {
        let omni = "a".repeat(64);
        assert!(omni.parse::<ActorOmni>().is_ok());
        for bad in ["", "a", &"A".repeat(64), &"g".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
            assert!(bad.parse::<ActorOmni>().is_err(), "{bad}");
        }
        assert!(format!("0x{}", "a".repeat(40)).parse::<Wallet>().is_ok());
        for bad in
            ["", "0x", &"a".repeat(42), &format!("0X{}", "a".repeat(40)), &format!("0x{}", "A".repeat(40))]
        {
            assert!(bad.parse::<Wallet>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn w29_w51_no_two_agents_share_a_number(
            a in ("[a-z][a-z-]{0,6}", "[!-~]{1,8}", proptest::option::of("[a-z]{1,4}"), "[a-z]{1,4}"),
            b in ("[a-z][a-z-]{0,6}", "[!-~]{1,8}", proptest::option::of("[a-z]{1,4}"), "[a-z]{1,4}"),
        ) {
            let omni = |p: &(String, String, Option<String>, String)| {
                ActorOmni::of(&identity(&p.0, &p.1, p.2.as_deref(), &p.3))
            };
            prop_assert_eq!(omni(&a) == omni(&b), a == b);
        }
    }
}
