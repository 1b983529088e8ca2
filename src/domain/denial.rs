//! Refusals of requests at a resource, in the words of the application behind: texts of the operator, with places for a few values.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::challenge::{Challenge, ChallengeError, Scheme};

/// How requests are refused. Whatever is left as it is by default is as RFC 6750 §3 has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Denials {
    /// That present no token.
    pub missing_token: Denial,
    /// Whose token is malformed, unknown, expired, revoked or for another audience.
    pub invalid_token: Denial,
    /// Whose token lacks a scope.
    pub insufficient_scope: Denial,
    /// Whose token cannot be checked now.
    pub unavailable: Denial,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Denial {
    /// 400 to 499, or 500 to 599 for what cannot be checked; 0: the standard one. At `/check`, any of the former but 401 is 403.
    pub status: u16,
    /// Of the body: a kind of JSON, or `text/plain`.
    pub content_type: String,
    /// Empty: the standard one. `{scopes}` stands for the scopes that the request needs, with spaces between; `{issuer}` for the `issuer`
    /// of the configuration.
    pub body: Template,
    /// The header; empty: none. In addition, `{challenge}` stands for the standard value.
    pub www_authenticate: Template,
}

impl Default for Denial {
    fn default() -> Self {
        Self {
            status: 0,
            content_type: "application/json".into(),
            body: Template(String::new()),
            www_authenticate: Template("{challenge}".into()),
        }
    }
}

/// A body, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub content_type: String,
    pub text: String,
}

/// What stands for the names in a template.
#[derive(Clone, Copy, Debug)]
pub struct Values<'v> {
    pub scopes: &'v [String],
    pub issuer: &'v str,
    /// The standard `WWW-Authenticate`; empty where there is none.
    pub challenge: &'v str,
}

/// A text with names in braces: `{scopes}`, `{issuer}` and `{challenge}`. Other braces are braces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// Something in braces that is none of the names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{{{0}}} stands for nothing: there are {{scopes}}, {{issuer}} and {{challenge}}")]
pub struct UnknownName(String);

/// A denial that no server could send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDenial {
    #[error("a status is 400 to 499, or 500 to 599 for unavailable")]
    Status,
    #[error(
        "a content type is application/json, another one that ends in +json, or text/plain, perhaps with ;charset=utf-8"
    )]
    ContentType,
    #[error("the body is no JSON")]
    Json,
    #[error("a header is made of printable ASCII characters")]
    Header,
}

#[derive(Clone, Copy)]
enum Writing {
    Plain,
    /// Inside of a JSON string.
    Json,
}

impl Denials {
    /// How a challenge is worded. What is about a key, or about how the user signed in, has to be said as the standards do.
    pub fn of(&self, challenge: &Challenge<'_>) -> Option<&Denial> {
        match (challenge.scheme, challenge.error) {
            (Scheme::Bearer, ChallengeError::InvalidToken | ChallengeError::InvalidAudience) => {
                Some(&self.invalid_token)
            }
            (Scheme::Bearer, ChallengeError::InsufficientScope { .. }) => Some(&self.insufficient_scope),
            _ => None,
        }
    }

    /// The name of the first that no server could send, and why.
    pub fn check(&self) -> Result<(), (&'static str, BadDenial)> {
        let all = [
            ("missing_token", &self.missing_token, 400..=499),
            ("invalid_token", &self.invalid_token, 400..=499),
            ("insufficient_scope", &self.insufficient_scope, 400..=499),
            ("unavailable", &self.unavailable, 500..=599),
        ];
        all.into_iter().try_for_each(|(name, denial, statuses)| {
            let in_range = denial.status == 0 || statuses.contains(&denial.status);
            let checked = if in_range { denial.check() } else { Err(BadDenial::Status) };
            checked.map_err(|cause| (name, cause))
        })
    }
}

impl Denial {
    /// The body, if one is written down.
    pub fn body(&self, values: &Values<'_>) -> Option<Body> {
        let writing = if self.is_json() { Writing::Json } else { Writing::Plain };
        let text = || self.body.fill(values, writing);
        let is_there = !self.body.0.is_empty();
        is_there.then(|| Body { content_type: self.content_type.clone(), text: text() })
    }

    /// The header, if there is one.
    pub fn www_authenticate(&self, values: &Values<'_>) -> Option<String> {
        Some(self.www_authenticate.fill(values, Writing::Plain)).filter(|header| !header.is_empty())
    }

    /// The status, in place of the standard one.
    pub fn status(&self, standard: u16) -> u16 {
        if self.status == 0 { standard } else { self.status }
    }

    fn media_type(&self) -> &str {
        self.content_type.split(';').next().unwrap_or_default().trim_end()
    }

    fn is_json(&self) -> bool {
        self.media_type() != "text/plain"
    }

    fn check(&self) -> Result<(), BadDenial> {
        let (content_type, media_type) = (&self.content_type, self.media_type());
        let subtype = media_type.strip_prefix("application/").unwrap_or_default();
        let is_json = subtype == "json"
            || subtype.strip_suffix("+json").is_some_and(|kind| {
                !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            });
        let parameter = content_type[media_type.len()..].replace(' ', "").to_ascii_lowercase();
        if !(is_json || media_type == "text/plain") || !["", ";charset=utf-8"].contains(&&*parameter) {
            return Err(BadDenial::ContentType);
        }
        let scopes = ["a".into(), "b".into()];
        let values = Values { scopes: &scopes, issuer: "https://issuer.example", challenge: r#"Bearer scope="a b""# };
        let body = self.body(&values).filter(|_| is_json);
        if body.is_some_and(|body| serde_json::from_str::<serde::de::IgnoredAny>(&body.text).is_err()) {
            return Err(BadDenial::Json);
        }
        let header = self.www_authenticate(&values).unwrap_or_default();
        if header.bytes().all(|byte| matches!(byte, b' '..=b'~')) { Ok(()) } else { Err(BadDenial::Header) }
    }
}

impl Template {
    fn fill(&self, values: &Values<'_>, writing: Writing) -> String {
        let mut filled = String::new();
        for (text, name) in pieces(&self.0) {
            filled.push_str(text);
            let value = match name {
                "scopes" => values.scopes.join(" "),
                "issuer" => values.issuer.to_owned(),
                "challenge" => values.challenge.to_owned(),
                _ => continue,
            };
            match writing {
                Writing::Plain => filled.push_str(&value),
                Writing::Json => {
                    let quoted = serde_json::Value::from(value).to_string();
                    let _ = filled.write_str(&quoted[1..quoted.len() - 1]);
                }
            }
        }
        filled
    }
}

impl TryFrom<String> for Template {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, UnknownName> {
        let unknown =
            pieces(&text).map(|(_, name)| name).find(|name| !["", "scopes", "issuer", "challenge"].contains(name));
        match unknown.map(str::to_owned) {
            Some(name) => Err(UnknownName(name)),
            None => Ok(Self(text)),
        }
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0
    }
}

/// Texts, and the name in braces after each; the last has none.
fn pieces(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let name_at = |at: usize| {
            let (name, after) = text[at + 1..].split_once('}')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            is_name.then_some((&text[..at], name, after))
        };
        let found = text.match_indices('{').find_map(|(at, _)| name_at(at));
        rest = found.map(|(_, _, after)| after);
        Some(found.map_or((text, ""), |(before, name, _)| (before, name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        text.to_owned().try_into().expect("names that there are")
    }

    #[test]
    fn names_in_braces_are_filled_in_and_other_braces_are_left() {
        let scopes = ["read:x".to_owned(), "b'{issuer}".to_owned()];
        let values = Values { scopes: &scopes, issuer: "https://a.example/\"\\\n", challenge: "Bearer" };
        let filled = |text, writing| template(text).fill(&values, writing);
        assert_eq!(filled(r#"{"a":{"b":"[{scopes}]"}}{"#, Writing::Json), r#"{"a":{"b":"[read:x b'{issuer}]"}}{"#);
        assert_eq!(filled("{issuer}", Writing::Json), r#"https://a.example/\"\\\n"#);
        assert_eq!(filled("{}{issuer}{ scopes }", Writing::Plain), "{}https://a.example/\"\\\n{ scopes }");
        assert_eq!(Template::try_from("a {url}".to_owned()), Err(UnknownName("url".into())));
    }

    #[test]
    fn what_no_server_could_send_is_refused() {
        let body = |content_type: &str, body| Denial {
            content_type: content_type.into(),
            body: template(body),
            ..Denial::default()
        };
        let header = |text| Denial { www_authenticate: template(text), ..Denial::default() };
        for (denial, expected) in [
            (Denial::default(), Ok(())),
            (Denial { status: 403, ..Denial::default() }, Ok(())),
            (Denial { status: 200, ..Denial::default() }, Err(BadDenial::Status)),
            (Denial { status: 302, ..Denial::default() }, Err(BadDenial::Status)),
            (Denial { status: 503, ..Denial::default() }, Err(BadDenial::Status)),
            (body("text/plain; charset=utf-8", "Forbidden {scopes}"), Ok(())),
            (body("application/problem+json", r#"{"title":"{scopes}"}"#), Ok(())),
            (body("application/json;charset=utf-8", r#"{"title":{scopes}}"#), Err(BadDenial::Json)),
            (body("text/html", "<p>"), Err(BadDenial::ContentType)),
            (body("text/plain\r\nx: y", ""), Err(BadDenial::ContentType)),
            (body("application/x y+json", "{}"), Err(BadDenial::ContentType)),
            (header(r#"Bearer realm="api", scope="{scopes}""#), Ok(())),
            (header("Bearer\r\nx: y"), Err(BadDenial::Header)),
        ] {
            let all = Denials { missing_token: denial.clone(), ..Denials::default() };
            assert_eq!(all.check(), expected.map_err(|cause| ("missing_token", cause)), "{denial:?}");
        }
        let unavailable =
            |status| Denials { unavailable: Denial { status, ..Denial::default() }, ..Denials::default() };
        assert_eq!(unavailable(500).check(), Ok(()));
        assert_eq!(unavailable(401).check(), Err(("unavailable", BadDenial::Status)), "unknown is not bad");
    }
}
