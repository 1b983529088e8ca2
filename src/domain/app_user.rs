//! Users that the app knows, as the app names them. What it says is bounded and kept as it is: names may be what users made up.

use serde::{Deserialize, Serialize};

use super::grant::SubjectId;
use super::openid::{EMAIL, GROUPS, PROFILE};
use super::scope::ScopeSet;
use super::timestamp::Timestamp;

/// The longest subject and the longest claim, in bytes (OpenID Connect Core §2 has 255 for `sub`).
const MAX_SUBJECT: usize = 255;
const MAX_CLAIM: usize = 2_048;
/// The most groups, and the most bytes in all their names: they go into ID tokens.
const MAX_GROUPS: usize = 200;
const MAX_GROUP_NAMES: usize = 4_096;
/// So many seconds may the clock of the app be ahead.
const CLOCK_SKEW: u32 = 60;
/// Subjects of machines begin like this (`service::client_credentials`).
const MACHINES: &str = "client:";

/// Whether a subject is a client that acts for itself.
pub fn is_machine(subject: &SubjectId) -> bool {
    subject.as_str().starts_with(MACHINES)
}

/// A user, and when it signed in to the app, if the app says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppUser {
    pub subject: SubjectId,
    pub claims: UserClaims,
    pub auth_time: Option<Timestamp>,
}

/// What clients get to know of a user (OpenID Connect Core §5.1), as far as the app says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserClaims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// Which groups the user is in; no registered claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

/// An answer that names nobody in a way that could be understood.
#[derive(Debug, thiserror::Error)]
pub enum MalformedUser {
    #[error("this is no JSON object with a text `sub`, and with claims of their types (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error(
        "a subject is text of 1 to {MAX_SUBJECT} bytes without control characters, and does not begin with `client:`"
    )]
    Subject,
    #[error("a claim has {MAX_CLAIM} bytes at most, and no control characters")]
    Claim,
    #[error(
        "there are {MAX_GROUPS} groups at most, with {MAX_GROUP_NAMES} bytes in all their names and no control characters"
    )]
    Groups,
}

impl From<serde_json::Error> for MalformedUser {
    /// Without the words: they may have the name of a user in them.
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

/// As JSON has it.
#[derive(Deserialize)]
struct Said {
    sub: String,
    #[serde(flatten)]
    claims: UserClaims,
    #[serde(default)]
    auth_time: Option<i64>,
}

impl AppUser {
    /// What the app answers: `sub`, claims, and `auth_time` in Unix seconds.
    pub fn from_json(json: &[u8], now: Timestamp) -> Result<Self, MalformedUser> {
        let Said { sub, claims, auth_time } = serde_json::from_slice(json)?;
        Self::new(sub, claims, auth_time.map(Timestamp::from_unix), now)
    }

    pub fn new(
        sub: String,
        claims: UserClaims,
        auth_time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, MalformedUser> {
        if !(1..=MAX_SUBJECT).contains(&sub.len()) || sub.contains(char::is_control) || sub.starts_with(MACHINES) {
            return Err(MalformedUser::Subject);
        }
        if claims.texts().any(|text| text.len() > MAX_CLAIM || text.contains(char::is_control)) {
            return Err(MalformedUser::Claim);
        }
        let groups = claims.groups.as_deref().unwrap_or_default();
        if groups.len() > MAX_GROUPS
            || groups.iter().map(String::len).sum::<usize>() > MAX_GROUP_NAMES
            || groups.iter().any(|group| group.is_empty() || group.contains(char::is_control))
        {
            return Err(MalformedUser::Groups);
        }
        // Milliseconds, for example, are a time far ahead. It would be recent for ever.
        let auth_time = auth_time.filter(|time| *time <= now.plus(CLOCK_SKEW)).map(|time| time.min(now));
        Ok(Self { subject: SubjectId::new(sub), claims, auth_time })
    }

    /// What to call the user on pages. Never empty.
    pub fn name(&self) -> &str {
        let named = [&self.claims.name, &self.claims.preferred_username, &self.claims.email];
        named.into_iter().flatten().find(|name| !name.trim().is_empty()).map_or(self.subject.as_str(), String::as_str)
    }
}

impl UserClaims {
    /// What a client gets to know that has these scopes (OpenID Connect Core §5.4).
    #[must_use]
    pub fn within(self, scopes: &ScopeSet) -> Self {
        let Self { email, email_verified, groups, .. } = self.clone();
        let named = if scopes.contains(PROFILE) { self } else { Self::default() };
        let address = if scopes.contains(EMAIL) { (email, email_verified) } else { (None, None) };
        let groups = groups.filter(|_| scopes.contains(GROUPS));
        Self { email: address.0, email_verified: address.1, groups, ..named }
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        // The rest is no text.
        let Self { name, preferred_username, given_name, family_name, picture, locale, email, .. } = self;
        [name, preferred_username, given_name, family_name, picture, locale, email].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_000_000);

    #[test]
    fn what_names_a_user_and_what_does_not() {
        let long = format!(r#"{{"sub":"{}"}}"#, "x".repeat(MAX_SUBJECT));
        let too_long = format!(r#"{{"sub":"{}"}}"#, "x".repeat(MAX_SUBJECT + 1));
        let groups = |name: &str, number: usize| {
            let names = vec![name; number];
            format!(r#"{{"sub":"42","groups":{}}}"#, serde_json::to_string(&names).expect("JSON"))
        };
        let (many_groups, long_groups) = (groups("x", MAX_GROUPS + 1), groups(&"x".repeat(1_024), 5));
        for (json, good) in [
            (r#"{"sub":"42","name":"Ann","email_verified":true,"roles":["x"]}"#, true),
            (r#"{"sub":"Jürgen Ω","name":null}"#, true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            (r#"{"sub":""}"#, false),
            (r#"{"sub":42}"#, false),
            (r#"{"sub":"client:shop"}"#, false),
            ("{\"sub\":\"a\\u0000b\"}", false),
            (r#"{"sub":"42","name":"a\nb"}"#, false),
            (r#"{"sub":"42","email":["a@example.com"]}"#, false),
            (r#"{"name":"Ann"}"#, false),
            (r#"{"sub":"42","groups":["org","org:team"]}"#, true),
            (r#"{"sub":"42","groups":"org"}"#, false),
            (r#"{"sub":"42","groups":[""]}"#, false),
            (r#"{"sub":"42","groups":["a\nb"]}"#, false),
            (many_groups.as_str(), false),
            (long_groups.as_str(), false),
            (r#"{"sub":"42","sub":"43"}"#, false),
            ("<html>Sign in</html>", false),
            ("", false),
        ] {
            assert_eq!(AppUser::from_json(json.as_bytes(), NOW).is_ok(), good, "{json}");
        }
    }

    #[test]
    fn a_sign_in_that_is_still_to_come_is_none() {
        for (auth_time, expected) in [("7", Some(7)), ("1000060", Some(1_000_000)), ("1000061", None), ("null", None)] {
            let json = format!(r#"{{"sub":"42","auth_time":{auth_time}}}"#);
            let user = AppUser::from_json(json.as_bytes(), NOW).expect("a user");
            assert_eq!(user.auth_time.map(Timestamp::as_unix), expected, "{auth_time}");
        }
    }

    #[test]
    fn claims_are_for_their_scopes() {
        let json = br#"{"sub":"42","name":"Ann","email":"ann@example.com","email_verified":false,"groups":["org"]}"#;
        let user = AppUser::from_json(json, NOW).expect("a user");
        assert_eq!(user.name(), "Ann");
        for (scopes, expected) in [
            ("openid", "{}"),
            ("openid profile", r#"{"name":"Ann"}"#),
            ("email", r#"{"email":"ann@example.com","email_verified":false}"#),
            ("groups", r#"{"groups":["org"]}"#),
        ] {
            let claims = user.claims.clone().within(&scopes.parse().expect("scopes"));
            assert_eq!(serde_json::to_string(&claims).expect("JSON"), expected, "{scopes}");
        }
    }
}
