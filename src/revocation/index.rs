//! The replica as every core consults it: four atomic loads while nothing ended lately, a read lock otherwise.

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::replica::{Acknowledged, Divergence, Progress, Replica, Round, Verdict, lease_holds};
use crate::domain::grant::GrantFacts;
use crate::domain::revocation::{LogEntry, LogExcerpt, Position, Revocation, Target};
use crate::domain::token::{KeyId, KeySet, Token};

/// One server's replica of the revocation log, shared by its threads.
pub struct RevocationIndex {
    replica: RwLock<Replica>,
    lease: Duration,
    /// What follows repeats parts of the replica, so that most checks need no lock. They are written in this order.
    keys: AtomicU16,
    floor: AtomicU64,
    len: AtomicUsize,
    applied: AtomicU64,
    /// In nanoseconds. 0: never.
    confirmed: AtomicU64,
    /// Tells those who watch how far the log was applied.
    positions: watch::Sender<u64>,
}

impl RevocationIndex {
    /// An index of a log that will be followed after `position`. `keys` were revoked by then.
    pub fn starting_at(position: Position, lease: Duration, keys: KeySet) -> Self {
        Self {
            replica: RwLock::new(Replica::starting_at(position, lease, keys)),
            lease,
            keys: keys.bits().into(),
            floor: position.seq.into(),
            len: 0.into(),
            applied: position.seq.into(),
            confirmed: 0.into(),
            positions: watch::Sender::new(position.seq),
        }
    }

    /// The position up to which the log was applied: what an answer reflects.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// For how long a confirmation of the index is good.
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether "active" may be answered. Ask this before [`RevocationIndex::judge`].
    pub fn lease_holds(&self, now: Duration) -> bool {
        let confirmed = self.confirmed.load(Ordering::Acquire);
        lease_holds((confirmed != 0).then(|| Duration::from_nanos(confirmed)), self.lease, now)
    }

    /// Whether nothing that this key signed is good any more. Ask whether the lease holds before.
    pub fn is_revoked(&self, key: KeyId) -> bool {
        KeySet::from_bits(self.keys.load(Ordering::Acquire)).contains(key)
    }

    /// Judges an access token by the facts about its grant and by what ended since they were read.
    pub fn judge(&self, token: &Token, facts: &GrantFacts) -> Verdict {
        let ended_lately = self.len.load(Ordering::Acquire) != 0;
        if token.generation < facts.generation || ended_lately && self.read().covers(token, facts) {
            return Verdict::Dead;
        }
        // After the entries, because the floor is raised before any is dropped: whoever misses one sees the floor.
        if facts.as_of < self.floor.load(Ordering::Acquire) { Verdict::FactsTooOld } else { Verdict::Alive }
    }

    pub fn position(&self) -> Position {
        self.read().position()
    }

    /// As [`Replica::begin`].
    pub fn begin(&self, now: Duration) -> Round {
        self.read().begin(now)
    }

    /// As [`Replica::conclude`].
    pub fn conclude(
        &self,
        round: Acknowledged,
        from: Position,
        excerpt: &LogExcerpt,
        now: Duration,
    ) -> Result<Progress, Divergence> {
        self.change(|replica| replica.conclude(round, from, excerpt, now))
    }

    /// As [`Replica::absorb`].
    pub fn absorb(&self, from: Position, excerpt: &LogExcerpt, now: Duration) -> Result<Progress, Divergence> {
        self.change(|replica| replica.absorb(from, excerpt, now))
    }

    /// As [`Replica::commit`].
    pub fn commit(&self, entry: &LogEntry, now: Duration) {
        self.change(|replica| replica.commit(entry, now));
    }

    /// As [`Replica::hint`].
    pub fn hint(&self, revocation: &Revocation, now: Duration) -> bool {
        self.change(|replica| replica.hint(revocation, now))
    }

    /// As [`Replica::lost_in`].
    pub fn lost_in(&self, log: &[LogEntry]) -> (Option<Position>, Vec<Target>) {
        self.read().lost_in(log)
    }

    /// As [`Replica::resume_at`].
    pub fn resume_at(&self, position: Position) {
        self.change(|replica| replica.resume_at(position));
    }

    /// As [`Replica::restart_at`].
    pub fn restart_at(&self, position: Position) {
        self.change(|replica| replica.restart_at(position));
    }

    /// As [`Replica::prune`].
    pub fn prune(&self, now: Duration) {
        self.change(|replica| replica.prune(now));
    }

    /// At most `limit` applied entries after position `after`; `None` when they are not all remembered.
    pub fn entries_after(&self, after: u64, limit: usize) -> Option<Vec<Revocation>> {
        let replica = self.read();
        Some(replica.entries_after(after)?.take(limit).map(|entry| entry.revocation.clone()).collect())
    }

    /// Follows how far the log was applied.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.positions.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, Replica> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the replica and repeats outside what checks read there.
    fn change<T>(&self, change: impl FnOnce(&mut Replica) -> T) -> T {
        let mut replica = self.replica.write().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut replica);
        let applied = replica.position().seq;
        let confirmed = replica.confirmed().map_or(0, |sent| u64::try_from(sent.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.keys.store(replica.revoked_keys().bits(), Ordering::Release);
        self.floor.store(replica.floor(), Ordering::Release);
        self.len.store(replica.len(), Ordering::Release);
        self.applied.store(applied, Ordering::Release);
        // Last: whoever sees this sees what was confirmed by it.
        self.confirmed.store(confirmed, Ordering::Release);
        self.positions.send_if_modified(|seen| std::mem::replace(seen, applied) != applied);
        outcome
    }
}
