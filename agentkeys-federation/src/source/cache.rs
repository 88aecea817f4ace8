use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, PoisonError, RwLock};

use agentkeys_core::{AttestedIdentity, Clock, Minter, Random};

use super::SourceError;
use super::key::SessionKey;
use super::obtain::Obtain;
use super::revocation::RevocationCheck;
use super::slot::Slot;
use crate::audit::AuditSink;
use crate::aws::RoleSession;
use crate::credentials::AwsCredentials;
use crate::exchanger::Exchanger;

/// Credentials of many identities and role sessions, for a broker: kept by [`SessionKey`].
///
/// There is at most one exchange under way for each key, however many ask, and none of those who wait takes
/// it away by giving up. Credentials are served until [`crate::MIN_LEFT`] before their end, and renewed in
/// the background from [`crate::REFRESH_MARGIN`] on. A denial is remembered for [`crate::REFUSED_FOR`] and
/// drops what was kept. Nothing is served to an identity that is past its `not_after`.
///
/// Full, it drops the one that ends first; exchanges that are under way are never dropped, and where there
/// is nothing else it is [`SourceError::Busy`]. Cloning gives another handle to the same cache.
#[derive(Clone)]
pub struct CredentialCache(Arc<Cache>);

struct Cache {
    obtain: Arc<Obtain>,
    capacity: NonZeroUsize,
    /// Locked for a look-up and never across an await.
    slots: RwLock<HashMap<SessionKey, Arc<Slot>>>,
}

impl CredentialCache {
    /// An empty cache with room for `capacity` keys.
    #[must_use]
    pub fn new(
        minter: Minter,
        exchanger: Arc<dyn Exchanger<Target = RoleSession, Credentials = AwsCredentials>>,
        capacity: NonZeroUsize,
    ) -> Self {
        Self::empty(Obtain::new(minter, exchanger), capacity)
    }

    /// An empty cache with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.changed(|obtain| obtain.clock = clock)
    }

    /// An empty cache with another source of jitter.
    #[must_use]
    pub fn with_random(self, random: Arc<dyn Random>) -> Self {
        self.changed(|obtain| obtain.random = random)
    }

    /// An empty cache that asks `check` before every exchange.
    #[must_use]
    pub fn with_revocation(self, check: Arc<dyn RevocationCheck>) -> Self {
        self.changed(|obtain| obtain.revocation = Some(check))
    }

    /// An empty cache that writes each exchange into `audit`, before it and after it, and serves nothing whose
    /// rows are not durable (W56).
    #[must_use]
    pub fn with_audit(self, audit: Arc<dyn AuditSink>) -> Self {
        self.changed(|obtain| obtain.audit = Some(audit))
    }

    /// Credentials of `session` for `identity`, with more than [`crate::MIN_LEFT`] left.
    ///
    /// The session's tags are the host's statement about `identity`: they must come from it or from the
    /// host's own context, as for [`RoleSession`].
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn credentials(
        &self,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<AwsCredentials, SourceError> {
        self.credentials_under(SessionKey::of(identity, session), identity, session).await
    }

    /// The same under a key of the caller's, which decides all that a [`SessionKey`] holds.
    pub(crate) async fn credentials_under(
        &self,
        key: SessionKey,
        identity: &AttestedIdentity,
        session: &RoleSession,
    ) -> Result<AwsCredentials, SourceError> {
        let slot = self.slot(key)?;
        slot.credentials(&self.0.obtain, identity, session).await
    }

    /// What is kept under `key` and need not be renewed yet.
    pub(crate) fn kept(&self, key: &SessionKey, identity: &AttestedIdentity) -> Option<AwsCredentials> {
        let now = self.0.obtain.clock.now().ok().filter(|now| identity.is_current(*now))?;
        self.0.slots.read().unwrap_or_else(PoisonError::into_inner).get(key)?.kept(now)
    }

    /// Drops what is kept under `key`, a refusal as well. Who waits for an exchange that is under way still
    /// gets its outcome; nobody else does. Let the [`RevocationCheck`] refuse first, then forget.
    pub fn forget(&self, key: &SessionKey) {
        self.0.slots.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// How many keys there are now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.slots.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn obtain(&self) -> &Obtain {
        &self.0.obtain
    }

    fn changed(&self, change: impl FnOnce(&mut Obtain)) -> Self {
        let mut obtain = (*self.0.obtain).clone();
        change(&mut obtain);
        Self::empty(obtain, self.0.capacity)
    }

    fn empty(obtain: Obtain, capacity: NonZeroUsize) -> Self {
        Self(Arc::new(Cache { obtain: Arc::new(obtain), capacity, slots: RwLock::default() }))
    }

    fn slot(&self, key: SessionKey) -> Result<Arc<Slot>, SourceError> {
        if let Some(slot) = self.0.slots.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(slot));
        }
        let mut slots = self.0.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.0.capacity.get() {
            make_room(&mut slots).ok_or(SourceError::Busy)?;
        }
        Ok(Arc::clone(slots.entry(key).or_default()))
    }
}

/// Drops the one that ends first. It looks at all of them, which takes microseconds and comes before an
/// exchange that takes milliseconds.
fn make_room(slots: &mut HashMap<SessionKey, Arc<Slot>>) -> Option<()> {
    // callers and exchanges hold the slot that they use
    let idle = slots.iter().filter(|(_, slot)| Arc::strong_count(slot) == 1);
    let first = idle.min_by_key(|(_, slot)| slot.ends_at())?.0.clone();
    slots.remove(&first).map(drop)
}

impl fmt::Debug for CredentialCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (capacity, len) = (self.0.capacity, self.len());
        f.debug_struct("CredentialCache")
            .field("capacity", &capacity)
            .field("len", &len)
            .finish_non_exhaustive()
    }
}
