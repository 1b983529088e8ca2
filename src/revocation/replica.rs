//! What one server knows of the revocation log: a state machine without I/O, to which time is an argument. Production
//! ([`super::RevocationIndex`], [`super::Follower`]), the model and the simulator drive the same one.
//!
//! A server may answer "active" at a time `t` when it has confirmed, by a read that was *sent* after `t - lease`, that it holds the
//! whole log. Before each such read it says in a committed transaction how far it has come, so that whoever revokes strictly can wait
//! for it: either it is seen there to have come far enough, or its lease has ended, or its read saw the revocation.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::domain::client::ClientId;
use crate::domain::grant::{GrantFacts, SessionId, SubjectId};
use crate::domain::revocation::{Chain, LogEntry, LogExcerpt, Position, Revocation, Target};
use crate::domain::token::{GrantId, KeySet, Token};

/// How long an entry is kept to complete older facts. Facts from before it are read again afterwards.
const WINDOW: Duration = Duration::from_mins(10);
/// How long an entry is kept to tell others, and to write it again if the database loses it.
const MEMORY: Duration = Duration::from_hours(24);
/// No more entries than these are kept for that.
const MEMORY_ENTRIES: usize = 1 << 16;

/// What the index says about an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Nothing that ended covers it.
    Alive,
    Dead,
    /// The facts may miss a revocation that the index no longer holds: read them again.
    FactsTooOld,
}

/// What one server knows of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    ended: Ended,
    /// Every entry of the log up to here was applied.
    position: Position,
    /// Facts that were read before this position are unusable: they may miss what is no longer in `ended`.
    floor: u64,
    lease: Duration,
    /// When the read was sent that last found nothing missing here.
    confirmed: Option<Duration>,
    /// The applied entries of late, in order.
    journal: VecDeque<(LogEntry, Duration)>,
    /// What was committed here or heard of and was not read in the log yet, and when. If it is not there, the log lost it.
    ahead: BTreeMap<u64, (Target, Duration)>,
}

/// A round of following the log has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Round {
    sent: Duration,
    applied: u64,
}

/// A round whose acknowledgement is committed. A read that begins now may confirm the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Acknowledged(Round);

impl Round {
    /// How far this server has come: what it must commit before it reads.
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// The acknowledgement was committed.
    pub const fn acknowledged(self) -> Acknowledged {
        Acknowledged(self)
    }
}

/// How far a read has brought the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// To the head of the log. `news`: there was something to apply.
    CaughtUp { news: bool },
    /// Not yet: read on.
    Behind,
}

/// The log is not the one that this server has followed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Divergence {
    /// It was followed too long ago: the position was pruned since. Nothing is wrong with the log.
    #[error("position {0} of the revocation log was pruned before this server had read on")]
    Forgotten(u64),
    /// A failover or a backup took back what had been committed.
    #[error("the revocation log at position {0} is not what it was: did a failover or a backup lose some of it?")]
    Rewritten(u64),
}

/// What ended lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ended {
    grants: HashMap<GrantId, Entry>,
    clients: HashMap<ClientId, Entry>,
    subjects: HashMap<SubjectId, Entry>,
    pairs: HashMap<ClientId, HashMap<SubjectId, Entry>>,
    sessions: HashMap<SessionId, Entry>,
    /// These stay.
    keys: KeySet,
    /// The number of entries that checks look for.
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    seq: u64,
    /// For a grant: access tokens of an earlier generation are dead.
    generation: u32,
    applied_at: Duration,
}

impl Ended {
    fn covers(&self, token: &Token, facts: &GrantFacts) -> bool {
        let made_before = |entry: &Entry| facts.created_seq < entry.seq;
        self.grants.get(&token.grant).is_some_and(|entry| token.generation < entry.generation)
            || self.clients.get(&facts.client).is_some_and(made_before)
            || self.subjects.get(&facts.subject).is_some_and(made_before)
            || self.pairs.get(&facts.client).and_then(|pairs| pairs.get(&facts.subject)).is_some_and(made_before)
            || facts.session.and_then(|session| self.sessions.get(&session)).is_some_and(made_before)
    }

    fn insert(&mut self, revocation: &Revocation, now: Duration) {
        let len = &mut self.len;
        let new = || {
            *len += 1;
            Entry { seq: 0, generation: 0, applied_at: now }
        };
        let (entry, generation) = match &revocation.target {
            Target::Grant { id, generation } => (self.grants.entry(*id).or_insert_with(new), *generation),
            Target::Client(id) => (self.clients.entry(id.clone()).or_insert_with(new), 0),
            Target::Subject(id) => (self.subjects.entry(id.clone()).or_insert_with(new), 0),
            Target::SubjectClient(subject, client) => {
                let pairs = self.pairs.entry(client.clone()).or_default();
                (pairs.entry(subject.clone()).or_insert_with(new), 0)
            }
            Target::Session(id) => (self.sessions.entry(*id).or_insert_with(new), 0),
            Target::Key(id) => return self.keys.insert(*id),
            Target::Flush => return,
        };
        entry.seq = entry.seq.max(revocation.seq);
        entry.generation = entry.generation.max(generation);
        entry.applied_at = now;
    }

    /// Drops what was applied before `horizon`; the highest position among it.
    fn prune(&mut self, horizon: Duration) -> Option<u64> {
        let (mut dropped, mut kept) = (None, 0);
        let mut keep = |entry: &Entry| {
            let keep = entry.applied_at >= horizon;
            if keep {
                kept += 1;
            } else {
                dropped = dropped.max(Some(entry.seq));
            }
            keep
        };
        self.grants.retain(|_, entry| keep(entry));
        self.clients.retain(|_, entry| keep(entry));
        self.subjects.retain(|_, entry| keep(entry));
        for pairs in self.pairs.values_mut() {
            pairs.retain(|_, entry| keep(entry));
        }
        self.pairs.retain(|_, pairs| !pairs.is_empty());
        self.sessions.retain(|_, entry| keep(entry));
        self.len = kept;
        dropped
    }
}

impl Replica {
    /// A replica that begins to follow the log after `position`. Facts from before are unusable. `keys` were revoked by then.
    pub fn starting_at(position: Position, lease: Duration, keys: KeySet) -> Self {
        Self {
            ended: Ended { keys, ..Ended::default() },
            position,
            floor: position.seq,
            lease,
            confirmed: None,
            journal: VecDeque::new(),
            ahead: BTreeMap::new(),
        }
    }

    pub const fn position(&self) -> Position {
        self.position
    }

    /// The keys that were revoked.
    pub const fn revoked_keys(&self) -> KeySet {
        self.ended.keys
    }

    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of entries that checks must consult.
    pub const fn len(&self) -> usize {
        self.ended.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the read was sent that last found nothing missing here.
    pub const fn confirmed(&self) -> Option<Duration> {
        self.confirmed
    }

    /// Whether something that ended lately covers a token.
    pub fn covers(&self, token: &Token, facts: &GrantFacts) -> bool {
        self.ended.covers(token, facts)
    }

    /// Judges an access token by the facts about its grant and by what ended since they were read. Ask
    /// [`Replica::lease_holds`] *before*: what ends between the two is then in the verdict.
    pub fn judge(&self, token: &Token, facts: &GrantFacts) -> Verdict {
        if token.generation < facts.generation || self.covers(token, facts) {
            Verdict::Dead
        } else if facts.as_of < self.floor {
            Verdict::FactsTooOld
        } else {
            Verdict::Alive
        }
    }

    /// Whether "active" may be answered.
    pub fn lease_holds(&self, now: Duration) -> bool {
        lease_holds(self.confirmed, self.lease, now)
    }

    /// Begins a round: first commit [`Round::applied`], then read the log after [`Replica::position`] in a new snapshot, then
    /// [`Replica::conclude`].
    pub const fn begin(&self, now: Duration) -> Round {
        Round { sent: now, applied: self.position.seq }
    }

    /// Takes in the log after `from`, which was read when the acknowledgement was committed.
    pub fn conclude(
        &mut self,
        Acknowledged(round): Acknowledged,
        from: Position,
        excerpt: &LogExcerpt,
        now: Duration,
    ) -> Result<Progress, Divergence> {
        let progress = self.absorb(from, excerpt, now)?;
        // What was known before the read was sent has to be in it.
        let missing = |(seq, (_, known)): (&u64, &(Target, Duration))| *seq > excerpt.head && *known < round.sent;
        if self.ahead.iter().any(missing) {
            return Err(self.diverged(Divergence::Rewritten(excerpt.head)));
        }
        if let Progress::CaughtUp { .. } = progress {
            // The time of sending: what is committed after that need not be in the excerpt.
            self.confirmed = self.confirmed.max(Some(round.sent));
        }
        Ok(progress)
    }

    /// Takes in the log after `from`. This alone never extends the lease.
    pub fn absorb(&mut self, from: Position, excerpt: &LogExcerpt, now: Duration) -> Result<Progress, Divergence> {
        match excerpt.chain {
            Some(chain) if chain == from.chain && excerpt.head >= from.seq => {}
            None if excerpt.head >= from.seq && excerpt.oldest.is_none_or(|oldest| oldest > from.seq) => {
                return Err(self.diverged(Divergence::Forgotten(from.seq)));
            }
            _ => return Err(self.diverged(Divergence::Rewritten(from.seq))),
        }
        let mut news = false;
        for entry in &excerpt.entries {
            // Others may have brought it here in the meantime.
            let here = entry.revocation.seq <= self.position.seq;
            if here && self.remembers(entry) {
                continue;
            }
            if here || !self.append(entry, now) {
                return Err(self.diverged(Divergence::Rewritten(entry.revocation.seq)));
            }
            news = true;
        }
        if let Some((&missing, _)) = self.ahead.first_key_value().filter(|(seq, _)| **seq <= self.position.seq) {
            return Err(self.diverged(Divergence::Rewritten(missing)));
        }
        Ok(if self.position.seq >= excerpt.head { Progress::CaughtUp { news } } else { Progress::Behind })
    }

    /// Applies an entry that this server has just committed, so that the next check knows. If others wrote before it, the
    /// position stays where it is until the log was read.
    pub fn commit(&mut self, entry: &LogEntry, now: Duration) {
        let applied = entry.revocation.seq <= self.position.seq && self.remembers(entry);
        if !applied && !self.append(entry, now) {
            self.learn(&entry.revocation, now);
        }
    }

    /// Takes another server's word that this ended: it can only deny. `true` when it is news, so that the log should be read.
    pub fn hint(&mut self, revocation: &Revocation, now: Duration) -> bool {
        let news = revocation.seq > self.position.seq;
        if news {
            self.learn(revocation, now);
        }
        news
    }

    /// Takes in an entry of which is not known what comes before it.
    fn learn(&mut self, revocation: &Revocation, now: Duration) {
        self.ended.insert(revocation, now);
        self.ahead.entry(revocation.seq).or_insert_with(|| (revocation.target.clone(), now));
    }

    /// Applies the next entry; `false` if it is not the next one, or of another history.
    fn append(&mut self, entry: &LogEntry, now: Duration) -> bool {
        let revocation = &entry.revocation;
        let flush = revocation.target == Target::Flush;
        let is_next = revocation.seq == self.position.seq + 1 || flush && revocation.seq > self.position.seq;
        // The first entries of an old log have no chain.
        let follows = entry.chain == self.position.chain.after(revocation)
            || entry.chain == Chain::default() && self.position.chain == Chain::default();
        if !is_next || !follows {
            return false;
        }
        if self.ahead.get(&revocation.seq).is_some_and(|(target, _)| *target == revocation.target) {
            self.ahead.remove(&revocation.seq);
        }
        if flush {
            self.floor = self.floor.max(revocation.seq);
        }
        self.ended.insert(revocation, now);
        self.position = entry.position();
        self.journal.push_back((entry.clone(), now));
        true
    }

    /// Whether this entry was applied, as far as is remembered.
    fn remembers(&self, entry: &LogEntry) -> bool {
        let begin = self.journal.partition_point(|(applied, _)| applied.revocation.seq < entry.revocation.seq);
        // What was applied before all that is remembered cannot be told.
        begin == 0 && self.journal.front().is_none_or(|(first, _)| first.revocation.seq > entry.revocation.seq)
            || self.journal.get(begin).is_some_and(|(applied, _)| applied.position() == entry.position())
    }

    /// Nothing is answered from here until the log is understood again.
    fn diverged(&mut self, divergence: Divergence) -> Divergence {
        self.confirmed = None;
        divergence
    }

    /// The applied entries after position `after`, in order; `None` when they are not all remembered.
    pub fn entries_after(&self, after: u64) -> Option<impl Iterator<Item = &LogEntry>> {
        let first = self.journal.front().map_or(self.position.seq, |(entry, _)| entry.revocation.seq - 1);
        let remembered = after >= first || after >= self.position.seq;
        let begin = self.journal.partition_point(|(entry, _)| entry.revocation.seq <= after);
        remembered.then(|| self.journal.range(begin..).map(|(entry, _)| entry))
    }

    /// Where the log as it is now, `log`, parts from what was applied here, and what was applied here or heard of and is not in it any
    /// more.
    pub fn lost_in(&self, log: &[LogEntry]) -> (Option<Position>, Vec<Target>) {
        let chains: HashMap<u64, Chain> = log.iter().map(|entry| (entry.revocation.seq, entry.chain)).collect();
        let common = |(entry, _): &(LogEntry, Duration)| chains.get(&entry.revocation.seq) == Some(&entry.chain);
        let begin = self.journal.iter().rposition(common).map_or(0, |last| last + 1);
        let fork = begin.checked_sub(1).map(|last| self.journal[last].0.position());
        let written_again: HashSet<&Target> = log
            .iter()
            .filter(|entry| fork.is_none_or(|fork| entry.revocation.seq > fork.seq))
            .map(|entry| &entry.revocation.target)
            .collect();
        let applied = self.journal.range(begin..).map(|(entry, _)| &entry.revocation.target);
        let lost: BTreeSet<Target> = applied
            .chain(self.ahead.values().map(|(target, _)| target))
            .filter(|target| **target != Target::Flush && !written_again.contains(target))
            .cloned()
            .collect();
        (fork, lost.into_iter().collect())
    }

    /// Follows the log from another position on. What ended stays ended, facts from before a later [`Target::Flush`] become unusable with it.
    pub fn resume_at(&mut self, position: Position) {
        self.confirmed = None;
        self.position = position;
        self.ahead.clear();
        self.journal.retain(|(entry, _)| entry.revocation.seq <= position.seq);
    }

    /// Follows the log from a position on with which this server has nothing in common: no fact from before is usable.
    pub fn restart_at(&mut self, position: Position) {
        self.resume_at(position);
        self.journal.clear();
        self.floor = self.floor.max(position.seq);
    }

    /// Drops what is too old to be of use.
    pub fn prune(&mut self, now: Duration) {
        if let Some(dropped) = self.ended.prune(now.saturating_sub(WINDOW)) {
            self.floor = self.floor.max(dropped);
        }
        let old = |applied_at: Duration| applied_at < now.saturating_sub(MEMORY);
        while self.journal.front().is_some_and(|(_, applied_at)| old(*applied_at))
            || self.journal.len() > MEMORY_ENTRIES
        {
            self.journal.pop_front();
        }
    }
}

/// For the model, which tells states apart by it. When an entry was applied is left out: it matters to pruning alone, and the model
/// prunes at any time.
#[cfg(test)]
impl std::hash::Hash for Replica {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        fn sorted<K: Ord>(entries: &HashMap<K, Entry>) -> Vec<(&K, u64, u32)> {
            let mut sorted: Vec<_> =
                entries.iter().map(|(target, entry)| (target, entry.seq, entry.generation)).collect();
            sorted.sort_unstable();
            sorted
        }
        let Self { ended, position, floor, lease, confirmed, journal, ahead } = self;
        let Ended { grants, clients, subjects, pairs, sessions, keys, len } = ended;
        (position, floor, lease, confirmed, keys, len).hash(state);
        (sorted(grants), sorted(clients), sorted(subjects), sorted(sessions)).hash(state);
        for (client, subjects) in pairs.iter().collect::<BTreeMap<_, _>>() {
            (client, sorted(subjects)).hash(state);
        }
        ahead.hash(state);
        for (entry, _) in journal {
            entry.position().hash(state);
        }
    }
}

#[cfg(test)]
impl Replica {
    /// Whether the entry of a target is here that was written at `seq` or later.
    pub(super) fn holds(&self, target: &Target, seq: u64) -> bool {
        let Ended { grants, clients, subjects, pairs, sessions, .. } = &self.ended;
        let entry = match target {
            Target::Grant { id, .. } => grants.get(id),
            Target::Client(id) => clients.get(id),
            Target::Subject(id) => subjects.get(id),
            Target::SubjectClient(subject, client) => pairs.get(client).and_then(|pairs| pairs.get(subject)),
            Target::Session(id) => sessions.get(id),
            Target::Key(id) => return self.ended.keys.contains(*id),
            Target::Flush => None,
        };
        entry.is_some_and(|entry| entry.seq >= seq)
    }
}

/// Whether a lease that was confirmed at `confirmed` holds now. Times are of the clock that also counts while the machine sleeps
/// (`CLOCK_BOOTTIME`); what the wall clock does is of no matter.
pub(super) fn lease_holds(confirmed: Option<Duration>, lease: Duration, now: Duration) -> bool {
    confirmed.is_some_and(|confirmed| now < confirmed.saturating_add(lease))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timestamp::Timestamp;
    use crate::domain::token::TokenKind;
    use crate::domain::variant_list::VariantList;

    const LEASE: Duration = Duration::from_secs(1);

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn facts(created_seq: u64, as_of: u64) -> GrantFacts {
        GrantFacts {
            client: "client".parse().expect("a client id"),
            subject: SubjectId::new("subject"),
            username: "ann".into(),
            session: Some(SessionId::from_bytes([5; 16])),
            authentication: None,
            variants: VariantList::default(),
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

    fn grant(byte: u8) -> Target {
        Target::Grant { id: GrantId::from_bytes([byte; 16]), generation: GrantFacts::REVOKED }
    }

    /// A log of these entries; a flush jumps.
    fn log(targets: &[Target]) -> Vec<LogEntry> {
        let mut last = Position::default();
        let entry = |target: &Target| {
            let seq = if *target == Target::Flush { ((last.seq >> 32) + 1) << 32 } else { last.seq + 1 };
            let revocation = Revocation { seq, target: target.clone(), at: Timestamp::from_unix(0) };
            last = Position { seq, chain: last.chain.after(&revocation) };
            LogEntry { revocation, chain: last.chain }
        };
        targets.iter().map(entry).collect()
    }

    /// What the database answers.
    fn read(log: &[LogEntry], from: Position) -> LogExcerpt {
        let head = log.last().map_or(0, |entry| entry.revocation.seq);
        let before = log.iter().find(|entry| entry.revocation.seq == from.seq).map(|entry| entry.chain);
        LogExcerpt {
            head,
            oldest: log.first().map(|entry| entry.revocation.seq),
            chain: if from.seq == 0 { Some(Chain::default()) } else { before },
            entries: log.iter().filter(|entry| entry.revocation.seq > from.seq).cloned().collect(),
        }
    }

    fn following(log: &[LogEntry]) -> Replica {
        let mut replica = Replica::starting_at(Position::default(), LEASE, KeySet::default());
        let round = replica.begin(at(1)).acknowledged();
        replica.conclude(round, Position::default(), &read(log, Position::default()), at(2)).expect("one history");
        replica
    }

    #[test]
    fn a_revoked_grant_is_dead_whatever_facts_arrive_later() {
        assert_eq!(following(&[]).judge(&token(), &facts(0, 0)), Verdict::Alive);
        let other = following(&log(&[grant(2)]));
        assert_eq!(other.judge(&token(), &facts(0, 0)), Verdict::Alive, "another grant was revoked");
        let replica = following(&log(&[grant(2), grant(1)]));
        assert_eq!(replica.judge(&token(), &facts(0, 0)), Verdict::Dead, "facts that were read before the revocation");
        assert_eq!(replica.judge(&token(), &facts(0, 9)), Verdict::Dead);
    }

    #[test]
    fn a_revoked_set_kills_the_grants_made_before_and_none_made_after() {
        let (client, subject) = (facts(0, 0).client, facts(0, 0).subject);
        for target in [
            Target::Client(client.clone()),
            Target::Subject(subject.clone()),
            Target::SubjectClient(subject.clone(), client.clone()),
            Target::Session(SessionId::from_bytes([5; 16])),
        ] {
            let replica = following(&log(&[grant(7), grant(8), target]));
            assert_eq!(replica.judge(&token(), &facts(2, 2)), Verdict::Dead);
            assert_eq!(replica.judge(&token(), &facts(3, 3)), Verdict::Alive);
        }
        for target in [
            Target::SubjectClient(SubjectId::new("other"), client),
            Target::SubjectClient(subject, "other".parse().expect("a client id")),
            Target::Session(SessionId::from_bytes([6; 16])),
        ] {
            assert_eq!(following(&log(&[target])).judge(&token(), &facts(0, 0)), Verdict::Alive);
        }
    }

    #[test]
    fn a_lease_counts_from_the_sending_of_the_read_and_never_goes_back() {
        let mut replica = Replica::starting_at(Position::default(), LEASE, KeySet::default());
        assert!(!replica.lease_holds(at(1)), "nothing was read yet");
        let (early, late) = (replica.begin(at(400)).acknowledged(), replica.begin(at(500)).acknowledged());
        let empty = read(&[], Position::default());
        replica.conclude(late, Position::default(), &empty, at(900)).expect("one history");
        assert!(replica.lease_holds(at(500)) && replica.lease_holds(at(1_499)) && !replica.lease_holds(at(1_500)));
        replica.conclude(early, Position::default(), &empty, at(950)).expect("one history");
        assert!(replica.lease_holds(at(1_499)), "an older read that ends later changes nothing");
    }

    #[test]
    fn a_lease_is_confirmed_by_the_whole_log_alone() {
        let log = log(&[grant(1), grant(2), grant(3)]);
        let mut replica = Replica::starting_at(Position::default(), LEASE, KeySet::default());
        let start = Position::default();
        let part = LogExcerpt { entries: log[..2].to_vec(), ..read(&log, start) };
        let round = replica.begin(at(100)).acknowledged();
        assert_eq!(replica.conclude(round, start, &part, at(101)), Ok(Progress::Behind));
        assert!(!replica.lease_holds(at(102)));
        let (from, excerpt) = (replica.position(), read(&log, replica.position()));
        assert_eq!(replica.absorb(from, &excerpt, at(103)), Ok(Progress::CaughtUp { news: true }));
        assert!(!replica.lease_holds(at(104)), "nobody was told before");
        assert!(!replica.hint(&log[2].revocation, at(105)), "that is known");
        let (from, excerpt) = (replica.position(), read(&log, replica.position()));
        assert_eq!(replica.conclude(round, from, &excerpt, at(106)), Ok(Progress::CaughtUp { news: false }));
        assert!(replica.lease_holds(at(107)));
    }

    #[test]
    fn a_hint_denies_at_once_and_moves_nothing_else() {
        let log = log(&[grant(2), grant(1)]);
        let mut replica = following(&[]);
        assert!(replica.hint(&log[1].revocation, at(3)));
        assert_eq!(replica.judge(&token(), &facts(0, 0)), Verdict::Dead);
        assert_eq!(replica.position(), Position::default());
    }

    #[test]
    fn own_entries_count_when_they_are_next() {
        let log = log(&[grant(2), grant(1)]);
        let mut replica = following(&[]);
        replica.commit(&log[1], at(3));
        assert_eq!((replica.position().seq, replica.judge(&token(), &facts(0, 0))), (0, Verdict::Dead));
        replica.commit(&log[0], at(3));
        assert_eq!(replica.position(), log[0].position());
    }

    #[test]
    fn facts_from_before_a_dropped_entry_are_unusable() {
        let mut replica = Replica::starting_at(Position::default(), LEASE, KeySet::default());
        let log = log(&[grant(7), grant(8)]);
        replica.commit(&log[0], at(0));
        replica.commit(&log[1], at(100_000));
        replica.prune(at(650_000));
        assert_eq!(replica.judge(&token(), &facts(0, 0)), Verdict::FactsTooOld);
        assert_eq!(replica.judge(&token(), &facts(0, 1)), Verdict::Alive, "facts of then would say that it is dead");
        replica.prune(at(800_000));
        assert_eq!(replica.judge(&token(), &facts(0, 1)), Verdict::FactsTooOld);
        assert!(replica.is_empty());
    }

    #[test]
    fn a_history_that_lost_something_is_noticed_and_gets_it_back() {
        let before = log(&[grant(2), grant(1), grant(3)]);
        let client = Target::Client("another".parse().expect("a client id"));
        for lost in [
            log(&[]),
            log(&[grant(2)]),
            log(&[grant(2), client.clone()]),
            log(&[grant(2), client.clone(), client.clone(), client.clone()]),
        ] {
            let mut replica = following(&before);
            let from = replica.position();
            let round = replica.begin(at(3)).acknowledged();
            let divergence = replica.conclude(round, from, &read(&lost, from), at(4));
            assert!(matches!(divergence, Err(Divergence::Rewritten(_))), "{divergence:?}");
            assert!(!replica.lease_holds(at(4)), "nothing is active on its word");
            let (fork, missing) = replica.lost_in(&lost);
            let agreed = usize::from(!lost.is_empty());
            assert_eq!(fork, (agreed == 1).then(|| before[0].position()));
            assert_eq!(
                missing,
                if agreed == 1 { vec![grant(1), grant(3)] } else { vec![grant(1), grant(2), grant(3)] }
            );

            // As the store writes it again.
            let targets: Vec<Target> = lost
                .iter()
                .map(|entry| entry.revocation.target.clone())
                .chain([Target::Flush])
                .chain(missing)
                .collect();
            let whole = log(&targets);
            match fork {
                Some(fork) => replica.resume_at(fork),
                None => replica.restart_at(Position::default()),
            }
            let from = replica.position();
            let round = replica.begin(at(5)).acknowledged();
            assert_eq!(
                replica.conclude(round, from, &read(&whole, from), at(6)),
                Ok(Progress::CaughtUp { news: true })
            );
            assert!(replica.lease_holds(at(7)));
            assert_eq!(replica.judge(&token(), &facts(0, 3)), Verdict::Dead);
            let live = Token { grant: GrantId::from_bytes([9; 16]), ..token() };
            assert_eq!(replica.judge(&live, &facts(0, 3)), Verdict::FactsTooOld, "facts of the lost history");
            assert_eq!(replica.judge(&live, &facts(0, replica.position().seq)), Verdict::Alive);
            assert_eq!(replica.lost_in(&whole).1, [], "nothing is written a third time");
        }
    }

    #[test]
    fn an_own_entry_of_another_history_is_not_the_next_one() {
        // A failover has lost the third, others wrote another, and this server, which does not know, a fourth.
        let before = log(&[grant(2), grant(3), grant(4)]);
        let after = log(&[grant(2), grant(3), grant(1), grant(5)]);
        let mut replica = following(&before);
        replica.commit(&after[3], at(3));
        assert_eq!(replica.position(), before[2].position(), "the third is not the one that is known");
        let from = replica.position();
        assert!(matches!(replica.absorb(from, &read(&after, from), at(4)), Err(Divergence::Rewritten(_))));
    }

    #[test]
    fn an_own_entry_is_in_force_wherever_the_log_is() {
        // As above, but this server knew more of the history that was lost.
        let before = log(&[grant(2), grant(3), grant(4)]);
        let mut replica = following(&before);
        replica.commit(&log(&[grant(2), grant(1)])[1], at(3));
        assert_eq!(replica.judge(&token(), &facts(0, 0)), Verdict::Dead);
        assert_eq!(replica.position(), before[2].position());
    }

    #[test]
    fn an_own_entry_that_was_lost_hides_none_that_was_read_meanwhile() {
        // It is applied while a read is on its way that began after the failover.
        let (before, after) = (log(&[grant(2)]), log(&[grant(1)]));
        let mut replica = following(&[]);
        let round = replica.begin(at(3)).acknowledged();
        let (from, excerpt) = (replica.position(), read(&after, replica.position()));
        replica.commit(&before[0], at(4));
        assert_eq!(replica.conclude(round, from, &excerpt, at(5)), Err(Divergence::Rewritten(1)));
    }

    #[test]
    fn an_own_entry_that_was_lost_before_it_was_applied_is_written_again() {
        for after in [log(&[grant(2)]), log(&[grant(2), Target::Flush])] {
            let mut replica = following(&after);
            let own =
                if after.len() == 1 { log(&[grant(1)])[0].clone() } else { log(&[grant(2), grant(1)])[1].clone() };
            replica.commit(&own, at(3));
            let from = replica.position();
            assert!(matches!(replica.absorb(from, &read(&after, from), at(4)), Err(Divergence::Rewritten(_))));
            assert_eq!(replica.lost_in(&after), (Some(from), vec![grant(1)]));
            replica.commit(&after[0], at(5));
            assert_eq!(replica.lost_in(&after).1, [grant(1)], "what was read already is not");
        }
    }

    #[test]
    fn what_was_heard_of_and_lost_is_noticed_and_written_again() {
        let before = log(&[grant(2), grant(3), grant(1)]);
        for (after, of_own) in [(1, true), (1, false), (2, true)] {
            let mut replica = following(&before[..1]);
            if of_own {
                replica.commit(&before[2], at(3));
            } else {
                replica.hint(&before[2].revocation, at(3));
            }
            let (from, lost) = (replica.position(), read(&before[..after], replica.position()));
            let early = replica.begin(at(2)).acknowledged();
            assert!(replica.clone().conclude(early, from, &lost, at(4)).is_ok(), "it may be newer than the read");
            let round = replica.begin(at(4)).acknowledged();
            assert!(matches!(replica.conclude(round, from, &lost, at(5)), Err(Divergence::Rewritten(_))));
            assert!(!replica.lease_holds(at(5)));
            assert_eq!(replica.lost_in(&before[..after]).1, [grant(1)]);
        }
    }

    #[test]
    fn what_was_heard_of_and_is_not_in_the_log_where_it_was_is_written_again() {
        let before = log(&[grant(2), grant(1)]);
        for after in [log(&[grant(2), grant(3)]), log(&[grant(2), Target::Flush])] {
            let mut replica = following(&before[..1]);
            replica.hint(&before[1].revocation, at(3));
            let from = replica.position();
            assert!(matches!(replica.absorb(from, &read(&after, from), at(5)), Err(Divergence::Rewritten(_))));
            let (fork, lost) = replica.lost_in(&after);
            assert_eq!((fork, lost), (Some(after[1].position()), vec![grant(1)]));
            replica.resume_at(after[1].position());
            let from = replica.position();
            let progress = replica.absorb(from, &read(&after, from), at(6));
            assert_eq!(progress, Ok(Progress::CaughtUp { news: false }), "nothing is written a third time");
        }
        let mut replica = following(&before[..1]);
        replica.hint(&before[1].revocation, at(3));
        let from = replica.position();
        let round = replica.begin(at(4)).acknowledged();
        assert!(replica.conclude(round, from, &read(&before, from), at(5)).is_ok(), "it is where it was");
    }

    #[test]
    fn entries_from_before_chains_were_kept_are_followed() {
        let mut old = log(&[grant(2), grant(1), grant(3)]);
        for entry in &mut old[..2] {
            entry.chain = Chain::default();
        }
        old[2].chain = Chain::default().after(&old[2].revocation);
        assert_eq!(following(&old).position(), old[2].position());
    }

    #[test]
    fn a_log_that_was_pruned_beyond_its_reader_is_no_rewritten_one() {
        let log = log(&[grant(2), grant(1), grant(3)]);
        let mut replica = following(&log[..1]);
        let from = replica.position();
        assert_eq!(replica.absorb(from, &read(&log[2..], from), at(3)), Err(Divergence::Forgotten(1)));
        replica.restart_at(log[2].position());
        assert_eq!(replica.judge(&token(), &facts(0, 2)), Verdict::FactsTooOld);
    }

    #[test]
    fn what_was_applied_can_be_told_from_any_remembered_position() {
        let log = log(&[grant(2), grant(1), Target::Flush, grant(3)]);
        let mut replica = following(&log);
        let seqs = |replica: &Replica, after| {
            replica.entries_after(after).map(|entries| entries.map(|entry| entry.revocation.seq).collect::<Vec<_>>())
        };
        let flush = 1 << 32;
        assert_eq!(seqs(&replica, 0), Some(vec![1, 2, flush, flush + 1]));
        assert_eq!(seqs(&replica, 2), Some(vec![flush, flush + 1]));
        assert_eq!(seqs(&replica, flush + 1), Some(vec![]));
        replica.prune(MEMORY + at(10));
        assert_eq!(seqs(&replica, 2), None);
        assert_eq!(seqs(&replica, flush + 1), Some(vec![]));
    }
}
