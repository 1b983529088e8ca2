//! What ended, as a map that each check consults: two atomic loads while nothing was revoked lately, a read lock otherwise.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::domain::grant::GrantFacts;
use crate::domain::revocation::{Revocation, Target};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{GrantId, Token};

/// Recent revocations. Entries are dropped when they are old enough; facts from before the last dropped one are then unusable.
#[derive(Default)]
pub struct RevocationIndex {
    entries: RwLock<Entries>,
    /// The number of entries, so that an empty index costs no lock.
    len: AtomicUsize,
    /// Every entry of the log up to here was applied.
    applied: AtomicU64,
    /// Facts read before this position may miss a revocation that the index no longer holds.
    floor: AtomicU64,
}

/// What the index says about an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that ended covers it.
    Alive,
    Dead,
    /// The facts may miss a revocation that the index no longer holds: read them again.
    FactsTooOld,
}

#[derive(Default)]
struct Entries {
    grants: HashMap<GrantId, Entry>,
    clients: HashMap<Box<str>, Entry>,
    subjects: HashMap<Box<str>, Entry>,
}

struct Entry {
    seq: u64,
    /// For a grant: access tokens of an earlier generation are dead.
    generation: u32,
    applied_at: Timestamp,
}

impl Entries {
    fn len(&self) -> usize {
        self.grants.len() + self.clients.len() + self.subjects.len()
    }

    /// Drops what was applied before `horizon`; the highest position among it.
    fn prune(&mut self, horizon: Timestamp) -> Option<u64> {
        let mut dropped = None;
        let mut keep = |entry: &Entry| {
            let keep = entry.applied_at >= horizon;
            if !keep {
                dropped = dropped.max(Some(entry.seq));
            }
            keep
        };
        self.grants.retain(|_, entry| keep(entry));
        self.clients.retain(|_, entry| keep(entry));
        self.subjects.retain(|_, entry| keep(entry));
        dropped
    }
}

impl RevocationIndex {
    /// An index for a log that is at `head` now. Facts from before are unusable, and there are none.
    pub fn starting_at(head: u64) -> Self {
        Self { applied: head.into(), floor: head.into(), ..Self::default() }
    }

    /// The position up to which the log was applied: what an answer reflects.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Judges an access token by the facts about its grant and by what was revoked since they were read.
    pub fn judge(&self, token: &Token, facts: &GrantFacts) -> Verdict {
        if token.generation < facts.generation || self.holds(token, facts) {
            return Verdict::Dead;
        }
        // After the entries, because dropping entries raises the floor first: whoever misses one sees the floor.
        if facts.as_of < self.floor.load(Ordering::Acquire) {
            return Verdict::FactsTooOld;
        }
        Verdict::Alive
    }

    fn holds(&self, token: &Token, facts: &GrantFacts) -> bool {
        if self.len.load(Ordering::Acquire) == 0 {
            return false;
        }
        let entries = self.read();
        let made_before = |entry: &Entry| facts.created_seq < entry.seq;
        entries.grants.get(&token.grant).is_some_and(|entry| token.generation < entry.generation)
            || entries.clients.get(facts.client.as_str()).is_some_and(made_before)
            || entries.subjects.get(facts.subject.as_str()).is_some_and(made_before)
    }

    /// Applies an entry of the log, in any order and any number of times: it can only deny.
    /// `applied` moves only when the entry is the next one.
    pub fn apply(&self, revocation: &Revocation, now: Timestamp) {
        let mut entries = self.write();
        let new = Entry { seq: 0, generation: 0, applied_at: now };
        let (entry, generation) = match &revocation.target {
            Target::Grant { id, generation } => (entries.grants.entry(*id).or_insert(new), *generation),
            Target::Client(id) => (entries.clients.entry(id.as_str().into()).or_insert(new), 0),
            Target::Subject(id) => (entries.subjects.entry(id.as_str().into()).or_insert(new), 0),
            Target::SubjectClient(..) | Target::Session(_) => return,
        };
        entry.seq = entry.seq.max(revocation.seq);
        entry.generation = entry.generation.max(generation);
        entry.applied_at = now;
        self.len.store(entries.len(), Ordering::Release);
        if revocation.seq == self.applied() + 1 {
            self.applied.store(revocation.seq, Ordering::Release);
        }
    }

    /// Drops the entries that were applied before `horizon`.
    pub fn prune(&self, horizon: Timestamp) {
        let mut entries = self.write();
        if let Some(dropped) = entries.prune(horizon) {
            self.floor.fetch_max(dropped, Ordering::AcqRel);
            self.len.store(entries.len(), Ordering::Release);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::SubjectId;
    use crate::domain::token::TokenKind;

    fn facts(created_seq: u64, as_of: u64) -> GrantFacts {
        GrantFacts {
            client: "client".parse().expect("a client id"),
            subject: SubjectId::new("subject"),
            username: "ann".into(),
            session: None,
            variants: Box::default(),
            generation: 0,
            created_seq,
            as_of,
        }
    }

    fn token() -> Token {
        Token {
            kind: TokenKind::AccessToken,
            variant: 0,
            grant: GrantId::from_bytes([1; 16]),
            generation: 0,
            serial: 0,
            issued_at: Timestamp::from_unix(0),
            lifetime: 600,
        }
    }

    fn grant(seq: u64, byte: u8) -> Revocation {
        Revocation {
            seq,
            target: Target::Grant { id: GrantId::from_bytes([byte; 16]), generation: GrantFacts::REVOKED },
            at: NOW,
        }
    }

    const NOW: Timestamp = Timestamp::from_unix(100);

    #[test]
    fn a_revoked_grant_is_dead_whatever_facts_arrive_later() {
        let index = RevocationIndex::starting_at(0);
        assert_eq!(index.judge(&token(), &facts(0, 0)), Verdict::Alive);
        index.apply(&grant(1, 2), NOW);
        assert_eq!(index.judge(&token(), &facts(0, 0)), Verdict::Alive, "another grant was revoked");
        index.apply(&grant(2, 1), NOW);
        assert_eq!(index.judge(&token(), &facts(0, 0)), Verdict::Dead, "facts that were read before the revocation");
        assert_eq!(index.judge(&token(), &facts(0, 9)), Verdict::Dead);
    }

    #[test]
    fn a_revoked_client_or_subject_kills_the_grants_made_before_and_none_made_after() {
        for target in
            [Target::Client("client".parse().expect("a client id")), Target::Subject(SubjectId::new("subject"))]
        {
            let index = RevocationIndex::starting_at(4);
            index.apply(&Revocation { seq: 5, target, at: NOW }, NOW);
            assert_eq!(index.judge(&token(), &facts(4, 4)), Verdict::Dead);
            assert_eq!(index.judge(&token(), &facts(5, 5)), Verdict::Alive);
        }
    }

    #[test]
    fn the_applied_position_has_no_gaps() {
        let index = RevocationIndex::starting_at(7);
        for (seq, expected) in [(9, 7), (8, 8), (9, 9), (8, 9)] {
            index.apply(&grant(seq, 1), NOW);
            assert_eq!(index.applied(), expected);
        }
    }

    #[test]
    fn facts_from_before_a_dropped_entry_are_unusable() {
        let index = RevocationIndex::starting_at(0);
        index.apply(&grant(1, 1), NOW);
        index.apply(&grant(2, 2), NOW.plus(100));
        index.prune(NOW.plus(50));
        assert_eq!(index.judge(&token(), &facts(0, 0)), Verdict::FactsTooOld);
        assert_eq!(index.judge(&token(), &facts(0, 1)), Verdict::Alive, "facts of then would say that it is dead");
        index.prune(NOW.plus(200));
        assert_eq!(index.judge(&token(), &facts(0, 1)), Verdict::FactsTooOld);
    }
}
