//! Revocations in this process: the index that every check consults, and the follower that keeps it up to date.
//!
//! The log in SQL is the authority; the index is its replica. A cached fact says how a grant stood at one position of the
//! log, the index says what ended since. In whatever order the two arrive, together they are right.

mod follower;
mod index;

pub use self::follower::Follower;
pub use self::index::{RevocationIndex, Verdict};
