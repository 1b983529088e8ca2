//! The model: every order in which things can happen to two servers in a small world, with the state machine that production runs.
//!
//! | part | what it is |
//! |---|---|
//! | `explorer` | breadth-first search, so that a counterexample is as short as one can be |
//! | `database` | what the statements of `store` do; the simulator uses it, too |
//! | `world` | servers, caches, clocks and callers, the steps that each can take, what must never be, and the mutants |
//!
//! Each scenario bounds what can happen and how often, and within that everything is gone through: depth is not bounded. Every mutant
//! has one thing wrong with it, and has to be caught; a proof that cannot see a bug is none.
//!
//! What is promised, and what is assumed:
//!
//! - There is one primary. A failover may take back what was committed, but nobody reads or writes the old primary afterwards.
//! - A failover takes back leases, too. Until the leases of before have ended, a strict revocation is but a bounded one; what was lost is
//!   in force a bound after a server that knew it has written it again, and lost for good if no such server is left.
//! - The database's clock does not jump ahead: a lease whose row looks ended is not waited for.
//! - Facts are kept as of no later than what their server had applied when it asked for them. The shared cache does not say of which
//!   history its positions are, so it is not modelled together with failovers.

pub(super) mod database;
mod explorer;
#[expect(clippy::cast_possible_truncation, reason = "there are two servers and two grants")]
mod world;

use std::time::Instant;

use self::explorer::explore;
use self::world::{Mutant, Plan, Scenario, Step, What, World};

/// Nothing happens; what a scenario is about is named there.
const NOTHING: Scenario = Scenario {
    name: "",
    ticks: 5,
    plans: &[],
    rounds: [0, 0],
    peeks: [0, 0],
    prelude: &[],
    checked: &[(1, 0)],
    cached: true,
    fetches: 0,
    prunes: 0,
    restarts: 0,
    drift: 1,
    hints: false,
    shared_cache: false,
    failover: false,
    issue: false,
    refresh: false,
};

static STRICT: Scenario = Scenario {
    name: "a strict revocation",
    plans: &[Plan { by: Some(0), what: What::Grant(0), strict: true }],
    rounds: [0, 2],
    ..NOTHING
};

static BOUNDED: Scenario = Scenario {
    name: "two bounded revocations, with hints",
    ticks: 3,
    plans: &[
        Plan { by: None, what: What::Grant(0), strict: false },
        Plan { by: None, what: What::Grant(1), strict: false },
    ],
    rounds: [0, 1],
    hints: true,
    checked: &[(1, 0), (1, 1)],
    drift: 0,
    ..NOTHING
};

static GAP: Scenario = Scenario {
    name: "a server that writes after another",
    ticks: 4,
    plans: &[
        Plan { by: None, what: What::Grant(1), strict: false },
        Plan { by: Some(0), what: What::Grant(0), strict: true },
    ],
    rounds: [1, 0],
    peeks: [1, 0],
    checked: &[(0, 0), (0, 1)],
    ..NOTHING
};

static TWICE: Scenario = Scenario {
    name: "two servers that end the same",
    ticks: 3,
    plans: &[
        Plan { by: Some(0), what: What::Grant(0), strict: true },
        Plan { by: Some(1), what: What::Grant(0), strict: true },
    ],
    rounds: [0, 1],
    checked: &[(0, 0), (1, 0)],
    drift: 0,
    ..NOTHING
};

static CACHES: Scenario = Scenario {
    name: "caches that fill late, forget and go back",
    ticks: 3,
    plans: &[Plan { by: None, what: What::Grant(0), strict: false }],
    rounds: [0, 1],
    cached: false,
    fetches: 2,
    prunes: 1,
    restarts: 1,
    drift: 0,
    shared_cache: true,
    ..NOTHING
};

static CLIENT: Scenario = Scenario {
    name: "a client's grants end, and it gets a new one",
    ticks: 3,
    plans: &[Plan { by: None, what: What::Client, strict: false }],
    rounds: [0, 1],
    checked: &[(1, 0), (1, 1)],
    fetches: 2,
    prunes: 1,
    drift: 0,
    issue: true,
    ..NOTHING
};

static REFRESH: Scenario = Scenario {
    name: "a refresh while the grant ends",
    ticks: 3,
    plans: &[Plan { by: None, what: What::Grant(0), strict: false }],
    rounds: [0, 1],
    fetches: 2,
    prunes: 1,
    drift: 0,
    refresh: true,
    ..NOTHING
};

static FAILOVER: Scenario = Scenario {
    name: "a failover under a server that knew",
    ticks: 4,
    plans: &[
        Plan { by: None, what: What::Grant(1), strict: false },
        Plan { by: None, what: What::Grant(0), strict: false },
    ],
    rounds: [0, 1],
    peeks: [0, 1],
    prelude: &[Step::Revoke(0), Step::Peek(1), Step::TakeIn(1)],
    cached: false,
    fetches: 1,
    prunes: 1,
    drift: 0,
    failover: true,
    ..NOTHING
};

static FAILOVER_UNSEEN: Scenario =
    Scenario { name: "a failover that nobody sees", prelude: &[Step::Revoke(0)], peeks: [0, 0], ..FAILOVER };

static FAILOVER_OF_A_WRITER: Scenario = Scenario {
    name: "a failover under a server that writes",
    ticks: 2,
    plans: &[
        Plan { by: None, what: What::Grant(1), strict: false },
        Plan { by: Some(0), what: What::Grant(0), strict: true },
    ],
    rounds: [2, 0],
    checked: &[(0, 0), (0, 1)],
    drift: 0,
    failover: true,
    ..NOTHING
};

static SCENARIOS: [&Scenario; 10] =
    [&STRICT, &BOUNDED, &GAP, &TWICE, &CACHES, &CLIENT, &REFRESH, &FAILOVER, &FAILOVER_UNSEEN, &FAILOVER_OF_A_WRITER];

#[test]
fn the_protocol_holds_in_every_scenario() {
    for scenario in SCENARIOS {
        let started = Instant::now();
        let explored = explore(World::new(scenario, None));
        println!(
            "{}: {} states, all that there are, {} steps deep, in {:.1} s",
            scenario.name,
            explored.states,
            explored.depth,
            started.elapsed().as_secs_f64()
        );
        assert!(explored.violation.is_none(), "{:#?}", explored.violation);
    }
}

/// What is wrong, where it is caught, and by what.
static MUTANTS: [(Mutant, &Scenario); 21] = [
    (Mutant::NoLease, &STRICT),
    (Mutant::ConfirmedWithoutLeaseRow, &STRICT),
    (Mutant::OneTransaction, &STRICT),
    (Mutant::ConfirmedAtReply, &STRICT),
    (Mutant::HintConfirms, &BOUNDED),
    (Mutant::GapIgnored, &GAP),
    (Mutant::SequenceOutOfOrder, &BOUNDED),
    (Mutant::NoFloor, &CACHES),
    (Mutant::PositionReadLater, &CACHES),
    (Mutant::FloorNotRaised, &CACHES),
    (Mutant::FilledWithoutPosition, &CACHES),
    (Mutant::AcknowledgedBeforeApplied, &STRICT),
    (Mutant::NotBeforeByClock, &CLIENT),
    (Mutant::NoFamilyLock, &REFRESH),
    (Mutant::SharedCacheTrusted, &CACHES),
    (Mutant::ClockStops, &STRICT),
    (Mutant::LeaseAfterJudgement, &STRICT),
    (Mutant::LostNotWrittenAgain, &FAILOVER_OF_A_WRITER),
    (Mutant::NoFlush, &FAILOVER),
    (Mutant::AlreadyEndedNotRead, &TWICE),
    (Mutant::FactsFromAhead, &FAILOVER_UNSEEN),
];

#[test]
fn every_mutant_is_caught() {
    let mut killed = 0;
    for (mutant, scenario) in MUTANTS {
        let explored = explore(World::new(scenario, Some(mutant)));
        match &explored.violation {
            Some((violation, trace)) => {
                killed += 1;
                println!("{mutant:?}: {violation:?} after {} steps, {} states", trace.len(), explored.states);
            }
            None => println!("{mutant:?}: survives {} states of {}", explored.states, scenario.name),
        }
    }
    println!("killed {killed}/{}", MUTANTS.len());
    assert_eq!(killed, MUTANTS.len());
}
