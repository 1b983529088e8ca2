//! Revocations in this process: the index that every check consults, what keeps it up to date, and how this server's own revocations
//! reach the others.
//!
//! The log in SQL is the authority; the index is its replica. A cached fact says how a grant stood at one position of the
//! log, the index says what ended since. In whatever order the two arrive, together they are right.
//!
//! | part | what it does |
//! |---|---|
//! | `replica` | the state machine: no I/O, no clock, no lock. What the model and the simulator check |
//! | `index` | the same, shared by the threads of this process |
//! | `follower` | drives it: reads the log, keeps the lease, recovers when history changed |
//! | `revoker` | writes this server's revocations, many in one transaction, and waits for the others where that is asked for |
//! | `hints` | what servers tell each other at once, and may lose |
//! | `model`, `simulator` | tests: every order of events in small worlds, and many random ones in larger worlds |

mod follower;
mod hints;
mod index;
#[cfg(test)]
mod model;
mod replica;
mod revoker;
#[cfg(test)]
mod simulator;

pub use self::follower::Follower;
pub use self::hints::Hints;
pub use self::index::RevocationIndex;
pub use self::replica::{Acknowledged, Divergence, Progress, Replica, Round, Verdict};
pub use self::revoker::Revoker;
