//! The world of the model: one database, a shared cache that may forget or go back, two servers with a clock each, those who revoke, and
//! a caller that checks. Whatever takes time in production is several steps here, and between any two of them anything else may happen:
//! that is what pauses, slow networks and lost messages are.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::database::{Database, Facts, State as GrantState, client_target, grant_target, token};
use super::explorer::{self, World as _};
use crate::domain::revocation::{LogEntry, LogExcerpt, Position, Revocation, Target};
use crate::domain::token::KeySet;
use crate::revocation::replica::{Acknowledged, Divergence, Progress, Replica, Round, Verdict};

pub(super) const SERVERS: usize = 2;
pub(super) const GRANTS: usize = 2;
/// By a server's own clock.
const LEASE: u8 = 2;
/// A server's clock may lose one tick, so the lease may last one longer.
const BOUND: u8 = LEASE + 1;
/// Beyond it nothing is kept: an entry may be pruned at any time after it was applied.
const PRUNED: Duration = Duration::from_hours(1);

/// What is wrong with a protocol that is not quite this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// "Active" is answered without asking for the lease.
    NoLease,
    /// The log is read although the acknowledgement could not be written.
    ConfirmedWithoutLeaseRow,
    /// Acknowledgement and log in one transaction: the snapshot is older than the commit.
    OneTransaction,
    ConfirmedAtReply,
    /// A hint counts as having read the log.
    HintConfirms,
    /// An entry is taken for the next one although one between is missing.
    GapIgnored,
    /// Positions are handed out when a transaction begins, not when it commits (`BIGSERIAL`).
    SequenceOutOfOrder,
    /// Facts of any age are used.
    NoFloor,
    /// Facts and their position are read in two statements.
    PositionReadLater,
    /// Entries are dropped and the floor stays: an age that no position stands behind.
    FloorNotRaised,
    /// Facts count as of when they were put into the cache.
    FilledWithoutPosition,
    /// The head of the log is acknowledged, not what was applied.
    AcknowledgedBeforeApplied,
    /// A client's grants from before a second are dead, by the clock of the wall.
    NotBeforeByClock,
    /// A refresh reads the grant, and later writes it whatever has happened to it.
    NoFamilyLock,
    /// What the shared cache holds is used whatever its position.
    SharedCacheTrusted,
    /// The clock does not count while the server is paused.
    ClockStops,
    /// The lease is asked for after the judgement.
    LeaseAfterJudgement,
    /// After a failover, what was lost is not written again.
    LostNotWrittenAgain,
    /// After a failover, nothing says that facts from before are of another history.
    NoFlush,
    /// What another has ended already is answered at once, before this server knows of it.
    AlreadyEndedNotRead,
    /// Facts that are newer than what was applied keep their position, though a failover may take it back unseen.
    FactsFromAhead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Violation {
    /// A check that began after a revocation was in force was answered "active".
    StaleAccept,
    /// A server said "inactive" of a revoked token, and "active" to a later check.
    Resurrected,
    /// A live grant was denied that nothing has ever covered.
    LostGrant,
    /// Something was committed before the time of a confirmation that the server does not know of.
    ConfirmedTooMuch,
    /// The position of a server is beyond an entry that it has not applied.
    Skipped,
    /// The log was confirmed after a failover, without what the server knew before.
    StaysLost,
}

/// What is revoked, through which server (none: by an operator's command), and whether it waits for the other servers.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) by: Option<usize>,
    pub(super) what: What,
    pub(super) strict: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Grant(u8),
    /// Both grants are of client 0.
    Client,
}

/// What can happen, and how often at most. Nothing else limits the search.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that can happen or not")]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) ticks: u8,
    pub(super) plans: &'static [Plan],
    /// How many rounds each server may begin, and how many reads of the log without one.
    pub(super) rounds: [u8; SERVERS],
    pub(super) peeks: [u8; SERVERS],
    /// What has happened before.
    pub(super) prelude: &'static [Step],
    /// Which grants are checked, by which servers.
    pub(super) checked: &'static [(usize, u8)],
    /// Whether all facts are cached in the beginning.
    pub(super) cached: bool,
    /// How often each server may read facts, drop old entries, start again.
    pub(super) fetches: u8,
    pub(super) prunes: u8,
    pub(super) restarts: u8,
    /// How many ticks the clock of server 1 may lose.
    pub(super) drift: u8,
    pub(super) hints: bool,
    /// Whether there is a shared cache; it may be flushed or go back at any time.
    pub(super) shared_cache: bool,
    /// Whether a failover may lose everything that was committed.
    pub(super) failover: bool,
    /// Whether grant 1 is made during the run, and grant 0 is refreshed.
    pub(super) issue: bool,
    pub(super) refresh: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Tick,
    /// A tick that the clock of server 1 does not see.
    TickMissed,
    Begin(usize),
    CommitAcknowledgement(usize),
    ReadLog(usize),
    /// Reads the log without a round.
    Peek(usize),
    TakeIn(usize),
    CompareHistories(usize),
    WriteAgain(usize),
    Hear(usize, usize),
    Prune(usize),
    Restart(usize),
    ReadFacts(usize, u8),
    ReadPosition(usize),
    KeepFacts(usize),
    ShareFacts(usize),
    TakeSharedFacts(usize, u8),
    ForgetShared(u8),
    TurnBackShared(u8, Facts),
    TakePosition(usize),
    Revoke(usize),
    Apply(usize),
    Issue,
    ReadForRefresh,
    Refresh,
    Failover,
}

/// Where a server is in its round.
#[derive(Clone, Debug, Hash)]
enum Stage {
    Begun(Round),
    Acknowledged(Acknowledged),
    /// Only of [`Mutant::OneTransaction`].
    ReadFirst(Round, Position, LogExcerpt),
    Read(Option<Acknowledged>, Position, LogExcerpt),
    Diverged(Option<Acknowledged>),
    Compared(Option<Acknowledged>, Option<Position>, Vec<Target>),
}

#[derive(Clone, Debug, Hash)]
struct Server {
    replica: Replica,
    clock: u8,
    stage: Option<Stage>,
    /// Facts on their way from the database or the shared cache.
    flight: Option<Flight>,
    cached: [Option<Facts>; GRANTS],
    rounds: u8,
    peeks: u8,
    fetches: u8,
    prunes: u8,
    restarts: u8,
    /// Only of [`Mutant::FloorNotRaised`].
    floor: u64,
    /// Which plans it knows to be carried out, knew before this tick, knew when its round began, and found in the whole log.
    knows: u8,
    knew_before: u8,
    knew: u8,
    vouched: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flight {
    grant: u8,
    facts: Facts,
    from_shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stand {
    Planned,
    /// Only of [`Mutant::SequenceOutOfOrder`].
    Positioned(u64),
    /// Committed, and to be applied by the server that wrote it.
    Committed(Option<u64>),
    /// In force there: others have to come so far.
    Applied(u64),
    Returned,
    Lost,
}

#[derive(Clone, Debug, Hash)]
struct Revoke {
    stand: Stand,
    entry: Option<LogEntry>,
    /// When it was committed, by the clock of the server that wrote it.
    clock: u8,
    /// The grants that it ends.
    covers: u8,
    /// When it is in force everywhere.
    in_force: Option<u8>,
    /// A failover took it back.
    lost: bool,
}

/// The checks of one grant by one server. At every instant one may begin, may find the lease, and may then pause for as long as it
/// likes before it judges; so it is enough to know whether one is on its way that must not be answered "active".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Checks {
    /// Why, and since when by the clock of the server.
    doomed: Option<(Violation, u8)>,
    /// One of these has found the lease.
    leased: bool,
    /// Only of [`Mutant::LeaseAfterJudgement`]: one of these was judged.
    judged: bool,
}

/// Everything that decides what can happen, and what must not.
#[derive(Clone, Debug, Hash)]
struct State {
    now: u8,
    database: Database,
    copy: Option<Database>,
    failed_over: bool,
    shared: [Option<Facts>; GRANTS],
    /// All that the shared cache ever held.
    shared_before: [BTreeSet<Facts>; GRANTS],
    servers: [Server; SERVERS],
    revokes: Vec<Revoke>,
    refreshing: Option<u32>,
    refreshes: u8,
    checks: [[Checks; GRANTS]; SERVERS],
    drift: u8,
    /// The entries of the current history, with the clocks when they were committed.
    commits: Vec<(u64, [u8; SERVERS])>,
    /// The grants that anything has ever covered.
    covered: u8,
    /// From when on the leases of before a failover have ended.
    settled: u8,
}

/// The world of one scenario, with one thing wrong or none.
#[derive(Clone, Debug)]
pub(super) struct World {
    scenario: &'static Scenario,
    mutant: Option<Mutant>,
    state: State,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.state.hash(state);
    }
}

const fn time(clock: u8) -> Duration {
    Duration::from_secs(clock as u64)
}

const fn bit(number: usize) -> u8 {
    1 << number
}

impl World {
    /// Both servers have read the empty log at time 1.
    pub(super) fn new(scenario: &'static Scenario, mutant: Option<Mutant>) -> Self {
        let mut database = Database::default();
        let grants = if scenario.issue { 1 } else { GRANTS };
        for grant in 0..GRANTS as u8 {
            if usize::from(grant) < grants {
                database.insert_grant(grant, 0, time(1));
                database.redeem(grant);
            }
        }
        let servers = std::array::from_fn(|number| {
            let mut replica = Replica::starting_at(Position::default(), time(LEASE), KeySet::default());
            let round = replica.begin(time(1)).acknowledged();
            replica.conclude(round, Position::default(), &database.log_after(0), time(1)).expect("an empty log");
            database.renew_lease(number as u8, 0, time(BOUND), time(1));
            Server {
                replica,
                clock: 1,
                stage: None,
                flight: None,
                cached: std::array::from_fn(|grant| database.facts(grant as u8).filter(|_| scenario.cached)),
                rounds: scenario.rounds[number],
                peeks: scenario.peeks[number],
                fetches: scenario.fetches,
                prunes: scenario.prunes,
                restarts: scenario.restarts,
                floor: 0,
                knows: 0,
                knew_before: 0,
                knew: 0,
                vouched: 0,
            }
        });
        let planned = Revoke { stand: Stand::Planned, entry: None, clock: 0, covers: 0, in_force: None, lost: false };
        let state = State {
            now: 1,
            copy: scenario.failover.then(|| database.clone()),
            failed_over: false,
            shared: [None; GRANTS],
            shared_before: Default::default(),
            servers,
            revokes: vec![planned; scenario.plans.len()],
            refreshing: None,
            refreshes: u8::from(scenario.refresh),
            checks: Default::default(),
            drift: scenario.drift,
            commits: Vec::new(),
            covered: 0,
            settled: 0,
            database,
        };
        let mut world = Self { scenario, mutant, state };
        for step in scenario.prelude {
            world.take(*step).expect("a prelude is harmless");
        }
        world
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn target(&self, plan: usize) -> Target {
        match self.scenario.plans[plan].what {
            What::Grant(grant) => grant_target(grant),
            What::Client => client_target(0),
        }
    }
}

impl explorer::World for World {
    type Step = Step;
    type Violation = Violation;

    fn steps(&self) -> Vec<Step> {
        let (state, scenario) = (&self.state, self.scenario);
        let mut steps = Vec::new();
        if state.now <= scenario.ticks {
            steps.push(Step::Tick);
            if state.drift > 0 || self.is(Mutant::ClockStops) {
                steps.push(Step::TickMissed);
            }
        }
        for number in 0..SERVERS {
            self.steps_of_server(number, &mut steps);
        }
        for number in 0..state.revokes.len() {
            self.steps_of_revoke(number, &mut steps);
        }
        if scenario.shared_cache {
            for grant in 0..GRANTS as u8 {
                let (shared, before) = (state.shared[usize::from(grant)], &state.shared_before[usize::from(grant)]);
                steps.extend(shared.map(|_| Step::ForgetShared(grant)));
                let others = before.iter().filter(|facts| Some(**facts) != shared);
                steps.extend(others.map(|facts| Step::TurnBackShared(grant, *facts)));
            }
        }
        if scenario.issue && !state.database.grants.contains_key(&1) {
            steps.push(Step::Issue);
        }
        if state.refreshing.is_some() {
            steps.push(Step::Refresh);
        } else if state.refreshes > 0 {
            steps.push(Step::ReadForRefresh);
        }
        if scenario.failover && !state.failed_over {
            steps.push(Step::Failover);
        }
        steps
    }

    fn take(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Tick | Step::TickMissed => self.tick(matches!(step, Step::TickMissed)),
            Step::Issue => {
                self.state.database.insert_grant(1, 0, time(self.state.now));
                self.state.database.redeem(1);
            }
            Step::ReadForRefresh => self.read_for_refresh(),
            Step::Refresh => self.refresh(),
            Step::Failover => self.fail_over(),
            Step::ForgetShared(grant) => self.state.shared[usize::from(grant)] = None,
            Step::TurnBackShared(grant, facts) => self.state.shared[usize::from(grant)] = Some(facts),
            Step::TakePosition(number) => {
                let taken = |revoke: &Revoke| matches!(revoke.stand, Stand::Positioned(_));
                let seq = self.state.database.head.seq.max(self.state.commits.len() as u64)
                    + 1
                    + self.state.revokes.iter().filter(|revoke| taken(revoke)).count() as u64;
                self.state.revokes[number].stand = Stand::Positioned(seq);
            }
            Step::Revoke(number) => self.revoke(number),
            Step::Apply(number) => self.apply(number),
            Step::Begin(server)
            | Step::CommitAcknowledgement(server)
            | Step::ReadLog(server)
            | Step::Peek(server)
            | Step::TakeIn(server)
            | Step::CompareHistories(server)
            | Step::WriteAgain(server) => self.follow(server, step),
            Step::Hear(server, _)
            | Step::Prune(server)
            | Step::Restart(server)
            | Step::ReadFacts(server, _)
            | Step::ReadPosition(server)
            | Step::KeepFacts(server)
            | Step::ShareFacts(server)
            | Step::TakeSharedFacts(server, _) => self.change_server(server, step),
        }
        (0..self.state.revokes.len()).for_each(|number| self.answer_revoke(number));
        (0..SERVERS).try_for_each(|server| self.holds(server))?;
        self.forget();
        self.scenario.checked.iter().try_for_each(|(server, grant)| self.check(*server, *grant))
    }
}

/// What can happen next.
impl World {
    fn steps_of_server(&self, number: usize, steps: &mut Vec<Step>) {
        let (state, scenario, server) = (&self.state, self.scenario, &self.state.servers[number]);
        match &server.stage {
            None => {
                if server.rounds > 0 {
                    steps.push(Step::Begin(number));
                }
                if server.peeks > 0 {
                    steps.push(Step::Peek(number));
                }
            }
            Some(Stage::Begun(_)) if self.is(Mutant::OneTransaction) => steps.push(Step::ReadLog(number)),
            Some(Stage::Begun(_) | Stage::ReadFirst(..)) => steps.push(Step::CommitAcknowledgement(number)),
            Some(Stage::Acknowledged(_)) => steps.push(Step::ReadLog(number)),
            Some(Stage::Read(..)) => steps.push(Step::TakeIn(number)),
            Some(Stage::Diverged(_)) => steps.push(Step::CompareHistories(number)),
            Some(Stage::Compared(..)) => steps.push(Step::WriteAgain(number)),
        }
        if scenario.hints {
            let unknown = |revocation: &Revocation| {
                revocation.seq > server.replica.position().seq
                    && !server.replica.holds(&revocation.target, revocation.seq)
            };
            let told =
                state.revokes.iter().enumerate().filter_map(|(plan, revoke)| Some((plan, revoke.entry.as_ref()?)));
            let news = told.filter(|(_, entry)| unknown(&entry.revocation));
            steps.extend(news.map(|(plan, _)| Step::Hear(number, plan)));
        }
        // An entry is kept for longer than any lease lasts.
        let kept = state.failed_over && state.now < state.settled;
        if server.prunes > 0 && !server.replica.is_empty() && !kept {
            steps.push(Step::Prune(number));
        }
        if server.restarts > 0 {
            steps.push(Step::Restart(number));
        }
        match server.flight {
            None => {
                // Facts are fetched when there are none, or none that can be used.
                let wanted = |grant: &u8| {
                    scenario.checked.contains(&(number, *grant))
                        && self.verdict(number, *grant).is_none_or(|verdict| verdict == Verdict::FactsTooOld)
                };
                for grant in (0..GRANTS as u8).filter(wanted) {
                    if server.fetches > 0 && state.database.grants.contains_key(&grant) {
                        steps.push(Step::ReadFacts(number, grant));
                    }
                    let shared = state.shared[usize::from(grant)];
                    if shared.is_some_and(|facts| {
                        facts.as_of >= server.replica.floor() || self.is(Mutant::SharedCacheTrusted)
                    }) {
                        steps.push(Step::TakeSharedFacts(number, grant));
                    }
                }
            }
            Some(Flight { grant, facts, from_shared }) => {
                steps.push(Step::KeepFacts(number));
                if scenario.shared_cache && !from_shared && state.shared[usize::from(grant)] != Some(facts) {
                    steps.push(Step::ShareFacts(number));
                }
                if self.is(Mutant::PositionReadLater) && facts.as_of != state.database.head.seq {
                    steps.push(Step::ReadPosition(number));
                }
            }
        }
    }

    fn steps_of_revoke(&self, number: usize, steps: &mut Vec<Step>) {
        let state = &self.state;
        let (plan, revoke) = (&self.scenario.plans[number], &state.revokes[number]);
        match revoke.stand {
            Stand::Planned if self.is(Mutant::SequenceOutOfOrder) => steps.push(Step::TakePosition(number)),
            Stand::Planned | Stand::Positioned(_) => steps.push(Step::Revoke(number)),
            Stand::Committed(seq) => {
                // Without an entry of its own, the log has to be read, which no other read of this server may overlap.
                let free = plan.by.is_none_or(|by| state.servers[by].stage.is_none());
                if seq.is_some() || free || self.is(Mutant::AlreadyEndedNotRead) {
                    steps.push(Step::Apply(number));
                }
            }
            Stand::Applied(_) | Stand::Returned | Stand::Lost => {}
        }
    }
}

/// What servers do.
impl World {
    fn follow(&mut self, number: usize, step: Step) {
        let (is_reply, mutant) = (self.is(Mutant::ConfirmedAtReply), self.mutant);
        let State { servers, database, now: instant, .. } = &mut self.state;
        let server = &mut servers[number];
        let now = time(server.clock);
        let from = server.replica.position();
        let read = |database: &Database, from: Position| database.log_after(from.seq);
        let next = match (step, server.stage.take()) {
            (Step::Begin(_), None) => {
                server.rounds -= 1;
                server.knew = server.knew_before;
                Some(Stage::Begun(server.replica.begin(now)))
            }
            (Step::Peek(_), None) => {
                server.peeks -= 1;
                Some(Stage::Read(None, from, read(database, from)))
            }
            (Step::CommitAcknowledgement(_), Some(Stage::Begun(round))) => {
                let applied = match mutant {
                    Some(Mutant::AcknowledgedBeforeApplied) => database.head.seq,
                    _ => round.applied(),
                };
                if mutant != Some(Mutant::ConfirmedWithoutLeaseRow) {
                    database.renew_lease(number as u8, applied, time(BOUND), time(*instant));
                }
                Some(Stage::Acknowledged(round.acknowledged()))
            }
            (Step::ReadLog(_), Some(Stage::Begun(round))) => Some(Stage::ReadFirst(round, from, read(database, from))),
            (Step::CommitAcknowledgement(_), Some(Stage::ReadFirst(round, from, excerpt))) => {
                database.renew_lease(number as u8, round.applied(), time(BOUND), time(*instant));
                Some(Stage::Read(Some(round.acknowledged()), from, excerpt))
            }
            (Step::ReadLog(_), Some(Stage::Acknowledged(round))) => {
                Some(Stage::Read(Some(round), from, read(database, from)))
            }
            (Step::TakeIn(_), Some(Stage::Read(round, from, excerpt))) => {
                let (from, excerpt) = match mutant {
                    Some(Mutant::SequenceOutOfOrder) => without_gap(&mut server.replica, from, excerpt),
                    _ => (from, excerpt),
                };
                let progress = match round {
                    Some(_) if is_reply => {
                        let late = server.replica.begin(now).acknowledged();
                        server.replica.conclude(late, from, &excerpt, now)
                    }
                    Some(round) => server.replica.conclude(round, from, &excerpt, now),
                    None => server.replica.absorb(from, &excerpt, now),
                };
                match progress {
                    Ok(Progress::CaughtUp { .. } | Progress::Behind) => {
                        server.vouched |= if round.is_some() { server.knew } else { 0 };
                        None
                    }
                    Err(Divergence::Rewritten(_)) => Some(Stage::Diverged(round)),
                    Err(Divergence::Forgotten(_)) => unreachable!("the log is not pruned here"),
                }
            }
            (Step::CompareHistories(_), Some(Stage::Diverged(round))) => {
                let (fork, lost) = server.replica.lost_in(&database.log);
                Some(Stage::Compared(round, fork, lost))
            }
            (Step::WriteAgain(_), Some(Stage::Compared(round, fork, lost))) => {
                let lost = if mutant == Some(Mutant::LostNotWrittenAgain) { Vec::new() } else { lost };
                let before = database.log.len();
                database.write_again(
                    server.replica.position().seq,
                    &lost,
                    mutant != Some(Mutant::NoFlush),
                    time(*instant),
                );
                let written = database.log[before..].to_vec();
                match fork {
                    Some(fork) => server.replica.resume_at(fork),
                    None => server.replica.restart_at(database.log_start()),
                }
                for entry in written {
                    self.note_commit(&entry);
                }
                // The read goes on, with the acknowledgement that it has.
                let (server, database) = (&self.state.servers[number], &self.state.database);
                let from = server.replica.position();
                Some(match round {
                    Some(round) => Stage::Acknowledged(round),
                    None => Stage::Read(None, from, read(database, from)),
                })
            }
            (step, before) => unreachable!("{step:?} in {before:?}"),
        };
        self.state.servers[number].stage = next;
        self.note_knowledge(number);
    }

    fn change_server(&mut self, number: usize, step: Step) {
        let (mutant, state) = (self.mutant, &mut self.state);
        let server = &mut state.servers[number];
        let now = time(server.clock);
        match step {
            Step::Hear(_, plan) => {
                if let Some(entry) = &state.revokes[plan].entry {
                    server.replica.hint(&entry.revocation, now);
                }
                if mutant == Some(Mutant::HintConfirms) {
                    let from = server.replica.position();
                    let nothing =
                        LogExcerpt { head: from.seq, oldest: None, chain: Some(from.chain), entries: Vec::new() };
                    let round = server.replica.begin(now).acknowledged();
                    server.replica.conclude(round, from, &nothing, now).expect("nothing new");
                }
            }
            Step::Prune(_) => {
                server.prunes -= 1;
                server.replica.prune(now + PRUNED);
            }
            Step::Restart(_) => {
                server.restarts -= 1;
                let start = state.database.log_start();
                server.replica = Replica::starting_at(start, time(LEASE), KeySet::default());
                (server.stage, server.flight, server.cached) = (None, None, [None; GRANTS]);
                server.floor = start.seq;
                (server.knows, server.knew_before, server.knew, server.vouched) = (0, 0, 0, 0);
                let clock = server.clock;
                for checks in &mut state.checks[number] {
                    *checks = Checks { doomed: checks.doomed.map(|(why, _)| (why, clock)), ..Checks::default() };
                }
            }
            Step::ReadFacts(_, grant) => {
                server.fetches -= 1;
                let mut facts = state.database.facts(grant).expect("the grant is there");
                if mutant == Some(Mutant::NotBeforeByClock) {
                    let row = state.database.grants[&grant];
                    let not_before = state.database.clients.get(&row.client).map_or(Duration::ZERO, |(_, at)| *at);
                    facts.alive = row.state == GrantState::Active && row.created_at >= not_before;
                }
                if mutant != Some(Mutant::FactsFromAhead) {
                    facts.as_of = facts.as_of.min(server.replica.position().seq);
                }
                server.flight = Some(Flight { grant, facts, from_shared: false });
            }
            Step::ReadPosition(_) => {
                if let Some(Flight { facts, .. }) = &mut server.flight {
                    facts.as_of = state.database.head.seq;
                }
            }
            Step::KeepFacts(_) => {
                if let Some(Flight { grant, mut facts, from_shared }) = server.flight.take() {
                    match mutant {
                        Some(Mutant::FilledWithoutPosition) => facts.as_of = server.replica.position().seq,
                        Some(Mutant::SharedCacheTrusted) if from_shared => facts.as_of = u64::MAX,
                        _ => {}
                    }
                    server.cached[usize::from(grant)] = Some(facts);
                }
            }
            Step::ShareFacts(_) => {
                if let Some(Flight { grant, facts, .. }) = server.flight {
                    state.shared[usize::from(grant)] = Some(facts);
                    state.shared_before[usize::from(grant)].insert(facts);
                }
            }
            Step::TakeSharedFacts(_, grant) => {
                let shared = state.shared[usize::from(grant)];
                server.flight = shared.map(|facts| Flight { grant, facts, from_shared: true });
            }
            step => unreachable!("{step:?}"),
        }
        self.note_knowledge(number);
    }
}

/// An excerpt that begins where there is a gap, as if there were none.
fn without_gap(replica: &mut Replica, from: Position, mut excerpt: LogExcerpt) -> (Position, LogExcerpt) {
    excerpt.chain = Some(from.chain);
    let Some(first) = excerpt.entries.first().filter(|entry| entry.revocation.seq > from.seq + 1) else {
        return (from, excerpt);
    };
    let before = Position { seq: first.revocation.seq - 1, chain: from.chain };
    replica.resume_at(before);
    (before, excerpt)
}

/// What those who revoke, issue and refresh do, and what becomes of the database.
impl World {
    fn tick(&mut self, missed: bool) {
        let state = &mut self.state;
        state.now += 1;
        state.servers[0].clock += 1;
        for server in &mut state.servers {
            server.knew_before = if self.scenario.failover { server.knows } else { 0 };
        }
        // Checks that began before were answered by leases of the lost history.
        if state.failed_over && state.now == state.settled {
            state.checks = Default::default();
        }
        if missed {
            state.drift = state.drift.saturating_sub(1);
        } else {
            state.servers[1].clock += 1;
        }
    }

    fn revoke(&mut self, number: usize) {
        let target = self.target(number);
        let now = time(self.state.now);
        let state = &mut self.state;
        let entry = match state.revokes[number].stand {
            Stand::Positioned(seq) => state.database.claim(&target).then(|| {
                let entry = state.database.append_at(seq, target);
                state.database.mark(&entry, now);
                entry
            }),
            _ => state.database.end(&target, now),
        };
        let covers = match self.scenario.plans[number].what {
            What::Grant(grant) => bit(grant.into()),
            What::Client => state.database.grants.keys().fold(0, |covers, grant| covers | bit((*grant).into())),
        };
        let revoke = &mut state.revokes[number];
        revoke.stand = match self.scenario.plans[number].by {
            Some(_) => Stand::Committed(entry.as_ref().map(|entry| entry.revocation.seq)),
            None => Stand::Applied(0),
        };
        revoke.clock = self.scenario.plans[number].by.map_or(state.now, |by| state.servers[by].clock);
        revoke.covers = covers;
        revoke.in_force = Some((state.now + BOUND).max(state.settled));
        revoke.entry.clone_from(&entry);
        state.covered |= covers;
        if let Some(entry) = entry {
            self.note_commit(&entry);
        }
    }

    /// The server that wrote it applies it; if it found nothing to end, it reads what others wrote.
    fn apply(&mut self, number: usize) {
        let ignores_gaps = self.is(Mutant::GapIgnored);
        let reads = !self.is(Mutant::AlreadyEndedNotRead);
        let state = &mut self.state;
        let revoke = &mut state.revokes[number];
        let Stand::Committed(seq) = revoke.stand else { unreachable!("it is committed") };
        let Some(by) = self.scenario.plans[number].by else {
            unreachable!("an operator's command applies nothing");
        };
        let server = &mut state.servers[by];
        let now = time(server.clock);
        if let (Some(seq), Some(entry)) = (seq, revoke.entry.clone()) {
            server.replica.commit(&entry, now);
            if ignores_gaps && server.replica.position().seq < seq {
                server.replica.resume_at(entry.position());
            }
            revoke.stand = if revoke.lost { Stand::Lost } else { Stand::Applied(seq) };
        } else {
            let from = server.replica.position();
            if reads && server.replica.absorb(from, &state.database.log_after(from.seq), now).is_err() {
                // The caller is told that it failed.
                revoke.stand = Stand::Lost;
                revoke.in_force = None;
            } else {
                revoke.stand = Stand::Applied(server.replica.position().seq);
            }
        }
        self.note_knowledge(by);
    }

    /// Answers as soon as it may, because that is when most is promised.
    fn answer_revoke(&mut self, number: usize) {
        let (plan, state) = (&self.scenario.plans[number], &mut self.state);
        let revoke = &mut state.revokes[number];
        let Stand::Applied(seq) = revoke.stand else { return };
        if let Some(by) = plan.by {
            let live = state.database.live_leases(Some(by as u8), time(state.now));
            let there = live.is_none_or(|applied| applied >= seq);
            let over = state.servers[by].clock >= revoke.clock + BOUND;
            if state.servers[by].replica.position().seq < seq || plan.strict && !there && !over {
                return;
            }
        }
        revoke.stand = Stand::Returned;
        let in_force = if plan.strict { state.now } else { revoke.in_force.unwrap_or(state.now + BOUND) };
        revoke.in_force = Some(in_force.max(state.settled));
        revoke.clock = 0;
    }

    fn read_for_refresh(&mut self) {
        let state = &mut self.state;
        state.refreshes -= 1;
        if state.database.is_alive(0) {
            state.refreshing = state.database.grants.get(&0).map(|row| row.refresh_serial);
        }
    }

    fn refresh(&mut self) {
        let blind = self.is(Mutant::NoFamilyLock);
        let database = &mut self.state.database;
        let Some(serial) = self.state.refreshing.take() else { return };
        if blind {
            if let Some(row) = database.grants.get_mut(&0) {
                (row.state, row.refresh_serial) = (GrantState::Active, serial + 1);
            }
        } else {
            database.rotate(0, serial);
        }
    }

    fn fail_over(&mut self) {
        let state = &mut self.state;
        let Some(copy) = state.copy.take() else { return };
        let kept = copy.log.len();
        state.failed_over = true;
        state.settled = state.now + BOUND;
        // What was promised of it before, nobody can keep.
        state.checks = Default::default();
        for server in &mut state.servers {
            (server.knew, server.vouched) = (0, 0);
        }
        state.commits.truncate(kept);
        for revoke in &mut state.revokes {
            let lost = revoke.entry.as_ref().map_or(revoke.stand != Stand::Planned, |entry| !copy.log.contains(entry));
            if lost {
                revoke.in_force = None;
                revoke.lost = true;
                // The server that wrote it may not have come to applying it.
                if !matches!(revoke.stand, Stand::Committed(Some(_))) {
                    revoke.stand = Stand::Lost;
                }
            } else if let Some(in_force) = &mut revoke.in_force {
                *in_force = (*in_force).max(state.settled);
            }
        }
        state.database = copy;
    }

    fn note_commit(&mut self, entry: &LogEntry) {
        let plans = self.scenario.plans;
        let state = &mut self.state;
        let clocks = std::array::from_fn(|server| state.servers[server].clock);
        state.commits.push((entry.revocation.seq, clocks));
        // Written again, it ends what was made in the meantime, too, and counts from now.
        for (number, plan) in plans.iter().enumerate() {
            let (same, covers) = match plan.what {
                What::Grant(grant) => (grant_target(grant) == entry.revocation.target, bit(grant.into())),
                What::Client => (
                    client_target(0) == entry.revocation.target,
                    state.database.grants.keys().fold(0, |covers, grant| covers | bit((*grant).into())),
                ),
            };
            if same {
                state.covered |= covers;
                let revoke = &mut state.revokes[number];
                if revoke.in_force.is_none() && revoke.lost {
                    revoke.covers |= covers;
                    revoke.in_force = Some(state.now + BOUND);
                }
            }
        }
    }

    fn note_knowledge(&mut self, number: usize) {
        let plans = self.scenario.plans.len();
        for plan in 0..plans {
            let target = self.target(plan);
            let server = &mut self.state.servers[number];
            let seq = self.state.revokes[plan].entry.as_ref().map(|entry| entry.revocation.seq);
            if seq.is_some_and(|seq| server.replica.holds(&target, seq)) {
                server.knows |= bit(plan);
            }
        }
    }
}

/// What must never be.
impl World {
    fn verdict(&self, number: usize, grant: u8) -> Option<Verdict> {
        let server = &self.state.servers[number];
        let mut facts = server.cached[usize::from(grant)]?;
        let forgiven = self.is(Mutant::FloorNotRaised) && facts.as_of >= server.floor;
        if forgiven || self.is(Mutant::NoFloor) {
            facts.as_of = u64::MAX;
        }
        Some(server.replica.judge(&token(grant), &facts.into()))
    }

    /// Begins a check, lets those on their way find the lease, and judges.
    fn check(&mut self, number: usize, grant: u8) -> Result<(), Violation> {
        let verdict = self.verdict(number, grant);
        let covers = bit(grant.into());
        let (mutant, state) = (self.mutant, &mut self.state);
        let server = &state.servers[number];
        let checks = &mut state.checks[number][usize::from(grant)];
        if verdict == Some(Verdict::Dead) && state.covered & covers == 0 {
            return Err(Violation::LostGrant);
        }
        let in_force = |revoke: &Revoke| {
            revoke.covers & covers != 0 && revoke.in_force.is_some_and(|in_force| in_force <= state.now)
        };
        if state.revokes.iter().any(in_force) {
            checks.doomed = checks.doomed.or(Some((Violation::StaleAccept, server.clock)));
        } else if verdict == Some(Verdict::Dead) {
            checks.doomed = checks.doomed.or(Some((Violation::Resurrected, server.clock)));
        }
        let Some((violation, since)) = checks.doomed else { return Ok(()) };
        let lease_holds = server.replica.lease_holds(time(server.clock));
        let alive = verdict == Some(Verdict::Alive);
        if mutant == Some(Mutant::LeaseAfterJudgement) {
            checks.judged |= alive;
            return if checks.judged && lease_holds { Err(violation) } else { Ok(()) };
        }
        // Who finds that the lease has ended waits for a round that begins then.
        let renewed = server.replica.confirmed() > Some(time(since));
        checks.leased |= lease_holds || renewed || mutant == Some(Mutant::NoLease);
        if checks.leased && alive { Err(violation) } else { Ok(()) }
    }

    /// What is true of a server whatever it is asked.
    fn holds(&self, number: usize) -> Result<(), Violation> {
        let (state, server) = (&self.state, &self.state.servers[number]);
        let replica = &server.replica;
        let position = replica.position();
        let known = |seq: u64| {
            replica.floor() >= seq
                || state.database.log.iter().find(|entry| entry.revocation.seq == seq).is_none_or(|entry| {
                    entry.revocation.target == Target::Flush || replica.holds(&entry.revocation.target, seq)
                })
        };
        if let Some(confirmed) = replica.confirmed() {
            let before = state.commits.iter().filter(|(_, clocks)| time(clocks[number]) < confirmed);
            if before.into_iter().any(|(seq, _)| position.seq < *seq || !known(*seq)) {
                return Err(Violation::ConfirmedTooMuch);
            }
        }
        if (0..state.revokes.len()).any(|plan| server.vouched & bit(plan) != 0 && !self.is_ended(plan)) {
            return Err(Violation::StaysLost);
        }
        let same_history = state.database.log_after(position.seq).chain == Some(position.chain);
        let applied = state.database.log.iter().map(|entry| entry.revocation.seq).filter(|seq| *seq <= position.seq);
        let mut applied = applied.into_iter();
        // Where positions are out of order, there is no chain to compare.
        let another = !same_history && !state.failed_over && !self.is(Mutant::SequenceOutOfOrder);
        if another || same_history && applied.any(|seq| !known(seq)) { Err(Violation::Skipped) } else { Ok(()) }
    }

    /// Times that nothing depends on any more are the same.
    fn forget(&mut self) {
        let state = &mut self.state;
        for (seq, clocks) in &mut state.commits {
            for (clock, server) in clocks.iter_mut().zip(&state.servers) {
                if server.replica.position().seq >= *seq && !state.failed_over {
                    *clock = 0;
                }
            }
        }
        for in_force in state.revokes.iter_mut().filter_map(|revoke| revoke.in_force.as_mut()) {
            if *in_force <= state.now {
                *in_force = 0;
            }
        }
        for lease in state.database.leases.values_mut() {
            if lease.expires_at <= time(state.now) {
                lease.expires_at = Duration::ZERO;
            }
        }
    }

    fn is_ended(&self, plan: usize) -> bool {
        let database = &self.state.database;
        match self.scenario.plans[plan].what {
            What::Grant(grant) => database.grants.get(&grant).is_none_or(|row| row.state == GrantState::Revoked),
            What::Client => database.log.iter().any(|entry| entry.revocation.target == client_target(0)),
        }
    }
}
