use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use super::crypto::PublicKey;
use super::fixed_key::FixedKey;

/// Whether ES256, ES384 and EdDSA keys that verify many tokens get a table that makes them two to four times
/// as fast, and within which bounds.
///
/// A key of a trusted set that has verified [`VERIFIES_BEFORE_TABLE`] signatures gets its table from a
/// thread of its own; until it is there, and for all other keys, the back end (aws-lc-rs) verifies. The
/// table is dropped with the key. Clones share one pool, so that all verifiers of a host may have the same
/// bounds.
///
/// # Security
/// The arithmetic with tables is this crate's own, and for Ed25519 curve25519-dalek's. So whatever it refuses is verified by the back end before
/// it is refused, and so are the first and then one in [`ACCEPTED_PER_CANARY`] of the signatures that it
/// accepts; what the back end says counts. Where the two differ, the key's table is never used again and
/// [`TablesHealth`] says so. A wrong yes in between would be a stolen identity, which is why tables are a
/// choice and [`KeyTables::off`] is the default: with it no signature is judged outside of aws-lc-rs, as
/// FIPS 140-3 demands. `FIXED_KEY.md` beside the source is the whole safety case.
#[derive(Clone, Debug, Default)]
pub struct KeyTables(Option<Arc<Pool>>);

impl KeyTables {
    /// No tables: every signature is verified by the back end and by nothing else.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Tables for at most [`MAX_KEY_TABLES`] keys that take at most [`MAX_KEY_TABLE_BYTES`] together. What
    /// all keys of a curve share, 0.6 to 1 MiB, exists once and is not counted.
    #[must_use]
    pub fn on() -> Self {
        Self::within(MAX_KEY_TABLES, MAX_KEY_TABLE_BYTES)
    }

    /// Tables for at most `tables` keys that take at most `bytes` together: 148 KiB for a P-256 key, 330 KiB for
    /// a P-384 key, 215 KiB for an Ed25519 key. Keys that find no room are verified by the back end.
    #[must_use]
    pub fn within(tables: usize, bytes: usize) -> Self {
        Self(Some(Arc::new(Pool { most_tables: tables, most_bytes: bytes, ..Pool::default() })))
    }

    /// How the tables do.
    #[must_use]
    pub fn health(&self) -> TablesHealth {
        let Some(pool) = &self.0 else { return TablesHealth::default() };
        let ready = pool.ready.load(Ordering::Acquire);
        TablesHealth {
            tables: ready,
            building: pool.reserved.load(Ordering::Acquire).saturating_sub(ready),
            bytes: pool.bytes.load(Ordering::Acquire),
            without_room: pool.without_room.load(Ordering::Relaxed),
            wrongly_accepted: pool.wrongly_accepted.load(Ordering::Relaxed),
            wrongly_refused: pool.wrongly_refused.load(Ordering::Relaxed),
        }
    }

    /// Whether `signature` is `key`'s over `message`. For keys of trusted sets only: each that verifies
    /// often enough takes room.
    pub(crate) fn verifies(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let Some(pool) = &self.0 else { return key.verifies(message, signature) };
        let slot = key.table();
        let Some(table) = slot.table() else {
            let verified = key.verifies(message, signature);
            if verified && slot.is_due() {
                pool.build(key);
            }
            return verified;
        };
        let fast = table.verifies(message, signature);
        if fast && !slot.is_canary() {
            return true;
        }
        let verified = key.verifies(message, signature);
        if verified != fast {
            slot.switched_off.store(true, Ordering::Release);
            let counter = if fast { &pool.wrongly_accepted } else { &pool.wrongly_refused };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        verified
    }
}

/// What an operator wants to know of a [`KeyTables`]. The last three counters only rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TablesHealth {
    /// How many keys have their table.
    pub tables: usize,
    /// How many tables are being built.
    pub building: usize,
    /// How many bytes both have reserved.
    pub bytes: usize,
    /// How often a key was due for a table and there was no room.
    pub without_room: u64,
    /// How often a table accepted a signature that the back end refuses. **Anything but zero is an
    /// incident:** the token was refused, but such tokens may have been accepted before.
    pub wrongly_accepted: u64,
    /// How often a table refused a signature that the back end accepts: a mistake that cost time only.
    pub wrongly_refused: u64,
}

/// The place of one key's table.
#[derive(Debug, Default)]
pub(super) struct TableSlot {
    built: OnceLock<Built>,
    /// Set when a table is being built, and for ever once it was.
    claimed: AtomicBool,
    /// The table and the back end differed once.
    switched_off: AtomicBool,
    verified: AtomicU32,
    accepted: AtomicU32,
}

impl TableSlot {
    fn table(&self) -> Option<&FixedKey> {
        let built = self.built.get()?;
        (!self.switched_off.load(Ordering::Acquire)).then_some(&built.key)
    }

    /// Counts a signature that the back end has verified; whether it is time for a table.
    fn is_due(&self) -> bool {
        let before = self.verified.fetch_add(1, Ordering::Relaxed);
        before.wrapping_add(1).is_multiple_of(VERIFIES_BEFORE_TABLE)
    }

    /// Counts a signature that the table has accepted; whether the back end must see it too.
    fn is_canary(&self) -> bool {
        self.accepted.fetch_add(1, Ordering::Relaxed).is_multiple_of(ACCEPTED_PER_CANARY)
    }
}

#[derive(Debug)]
struct Built {
    key: FixedKey,
    room: Room,
}

impl Drop for Built {
    fn drop(&mut self) {
        self.room.pool.ready.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug, Default)]
struct Pool {
    most_tables: usize,
    most_bytes: usize,
    reserved: AtomicUsize,
    bytes: AtomicUsize,
    ready: AtomicUsize,
    without_room: AtomicU64,
    wrongly_accepted: AtomicU64,
    wrongly_refused: AtomicU64,
}

impl Pool {
    /// Builds the table of `key` in a thread of its own: it takes milliseconds, a runtime need not be there,
    /// and one that is has better things to do.
    fn build(self: &Arc<Self>, key: &PublicKey) {
        let slot = key.table();
        let Some(bytes) = FixedKey::bytes(key.algorithm()) else { return };
        if slot.claimed.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(room) = Room::reserve(self, bytes) else {
            self.without_room.fetch_add(1, Ordering::Relaxed);
            slot.claimed.store(false, Ordering::Release);
            return;
        };
        let (key, place) = (key.without_table(), Arc::downgrade(slot));
        let builder = thread::Builder::new().name("key-table".to_owned()).spawn(move || {
            // nobody may be left who wants it
            if let (Some(key), Some(slot)) = (FixedKey::new(&key), place.upgrade()) {
                room.fill(&slot, key);
            }
        });
        if builder.is_err() {
            slot.claimed.store(false, Ordering::Release);
        }
    }
}

/// What one table takes of a pool, given back when it is dropped.
#[derive(Debug)]
struct Room {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Room {
    fn reserve(pool: &Arc<Pool>, bytes: usize) -> Option<Self> {
        let within = |most: usize, more: usize| {
            move |taken: usize| taken.checked_add(more).filter(|taken| *taken <= most)
        };
        let add =
            |to: &AtomicUsize, within| to.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).ok();
        add(&pool.reserved, within(pool.most_tables, 1))?;
        if add(&pool.bytes, within(pool.most_bytes, bytes)).is_none() {
            pool.reserved.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Self { pool: Arc::clone(pool), bytes })
    }

    /// Puts `key` into its place.
    fn fill(self, slot: &TableSlot, key: FixedKey) {
        self.pool.ready.fetch_add(1, Ordering::AcqRel);
        // only who claimed the slot comes here, so it is empty
        drop(slot.built.set(Built { key, room: self }));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.pool.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.pool.reserved.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many signatures a key has verified before it gets a table: building one costs about as much as
/// twenty verifications with the back end.
pub const VERIFIES_BEFORE_TABLE: u32 = 16;

/// Of how many signatures that a table accepts the back end sees one.
pub const ACCEPTED_PER_CANARY: u32 = 1024;

/// The most keys with tables: more than an issuer or two have at a time.
pub const MAX_KEY_TABLES: usize = 16;

/// The most memory for tables: sixteen P-256 keys, or twelve P-384 keys.
pub const MAX_KEY_TABLE_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests;
