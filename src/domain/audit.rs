//! What the audit log tells: security-relevant events, each with the names of those it concerns. There is no variant that could hold a
//! secret, a token or text that a stranger typed.

use std::net::IpAddr;

use serde::Serialize;

use super::client::{ClientId, GrantType};
use super::grant::{SessionId, SubjectId};
use super::revocation::Target;
use super::token::{GrantId, KeyId};

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Somebody who has not proven who it is.
    Anonymous,
    User(SubjectId),
    Client(ClientId),
    /// A caller over gRPC, by its name in the configuration.
    Caller(Box<str>),
    /// Who runs a command on the database, by the user id of the operating system.
    CommandLine(u32),
    /// This server, by itself.
    Server,
}

/// An event. The names that [`Event::entry`] gives are stable.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    SignedIn(&'a SubjectId),
    /// `None`: there is no such account. What was typed may be a password.
    SignInRefused(Option<&'a SubjectId>),
    /// Too many attempts: nobody looked.
    SignInLimited,
    SignedOut(&'a SubjectId),
    /// A login app says who a user is. When the browser comes back, there is a sign-in, too.
    LoginAccepted(&'a SubjectId),
    /// A login app says what a user allowed.
    ConsentAccepted {
        client: &'a ClientId,
        session: SessionId,
    },
    /// A login app has not let a user in, or the user has denied.
    InteractionRejected,
    ConsentGiven {
        subject: &'a SubjectId,
        client: &'a ClientId,
        grant: GrantId,
    },
    ConsentDenied {
        subject: &'a SubjectId,
        client: &'a ClientId,
    },
    GrantMade {
        subject: &'a SubjectId,
        client: &'a ClientId,
        grant: GrantId,
    },
    TokenIssued {
        client: &'a ClientId,
        grant: GrantId,
        grant_type: GrantType,
    },
    /// Its grant was revoked.
    CodeReplayed {
        client: &'a ClientId,
        grant: GrantId,
    },
    /// Its grant was revoked.
    RefreshTokenReplayed {
        client: &'a ClientId,
        grant: GrantId,
    },
    Revoked(&'a Target),
    /// `None`: there is no such client.
    ClientRefused(Option<&'a ClientId>, ClientRefusal),
    /// Too many attempts: nobody looked.
    ClientLimited,
    ClientCreated(&'a ClientId),
    ClientRegistered(&'a ClientId),
    ClientChanged(&'a ClientId),
    ClientDisabled(&'a ClientId),
    ClientEnabled(&'a ClientId),
    ClientSecretRotated(&'a ClientId),
    ClientDeleted(&'a ClientId),
    AccountCreated(&'a SubjectId),
    AccountPasswordSet(&'a SubjectId),
    AccountDisabled(&'a SubjectId),
    AccountEnabled(&'a SubjectId),
    AccountDeleted(&'a SubjectId),
    KeyRotated {
        compromised: bool,
    },
    CallerRefused(CallerRefusal),
}

/// Why a client is not who it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRefusal {
    Unknown,
    Disabled,
    WrongProof,
    AssertionReplayed,
}

/// Why a caller over gRPC is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerRefusal {
    Unknown,
    NotPermitted,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Success,
    Denied,
}

/// A line of the audit log, but for the time and the request.
#[derive(Debug)]
pub struct Entry<'a> {
    pub event: &'static str,
    pub outcome: Outcome,
    /// `None`: whoever the request came from.
    pub actor: Option<Actor>,
    pub subject: Option<&'a SubjectId>,
    pub client: Option<&'a ClientId>,
    pub grant: Option<GrantId>,
    pub session: Option<SessionId>,
    pub key: Option<KeyId>,
    pub grant_type: Option<GrantType>,
    pub reason: Option<&'static str>,
}

impl Actor {
    /// What kind of actor it is, and which one.
    pub fn parts(&self) -> (&'static str, String) {
        match self {
            Self::Anonymous => ("anonymous", String::new()),
            Self::User(subject) => ("user", subject.as_str().to_owned()),
            Self::Client(client) => ("client", client.to_string()),
            Self::Caller(name) => ("caller", name.to_string()),
            Self::CommandLine(uid) => ("cli", uid.to_string()),
            Self::Server => ("server", String::new()),
        }
    }
}

impl<'a> Event<'a> {
    pub fn entry(self) -> Entry<'a> {
        match self {
            Self::SignedIn(subject) => Entry::success("sign_in.succeeded").by_user(subject),
            Self::SignInRefused(subject) => Entry {
                subject,
                reason: Some(if subject.is_some() { "wrong_password_or_disabled" } else { "unknown_account" }),
                ..Entry::denied("sign_in.refused")
            },
            Self::SignInLimited => Entry { reason: Some("too_many_attempts"), ..Entry::denied("sign_in.limited") },
            Self::SignedOut(subject) => Entry::success("sign_out.succeeded").by_user(subject),
            Self::LoginAccepted(subject) => Entry::about_subject("login.accepted", subject),
            Self::ConsentAccepted { client, session } => {
                Entry { session: Some(session), ..Entry::about_client("consent.accepted", client) }
            }
            Self::InteractionRejected => Entry::denied("interaction.rejected"),
            Self::ConsentGiven { subject, client, grant } => {
                Entry { client: Some(client), grant: Some(grant), ..Entry::success("consent.given").by_user(subject) }
            }
            Self::ConsentDenied { subject, client } => {
                Entry { client: Some(client), ..Entry::denied("consent.denied").by_user(subject) }
            }
            Self::GrantMade { subject, client, grant } => {
                Entry { subject: Some(subject), grant: Some(grant), ..Entry::success("grant.made").by_client(client) }
            }
            Self::TokenIssued { client, grant, grant_type } => Entry {
                grant: Some(grant),
                grant_type: Some(grant_type),
                ..Entry::success("token.issued").by_client(client)
            },
            Self::CodeReplayed { client, grant } => Entry {
                grant: Some(grant),
                reason: Some("grant_revoked"),
                ..Entry::denied("code.replayed").by_client(client)
            },
            Self::RefreshTokenReplayed { client, grant } => Entry {
                grant: Some(grant),
                reason: Some("grant_revoked"),
                ..Entry::denied("refresh_token.replayed").by_client(client)
            },
            Self::Revoked(target) => Entry::of_revocation(target),
            Self::ClientRefused(client, refusal) => {
                Entry { client, reason: Some(refusal.as_str()), ..Entry::denied("client.refused") }
            }
            Self::ClientLimited => Entry { reason: Some("too_many_attempts"), ..Entry::denied("client.limited") },
            Self::ClientCreated(client) => Entry::about_client("client.created", client),
            Self::ClientRegistered(client) => Entry::success("client.registered").by_client(client),
            Self::ClientChanged(client) => Entry::about_client("client.changed", client),
            Self::ClientDisabled(client) => Entry::about_client("client.disabled", client),
            Self::ClientEnabled(client) => Entry::about_client("client.enabled", client),
            Self::ClientSecretRotated(client) => Entry::about_client("client.secret_rotated", client),
            Self::ClientDeleted(client) => Entry::about_client("client.deleted", client),
            Self::AccountCreated(subject) => Entry::about_subject("account.created", subject),
            Self::AccountPasswordSet(subject) => Entry::about_subject("account.password_set", subject),
            Self::AccountDisabled(subject) => Entry::about_subject("account.disabled", subject),
            Self::AccountEnabled(subject) => Entry::about_subject("account.enabled", subject),
            Self::AccountDeleted(subject) => Entry::about_subject("account.deleted", subject),
            Self::KeyRotated { compromised } => {
                Entry { reason: compromised.then_some("compromised"), ..Entry::success("key.rotated") }
            }
            Self::CallerRefused(refusal) => Entry { reason: Some(refusal.as_str()), ..Entry::denied("caller.refused") },
        }
    }
}

impl<'a> Entry<'a> {
    fn success(event: &'static str) -> Self {
        Self::new(event, Outcome::Success)
    }

    fn denied(event: &'static str) -> Self {
        Self::new(event, Outcome::Denied)
    }

    fn new(event: &'static str, outcome: Outcome) -> Self {
        Self {
            event,
            outcome,
            actor: None,
            subject: None,
            client: None,
            grant: None,
            session: None,
            key: None,
            grant_type: None,
            reason: None,
        }
    }

    fn by_user(self, subject: &'a SubjectId) -> Self {
        Self { actor: Some(Actor::User(subject.clone())), subject: Some(subject), ..self }
    }

    fn by_client(self, client: &'a ClientId) -> Self {
        Self { actor: Some(Actor::Client(client.clone())), client: Some(client), ..self }
    }

    fn about_client(event: &'static str, client: &'a ClientId) -> Self {
        Self { client: Some(client), ..Self::success(event) }
    }

    fn about_subject(event: &'static str, subject: &'a SubjectId) -> Self {
        Self { subject: Some(subject), ..Self::success(event) }
    }

    fn of_revocation(target: &'a Target) -> Self {
        let revoked = Self::success;
        match target {
            Target::Grant { id, .. } => Self { grant: Some(*id), ..revoked("grant.revoked") },
            Target::Client(client) => Self { client: Some(client), ..revoked("grants.revoked") },
            Target::Subject(subject) => Self { subject: Some(subject), ..revoked("grants.revoked") },
            Target::SubjectClient(subject, client) => {
                Self { subject: Some(subject), client: Some(client), ..revoked("grants.revoked") }
            }
            Target::Session(session) => Self { session: Some(*session), ..revoked("session.revoked") },
            Target::Key(key) => Self { key: Some(*key), ..revoked("key.revoked") },
            Target::Flush => revoked("grants.revoked"),
        }
    }
}

impl ClientRefusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_client",
            Self::Disabled => "client_disabled",
            Self::WrongProof => "wrong_proof",
            Self::AssertionReplayed => "assertion_replayed",
        }
    }
}

impl CallerRefusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_caller",
            Self::NotPermitted => "not_permitted",
        }
    }
}

/// In which request something happened.
#[derive(Clone, Debug)]
pub struct Origin {
    pub actor: Actor,
    /// `None` where nobody says.
    pub address: Option<IpAddr>,
    /// What the lines of one request have in common. Empty outside of requests.
    pub request_id: Box<str>,
}

/// The longest name of a request that is taken from outside.
const MAX_REQUEST_ID: usize = 128;

/// The name that a request brings, if it is one: letters, digits and `-_.:` alone.
pub fn request_id(text: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let good = (1..=MAX_REQUEST_ID).contains(&text.len()) && text.iter().all(allowed);
    good.then(|| str::from_utf8(text).ok()).flatten()
}
