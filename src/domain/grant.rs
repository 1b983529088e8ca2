//! Grants: "subject S lets client C use scopes X", their states, and the facts that are cached about them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::client::ClientId;
use super::hexadecimal::hexadecimal_name;
use super::openid::Authentication;
use super::scope::ScopeSet;
use super::secret::SecretHash;
use super::step_up::UserAuthentication;
use super::timestamp::{Timestamp, shorter};
use super::token::{GrantId, Token, TokenKind};
use super::variant_list::{Meaning, VariantList};

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

/// The public name of a browser session: the first half of the hash of its first cookie, so it tells nothing about the cookie.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

hexadecimal_name!(SessionId);

impl SessionId {
    pub fn of(cookie: &SecretHash) -> Self {
        Self(std::array::from_fn(|i| cookie.as_bytes()[i]))
    }
}

/// What an access token of a grant stands for. Several tokens share one; a token names its own by an index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    pub scopes: ScopeSet,
    /// Most have none, so it is kept apart.
    restriction: Option<Box<Restriction>>,
}

/// Where an access token is good, and in whose hands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restriction {
    /// The resources that it is meant for (RFC 8707 §2), in ascending order. None: it is not restricted.
    pub resources: Vec<Box<str>>,
    /// The key that it is bound to.
    pub confirmation: Option<Confirmation>,
}

/// The key that a token is bound to; as JSON, the claim `cnf` (RFC 7800 §3.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Confirmation {
    /// The thumbprint of a DPoP key (RFC 9449 §6.1).
    #[serde(rename = "jkt")]
    Jkt(Box<str>),
    /// The thumbprint of a client certificate, `x5t#S256` (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    X5tS256(Box<str>),
}

/// Text that is no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no variant of a grant")]
pub struct MalformedVariant;

impl Variant {
    pub fn new(scopes: ScopeSet, restriction: Restriction) -> Self {
        let restriction = (restriction != Restriction::default()).then(|| Box::new(restriction));
        Self { scopes, restriction }
    }

    /// The same with other scopes.
    #[must_use]
    pub fn with_scopes(&self, scopes: ScopeSet) -> Self {
        Self { scopes, restriction: self.restriction.clone() }
    }

    /// The same, bound to a key or to none.
    #[must_use]
    pub fn bound_to(&self, confirmation: Option<Confirmation>) -> Self {
        let resources = self.resources().to_vec();
        Self::new(self.scopes.clone(), Restriction { resources, confirmation })
    }

    /// `token_type` of an access token that stands for it (RFC 6750 §4, RFC 9449 §5).
    pub fn token_type(&self) -> &'static str {
        match self.confirmation() {
            Some(Confirmation::Jkt(_)) => "DPoP",
            Some(Confirmation::X5tS256(_)) | None => "Bearer",
        }
    }

    /// The resources that it is meant for; none when it is not restricted.
    pub fn resources(&self) -> &[Box<str>] {
        self.restriction.as_ref().map_or(&[], |restriction| &restriction.resources)
    }

    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.restriction.as_ref().and_then(|restriction| restriction.confirmation.as_ref())
    }

    /// Its size in memory beside its own.
    pub fn heap_size(&self) -> usize {
        let restriction = self.restriction.as_ref().map_or(0, |restriction| {
            let resources: usize = restriction.resources.iter().map(|resource| resource.len() + 16).sum();
            size_of::<Restriction>() + resources + 64
        });
        self.scopes.as_str().len() + restriction
    }
}

impl From<ScopeSet> for Variant {
    fn from(scopes: ScopeSet) -> Self {
        Self { scopes, restriction: None }
    }
}

/// One line: the scopes; where there is a restriction, also a tab, the resources, a tab, and the key.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scopes)?;
        if let Some(restriction) = &self.restriction {
            write!(f, "\t{}\t", restriction.resources.join(" "))?;
            match &restriction.confirmation {
                None => {}
                Some(Confirmation::Jkt(thumbprint)) => write!(f, "jkt:{thumbprint}")?,
                Some(Confirmation::X5tS256(thumbprint)) => write!(f, "x5t#S256:{thumbprint}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Variant {
    type Err = MalformedVariant;

    fn from_str(line: &str) -> Result<Self, MalformedVariant> {
        let mut parts = line.split('\t');
        let scopes = parts.next().unwrap_or_default().parse().map_err(|_| MalformedVariant)?;
        let resources = parts.next().unwrap_or_default();
        let resources = resources.split(' ').filter(|resource| !resource.is_empty()).map(Into::into).collect();
        let confirmation = match parts.next().unwrap_or_default() {
            "" => None,
            key => Some(match key.split_once(':') {
                Some(("jkt", thumbprint)) => Confirmation::Jkt(thumbprint.into()),
                Some(("x5t#S256", thumbprint)) => Confirmation::X5tS256(thumbprint.into()),
                _ => return Err(MalformedVariant),
            }),
        };
        match parts.next() {
            None => Ok(Self::new(scopes, Restriction { resources, confirmation })),
            Some(_) => Err(MalformedVariant),
        }
    }
}

/// Where a grant is in its life: pending (code issued, not redeemed), then active, then revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// The code was issued and not yet redeemed.
    Pending,
    /// The code was redeemed. That it was is remembered here, so a replayed code is known however late it comes.
    Active(Rotation),
    Revoked,
}

/// The refresh token that is good now. Together with the grant it determines every byte of that token and of
/// the access token issued with it, so the same successor can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub serial: u32,
    pub rotated_at: Timestamp,
    /// What the access token issued with it stands for: an index.
    pub variant: u8,
    /// When the grant ends however often it is refreshed.
    pub expires_at: Timestamp,
    /// The lifetime of the access token issued with it, as the policy was then, in seconds; 0 means that it does not expire.
    pub access_lifetime: u32,
    /// When the refresh token ends if it is not used.
    pub idle_until: Timestamp,
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
    pub variants: VariantList,
    pub state: GrantState,
    /// Access tokens of an earlier generation are dead.
    pub generation: u32,
    pub created_at: Timestamp,
    /// How the user signed in; `None` where there is none, and in grants from before this was kept.
    pub authentication: Option<Authentication>,
}

/// How long the tokens of a grant live, in seconds. 0, but for the code and the grace: until they are revoked.
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

/// What becomes of the tokens of a code that its client presents again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeReuse {
    /// They end.
    Revoke,
    /// Those of a client that proved who it is stay: nobody else can redeem its codes.
    Refuse,
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
        if now >= rotation.expires_at || now >= rotation.idle_until || token.serial > rotation.serial {
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

    /// What the access token that belongs to `rotation` stands for. `None` when that one has expired, and its place is another's.
    pub fn variant_of(&self, rotation: &Rotation) -> Option<&Variant> {
        self.variants.get(rotation.variant, rotation.rotated_at)
    }

    /// Whether the access token that belongs to `rotation` is bound to this key, or to none.
    pub fn is_bound(&self, rotation: &Rotation, key: Option<&Confirmation>) -> bool {
        self.variant_of(rotation).is_some_and(|variant| variant.confirmation() == key)
    }

    /// The access token that belongs to `rotation`: made from the row alone, so that it is the same again whatever the
    /// configuration is by then.
    pub fn access_token(&self, rotation: &Rotation) -> Token {
        Token {
            kind: TokenKind::AccessToken,
            variant: rotation.variant,
            grant: self.id,
            generation: self.generation,
            serial: rotation.serial,
            issued_at: rotation.rotated_at,
            lifetime: shorter(rotation.access_lifetime, rotation.remaining()),
        }
    }

    /// The refresh token that belongs to `rotation`. It always stands for everything that was granted (RFC 6749 §6). That it
    /// ends earlier if it is not used, the row says: where it is kept, each use puts that off.
    pub fn refresh_token(&self, rotation: &Rotation) -> Token {
        Token {
            kind: TokenKind::RefreshToken,
            variant: 0,
            lifetime: rotation.remaining(),
            ..self.access_token(rotation)
        }
    }

    /// An access token beside those of the rotations, of which there may be any number. `random` tells it apart from others of the
    /// same second.
    pub fn further_access_token(&self, further: Further, random: [u8; 4]) -> Token {
        Token {
            kind: TokenKind::AccessToken,
            variant: further.variant,
            grant: self.id,
            generation: self.generation,
            serial: Token::FURTHER | u32::from_be_bytes(random),
            issued_at: further.issued_at,
            lifetime: further.lifetime,
        }
    }
}

/// What an access token beside those of the rotations is made from.
#[derive(Clone, Copy, Debug)]
pub struct Further {
    pub variant: u8,
    pub issued_at: Timestamp,
    /// Seconds; 0 means that it does not expire.
    pub lifetime: u32,
}

impl Rotation {
    /// When the grant ends; `None` where it does not end by itself.
    pub fn ends_at(&self) -> Option<Timestamp> {
        Some(self.expires_at).filter(|end| *end < Timestamp::NEVER)
    }

    /// Seconds from the rotation to the end of the grant; 0 where it does not end.
    fn remaining(&self) -> u32 {
        self.expires_at.lifetime_from(self.rotated_at)
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
    /// How the user authenticated, if that is known.
    pub authentication: Option<UserAuthentication>,
    /// What a token stands for in it never changes: one whose variant it does not know makes these facts stale.
    pub variants: VariantList,
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

    /// What `token` stands for.
    pub fn meaning(&self, token: &Token) -> Meaning<'_> {
        self.variants.meaning(token.variant, token.issued_at)
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
            variants: "a b".parse().expect("a list"),
            state,
            generation: 0,
            created_at: Timestamp::from_unix(0),
            authentication: None,
        }
    }

    fn rotation(serial: u32) -> Rotation {
        Rotation {
            serial,
            rotated_at: Timestamp::from_unix(100),
            variant: 0,
            expires_at: Timestamp::from_unix(5_000),
            access_lifetime: 600,
            idle_until: Timestamp::from_unix(1_100),
        }
    }

    #[test]
    fn what_a_refresh_token_is_to_its_grant() {
        let active = grant(GrantState::Active(rotation(5)));
        let presented = |serial| active.refresh_token(&rotation(serial));
        let at = Timestamp::from_unix;
        for (serial, now, expected) in [
            (5, 100, RefreshStanding::Current(rotation(5))),
            (5, 1_099, RefreshStanding::Current(rotation(5))),
            (5, 1_100, RefreshStanding::Dead),
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
        assert_eq!(grant.access_token(&late).expires_at(), Some(late.expires_at));
        assert_eq!(grant.refresh_token(&late).expires_at(), Some(late.expires_at));
        assert_eq!(grant.access_token(&rotation(7)).lifetime, 600);
    }

    #[test]
    fn tokens_of_a_grant_without_end_live_as_long_as_the_policy_says() {
        let endless = Rotation { expires_at: Timestamp::NEVER, idle_until: Timestamp::NEVER, ..rotation(7) };
        let grant = grant(GrantState::Active(endless));
        assert_eq!(grant.access_token(&endless).lifetime, 600);
        assert_eq!(grant.refresh_token(&endless).expires_at(), None);
        let endless = Rotation { access_lifetime: 0, ..endless };
        assert_eq!(grant.access_token(&endless).expires_at(), None);
        let ending = Rotation { access_lifetime: 0, ..rotation(7) };
        assert_eq!(grant.access_token(&ending).expires_at(), Some(ending.expires_at), "no token outlives its grant");
    }

    #[test]
    fn a_variant_is_a_line_and_a_line_a_variant() {
        for line in ["", "a b", "a\thttps://r https://s\t", "a\t\tjkt:x", "\thttps://r\tx5t#S256:y"] {
            assert_eq!(line.parse::<Variant>().expect("a variant").to_string(), line);
        }
        for bad in ["\"", "a\t\tother:x", "a\t\tjkt", "a\t\t\t"] {
            assert_eq!(bad.parse::<Variant>(), Err(MalformedVariant), "{bad:?}");
        }
        assert_eq!("a\t\t".parse::<Variant>(), Ok(Variant::from("a".parse::<ScopeSet>().expect("a scope"))));
    }
}
