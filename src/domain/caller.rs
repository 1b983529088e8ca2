//! Callers over gRPC: how each is known, what it may do, and which tokens it gets to see.

use serde::{Deserialize, Serialize};

use super::secret::SecretHash;
use super::token::TokenKind;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Ask whether an access token may do a thing.
    Check,
    /// Ask what a token is.
    Introspect,
    /// End tokens and grants.
    Revoke,
    /// Be told of every revocation.
    Watch,
    /// Manage clients, grants, accounts and keys.
    Admin,
    /// Say who users are and what they allow, as a login app does.
    Interact,
}

/// Which tokens a caller gets to see. To it, all others are as garbage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    All,
    /// Access tokens that are meant for one of these resources (RFC 8707). One that is meant for no resource in particular is for none
    /// of them.
    Audiences(Vec<Box<str>>),
}

impl Sight {
    /// Whether it reaches a token of this kind that is meant for these resources. Refresh tokens are for their client alone.
    pub fn covers(&self, kind: TokenKind, resources: &[Box<str>]) -> bool {
        match self {
            Self::All => true,
            Self::Audiences(own) => {
                kind == TokenKind::AccessToken && resources.iter().any(|resource| own.contains(resource))
            }
        }
    }
}

/// Somebody who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For the log.
    pub name: Box<str>,
    pub sight: Sight,
    pub permissions: Vec<Permission>,
}

impl Caller {
    /// One that sees all tokens and may do everything.
    pub fn unrestricted(name: &str) -> Self {
        use Permission::{Admin, Check, Interact, Introspect, Revoke, Watch};
        Self {
            name: name.into(),
            sight: Sight::All,
            permissions: vec![Check, Introspect, Revoke, Watch, Admin, Interact],
        }
    }

    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }
}

/// A place in [`Callers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerId(usize);

impl CallerId {
    /// Its place in the order of [`Callers::iter`].
    pub const fn index(self) -> usize {
        self.0
    }
}

/// All who may call, and how each is known.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    known: Vec<Caller>,
    tokens: Vec<(SecretHash, CallerId)>,
    certificates: Vec<(Box<str>, CallerId)>,
    local: Option<CallerId>,
}

impl Callers {
    /// One more, who is known by these tokens, and by client certificates with one of these names.
    pub fn add(
        &mut self,
        caller: Caller,
        tokens: impl IntoIterator<Item = SecretHash>,
        certificates: impl IntoIterator<Item = Box<str>>,
    ) {
        let id = CallerId(self.known.len());
        self.known.push(caller);
        self.tokens.extend(tokens.into_iter().map(|token| (token, id)));
        self.certificates.extend(certificates.into_iter().map(|name| (name, id)));
    }

    /// Everybody on the same machine, who needs nothing to be known by.
    pub fn add_local(&mut self, caller: Caller) {
        self.local = Some(CallerId(self.known.len()));
        self.known.push(caller);
    }

    pub fn get(&self, id: CallerId) -> &Caller {
        &self.known[id.0]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Caller> {
        self.known.iter()
    }

    /// Who connects: one whose name the client certificate has, or else whoever is on the same machine.
    pub fn connecting(&self, certificate: &[String], is_local: bool) -> Option<CallerId> {
        self.with_certificate(certificate).or(self.local.filter(|_| is_local))
    }

    /// A certificate with the names of two callers is neither's.
    fn with_certificate(&self, names: &[String]) -> Option<CallerId> {
        let mut found = self
            .certificates
            .iter()
            .filter(|(name, _)| names.iter().any(|other| is_same(name, other)))
            .map(|(_, id)| *id);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Whose token this is. How long it takes does not tell how much of it is right.
    pub fn with_token(&self, presented: &str) -> Option<CallerId> {
        let presented = SecretHash::of(presented);
        self.tokens.iter().fold(None, |found, (token, id)| if *token == presented { Some(*id) } else { found })
    }
}

/// Names of hosts have no case, URIs have (SPIFFE ID §2: they compare as bytes).
fn is_same(name: &str, other: &str) -> bool {
    if name.contains(':') { name == other } else { name.eq_ignore_ascii_case(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers() -> Callers {
        let mut callers = Callers::default();
        for name in ["orders", "mail"] {
            let tokens = ["old", "new"].map(|which| SecretHash::of(&format!("{name} {which}")));
            let certificates = [format!("spiffe://example.org/{name}").into(), format!("{name}.example.org").into()];
            callers.add(Caller::unrestricted(name), tokens, certificates);
        }
        callers
    }

    #[test]
    fn a_caller_is_known_by_each_of_its_tokens_and_certificates() {
        let mut callers = callers();
        let name = |callers: &Callers, id: Option<CallerId>| id.map(|id| callers.known[id.0].name.to_string());
        for (token, expected) in [
            ("orders old", Some("orders")),
            ("orders new", Some("orders")),
            ("mail old", Some("mail")),
            ("", None),
            ("orders", None),
            ("orders old ", None),
        ] {
            assert_eq!(name(&callers, callers.with_token(token)).as_deref(), expected, "{token:?}");
        }
        let connecting = |callers: &Callers, names: &[&str], local| {
            let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
            name(callers, callers.connecting(&names, local))
        };
        for (names, expected) in [
            (&["spiffe://example.org/orders"][..], Some("orders")),
            (&["Orders.Example.org", "other"], Some("orders")),
            (&["orders.example.org", "spiffe://example.org/orders"], Some("orders")),
            (&["orders.example.org", "mail.example.org"], None),
            (&["spiffe://example.org/Orders"], None),
            (&["spiffe://example.org/orders/x"], None),
            (&["*.example.org"], None),
            (&[], None),
        ] {
            assert_eq!(connecting(&callers, names, false).as_deref(), expected, "{names:?}");
        }
        assert_eq!(connecting(&callers, &[], true), None, "nobody is trusted for where it is");
        callers.add_local(Caller::unrestricted("local"));
        assert_eq!(connecting(&callers, &[], true).as_deref(), Some("local"));
        assert_eq!(connecting(&callers, &["mail.example.org"], true).as_deref(), Some("mail"));
        assert_eq!(connecting(&callers, &[], false), None);
    }

    #[test]
    fn sight_is_by_audience() {
        let (a, b): (Box<str>, Box<str>) = ("https://a".into(), "https://b".into());
        let sight = Sight::Audiences(vec![a.clone()]);
        for (kind, resources, expected) in [
            (TokenKind::AccessToken, &[a.clone()][..], true),
            (TokenKind::AccessToken, &[b.clone(), a.clone()], true),
            (TokenKind::AccessToken, &[b], false),
            (TokenKind::AccessToken, &["https://a/".into()], false),
            (TokenKind::AccessToken, &[], false),
            (TokenKind::RefreshToken, &[a], false),
        ] {
            assert_eq!(sight.covers(kind, resources), expected, "{kind:?} for {resources:?}");
            assert!(Sight::All.covers(kind, resources));
        }
    }
}
