//! Entries of the revocation log, as the database, the hints between servers and `WatchRevocations` carry them.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::client::ClientId;
use super::grant::{SessionId, SubjectId};
use super::timestamp::Timestamp;
use super::token::{GrantId, KeyId};

/// One entry of the revocation log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// Its position: 1, 2, 3, … in the order of the commits, without gaps but before a [`Target::Flush`].
    pub seq: u64,
    pub target: Target,
    /// When it was written, by the clock of the server that wrote it. For people; nothing is decided by it.
    pub at: Timestamp,
}

/// What ended. All but the first: every grant in the set that was created before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The access tokens of one grant that are of an earlier generation than this.
    Grant {
        id: GrantId,
        generation: u32,
    },
    Client(ClientId),
    Subject(SubjectId),
    SubjectClient(SubjectId, ClientId),
    /// The grants that were authorized in one browser session.
    Session(SessionId),
    /// Whatever this key has signed and will sign.
    Key(KeyId),
    /// No grant, but every fact that was read before: history changed, because a failover or a backup lost some of it. Its position is
    /// beyond all that the lost history can have had.
    Flush,
}

/// A target that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} is no target of a revocation")]
pub struct MalformedTarget {
    kind: String,
    name: String,
}

impl Target {
    /// What kind of thing ended, in the database.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Grant { .. } => "grant",
            Self::Client(_) => "client",
            Self::Subject(_) => "subject",
            Self::SubjectClient(..) => "subject_client",
            Self::Session(_) => "session",
            Self::Key(_) => "key",
            Self::Flush => "flush",
        }
    }

    /// Which one it is.
    pub fn name(&self) -> String {
        match self {
            Self::Grant { id, .. } => id.to_string(),
            Self::Client(id) => id.to_string(),
            Self::Subject(id) => id.as_str().to_owned(),
            // A client id has no space.
            Self::SubjectClient(subject, client) => format!("{client} {}", subject.as_str()),
            Self::Session(id) => id.to_string(),
            Self::Key(id) => id.to_string(),
            Self::Flush => String::new(),
        }
    }

    /// For a grant, the generation below which its access tokens are dead; otherwise 0.
    pub const fn value(&self) -> u32 {
        match self {
            Self::Grant { generation, .. } => *generation,
            _ => 0,
        }
    }

    /// The target that these name.
    pub fn parse(kind: &str, name: &str, value: u32) -> Result<Self, MalformedTarget> {
        let target = match kind {
            "grant" => name.parse().ok().map(|id| Self::Grant { id, generation: value }),
            "client" => name.parse().ok().map(Self::Client),
            "subject" => Some(Self::Subject(SubjectId::new(name))),
            "subject_client" => name
                .split_once(' ')
                .and_then(|(client, subject)| Some(Self::SubjectClient(SubjectId::new(subject), client.parse().ok()?))),
            "session" => name.parse().ok().map(Self::Session),
            "key" => name.parse().ok().map(Self::Key),
            "flush" => Some(Self::Flush),
            _ => None,
        };
        target.ok_or_else(|| MalformedTarget { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// An entry, and the chain with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogEntry {
    pub revocation: Revocation,
    pub chain: Chain,
}

impl LogEntry {
    pub const fn position(&self) -> Position {
        Position { seq: self.revocation.seq, chain: self.chain }
    }
}

/// A place in one history of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    pub seq: u64,
    pub chain: Chain,
}

/// The log after a position, in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogExcerpt {
    /// The newest position there is.
    pub head: u64,
    /// The oldest entry that is still there.
    pub oldest: Option<u64>,
    /// The chain at the position after which this begins; `None` when the log does not hold that position.
    pub chain: Option<Chain>,
    /// In order. There may be more up to the head.
    pub entries: Vec<LogEntry>,
}

/// The hash over the log up to a position: two logs that agree on it agree on everything before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chain(Option<[u8; 32]>);

impl Chain {
    /// What the database keeps: 32 bytes, or none before the first entry.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.try_into().ok())
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |hash| hash)
    }

    /// The chain after `entry`: SHA-256(chain ‖ entry).
    #[must_use]
    pub fn after(&self, entry: &Revocation) -> Self {
        Self(Some(Sha256::new().chain_update(self.as_bytes()).chain_update(entry.to_string()).finalize().into()))
    }
}

/// One line, from which [`Revocation::parse`] makes the same entry again.
impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, at) = (&self.target, self.at.as_unix());
        write!(f, "{} {at} {} {} {}", self.seq, target.kind(), target.value(), target.name())
    }
}

impl Revocation {
    /// The entry that a line is.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(5, ' ');
        let mut next = || parts.next();
        let (seq, at, kind, value, name) = (next()?, next()?, next()?, next()?, next()?);
        Some(Self {
            seq: seq.parse().ok()?,
            target: Target::parse(kind, name, value.parse().ok()?).ok()?,
            at: Timestamp::from_unix(at.parse().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> [Target; 7] {
        let client = || "shop".parse::<ClientId>().expect("a client id");
        let subject = || SubjectId::new("a subject with spaces");
        [
            Target::Grant { id: GrantId::from_bytes([7; 16]), generation: u32::MAX },
            Target::Client(client()),
            Target::Subject(subject()),
            Target::SubjectClient(subject(), client()),
            Target::Session(SessionId::from_bytes([9; 16])),
            Target::Key(KeyId::new(15).expect("15 is a key id")),
            Target::Flush,
        ]
    }

    #[test]
    fn an_entry_is_a_line_and_a_line_an_entry() {
        for target in targets() {
            let entry = Revocation { seq: 12, target, at: Timestamp::from_unix(1_700_000_000) };
            assert_eq!(Revocation::parse(&entry.to_string()), Some(entry));
        }
        for bad in
            ["", "1", "1 2 grant 0 x", "1 2 client 0 ", "1 2 other 0 x", "x 2 subject 0 x", "1 2 subject_client 0 x"]
        {
            assert_eq!(Revocation::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_chain_tells_histories_apart() {
        let entry = |seq, target| Revocation { seq, target, at: Timestamp::from_unix(0) };
        let [one, two, ..] = targets();
        let chain = |entries: &[Revocation]| entries.iter().fold(Chain::default(), |chain, entry| chain.after(entry));
        let both = chain(&[entry(1, one.clone()), entry(2, two.clone())]);
        assert_eq!(both, chain(&[entry(1, one.clone()), entry(2, two.clone())]));
        assert_eq!(Chain::from_bytes(both.as_bytes()), both);
        for other in [&[entry(1, two.clone()), entry(2, one.clone())][..], &[entry(1, one)], &[entry(2, two)], &[]] {
            assert_ne!(both, chain(other));
        }
    }
}
