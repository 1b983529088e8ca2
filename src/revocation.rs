//! Revocations in this process: the index that every check consults, the follower that keeps it up to date, and the lease under
//! which it may be trusted.
//!
//! The log in SQL is the authority; the index is its replica. A cached fact says how a grant stood at one position of the
//! log, the index says what ended since. In whatever order the two arrive, together they are right.

mod follower;
mod index;
mod lease;

pub use self::follower::Follower;
pub use self::index::{RevocationIndex, Verdict};
