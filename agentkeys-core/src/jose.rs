//! JOSE as this family speaks it: compact JWS, four algorithms, public keys. Pure: no I/O, no clock.

mod algorithm;
mod base64url;
mod compact;
mod crypto;
mod der;
#[cfg_attr(not(feature = "test-util"), allow(unreachable_pub, reason = "tests and benches ask it alone"))]
mod fixed_key;
mod json;
mod jwk;
mod key_tables;

pub use algorithm::Algorithm;
pub use compact::{Compact, CompactError, Header, MAX_TOKEN_BYTES};
pub use crypto::{EcKeyPair, KeyRejected, PublicKey, sha256};
pub use der::es256_from_der;
#[cfg(feature = "test-util")]
pub use fixed_key::FixedKey;
pub use json::MAX_NESTING;
pub use jwk::{Jwk, JwkError, KeyId, KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS, PublicJwk};
pub use key_tables::{
    ACCEPTED_PER_CANARY, KeyTables, MAX_KEY_TABLE_BYTES, MAX_KEY_TABLES, TablesHealth, VERIFIES_BEFORE_TABLE,
};

pub(crate) use compact::{MAX_SIGNATURE, append_segment, decode_segment, encode_segment};
pub(crate) use crypto::MacKey;
pub(crate) use json::{Text, is_object, nesting_within};
