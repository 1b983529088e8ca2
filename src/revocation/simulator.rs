//! The simulator: some servers, a database and a network for a minute, in an order that a seed decides, with the state machine that
//! production runs. It goes where the model is too small to go: many revocations, many servers, real times.
//!
//! `SCOPEGATE_SEEDS=10000 cargo test --release --lib simulator -- --nocapture` runs more seeds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::follower::bound;
use super::model::database::{Database, Facts, State, client_of, client_target, grant_of, grant_target, token};
use super::replica::{Acknowledged, Progress, Replica, Round, Verdict};
use crate::domain::revocation::{LogEntry, LogExcerpt, Position, Revocation, Target};
use crate::domain::token::KeySet;

const LEASE: Duration = Duration::from_secs(1);
const END: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_millis(250);
/// Seeds of a run that says nothing else.
const SEEDS: u64 = 1_000;

/// What the self-test breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    NoLease,
    NoFloor,
    ConfirmedAtReply,
    LeaseAfterJudgement,
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Up to `end`, and not nothing.
    fn time(&mut self, end: Duration) -> Duration {
        Duration::from_micros(1 + self.below(u64::try_from(end.as_micros()).unwrap_or(u64::MAX).max(1)))
    }
}

/// Something that arrives at a server, unless the server was started again since.
#[derive(Clone, Debug)]
enum Arrival {
    Follow,
    Acknowledged(Round),
    Excerpt(Option<Acknowledged>, Position, LogExcerpt),
    WholeLog(Option<Acknowledged>, Vec<LogEntry>),
    WrittenAgain(Option<Acknowledged>, Option<Position>, Position),
    RoundFailed,
    Hint(Revocation),
    Ended(usize, Option<LogEntry>),
    /// The log, for a revocation that is not covered by what this server knows.
    CaughtUp(usize, Position, LogExcerpt),
    Leases(usize, Option<u64>),
    LookAtLeases(usize),
    RevokeFailed,
    Check(usize),
    Judge(usize),
    Facts(usize, Option<Facts>, bool),
    Prune,
}

/// Something that arrives at the database.
#[derive(Clone, Debug)]
enum Request {
    Acknowledge(Round),
    Read(Option<Acknowledged>, Position),
    ReadAll(Option<Acknowledged>),
    WriteAgain(Option<Acknowledged>, Option<Position>, u64, Vec<Target>),
    End(usize),
    CatchUp(usize, Position),
    Leases(usize),
    Facts(usize, u64),
}

#[derive(Clone, Debug)]
enum Event {
    At(usize, u32, Arrival),
    Database(usize, u32, Request),
    Caller,
    Revoke,
    Issue,
    Refresh(u8, u32),
    Pause,
    Restart,
    Outage,
    Copy,
    Failover,
    ForgetShared,
    TurnBackShared,
}

struct Server {
    replica: Replica,
    /// Parts of a million that its clock runs at, and where it began.
    rate: u64,
    offset: Duration,
    incarnation: u32,
    paused_until: Duration,
    following: bool,
    cached: BTreeMap<u8, Facts>,
    /// Checks that wait for a round which begins after this time.
    waiting: Vec<(usize, Duration)>,
}

struct Revoke {
    target: Target,
    strict: bool,
    /// The entry that ends it, whoever wrote it, once the database has it.
    written: u64,
    /// How far the others have to come.
    seq: u64,
    committed: Duration,
    lost: bool,
}

struct Check {
    server: usize,
    grant: u8,
    begun: Duration,
    doomed: Option<&'static str>,
    fetched: u8,
    asked: bool,
    judged_alive: bool,
    done: bool,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    checks: u64,
    active: u64,
    inactive: u64,
    unavailable: u64,
    revocations: u64,
    failovers: u64,
    divergences: u64,
}

struct World {
    mutant: Option<Mutant>,
    chance: Chance,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    scheduled: Vec<Option<Event>>,
    database: Database,
    copy: Option<Database>,
    down_until: Duration,
    shared: Option<BTreeMap<u8, Facts>>,
    shared_before: Vec<BTreeMap<u8, Facts>>,
    servers: Vec<Server>,
    revokes: Vec<Revoke>,
    checks: Vec<Check>,
    grants: u8,
    /// What the checker knows: since when each grant is ended everywhere, whether anything ever covered it, when each server denied it.
    in_force: BTreeMap<u8, Duration>,
    covered: BTreeMap<u8, Duration>,
    denied: BTreeMap<(usize, u8), Duration>,
    settled: Duration,
    count: Count,
    trace: Option<Vec<String>>,
    violation: Option<String>,
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> Self {
        let mut chance = Chance(seed);
        let mut database = Database::default();
        for grant in 0..6 {
            database.insert_grant(grant, grant % 3, Duration::ZERO);
            database.redeem(grant);
        }
        let servers = (0..3 + chance.below(3)).map(|_| Server {
            replica: Replica::starting_at(Position::default(), LEASE, KeySet::default()),
            rate: 990_000 + chance.below(20_001),
            offset: chance.time(Duration::from_hours(1)),
            incarnation: 0,
            paused_until: Duration::ZERO,
            following: false,
            cached: BTreeMap::new(),
            waiting: Vec::new(),
        });
        let servers: Vec<_> = servers.collect();
        // A shared cache does not say of which history its positions are: it is not simulated together with failovers.
        let fails_over = seed.is_multiple_of(3);
        let mut world = Self {
            mutant,
            chance,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            scheduled: Vec::new(),
            database,
            copy: None,
            down_until: Duration::ZERO,
            shared: (!fails_over).then(BTreeMap::new),
            shared_before: Vec::new(),
            servers,
            revokes: Vec::new(),
            checks: Vec::new(),
            grants: 6,
            in_force: BTreeMap::new(),
            covered: BTreeMap::new(),
            denied: BTreeMap::new(),
            settled: Duration::ZERO,
            count: Count::default(),
            trace: traced.then(Vec::new),
            violation: None,
        };
        for server in 0..world.servers.len() {
            world.at(server, Duration::from_millis(1), Arrival::Follow);
            world.at(server, Duration::from_secs(5), Arrival::Prune);
        }
        world.repeat(Event::Caller, Duration::from_millis(40));
        world.repeat(Event::Revoke, Duration::from_secs(4));
        world.repeat(Event::Issue, Duration::from_secs(4));
        world.repeat(Event::Pause, Duration::from_secs(20));
        world.repeat(Event::Restart, Duration::from_secs(40));
        world.repeat(Event::Outage, END);
        if fails_over {
            world.repeat(Event::Copy, Duration::from_secs(25));
        } else {
            world.repeat(Event::ForgetShared, Duration::from_secs(30));
            world.repeat(Event::TurnBackShared, Duration::from_secs(10));
        }
        world
    }

    fn run(mut self) -> Self {
        while let Some(Reverse((time, _, number))) = self.events.pop() {
            if time > END || self.violation.is_some() {
                break;
            }
            self.now = time;
            let Some(event) = self.scheduled[number].take() else { continue };
            self.happen(event);
        }
        self
    }

    fn schedule(&mut self, time: Duration, event: Event) {
        let number = self.scheduled.len();
        self.scheduled.push(Some(event));
        self.events.push(Reverse((time, number as u64, number)));
    }

    fn at(&mut self, server: usize, after: Duration, arrival: Arrival) {
        let incarnation = self.servers[server].incarnation;
        self.schedule(self.now + after, Event::At(server, incarnation, arrival));
    }

    /// Again after a time that is `mean` on average.
    fn repeat(&mut self, event: Event, mean: Duration) {
        let after = self.chance.time(mean * 2);
        self.schedule(self.now + after, event);
    }

    /// How long a message takes: mostly little.
    fn delay(&mut self) -> Duration {
        let longest = if self.chance.below(200) == 0 { LEASE * 5 } else { Duration::from_millis(5) };
        self.chance.time(longest)
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:?} {}", self.now, text()));
        }
    }

    fn clock(&self, server: usize) -> Duration {
        let Server { rate, offset, .. } = &self.servers[server];
        *offset + Duration::from_nanos(u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX) / 1_000 * rate / 1_000)
    }

    /// Sends a request to the database: a tenth of them, or of their answers, are lost.
    fn send(&mut self, server: usize, request: Request) {
        let delay = self.delay();
        let incarnation = self.servers[server].incarnation;
        if self.chance.percent(5) {
            let failed = failed(&request);
            self.at(server, TIMEOUT, failed);
        } else {
            self.schedule(self.now + delay, Event::Database(server, incarnation, request));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::At(server, incarnation, arrival) => {
                let Server { paused_until, incarnation: current, .. } = self.servers[server];
                if incarnation != current {
                    return;
                }
                if self.now < paused_until {
                    self.schedule(paused_until, Event::At(server, incarnation, arrival));
                } else {
                    self.arrive(server, arrival);
                }
            }
            Event::Database(server, incarnation, request) => {
                let lost = failed(&request);
                let down = self.now < self.down_until;
                let answer = if down { lost.clone() } else { self.execute(server, request) };
                let (answer, after) = if self.chance.percent(5) { (lost, TIMEOUT) } else { (answer, self.delay()) };
                self.schedule(self.now + after, Event::At(server, incarnation, answer));
            }
            Event::Caller => {
                let server = self.any_server();
                let grant = u8::try_from(self.chance.below(self.grants.into())).unwrap_or_default();
                // A pending grant has no token yet.
                if self.database.grants.get(&grant).is_some_and(|row| row.state != State::Pending) {
                    self.begin_check(server, grant);
                }
                self.repeat(event, Duration::from_millis(40));
            }
            Event::Revoke => {
                let by = self.any_server();
                let grant = u8::try_from(self.chance.below(self.grants.into())).unwrap_or_default();
                let target = if self.chance.percent(25) { client_target(grant % 3) } else { grant_target(grant) };
                let strict = self.chance.percent(50);
                self.revokes.push(Revoke {
                    target,
                    strict,
                    written: 0,
                    seq: 0,
                    committed: Duration::ZERO,
                    lost: false,
                });
                self.send(by, Request::End(self.revokes.len() - 1));
                self.repeat(event, Duration::from_secs(2));
            }
            Event::Issue => {
                let grant = self.grants;
                if self.now >= self.down_until && grant < 100 {
                    self.grants += 1;
                    self.database.insert_grant(grant, grant % 3, self.now);
                    let after = self.delay();
                    self.schedule(self.now + after, Event::Refresh(grant, 0));
                }
                self.repeat(event, Duration::from_secs(1));
            }
            // The first makes the grant active, the others replace its refresh token.
            Event::Refresh(grant, serial) => {
                let done =
                    if serial == 0 { self.database.redeem(grant) } else { self.database.rotate(grant, serial - 1) };
                if done {
                    let after = self.chance.time(Duration::from_secs(10));
                    self.schedule(self.now + after, Event::Refresh(grant, serial + 1));
                }
            }
            Event::Pause => {
                let server = self.any_server();
                let longest = if self.chance.percent(50) { LEASE * 10 } else { LEASE };
                self.servers[server].paused_until = self.now + self.chance.time(longest);
                self.note(|| format!("server {server} is paused"));
                self.repeat(event, Duration::from_secs(5));
            }
            Event::Restart => {
                let server = self.any_server();
                self.restart(server);
                self.repeat(event, Duration::from_secs(20));
            }
            Event::Outage => {
                self.down_until = self.now + self.chance.time(LEASE * 4);
                self.repeat(event, Duration::from_secs(30));
            }
            Event::Copy => {
                self.copy = Some(self.database.clone());
                let after = self.chance.time(LEASE * 2);
                self.schedule(self.now + after, Event::Failover);
            }
            Event::Failover => self.fail_over(),
            Event::ForgetShared => {
                self.shared = Some(BTreeMap::new());
                self.repeat(event, Duration::from_secs(15));
            }
            Event::TurnBackShared => {
                if !self.shared_before.is_empty() {
                    let before = self.chance.below(self.shared_before.len() as u64);
                    self.shared = self.shared_before.get(usize::try_from(before).unwrap_or_default()).cloned();
                }
                self.repeat(event, Duration::from_secs(5));
            }
        }
    }

    fn any_server(&mut self) -> usize {
        usize::try_from(self.chance.below(self.servers.len() as u64)).unwrap_or_default()
    }

    fn restart(&mut self, number: usize) {
        // It cannot start without the database.
        if self.now < self.down_until {
            return;
        }
        let start = self.database.log_start();
        let server = &mut self.servers[number];
        server.replica = Replica::starting_at(start, LEASE, KeySet::default());
        server.incarnation += 1;
        server.following = false;
        server.cached.clear();
        server.waiting.clear();
        self.note(|| format!("server {number} starts again at {}", start.seq));
        self.at(number, Duration::from_millis(1), Arrival::Follow);
        self.at(number, Duration::from_secs(5), Arrival::Prune);
    }

    fn fail_over(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        self.count.failovers += 1;
        let (from, to) = (self.database.head.seq, copy.head.seq);
        self.note(|| format!("the database goes back from {from} to {to}"));
        for revoke in &mut self.revokes {
            revoke.lost |= revoke.written != 0 && !copy.log.iter().any(|entry| entry.revocation.seq == revoke.written);
        }
        self.database = copy;
        self.settled = self.now + bound(LEASE);
        // What was promised of the lost history has to be earned again; what is not redeemed any more was never a token.
        let ended = |grant: &u8| self.database.grants.contains_key(grant) && !self.database.is_alive(*grant);
        self.in_force.retain(|grant, _| ended(grant));
        for since in self.in_force.values_mut() {
            *since = (*since).max(self.settled);
        }
        self.denied.clear();
        for grant in 0..self.grants {
            if !self.database.is_alive(grant) {
                self.covered.entry(grant).or_insert(self.now);
            }
        }
        self.checks.iter_mut().for_each(|check| check.doomed = None);
    }
}

/// What the database does.
impl World {
    fn execute(&mut self, server: usize, request: Request) -> Arrival {
        match request {
            Request::Acknowledge(round) => {
                let id = u8::try_from(server).unwrap_or_default();
                // A server that was started again has another name, and its old row ends by itself.
                let name = id * 32 + u8::try_from(self.servers[server].incarnation % 32).unwrap_or_default();
                self.database.renew_lease(name, round.applied(), bound(LEASE), self.now);
                Arrival::Acknowledged(round)
            }
            Request::Read(round, from) => Arrival::Excerpt(round, from, self.database.log_after(from.seq)),
            Request::ReadAll(round) => Arrival::WholeLog(round, self.database.log.clone()),
            Request::WriteAgain(round, fork, applied, lost) => {
                let before = self.database.log.len();
                self.database.write_again(applied, &lost, true, self.now);
                let again: Vec<Target> =
                    self.database.log[before..].iter().map(|entry| entry.revocation.target.clone()).collect();
                for target in &again {
                    self.committed(target, true);
                }
                Arrival::WrittenAgain(round, fork, self.database.log_start())
            }
            Request::End(revoke) => {
                let target = self.revokes[revoke].target.clone();
                let entry = self.database.end(&target, self.now);
                self.committed(&target, false);
                let seq = entry.as_ref().map(|entry| entry.revocation.seq);
                let written = self.database.log.iter().rev().find(|entry| entry.revocation.target == target);
                self.revokes[revoke].written = written.map_or(0, |entry| entry.revocation.seq);
                self.note(|| format!("{target:?} ends at {seq:?}"));
                Arrival::Ended(revoke, entry)
            }
            Request::CatchUp(revoke, from) => Arrival::CaughtUp(revoke, from, self.database.log_after(from.seq)),
            Request::Leases(revoke) => {
                let id = u8::try_from(server).unwrap_or_default();
                let own = id * 32 + u8::try_from(self.servers[server].incarnation % 32).unwrap_or_default();
                Arrival::Leases(revoke, self.database.live_leases(Some(own), self.now))
            }
            Request::Facts(check, applied) => {
                let facts = self.database.facts(self.checks[check].grant);
                // As of no later than what the server had applied: a failover that it does not see can take back the rest.
                let facts = facts.map(|facts| Facts { as_of: facts.as_of.min(applied), ..facts });
                Arrival::Facts(check, facts, false)
            }
        }
    }

    fn committed(&mut self, target: &Target, again: bool) {
        for grant in self.covered_by(target) {
            self.covered.entry(grant).or_insert(self.now);
            if again {
                self.in_force.entry(grant).or_insert(self.now + bound(LEASE));
            }
        }
    }

    /// The grants that are there and end with a target.
    fn covered_by(&self, target: &Target) -> Vec<u8> {
        let grants = self.database.grants.iter();
        let ends = |client: u8| grant_of(target).is_none() && client_of(target) == Some(client);
        grants
            .filter(|(grant, row)| grant_of(target) == Some(**grant) || ends(row.client))
            .map(|(grant, _)| *grant)
            .collect()
    }
}

/// What servers do.
impl World {
    fn arrive(&mut self, number: usize, arrival: Arrival) {
        let clock = self.clock(number);
        let server = &mut self.servers[number];
        match arrival {
            Arrival::Follow => {
                if !server.following {
                    server.following = true;
                    let round = server.replica.begin(clock);
                    self.send(number, Request::Acknowledge(round));
                }
                self.at(number, LEASE / 3, Arrival::Follow);
            }
            Arrival::Acknowledged(round) => {
                let from = server.replica.position();
                self.send(number, Request::Read(Some(round.acknowledged()), from));
            }
            Arrival::Excerpt(round, from, excerpt) => self.take_in(number, round, from, &excerpt),
            Arrival::WholeLog(round, log) => {
                let (fork, lost) = server.replica.lost_in(&log);
                let applied = server.replica.position().seq;
                self.send(number, Request::WriteAgain(round, fork, applied, lost));
            }
            Arrival::WrittenAgain(round, fork, start) => {
                match fork {
                    Some(fork) => server.replica.resume_at(fork),
                    None => server.replica.restart_at(start),
                }
                let from = server.replica.position();
                self.send(number, Request::Read(round, from));
            }
            Arrival::RoundFailed => server.following = false,
            Arrival::Hint(revocation) => {
                if server.replica.hint(&revocation, clock) && !server.following {
                    server.following = true;
                    let from = server.replica.position();
                    self.send(number, Request::Read(None, from));
                }
            }
            Arrival::Ended(revoke, entry) => self.ended(number, revoke, entry),
            Arrival::CaughtUp(revoke, from, excerpt) => {
                // Where history has changed, this one is not answered; the next round finds out what is lost.
                if server.replica.absorb(from, &excerpt, clock).is_ok() {
                    let seq = server.replica.position().seq;
                    self.revokes[revoke].seq = self.revokes[revoke].seq.max(seq);
                    self.in_force_here(number, revoke);
                }
            }
            Arrival::LookAtLeases(revoke) => self.send(number, Request::Leases(revoke)),
            Arrival::Leases(revoke, applied) => {
                let Revoke { seq, committed, .. } = self.revokes[revoke];
                if applied.is_none_or(|applied| applied >= seq) || clock.saturating_sub(committed) >= bound(LEASE) {
                    self.returned(revoke);
                } else {
                    self.at(number, Duration::from_millis(20), Arrival::LookAtLeases(revoke));
                }
            }
            // Its outcome is unknown, so nothing is promised.
            Arrival::RevokeFailed => {}
            Arrival::Check(check) => self.ask_for_lease(check),
            Arrival::Judge(check) => self.judge(check),
            Arrival::Facts(check, facts, from_shared) => {
                let Some(facts) = facts else { return self.give_up(check) };
                let grant = self.checks[check].grant;
                server.cached.insert(grant, facts);
                if let (false, Some(shared)) = (from_shared, &mut self.shared) {
                    self.shared_before.push(shared.clone());
                    shared.insert(grant, facts);
                }
                self.judge(check);
            }
            Arrival::Prune => {
                // Minutes are seconds here: what was applied more than five seconds ago is dropped.
                server.replica.prune(clock + (Duration::from_mins(10).saturating_sub(Duration::from_secs(5))));
                self.at(number, Duration::from_secs(2), Arrival::Prune);
            }
        }
    }

    fn take_in(&mut self, number: usize, round: Option<Acknowledged>, from: Position, excerpt: &LogExcerpt) {
        let clock = self.clock(number);
        let late = self.mutant == Some(Mutant::ConfirmedAtReply);
        let server = &mut self.servers[number];
        let round = if late { round.map(|_| server.replica.begin(clock).acknowledged()) } else { round };
        let progress = match round {
            Some(round) => server.replica.conclude(round, from, excerpt, clock),
            None => server.replica.absorb(from, excerpt, clock),
        };
        match progress {
            Ok(Progress::Behind) => {
                let from = server.replica.position();
                self.send(number, Request::Read(round, from));
            }
            Ok(Progress::CaughtUp { news }) => {
                server.following = false;
                let confirmed = server.replica.confirmed();
                let waiting = std::mem::take(&mut server.waiting);
                for (check, since) in waiting {
                    if confirmed >= Some(since) {
                        self.at(number, Duration::ZERO, Arrival::Judge(check));
                    } else {
                        self.servers[number].waiting.push((check, since));
                    }
                }
                if news {
                    let server = &mut self.servers[number];
                    server.following = true;
                    let round = server.replica.begin(clock);
                    self.send(number, Request::Acknowledge(round));
                }
            }
            Err(divergence) => {
                self.count.divergences += 1;
                self.note(|| format!("server {number}: {divergence}"));
                self.send(number, Request::ReadAll(round));
            }
        }
    }

    fn ended(&mut self, number: usize, revoke: usize, entry: Option<LogEntry>) {
        let clock = self.clock(number);
        self.revokes[revoke].committed = clock;
        let server = &mut self.servers[number];
        let from = server.replica.position();
        let Some(entry) = entry else { return self.send(number, Request::CatchUp(revoke, from)) };
        let seq = entry.revocation.seq;
        self.revokes[revoke].seq = seq;
        server.replica.commit(&entry, clock);
        let behind = server.replica.position().seq < seq;
        let from = server.replica.position();
        for other in (0..self.servers.len()).filter(|other| *other != number) {
            // Hints come late, twice or not at all.
            for _ in 0..=u8::from(self.chance.percent(10)) {
                if !self.chance.percent(10) {
                    let delay = self.delay();
                    self.at(other, delay, Arrival::Hint(entry.revocation.clone()));
                }
            }
        }
        if behind {
            self.send(number, Request::CatchUp(revoke, from));
        } else {
            self.in_force_here(number, revoke);
        }
    }

    fn in_force_here(&mut self, number: usize, revoke: usize) {
        if self.revokes[revoke].strict {
            self.send(number, Request::Leases(revoke));
        } else {
            self.returned(revoke);
        }
    }

    fn returned(&mut self, revoke: usize) {
        let Revoke { strict, lost, ref target, .. } = self.revokes[revoke];
        self.count.revocations += 1;
        if lost {
            return;
        }
        let since = if strict { self.now } else { self.now + bound(LEASE) }.max(self.settled);
        let created_before = self.database.log.iter().rev().find(|entry| entry.revocation.target == *target);
        let seq = created_before.map_or(0, |entry| entry.revocation.seq);
        for grant in self.covered_by(target) {
            let before = grant_of(target).is_some() || self.database.grants[&grant].created_seq < seq;
            if before {
                let known = self.in_force.entry(grant).or_insert(since);
                *known = (*known).min(since);
            }
        }
    }
}

/// Checks, and the checker.
impl World {
    fn begin_check(&mut self, server: usize, grant: u8) {
        self.count.checks += 1;
        let stale = self.in_force.get(&grant).is_some_and(|since| *since < self.now);
        let denied = self.denied.get(&(server, grant)).is_some_and(|since| *since < self.now);
        let doomed = if stale { Some("stale accept") } else { denied.then_some("resurrected") };
        let doomed = doomed.filter(|_| self.now >= self.settled);
        self.checks.push(Check {
            server,
            grant,
            begun: self.now,
            doomed,
            fetched: 0,
            asked: false,
            judged_alive: false,
            done: false,
        });
        self.at(server, Duration::ZERO, Arrival::Check(self.checks.len() - 1));
    }

    fn ask_for_lease(&mut self, number: usize) {
        let Check { server, asked, judged_alive, done, .. } = self.checks[number];
        if done {
            return;
        }
        let clock = self.clock(server);
        if self.mutant == Some(Mutant::LeaseAfterJudgement) && !judged_alive {
            return self.judge(number);
        }
        if self.servers[server].replica.lease_holds(clock) || self.mutant == Some(Mutant::NoLease) {
            // A thread may be late.
            let late = if self.chance.percent(5) { self.chance.time(LEASE * 2) } else { Duration::ZERO };
            if judged_alive { self.answer_active(number) } else { self.at(server, late, Arrival::Judge(number)) }
        } else if asked {
            self.give_up(number);
        } else {
            self.checks[number].asked = true;
            self.servers[server].waiting.push((number, clock));
            self.at(server, PATIENCE, Arrival::Check(number));
        }
    }

    fn judge(&mut self, number: usize) {
        let Check { server, grant, fetched, begun, done, .. } = self.checks[number];
        if done {
            return;
        }
        let replica = &self.servers[server].replica;
        let verdict = self.servers[server].cached.get(&grant).map(|facts| {
            let as_of = if self.mutant == Some(Mutant::NoFloor) { u64::MAX } else { facts.as_of };
            replica.judge(&token(grant), &Facts { as_of, ..*facts }.into())
        });
        match verdict {
            Some(Verdict::Alive) if self.mutant == Some(Mutant::LeaseAfterJudgement) => {
                self.checks[number].judged_alive = true;
                let late = if self.chance.percent(5) { self.chance.time(LEASE * 2) } else { Duration::ZERO };
                self.at(server, late, Arrival::Check(number));
            }
            Some(Verdict::Alive) => self.answer_active(number),
            Some(Verdict::Dead) => {
                self.count.inactive += 1;
                self.checks[number].done = true;
                self.denied.entry((server, grant)).or_insert(self.now);
                self.note(|| format!("server {server} denies {grant}"));
                if !self.covered.contains_key(&grant) {
                    self.violation = Some(format!("lost grant {grant} at server {server}, asked at {begun:?}"));
                }
            }
            Some(Verdict::FactsTooOld) | None if fetched == 2 => self.give_up(number),
            Some(Verdict::FactsTooOld) | None => {
                self.checks[number].fetched += 1;
                let (floor, applied) = (replica.floor(), replica.position().seq);
                let shared = self.shared.as_ref().and_then(|shared| shared.get(&grant)).copied();
                let trusted = self.mutant == Some(Mutant::NoFloor);
                match shared.filter(|facts| (facts.as_of >= floor || trusted) && fetched == 0) {
                    Some(facts) => {
                        let delay = self.delay();
                        let facts = Facts { as_of: facts.as_of.min(applied), ..facts };
                        self.at(server, delay, Arrival::Facts(number, Some(facts), true));
                    }
                    None => self.send(server, Request::Facts(number, applied)),
                }
            }
        }
    }

    fn give_up(&mut self, number: usize) {
        self.count.unavailable += 1;
        self.checks[number].done = true;
    }

    fn answer_active(&mut self, number: usize) {
        let Check { server, grant, begun, doomed, .. } = self.checks[number];
        self.count.active += 1;
        self.checks[number].done = true;
        if let Some(violation) = doomed {
            self.violation = Some(format!(
                "{violation}: grant {grant} at server {server}, asked at {begun:?}, answered at {:?}",
                self.now
            ));
        }
    }
}

/// What a server hears when a request or its answer is lost.
fn failed(request: &Request) -> Arrival {
    match request {
        Request::Acknowledge(_) | Request::Read(..) | Request::ReadAll(_) | Request::WriteAgain(..) => {
            Arrival::RoundFailed
        }
        Request::End(_) | Request::CatchUp(..) => Arrival::RevokeFailed,
        Request::Leases(revoke) => Arrival::Leases(*revoke, Some(0)),
        Request::Facts(check, _) => Arrival::Facts(*check, None, false),
    }
}

/// Runs seeds up to the first violation. What was counted, and the seed with its trace.
fn run(seeds: u64, mutant: Option<Mutant>) -> (Count, Option<(u64, String, Vec<String>)>) {
    let mut total = Count::default();
    for seed in 0..seeds {
        let world = World::new(seed, mutant, false).run();
        let Count { checks, active, inactive, unavailable, revocations, failovers, divergences } = world.count;
        total.checks += checks;
        total.active += active;
        total.inactive += inactive;
        total.unavailable += unavailable;
        total.revocations += revocations;
        total.failovers += failovers;
        total.divergences += divergences;
        if let Some(violation) = world.violation {
            let trace = World::new(seed, mutant, true).run().trace.unwrap_or_default();
            return (total, Some((seed, violation, trace)));
        }
    }
    (total, None)
}

#[expect(clippy::disallowed_methods, reason = "this is how the run says how many seeds it is for")]
fn seeds() -> u64 {
    std::env::var("SCOPEGATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

#[test]
fn no_seed_breaks_a_promise() {
    let seeds = seeds();
    let (count, violation) = run(seeds, None);
    if let Some((seed, violation, trace)) = violation {
        panic!("seed {seed}: {violation}\n{}", trace.join("\n"));
    }
    let hours = Duration::from_secs(seeds * END.as_secs()).as_secs_f64() / 3600.0;
    println!("{seeds} seeds, {hours:.1} simulated hours, {count:?}, 0 violations");
    assert!(
        count.active > count.unavailable && count.inactive > seeds && count.divergences > seeds / 10,
        "the simulation does what it is for: {count:?}"
    );
}

#[test]
fn the_simulator_catches_mutants() {
    for mutant in [Mutant::NoLease, Mutant::NoFloor, Mutant::ConfirmedAtReply, Mutant::LeaseAfterJudgement] {
        let (_, violation) = run(SEEDS, Some(mutant));
        let (seed, violation, _) = violation.unwrap_or_else(|| panic!("{mutant:?} survives"));
        println!("{mutant:?}: seed {seed}, {violation}");
    }
}
