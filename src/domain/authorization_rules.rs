//! What an operator decides about authorization requests: the rules that they are validated by, and how answers look. The defaults are
//! those of RFC 9700 and OAuth 2.1.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::authorization::{Fatal, Once};
use super::client::Client;
use super::error::{AccessDenied, InvalidRequest, InvalidScope, OAuthError};
use super::parameters::{Parameters, is_well_formed};
use super::pkce::PkceRules;
use super::redirect_rules::{RedirectChoice, RedirectRules};
use super::scope::{Implications, Scope, ScopeSet};

/// In a description: the redirect URI of the request.
const REDIRECT_URI: &str = "{redirect_uri}";
/// The longest part of it that is repeated, in bytes.
const MAX_REPEATED_URI: usize = 255;

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationRules {
    pub redirects: RedirectRules,
    pub pkce: PkceRules,
    pub scopes: ScopeRules,
    pub repeated: Repeated,
    pub malformed_query: MalformedQuery,
    pub answers: AnswerRules,
    pub spellings: Spellings,
    /// Where decisions come that are not those of our own page.
    pub api: Option<DecisionApi>,
}

/// Who is told of a parameter that comes twice. Of the client and the redirect URI, always the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeated {
    /// The client.
    #[default]
    Redirect,
    /// The user.
    Page,
}

/// What becomes of a query that is not made of names and values alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MalformedQuery {
    /// What can be read of it counts (RFC 6749 appendix B leaves that to HTML).
    #[default]
    Read,
    /// The user is told.
    Refuse,
}

/// How answers reach the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRules {
    pub status: RedirectStatus,
    /// Whether they say who answers (RFC 9207).
    pub name_issuer: bool,
    pub errors_of: ErrorsOf,
}

/// The status of a redirect. 302 leaves it to browsers whether they repeat a form; none does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum RedirectStatus {
    /// 303 (RFC 9700 §4.12).
    #[default]
    SeeOther,
    /// 302.
    Found,
}

/// Of which clients the errors are sent back at once. Those of others wait for the user on a page (RFC 9700 §4.11.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorsOf {
    #[default]
    VerifiedClients,
    AllClients,
}

/// Which scopes a request gets the user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRules {
    /// Those that the catalogue does not have.
    pub unknown: Beyond,
    /// Those that it has and the client may not ask for.
    pub beyond_client: Beyond,
    pub without: WithoutScope,
    /// An empty `scope`.
    pub empty: EmptyScope,
    pub separators: Separators,
    /// `None`: every scope is known.
    pub catalogue: Option<ScopeSet>,
    /// What the catalogue implies is not known by that.
    pub listed_only: bool,
}

/// What becomes of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// The request is refused.
    #[default]
    Refuse,
    /// The rest of the request counts.
    Drop,
    /// It is granted: whoever checks tokens has to know what it is worth.
    Keep,
}

/// What a request is for that names no scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WithoutScope {
    /// All that the client may ask for.
    #[default]
    All,
    /// Nothing: its tokens have no scope.
    None,
    /// These, as far as the client may ask for them.
    These(ScopeSet),
}

/// What stands between scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Separators {
    /// A space (RFC 6749 §3.3).
    #[default]
    Space,
    /// A comma does, too. No scope has one in it.
    SpaceOrComma,
}

/// What an empty `scope` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyScope {
    /// The same as none (RFC 6749 §3.1).
    #[default]
    Omitted,
    Refuse,
}

/// Where an app's own page sends what its user decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionApi {
    pub shape: ApiShape,
    pub path: String,
}

/// What such a request and its answer look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiShape {
    /// There is none.
    #[default]
    None,
    /// A form with `confirm`; JSON with `redirect_url`.
    FitTrackee,
    /// A form with `allow`; a redirect, or JSON with `redirect_uri` and `code`.
    Funkwhale,
    /// Our own page, with `transaction_id` and `cancel`.
    Gancio,
    /// Our own page, with `_csrf` and `granted`.
    Forgejo,
}

/// How errors are spelled that are not to be spelled as usual, by reason.
#[derive(Clone, Debug, Default)]
pub struct Spellings(BTreeMap<String, Spelling>);

/// What is said in place of the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spelling {
    /// The `error`. Empty: as usual.
    pub error: String,
    /// The `error_description`; on a page, what stands below its text. In the answer to a script, `{redirect_uri}` stands for that of the
    /// request. `None`: as usual; empty: there is none.
    pub description: Option<String>,
}

impl Default for AnswerRules {
    fn default() -> Self {
        Self { status: RedirectStatus::default(), name_issuer: true, errors_of: ErrorsOf::default() }
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Self, &'static str> {
        match status {
            303 => Ok(Self::SeeOther),
            302 => Ok(Self::Found),
            _ => Err("this is 303 or 302"),
        }
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        match status {
            RedirectStatus::SeeOther => 303,
            RedirectStatus::Found => 302,
        }
    }
}

impl AuthorizationRules {
    /// The same for a request in which the redirect URI counts, if there is one.
    #[must_use]
    pub fn by_request(&self) -> Self {
        let redirects = RedirectRules { choice: RedirectChoice::RequestedOrFirst, ..self.redirects.clone() };
        Self { redirects, ..self.clone() }
    }

    /// The parameters of a query, before anybody knows whose they are.
    pub fn parameters(&self, query: &str) -> Result<Parameters, Fatal> {
        if self.malformed_query == MalformedQuery::Refuse && !is_well_formed(query) {
            return Err(Fatal::Malformed);
        }
        let parameters = Parameters::parse(query.as_bytes()).map_err(|_| Fatal::Malformed)?;
        self.refuse_repeated(&parameters)?;
        Ok(parameters)
    }

    /// Refuses what comes twice, as far as the user is to be told.
    pub(super) fn refuse_repeated(&self, parameters: &Parameters) -> Result<(), Fatal> {
        let of_user = [("client_id", Once::ClientId), ("redirect_uri", Once::RedirectUri)];
        let of_either = [("response_type", Once::ResponseType), ("scope", Once::Scope), ("state", Once::State)];
        let of_either = of_either.into_iter().filter(|_| self.repeated == Repeated::Page);
        match of_user.into_iter().chain(of_either).find(|(name, _)| parameters.is_repeated(name)) {
            Some((_, once)) => Err(Fatal::Repeated(once)),
            None => Ok(()),
        }
    }
}

impl ScopeRules {
    /// Whether tokens may have no scope at all.
    pub fn admit_none(&self) -> bool {
        self.unknown != Beyond::Refuse || self.beyond_client != Beyond::Refuse || self.without != WithoutScope::All
    }

    /// What the user is asked for (RFC 6749 §3.3).
    pub(super) fn requested(
        &self,
        parameters: &Parameters,
        client: &Client,
        implications: &Implications,
    ) -> Result<ScopeSet, InvalidScope> {
        let is_known = |scope: &str| match &self.catalogue {
            Some(listed) if self.listed_only => listed.contains(scope),
            Some(known) => implications.satisfy(known, scope),
            None => true,
        };
        // Nobody may ask for what has to be listed and is not, whatever the client's scopes imply.
        let is_clients =
            |scope: &str| implications.satisfy(&client.scopes, scope) && (!self.listed_only || is_known(scope));
        let Some(text) = parameters.get("scope") else {
            if self.empty == EmptyScope::Refuse && parameters.all("scope").next().is_some() {
                return Err(InvalidScope::NotAllowed);
            }
            return Ok(match &self.without {
                WithoutScope::All => client.scopes.clone(),
                WithoutScope::None => ScopeSet::default(),
                WithoutScope::These(scopes) => scopes.filter(is_clients),
            });
        };
        let spaced = match self.separators {
            Separators::Space => Cow::Borrowed(text),
            Separators::SpaceOrComma => Cow::Owned(text.replace(',', " ").trim().to_owned()),
        };
        let text = &*spaced;
        let requested: ScopeSet = match self.unknown {
            Beyond::Refuse => text.parse()?,
            // What is no scope can be kept as little as anything else that is unknown.
            Beyond::Drop | Beyond::Keep => text.split(' ').filter_map(|scope| scope.parse::<Scope>().ok()).collect(),
        };
        if requested.is_empty() && self.unknown == Beyond::Refuse {
            return Err(InvalidScope::NotAllowed);
        }
        let becomes = |scope: &str| if is_known(scope) { self.beyond_client } else { self.unknown };
        if requested.iter().any(|scope| !is_clients(scope) && becomes(scope) == Beyond::Refuse) {
            return Err(InvalidScope::NotAllowed);
        }
        Ok(requested.filter(|scope| is_clients(scope) || becomes(scope) == Beyond::Keep))
    }
}

impl Spellings {
    /// The reasons that there are: of [`Fatal`] errors, and of those that go back to the client.
    pub const REASONS: [&str; 23] = [
        "client_missing",
        "client_unknown",
        "client_document",
        "redirect_uri_missing",
        "redirect_uri_malformed",
        "redirect_uri_unregistered",
        "request_uri",
        "malformed",
        "too_long",
        "client_id_repeated",
        "redirect_uri_repeated",
        "response_type_repeated",
        "scope_repeated",
        "state_repeated",
        "response_type_missing",
        "response_type_unsupported",
        "client_not_allowed",
        "challenge_missing",
        "challenge_method",
        "challenge",
        "scope",
        "denied",
        "other_scopes",
    ];

    pub fn new(spellings: BTreeMap<String, Spelling>) -> Self {
        Self(spellings)
    }

    /// `error` and `error_description`, which may be empty, of what goes back to the client.
    pub fn spell(&self, error: &OAuthError) -> (String, String) {
        let Spelling { error: code, description } = reason(error).map(|reason| self.of(reason)).unwrap_or_default();
        let code = if code.is_empty() { error.code().to_owned() } else { code };
        (code, description.unwrap_or_else(|| error.to_string()))
    }

    /// What a page adds. It does not repeat what it was asked.
    pub fn of_page(&self, fatal: Fatal) -> Option<String> {
        self.of_request(fatal, "")
    }

    /// What a script is told whose request had this redirect URI.
    pub fn of_request(&self, fatal: Fatal, redirect_uri: &str) -> Option<String> {
        let description = self.of(fatal.reason()).description.filter(|description| !description.is_empty());
        description.map(|description| description.replace(REDIRECT_URI, &repeated(redirect_uri)))
    }

    fn of(&self, reason: &str) -> Spelling {
        self.0.get(reason).cloned().unwrap_or_default()
    }
}

/// The beginning of what is to be a URI; what no URI has (RFC 3986 §2) is percent-encoded.
fn repeated(uri: &str) -> String {
    let is_of_uri = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let mut text = String::new();
    for byte in uri.bytes().take(MAX_REPEATED_URI) {
        if is_of_uri(byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a string takes everything");
        }
    }
    text
}

fn reason(error: &OAuthError) -> Option<&'static str> {
    Some(match error {
        OAuthError::InvalidRequest(InvalidRequest::Missing("response_type")) => "response_type_missing",
        OAuthError::UnsupportedResponseType => "response_type_unsupported",
        OAuthError::UnauthorizedClient => "client_not_allowed",
        OAuthError::InvalidRequest(InvalidRequest::ChallengeMissing) => "challenge_missing",
        OAuthError::InvalidRequest(InvalidRequest::ChallengeMethod) => "challenge_method",
        OAuthError::InvalidRequest(InvalidRequest::Challenge(_) | InvalidRequest::Verifier(_)) => "challenge",
        OAuthError::InvalidScope(_) => "scope",
        OAuthError::AccessDenied(AccessDenied::ByUser | AccessDenied::NoScopeKept) => "denied",
        OAuthError::AccessDenied(AccessDenied::OtherScopes) => "other_scopes",
        _ => return None,
    })
}
