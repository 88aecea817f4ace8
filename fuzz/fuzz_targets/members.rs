//! A JSON object read the slow way. Values stay as they are written: what a reader skips may hold numbers
//! that no machine has.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

pub(crate) struct Members(BTreeMap<String, Box<RawValue>>);

impl Members {
    pub(crate) fn read(json: &[u8]) -> Self {
        Self(serde_json::from_slice(json).expect("it was accepted, so it is an object"))
    }

    #[allow(dead_code, reason = "each target reads what it needs")]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    #[allow(dead_code, reason = "each target reads what it needs")]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| serde_json::from_str(value.get()).expect("it was accepted as a string"))
    }
}
