//! Interactions: what a login app is asked to find out from a user in our place, and what it answers.
//!
//! A challenge is the whole interaction, in one text that only we can make. So an interaction takes no memory here before the app, which
//! is known, decides about it: whoever sends browsers to us by the thousand fills nothing.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::app_user::UserClaims;
use super::grant::SessionId;
use super::timestamp::Timestamp;

/// The longest challenge, in characters: it travels in addresses.
pub const MAX_CHALLENGE: usize = 7_000;
/// Of the tag that seals a challenge.
const TAG: usize = 20;
/// The parts of a challenge before its request: kind, id, time, browser, session.
const FIXED: usize = 1 + ID + 8 + ID + ID;
const ID: usize = 16;
/// The longest class, method, error code and description, in bytes, and how many methods there may be.
const MAX_WORD: usize = 255;
const MAX_METHODS: usize = 16;
const MAX_DESCRIPTION: usize = 1_000;
/// The longest context, in bytes.
const MAX_CONTEXT: usize = 4 << 10;
/// A year, in seconds: as long as a browser stays signed in at most.
pub const MAX_REMEMBER: u32 = 365 * 86_400;

/// What an interaction is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To say who the user is.
    Login,
    /// To ask the user what a client may do.
    Consent,
}

/// An interaction that waits for the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interaction {
    pub kind: Kind,
    /// That of consent names the grant to be.
    pub id: [u8; ID],
    pub made_at: Timestamp,
    /// Stands for the cookie of the browser that was sent to the app.
    pub browser: [u8; ID],
    /// Whose consent it is about; nothing before somebody is signed in.
    pub session: [u8; ID],
    /// What goes on afterwards: the authorization request as it came, or a path of ours.
    pub request: String,
}

/// What a challenge is worth.
pub struct Sealed {
    body: Vec<u8>,
    tag: [u8; TAG],
}

impl Interaction {
    /// The text, with the tag that `seal` puts to it. `None` when it would be too long.
    pub fn to_challenge(&self, seal: impl FnOnce(&[u8]) -> [u8; TAG]) -> Option<String> {
        let mut body = Vec::with_capacity(FIXED + self.request.len() + TAG);
        body.push(match self.kind {
            Kind::Login => 0,
            Kind::Consent => 1,
        });
        body.extend(self.id);
        body.extend(self.made_at.as_unix().to_be_bytes());
        body.extend(self.browser);
        body.extend(self.session);
        body.extend(self.request.as_bytes());
        let tag = seal(&body);
        body.extend(tag);
        let text = BASE64_URL_SAFE_NO_PAD.encode(body);
        (text.len() <= MAX_CHALLENGE).then_some(text)
    }
}

impl Sealed {
    /// `None` for what is no challenge by its form alone.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CHALLENGE {
            return None;
        }
        let mut body = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let length = body.len().checked_sub(TAG).filter(|length| *length >= FIXED)?;
        let tag = body.split_off(length).try_into().ok()?;
        Some(Self { body, tag })
    }

    /// What it says, if `is_ours` finds that we said it.
    pub fn open(self, is_ours: impl FnOnce(&[u8], &[u8; TAG]) -> bool) -> Option<Interaction> {
        let Self { mut body, tag } = self;
        if !is_ours(&body, &tag) {
            return None;
        }
        let request = String::from_utf8(body.split_off(FIXED)).ok()?;
        let part = |at: usize| -> [u8; ID] { std::array::from_fn(|i| body[at + i]) };
        let time: [u8; 8] = std::array::from_fn(|i| body[1 + ID + i]);
        Some(Interaction {
            kind: match body[0] {
                0 => Kind::Login,
                1 => Kind::Consent,
                _ => return None,
            },
            id: part(1),
            made_at: Timestamp::from_unix(i64::from_be_bytes(time)),
            browser: part(1 + ID + 8),
            session: part(1 + ID + 8 + ID),
            request,
        })
    }
}

/// How a login app signed a user in. Kept with the session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSignIn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// Whether it counts for more than the request that it was made for.
    pub remembered: bool,
    /// Whether that was a page of ours, where no client asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub for_pages: bool,
    /// What the app wants to be told again when it asks for consent: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// What an app decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    SignedIn {
        subject: String,
        claims: UserClaims,
        #[serde(flatten)]
        sign_in: AppSignIn,
        /// For so many seconds; 0: as configured.
        remember_for: u32,
    },
    Allowed {
        /// Separated by spaces.
        scopes: String,
        resources: Vec<Box<str>>,
        remember: bool,
        /// What the app says of the user, if it does so only now.
        claims: UserClaims,
    },
    Rejected(Rejection),
}

/// Why the user is sent back without anything (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    pub error: String,
    pub error_description: String,
}

/// What an app said and cannot say: which member, and what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {why}")]
pub struct Unacceptable {
    pub member: &'static str,
    pub why: &'static str,
}

impl AppSignIn {
    pub fn check(&self) -> Result<(), Unacceptable> {
        let is_word =
            |word: &String| (1..=MAX_WORD).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.acr.iter().all(is_word) {
            return Err(Unacceptable { member: "acr", why: "a class has 1 to 255 printable ASCII characters" });
        }
        if self.amr.len() > MAX_METHODS || !self.amr.iter().all(is_word) {
            return Err(Unacceptable {
                member: "amr",
                why: "these are 16 at most, of 1 to 255 printable ASCII characters",
            });
        }
        if self.context.as_ref().is_some_and(|context| context.len() > MAX_CONTEXT || context.contains('\0')) {
            return Err(Unacceptable { member: "context", why: "this has 4096 bytes at most" });
        }
        Ok(())
    }
}

impl Rejection {
    /// An empty error is that the user said no. Descriptions are what people write; what the standard has no place for in them is left out.
    pub fn new(error: &str, description: &str) -> Result<Self, Unacceptable> {
        let error = if error.is_empty() { "access_denied" } else { error };
        let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if error.len() > MAX_WORD || !error.bytes().all(is_code) {
            return Err(Unacceptable { member: "error", why: "this is a code such as access_denied" });
        }
        let allowed = |character: &char| matches!(character, ' ' | '!' | '#'..='[' | ']'..='~');
        let error_description = description.chars().filter(allowed).take(MAX_DESCRIPTION).collect();
        Ok(Self { error: error.to_owned(), error_description })
    }
}

impl Interaction {
    /// The session that it is about.
    pub fn session(&self) -> Option<SessionId> {
        (self.kind == Kind::Consent).then(|| SessionId::from_bytes(self.session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interaction() -> Interaction {
        Interaction {
            kind: Kind::Consent,
            id: [1; ID],
            made_at: Timestamp::from_unix(1_000_000),
            browser: [2; ID],
            session: [3; ID],
            request: "client_id=a&scope=ä".into(),
        }
    }

    #[test]
    fn a_challenge_says_what_was_sealed_and_nothing_that_was_not() {
        let text = interaction().to_challenge(|_| [7; TAG]).expect("it is short");
        let open = |text: &str| Sealed::parse(text)?.open(|_, tag| *tag == [7; TAG]);
        assert_eq!(open(&text), Some(interaction()));
        assert_eq!(Sealed::parse(&text).expect("a form").open(|_, _| false), None);
        for other in
            ["", "x", "ä", &text[..40], &text[..text.len() - 4], &format!("{text}="), &"A".repeat(MAX_CHALLENGE + 1)]
        {
            assert_eq!(open(other), None, "{other}");
        }
        let long = Interaction { request: "x".repeat(MAX_CHALLENGE), ..interaction() };
        assert_eq!(long.to_challenge(|_| [7; TAG]), None);
    }

    #[test]
    fn what_an_app_says_is_bounded() {
        let sign_in = |acr: &str, methods: usize, context: usize| AppSignIn {
            acr: Some(acr.into()),
            amr: vec!["pwd".into(); methods],
            remembered: false,
            for_pages: false,
            context: Some("x".repeat(context)),
        };
        for (acr, methods, context, wrong) in [
            ("2", 16, MAX_CONTEXT, None),
            ("", 0, 0, Some("acr")),
            ("a b", 0, 0, Some("acr")),
            ("2", 17, 0, Some("amr")),
            ("2", 1, MAX_CONTEXT + 1, Some("context")),
        ] {
            assert_eq!(sign_in(acr, methods, context).check().err().map(|error| error.member), wrong, "{acr:?}");
        }
        for (error, expected) in
            [("", Some("access_denied")), ("login_required", Some("login_required")), ("a b", None), ("A", None)]
        {
            assert_eq!(Rejection::new(error, "").ok().map(|rejection| rejection.error).as_deref(), expected, "{error}");
        }
        let said = Rejection::new("", "Nein, \"das\" geht\r\nnicht\\: ä").expect("a code");
        assert_eq!(said.error_description, "Nein, das gehtnicht: ");
    }
}
