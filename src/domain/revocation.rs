//! Entries of the revocation log.

use super::client::ClientId;
use super::grant::SubjectId;
use super::token::GrantId;

/// One entry of the revocation log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its position: 1, 2, 3, … without gaps, in the order of the commits.
    pub seq: u64,
    pub target: Target,
}

/// What ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The access tokens of one grant that are of an earlier generation than this.
    Grant { id: GrantId, generation: u32 },
    /// Every grant of a client that was created before.
    Client(ClientId),
    /// Every grant of a subject that was created before.
    Subject(SubjectId),
}
