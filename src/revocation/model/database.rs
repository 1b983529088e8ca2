//! The database as the model and the simulator see it: what the statements of `store` do, each at one instant.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::domain::grant::{GrantFacts, SubjectId};
use crate::domain::revocation::{LogEntry, LogExcerpt, Position, Revocation, Target};
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{GrantId, Token, TokenKind};
use crate::domain::variant_list::VariantList;

/// The positions that a flush leaves out are a multiple of this.
const FLUSH: u64 = 1 << 32;

/// Grants, clients and servers are numbered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::revocation) struct Database {
    pub(in crate::revocation) head: Position,
    pub(in crate::revocation) log: Vec<LogEntry>,
    pub(in crate::revocation) grants: BTreeMap<u8, Grant>,
    /// The position of each client's last revocation, and when it was by the clock of the database.
    pub(in crate::revocation) clients: BTreeMap<u8, (u64, Duration)>,
    pub(in crate::revocation) leases: BTreeMap<u8, Lease>,
}

impl Hash for Database {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { head, log, grants, clients, leases } = self;
        // The chain at the head stands for the log.
        (head, log.len(), grants, clients, leases).hash(state);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::revocation) struct Grant {
    pub(in crate::revocation) client: u8,
    pub(in crate::revocation) created_seq: u64,
    pub(in crate::revocation) created_at: Duration,
    pub(in crate::revocation) state: State,
    pub(in crate::revocation) refresh_serial: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::revocation) enum State {
    Pending,
    Active,
    Revoked,
}

/// How far a server has come, and until when it may answer without having come further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::revocation) struct Lease {
    pub(in crate::revocation) applied: u64,
    pub(in crate::revocation) expires_at: Duration,
}

/// What is cached about a grant, as small as the model needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::revocation) struct Facts {
    pub(in crate::revocation) client: u8,
    pub(in crate::revocation) alive: bool,
    pub(in crate::revocation) created_seq: u64,
    pub(in crate::revocation) as_of: u64,
}

impl From<Facts> for GrantFacts {
    fn from(facts: Facts) -> Self {
        Self {
            client: client_name(facts.client).parse().expect("digits and letters are a client id"),
            subject: SubjectId::new(""),
            username: "".into(),
            session: None,
            authentication: None,
            variants: VariantList::default(),
            generation: if facts.alive { 0 } else { Self::REVOKED },
            created_seq: facts.created_seq,
            as_of: facts.as_of,
        }
    }
}

fn client_name(client: u8) -> String {
    format!("client{client}")
}

pub(in crate::revocation) fn grant_target(grant: u8) -> Target {
    Target::Grant { id: GrantId::from_bytes([grant; 16]), generation: GrantFacts::REVOKED }
}

pub(in crate::revocation) fn client_target(client: u8) -> Target {
    Target::Client(client_name(client).parse().expect("digits and letters are a client id"))
}

/// An access token of a grant. Only its grant matters: a refresh makes no new generation.
pub(in crate::revocation) fn token(grant: u8) -> Token {
    Token {
        kind: TokenKind::AccessToken,
        variant: 0,
        grant: GrantId::from_bytes([grant; 16]),
        generation: 0,
        serial: 0,
        issued_at: Timestamp::from_unix(0),
        lifetime: 0,
    }
}

impl Database {
    /// Makes a grant that is not redeemed yet.
    pub(in crate::revocation) fn insert_grant(&mut self, grant: u8, client: u8, now: Duration) {
        let row =
            Grant { client, created_seq: self.head.seq, created_at: now, state: State::Pending, refresh_serial: 0 };
        self.grants.insert(grant, row);
    }

    /// As `Store::redeem`: one conditional update.
    pub(in crate::revocation) fn redeem(&mut self, grant: u8) -> bool {
        self.update(grant, |row| row.state == State::Pending, |row| row.state = State::Active)
    }

    /// As `Store::rotate`: one conditional update.
    pub(in crate::revocation) fn rotate(&mut self, grant: u8, serial: u32) -> bool {
        self.update(
            grant,
            |row| row.state == State::Active && row.refresh_serial == serial,
            |row| row.refresh_serial += 1,
        )
    }

    fn update(&mut self, grant: u8, condition: impl Fn(&Grant) -> bool, update: impl Fn(&mut Grant)) -> bool {
        let Some(mut row) = self.grants.get(&grant).copied() else { return false };
        let claimed = condition(&row) && self.parties_alive(&row);
        if claimed {
            update(&mut row);
            self.grants.insert(grant, row);
        }
        claimed
    }

    fn parties_alive(&self, row: &Grant) -> bool {
        self.revoked_seq(row.client) <= row.created_seq
    }

    fn revoked_seq(&self, client: u8) -> u64 {
        self.clients.get(&client).map_or(0, |(seq, _)| *seq)
    }

    /// Whether a token of this grant is good, which no cache is asked for.
    pub(in crate::revocation) fn is_alive(&self, grant: u8) -> bool {
        self.grants.get(&grant).is_some_and(|row| row.state == State::Active && self.parties_alive(row))
    }

    /// As `Store::facts`: one statement, one snapshot.
    pub(in crate::revocation) fn facts(&self, grant: u8) -> Option<Facts> {
        self.grants.get(&grant).map(|row| Facts {
            client: row.client,
            alive: self.is_alive(grant),
            created_seq: row.created_seq,
            as_of: self.head.seq,
        })
    }

    /// As `Store::end`: the truth and the log in one transaction. `None` when there is nothing to end.
    pub(in crate::revocation) fn end(&mut self, target: &Target, now: Duration) -> Option<LogEntry> {
        self.claim(target).then(|| {
            let entry = self.append(target.clone());
            self.mark(&entry, now);
            entry
        })
    }

    pub(in crate::revocation) fn claim(&mut self, target: &Target) -> bool {
        let Some(grant) = grant_of(target) else { return true };
        let row = self.grants.get_mut(&grant).filter(|row| row.state != State::Revoked);
        row.map(|row| row.state = State::Revoked).is_some()
    }

    pub(in crate::revocation) fn mark(&mut self, entry: &LogEntry, now: Duration) {
        if let Some(client) = client_of(&entry.revocation.target) {
            self.clients.insert(client, (entry.revocation.seq, now));
        }
    }

    fn append(&mut self, target: Target) -> LogEntry {
        self.append_at(self.head.seq + 1, target)
    }

    /// Writes at a position of which nobody makes sure that it is the next one.
    pub(in crate::revocation) fn append_at(&mut self, seq: u64, target: Target) -> LogEntry {
        let revocation = Revocation { seq, target, at: Timestamp::from_unix(0) };
        let entry = LogEntry { chain: self.head.chain.after(&revocation), revocation };
        self.head = Position { seq: self.head.seq.max(seq), chain: entry.chain };
        self.log.push(entry.clone());
        self.log.sort_by_key(|entry| entry.revocation.seq);
        entry
    }

    /// As `Store::write_again`, without the flush if `flush` is false.
    pub(in crate::revocation) fn write_again(&mut self, applied: u64, lost: &[Target], flush: bool, now: Duration) {
        let flushed =
            self.log.iter().any(|entry| entry.revocation.target == Target::Flush && entry.revocation.seq > applied);
        if !flushed && flush {
            self.append_at((self.head.seq.max(applied) / FLUSH + 1) * FLUSH, Target::Flush);
        }
        for target in lost {
            self.end(target, now);
        }
    }

    /// As `Store::log_start`, for a log of which no entry is older than a day.
    pub(in crate::revocation) fn log_start(&self) -> Position {
        self.log.first().map_or(self.head, LogEntry::position)
    }

    /// As `Store::log_after`.
    pub(in crate::revocation) fn log_after(&self, after: u64) -> LogExcerpt {
        LogExcerpt {
            head: self.head.seq,
            oldest: self.log.first().map(|entry| entry.revocation.seq),
            chain: match after {
                0 => Some(Position::default().chain),
                after if after == self.head.seq => Some(self.head.chain),
                after => self.log.iter().find(|entry| entry.revocation.seq == after).map(|entry| entry.chain),
            },
            entries: self.log.iter().filter(|entry| entry.revocation.seq > after).cloned().collect(),
        }
    }

    /// As `Store::renew_lease`.
    pub(in crate::revocation) fn renew_lease(&mut self, server: u8, applied: u64, bound: Duration, now: Duration) {
        self.leases.insert(server, Lease { applied, expires_at: now + bound });
    }

    /// As `Store::live_leases`: how far the last of them has come.
    pub(in crate::revocation) fn live_leases(&self, except: Option<u8>, now: Duration) -> Option<u64> {
        let live = self.leases.iter().filter(|(server, lease)| Some(**server) != except && lease.expires_at > now);
        live.map(|(_, lease)| lease.applied).min()
    }
}

pub(in crate::revocation) fn grant_of(target: &Target) -> Option<u8> {
    match target {
        Target::Grant { id, .. } => Some(id.as_bytes()[0]),
        _ => None,
    }
}

pub(in crate::revocation) fn client_of(target: &Target) -> Option<u8> {
    match target {
        Target::Client(id) => id.as_str().strip_prefix("client").and_then(|number| number.parse().ok()),
        _ => None,
    }
}
