//! The section `[answers]`.

use std::collections::BTreeMap;

use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ConfigError;
use crate::domain::answers::{
    self, BearerSpelling, ErrorSpelling, ForeignToken, IntrospectionShape, Reason, RevokedBody, ScopeMember,
    Unauthorized, UnknownHint,
};

/// Members that token responses have from us, or that would say something about the tokens.
const OURS: [&str; 14] = [
    "access_token",
    "token_type",
    "expires_in",
    "expires_at",
    "refresh_token",
    "refresh_token_expires_in",
    "scope",
    "id_token",
    "issued_token_type",
    "username",
    "error",
    "error_description",
    "error_uri",
    "active",
];
/// The most members of [`Answers::extra`].
const MAX_EXTRA: usize = 32;

/// How the token, revocation and introspection endpoints spell what they answer, for clients that expect what another system answered. The
/// defaults are the standards'.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answers {
    /// How `token_type` of bearer tokens is written: `Bearer` or `bearer`.
    pub token_type: BearerSpelling,
    /// Whether token responses have `scope`: `always`, `when_not_empty`, or `never`, which RFC 6749 §5.1 allows only where clients get what
    /// they asked for.
    pub scope: ScopeMember,
    /// Whether token responses say when the access token expires. Where it does not expire, they never do.
    pub expires_in: bool,
    /// Whether token responses say who the user is, as `username`. It goes to whoever redeems the code, whatever the scopes.
    pub username: bool,
    /// More members of every token response: texts, numbers and truth values, under names that are none of ours.
    pub extra: BTreeMap<String, toml::Value>,
    /// `Content-Type` of answers that are JSON: `application/json`, maybe with a charset.
    pub content_type: String,
    /// The status of `invalid_grant` (RFC 6749 §5.2: 400).
    pub invalid_grant_status: u16,
    /// The status of `invalid_client` (RFC 6749 §5.2: 401).
    pub invalid_client_status: u16,
    /// `WWW-Authenticate` beside 401.
    pub www_authenticate: String,
    /// What a revocation answers: `empty`, or `object`, which is `{}`.
    pub revoked: RevokedBody,
    /// What a client is told that revokes the token of another: `ignore`, what it is told about garbage; `refuse`, `invalid_grant`. The token
    /// stays good either way.
    pub foreign_token: ForeignToken,
    /// What happens to a `token_type_hint` that means nothing: `ignore`; `refuse`, `unsupported_token_type`.
    pub unknown_hint: UnknownHint,
    /// Which members of an active token introspection answers with: `full`, or `brief`: `active`, `scope`, `username`, `iss`, `sub`, and in
    /// `aud` the client.
    pub introspection: IntrospectionShape,
    /// `text` and `www_authenticate` of the 401 for callers of introspection that are not known. An empty `text`: the usual answer.
    pub introspection_unauthorized: Unauthorized,
    /// The same for requests to userinfo without a token that does.
    pub userinfo_unauthorized: Unauthorized,
    /// How errors are spelled: for a cause, `error`, `description` and `status`, of which each may be missing. `{client_id}` in a description
    /// is the client id of the request; an empty description is none. Where causes that have one text by default get different ones, clients
    /// can tell them apart: whether a client exists, for example.
    pub errors: BTreeMap<Reason, ErrorSpelling>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            token_type: BearerSpelling::Bearer,
            scope: ScopeMember::Always,
            expires_in: true,
            username: false,
            extra: BTreeMap::new(),
            content_type: "application/json".into(),
            invalid_grant_status: 400,
            invalid_client_status: 401,
            www_authenticate: r#"Basic realm="scopegate", charset="UTF-8""#.into(),
            revoked: RevokedBody::Empty,
            foreign_token: ForeignToken::Ignore,
            unknown_hint: UnknownHint::Ignore,
            introspection: IntrospectionShape::Full,
            introspection_unauthorized: Unauthorized::default(),
            userinfo_unauthorized: Unauthorized::default(),
            errors: BTreeMap::new(),
        }
    }
}

impl Answers {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(&format!("answers.{key}"), why));
        if self.extra.len() > MAX_EXTRA {
            return wrong("extra", &format!("these are {MAX_EXTRA} members at most"));
        }
        for (name, value) in &self.extra {
            if OURS.contains(&name.as_str()) {
                return wrong(&format!("extra.{name}"), "this member says something else");
            }
            if scalar(value).is_none() {
                return wrong(&format!("extra.{name}"), "this is a text, a whole number, true or false");
            }
        }
        let plain = self.content_type.split(';').next().unwrap_or_default().trim();
        if plain != "application/json" || HeaderValue::from_str(&self.content_type).is_err() {
            return wrong("content_type", "this is application/json, maybe with a charset");
        }
        for (key, value) in [
            ("www_authenticate", &self.www_authenticate),
            ("introspection_unauthorized.www_authenticate", &self.introspection_unauthorized.www_authenticate),
            ("userinfo_unauthorized.www_authenticate", &self.userinfo_unauthorized.www_authenticate),
        ] {
            if HeaderValue::from_str(value).is_err() {
                return wrong(key, "this is the value of a header");
            }
        }
        for (key, status) in
            [("invalid_grant_status", self.invalid_grant_status), ("invalid_client_status", self.invalid_client_status)]
        {
            check_status(key, status)?;
        }
        for (reason, ErrorSpelling { error, description, status }) in &self.errors {
            let key = format!("errors.{}", toml::Value::try_from(reason).unwrap_or(toml::Value::Boolean(false)));
            let is_code = |text: &String| {
                (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            if !error.as_ref().is_none_or(is_code) {
                return wrong(&format!("{key}.error"), "an error code is made of lower-case letters and _");
            }
            // RFC 6749 §5.2 has fewer characters; others wrote more.
            let is_text =
                |text: &String| text.len() <= 500 && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            if !description.as_ref().is_none_or(is_text) {
                return wrong(&format!("{key}.description"), "this is 500 printable ASCII characters at most");
            }
            if let Some(status) = status {
                check_status(&format!("{key}.status"), *status)?;
            }
        }
        Ok(())
    }

    pub(super) fn rules(&self) -> answers::Answers {
        let extra: Map<String, Value> =
            self.extra.iter().filter_map(|(name, value)| Some((name.clone(), scalar(value)?))).collect();
        answers::Answers {
            token_type: self.token_type,
            scope: self.scope,
            expires_in: self.expires_in,
            username: self.username,
            extra,
            content_type: self.content_type.clone(),
            invalid_grant_status: self.invalid_grant_status,
            invalid_client_status: self.invalid_client_status,
            www_authenticate: self.www_authenticate.clone(),
            revoked: self.revoked,
            foreign_token: self.foreign_token,
            unknown_hint: self.unknown_hint,
            introspection: self.introspection,
            introspection_unauthorized: self.introspection_unauthorized.clone(),
            userinfo_unauthorized: self.userinfo_unauthorized.clone(),
            errors: self.errors.clone(),
        }
    }
}

fn check_status(key: &str, status: u16) -> Result<(), ConfigError> {
    if StatusCode::from_u16(status).is_ok_and(|status| status.is_client_error()) {
        return Ok(());
    }
    Err(ConfigError::new(&format!("answers.{key}"), "this is a status of a client's error, 400 to 499"))
}

fn scalar(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::String(text) => Some(text.as_str().into()),
        toml::Value::Integer(number) => Some((*number).into()),
        toml::Value::Boolean(truth) => Some((*truth).into()),
        _ => None,
    }
}
