use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::jose::KeyId;

/// Names of keys that the issuer was asked for and does not have. Bounded: what finds no room is forgotten,
/// and then the cooldown alone limits it.
#[derive(Debug, Default)]
pub(super) struct UnknownKids(Mutex<BTreeMap<KeyId, Timestamp>>);

impl UnknownKids {
    /// Whether this name is known to be unknown at `now`.
    pub(super) fn contains(&self, kid: &KeyId, now: Timestamp) -> bool {
        self.lock().get(kid).is_some_and(|until| now < *until)
    }

    /// Keeps this name until `until`.
    pub(super) fn insert(&self, kid: KeyId, now: Timestamp, until: Timestamp) {
        let mut kids = self.lock();
        if kids.len() >= MAX_UNKNOWN_KIDS {
            kids.retain(|_, until| now < *until);
        }
        if kids.len() < MAX_UNKNOWN_KIDS {
            kids.insert(kid, until);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most names that are kept: at 256 characters each, 256 KiB an issuer.
pub(super) const MAX_UNKNOWN_KIDS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w16_the_names_of_unknown_keys_are_bounded_and_end() {
        let (kids, at) = (UnknownKids::default(), Timestamp::from_unix);
        let name = |at: usize| KeyId::parse(&format!("made-up-{at}")).unwrap();
        for number in 0..=MAX_UNKNOWN_KIDS {
            kids.insert(name(number), at(0), at(60));
        }
        assert_eq!(kids.lock().len(), MAX_UNKNOWN_KIDS);
        assert!(kids.contains(&name(0), at(59)) && !kids.contains(&name(0), at(60)));
        assert!(!kids.contains(&name(MAX_UNKNOWN_KIDS), at(0)));
        kids.insert(name(MAX_UNKNOWN_KIDS), at(60), at(120));
        assert_eq!(kids.lock().len(), 1);
        assert!(kids.contains(&name(MAX_UNKNOWN_KIDS), at(60)));
    }
}
