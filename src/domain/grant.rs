//! Grants: "subject S lets client C use scopes X", their states, and the facts that are cached about them.

use super::client::ClientId;
use super::hexadecimal::hexadecimal_name;
use super::openid::Authentication;
use super::scope::ScopeSet;
use super::secret::SecretHash;
use super::timestamp::Timestamp;
use super::token::{GrantId, Token, TokenKind};

/// A grant has at most this many scope subsets: a token names its own in one byte.
pub const MAX_VARIANTS: usize = 256;

/// The stable name of a user (`sub`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId(Box<str>);

impl SubjectId {
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The public name of a browser session: the first half of its cookie's hash, so it tells nothing about the cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

hexadecimal_name!(SessionId);

impl SessionId {
    pub fn of(cookie: &SecretHash) -> Self {
        Self(std::array::from_fn(|i| cookie.as_bytes()[i]))
    }
}

/// Where a grant is in its life: pending (code issued, not redeemed), then active, then revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// The code was issued and not yet redeemed.
    Pending,
    /// The code was redeemed. That it was is remembered here, so a replayed code revokes its grant however late it comes.
    Active(Rotation),
    Revoked,
}

/// The refresh token that is good now. Together with the grant it determines every byte of that token and of
/// the access token issued with it, so the same successor can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub serial: u32,
    pub rotated_at: Timestamp,
    /// The scope subset of the access token issued with it.
    pub variant: u8,
    /// When the grant ends however often it is refreshed.
    pub expires_at: Timestamp,
}

/// A grant, as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: GrantId,
    pub client: ClientId,
    pub subject: SubjectId,
    pub username: String,
    /// The browser session in which it was authorized, if that is known.
    pub session: Option<SessionId>,
    /// Scope subsets; the first is all that was granted.
    pub variants: Vec<ScopeSet>,
    pub state: GrantState,
    /// Access tokens of an earlier generation are dead.
    pub generation: u32,
    pub created_at: Timestamp,
    /// How the user signed in, where the grant is for OpenID Connect.
    pub authentication: Option<Authentication>,
}

/// How long the tokens of a grant live, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    pub code: u32,
    pub access_token: u32,
    /// A refresh token that is not used for so long expires.
    pub refresh_token_idle: u32,
    /// A grant ends so long after its code was redeemed.
    pub refresh_token_absolute: u32,
    /// For so long after a rotation the immediately preceding refresh token gets the same successor again.
    pub refresh_grace: u32,
}

/// What a presented refresh token is to its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshStanding {
    /// It is the one that is good now: rotate.
    Current(Rotation),
    /// It is the immediately preceding one, inside the grace window: the same successor again.
    Repeated(Rotation),
    /// It was replaced earlier: somebody else has it. The grant must be revoked (RFC 9700 §4.14.2).
    Replayed,
    /// The grant is not active.
    Dead,
}

impl Grant {
    pub fn refresh_standing(&self, token: &Token, lifetimes: &Lifetimes, now: Timestamp) -> RefreshStanding {
        let GrantState::Active(rotation) = self.state else {
            return RefreshStanding::Dead;
        };
        if now >= rotation.expires_at || token.serial > rotation.serial {
            RefreshStanding::Dead
        } else if token.serial == rotation.serial {
            RefreshStanding::Current(rotation)
        } else if rotation.serial - token.serial == 1
            && now.seconds_since(rotation.rotated_at) < lifetimes.refresh_grace
        {
            RefreshStanding::Repeated(rotation)
        } else {
            RefreshStanding::Replayed
        }
    }

    /// The access token that belongs to `rotation`.
    pub fn access_token(&self, rotation: &Rotation, lifetimes: &Lifetimes) -> Token {
        Token {
            kind: TokenKind::AccessToken,
            variant: rotation.variant,
            grant: self.id,
            generation: self.generation,
            serial: rotation.serial,
            issued_at: rotation.rotated_at,
            lifetime: lifetimes.access_token.min(rotation.remaining()),
        }
    }

    /// The refresh token that belongs to `rotation`. It always stands for everything that was granted (RFC 6749 §6).
    pub fn refresh_token(&self, rotation: &Rotation, lifetimes: &Lifetimes) -> Token {
        Token {
            kind: TokenKind::RefreshToken,
            variant: 0,
            lifetime: lifetimes.refresh_token_idle.min(rotation.remaining()),
            ..self.access_token(rotation, lifetimes)
        }
    }

    /// The index of the subset `scopes`, and whether it has to be added to the list. `None` when the list is full.
    pub fn variant_of(&self, scopes: &ScopeSet) -> Option<Variant> {
        match self.variants.iter().position(|known| known == scopes) {
            Some(index) => u8::try_from(index).ok().map(Variant::Known),
            None if self.variants.len() < MAX_VARIANTS => u8::try_from(self.variants.len()).ok().map(Variant::New),
            None => None,
        }
    }
}

/// The index of a scope subset in a grant's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Known(u8),
    /// The list has to grow by it.
    New(u8),
}

impl Rotation {
    /// Seconds from the rotation to the end of the grant; at least 1, because 0 would mean "does not expire".
    fn remaining(&self) -> u32 {
        self.expires_at.seconds_since(self.rotated_at).max(1)
    }
}

/// What cannot change about a grant, and how it stood in one snapshot of the database. This is what is cached;
/// decisions never are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFacts {
    pub client: ClientId,
    pub subject: SubjectId,
    pub username: Box<str>,
    /// The browser session in which it was authorized, if that is known.
    pub session: Option<SessionId>,
    /// Scope subsets. The list only grows: a token whose variant is not in it makes these facts stale.
    pub variants: Box<[ScopeSet]>,
    /// Access tokens of an earlier generation are dead; [`GrantFacts::REVOKED`] kills all.
    pub generation: u32,
    /// The position of the revocation log when the grant was created.
    pub created_seq: u64,
    /// The position of the revocation log in the snapshot that this was read from.
    pub as_of: u64,
}

impl GrantFacts {
    /// The generation of a grant that is not active: no token reaches it.
    pub const REVOKED: u32 = u32::MAX;

    /// The scopes that `token` stands for; `None` when these facts are older than the token.
    pub fn scopes(&self, token: &Token) -> Option<&ScopeSet> {
        self.variants.get(usize::from(token.variant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes {
        code: 60,
        access_token: 600,
        refresh_token_idle: 1_000,
        refresh_token_absolute: 5_000,
        refresh_grace: 10,
    };

    fn grant(state: GrantState) -> Grant {
        Grant {
            id: GrantId::from_bytes([1; 16]),
            client: "client".parse().expect("a client id"),
            subject: SubjectId::new("subject"),
            username: "ann".into(),
            session: None,
            variants: vec!["a b".parse().expect("scopes")],
            state,
            generation: 0,
            created_at: Timestamp::from_unix(0),
            authentication: None,
        }
    }

    fn rotation(serial: u32) -> Rotation {
        Rotation { serial, rotated_at: Timestamp::from_unix(100), variant: 0, expires_at: Timestamp::from_unix(5_000) }
    }

    #[test]
    fn what_a_refresh_token_is_to_its_grant() {
        let active = grant(GrantState::Active(rotation(5)));
        let presented = |serial| active.refresh_token(&rotation(serial), &LIFETIMES);
        let at = Timestamp::from_unix;
        for (serial, now, expected) in [
            (5, 100, RefreshStanding::Current(rotation(5))),
            (5, 4_999, RefreshStanding::Current(rotation(5))),
            (5, 5_000, RefreshStanding::Dead),
            (4, 100, RefreshStanding::Repeated(rotation(5))),
            (4, 109, RefreshStanding::Repeated(rotation(5))),
            (4, 110, RefreshStanding::Replayed),
            (3, 100, RefreshStanding::Replayed),
            (0, 100, RefreshStanding::Replayed),
            (6, 100, RefreshStanding::Dead),
        ] {
            assert_eq!(active.refresh_standing(&presented(serial), &LIFETIMES, at(now)), expected, "{serial} at {now}");
        }
        for state in [GrantState::Pending, GrantState::Revoked] {
            assert_eq!(grant(state).refresh_standing(&presented(5), &LIFETIMES, at(100)), RefreshStanding::Dead);
        }
    }

    #[test]
    fn no_token_outlives_its_grant() {
        let late = Rotation { rotated_at: Timestamp::from_unix(4_900), ..rotation(7) };
        let grant = grant(GrantState::Active(late));
        assert_eq!(grant.access_token(&late, &LIFETIMES).expires_at(), Some(late.expires_at));
        assert_eq!(grant.refresh_token(&late, &LIFETIMES).expires_at(), Some(late.expires_at));
        assert_eq!(grant.refresh_token(&rotation(7), &LIFETIMES).lifetime, 1_000);
    }

    #[test]
    fn a_scope_subset_is_listed_once_and_the_list_has_an_end() {
        let mut grant = grant(GrantState::Pending);
        let set = |text: &str| text.parse::<ScopeSet>().expect("scopes");
        assert_eq!(grant.variant_of(&set("b a")), Some(Variant::Known(0)));
        assert_eq!(grant.variant_of(&set("a")), Some(Variant::New(1)));
        grant.variants = (0..MAX_VARIANTS).map(|n| set(&format!("s{n}"))).collect();
        assert_eq!(grant.variant_of(&set("s255")), Some(Variant::Known(255)));
        assert_eq!(grant.variant_of(&set("a")), None);
    }
}
