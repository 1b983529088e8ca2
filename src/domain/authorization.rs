//! The authorization request (RFC 6749 §4.1.1), and the two kinds of its errors.
//!
//! A [`Fatal`] error is shown to the user, because the redirect URI cannot be trusted; a redirectable one goes back to
//! the client. Which is which is decided here, by the order of the checks.

use super::authorization_rules::{AnswerRules, AuthorizationRules, RedirectStatus};
use super::client::{Client, ClientId, GrantType};
use super::dpop::Thumbprint;
use super::error::{InvalidRequest, InvalidScope, OAuthError};
use super::openid::{OPENID, SignInRequest};
use super::parameters::Parameters;
use super::pkce::CodeChallenge;
use super::redirect_rules::RedirectChoice;
use super::redirect_uri::is_out_of_band;
use super::resource::ResourceCatalogue;
use super::scope::{Implications, ScopeSet};

/// What a `request_uri` of ours begins with (RFC 9126 §2.2).
pub const REQUEST_URI_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// A valid authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    pub client: ClientId,
    pub target: ResponseTarget,
    /// What the token request has to say in `redirect_uri`; empty: nothing (RFC 6749 §4.1.3).
    pub redirect_uri_at_token: String,
    pub scopes: ScopeSet,
    /// Where the tokens are to be good (RFC 8707 §2), in ascending order; none: not restricted.
    pub resources: Vec<Box<str>>,
    /// What the token request has to answer. None: nothing, and it may not try to.
    pub challenge: Option<CodeChallenge>,
    /// The key that the code is bound to (RFC 9449 §10).
    pub key: Option<Thumbprint>,
    /// What the client wants to know, or to be so, about the sign-in.
    pub sign_in: SignInRequest,
}

/// Where the answer goes, and how: a registered redirect URI, and the state to echo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTarget {
    redirect_uri: String,
    state: Option<String>,
    mode: ResponseMode,
    rules: AnswerRules,
    /// Where the code is shown to the user: the name of the client that it is for.
    shown_for: Option<String>,
}

/// How the answer travels (OAuth 2.0 Multiple Response Type Encoding Practices §2.1, Form Post Response Mode §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseMode {
    Query,
    FormPost,
}

/// An authorization response, for the browser to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationResponse {
    /// Go there, with 303.
    Redirect(String),
    /// Go there, with 302.
    RedirectFound(String),
    /// Post these fields there.
    FormPost { action: String, fields: Vec<(&'static str, String)> },
    /// Show the user the code, who carries it to the client of this name.
    Show { client_name: String, code: String },
    /// Show the user that there is no code.
    ShowError { error: String },
}

/// An error that must not redirect (RFC 6749 §4.1.2.1). A page tells the user, in the user's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error("The app did not say which app it is.")]
    ClientMissing,
    #[error("This app is not registered here, or it was removed.")]
    ClientUnknown,
    #[error(
        "What this app says about itself, at the address that is its name, could not be read or makes it no app that may come here."
    )]
    ClientDocument,
    #[error("The app did not say where to return to.")]
    RedirectUriMissing,
    #[error("The app asked to return to an address that is none.")]
    RedirectUriMalformed,
    #[error("The app asked to return to an address that is not registered for it.")]
    RedirectUriUnregistered,
    #[error("What the app asked for has expired, or was used before. Go back to the app and start again.")]
    RequestUri,
    #[error("The app sent something that makes no sense.")]
    Malformed,
    #[error("What the app asked for is too long for an address.")]
    TooLong,
    #[error("The app said something twice.")]
    Repeated(Once),
}

/// A parameter without which it is not clear who is told what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    ClientId,
    RedirectUri,
    ResponseType,
    Scope,
    State,
}

impl Fatal {
    /// What an operator calls it who wants it spelled in another way.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ClientMissing => "client_missing",
            Self::ClientUnknown => "client_unknown",
            Self::ClientDocument => "client_document",
            Self::RedirectUriMissing => "redirect_uri_missing",
            Self::RedirectUriMalformed => "redirect_uri_malformed",
            Self::RedirectUriUnregistered => "redirect_uri_unregistered",
            Self::RequestUri => "request_uri",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Repeated(Once::ClientId) => "client_id_repeated",
            Self::Repeated(Once::RedirectUri) => "redirect_uri_repeated",
            Self::Repeated(Once::ResponseType) => "response_type_repeated",
            Self::Repeated(Once::Scope) => "scope_repeated",
            Self::Repeated(Once::State) => "state_repeated",
        }
    }
}

/// Why an authorization request is refused, and who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    Page(Fatal),
    Redirect { target: ResponseTarget, error: OAuthError },
}

/// Which client asks. The first check of all: nothing else can be said before.
pub fn client_id(parameters: &Parameters) -> Result<ClientId, Fatal> {
    if parameters.is_repeated("client_id") {
        return Err(Fatal::Repeated(Once::ClientId));
    }
    parameters.get("client_id").ok_or(Fatal::ClientMissing)?.parse().map_err(|_| Fatal::ClientUnknown)
}

/// What a pushed request is called, if it is one (RFC 9126 §4).
pub fn request_uri(parameters: &Parameters) -> Result<Option<&str>, Fatal> {
    if parameters.is_repeated("request_uri") {
        return Err(Fatal::Malformed);
    }
    Ok(parameters.get("request_uri").and_then(|uri| uri.strip_prefix(REQUEST_URI_PREFIX)))
}

impl AuthorizationRequest {
    pub fn validate(
        parameters: &Parameters,
        client: &Client,
        rules: &AuthorizationRules,
        implications: &Implications,
        known: &ResourceCatalogue,
    ) -> Result<Self, Rejection> {
        let redirect_uri = redirect_uri(parameters, client, rules).map_err(Rejection::Page)?;
        let target = ResponseTarget {
            redirect_uri: redirect_uri.to_owned(),
            state: parameters.get("state").map(str::to_owned),
            mode: response_mode(parameters).unwrap_or(ResponseMode::Query),
            rules: rules.answers,
            shown_for: is_out_of_band(redirect_uri).then(|| client.name.clone()),
        };
        let checked = refuse_unsupported(parameters).and_then(|()| may_ask(client)).and_then(|()| {
            let challenge = rules.pkce.challenge(parameters, client)?;
            let scopes = rules.scopes.requested(parameters, client, implications)?;
            let resources = known.requested(parameters)?;
            let key: Option<Thumbprint> =
                parameters.get("dpop_jkt").map(str::parse).transpose().map_err(InvalidRequest::from)?;
            let sign_in = SignInRequest::parse(parameters)?;
            Ok((known.scopes_at(&resources, &scopes)?, resources, challenge, key, sign_in))
        });
        match checked {
            Ok((scopes, resources, challenge, key, sign_in)) => Ok(Self {
                client: client.id.clone(),
                redirect_uri_at_token: rules.redirects.kept(parameters.get("redirect_uri"), target.redirect_uri()),
                target,
                scopes,
                resources,
                challenge,
                key,
                sign_in,
            }),
            Err(error) => Err(Rejection::Redirect { target, error }),
        }
    }
}

/// RFC 6749 §3.1.2.3; omitting it is not for OpenID Connect (Core §3.1.2.1).
fn redirect_uri<'a>(
    parameters: &'a Parameters,
    client: &'a Client,
    rules: &AuthorizationRules,
) -> Result<&'a str, Fatal> {
    rules.refuse_repeated(parameters)?;
    let chosen = rules.redirects.chosen(parameters, client)?;
    let is_implied = parameters.get("redirect_uri").is_none() && asks_openid(parameters);
    chosen
        .filter(|_| !is_implied || rules.redirects.choice != RedirectChoice::Requested)
        .ok_or(Fatal::RedirectUriMissing)
}

fn asks_openid(parameters: &Parameters) -> bool {
    parameters.get("scope").is_some_and(|scope| scope.split(' ').any(|scope| scope == OPENID))
}

fn response_mode(parameters: &Parameters) -> Result<ResponseMode, InvalidRequest> {
    match parameters.get("response_mode") {
        None | Some("query") => Ok(ResponseMode::Query),
        Some("form_post") => Ok(ResponseMode::FormPost),
        Some(_) => Err(InvalidRequest::ResponseMode),
    }
}

fn refuse_unsupported(parameters: &Parameters) -> Result<(), OAuthError> {
    parameters.refuse_repeated()?;
    if parameters.get("request").is_some() {
        return Err(OAuthError::RequestNotSupported);
    }
    if parameters.get("request_uri").is_some() {
        return Err(OAuthError::RequestUriNotSupported);
    }
    if parameters.get("registration").is_some() {
        return Err(OAuthError::RegistrationNotSupported);
    }
    if parameters.require("response_type")? != "code" {
        return Err(OAuthError::UnsupportedResponseType);
    }
    response_mode(parameters)?;
    Ok(())
}

/// RFC 6749 §4.1.2.1: a client that comes by tokens in other ways alone has nothing to ask for here.
fn may_ask(client: &Client) -> Result<(), OAuthError> {
    if client.may_use(GrantType::AuthorizationCode) { Ok(()) } else { Err(OAuthError::UnauthorizedClient) }
}

/// RFC 6749 §3.3: without the parameter, everything that the client may ask for.
pub fn requested_scopes(
    parameters: &Parameters,
    client: &Client,
    rules: &Implications,
) -> Result<ScopeSet, InvalidScope> {
    let Some(text) = parameters.get("scope") else {
        return Ok(client.scopes.clone());
    };
    let requested: ScopeSet = text.parse()?;
    if requested.is_empty() || !requested.iter().all(|scope| rules.satisfy(&client.scopes, scope)) {
        return Err(InvalidScope::NotAllowed);
    }
    Ok(requested)
}

impl ResponseTarget {
    /// The registered redirect URI that the answer goes to.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// RFC 6749 §4.1.2 and RFC 9207 §2.
    pub fn with_code(&self, code: &str, issuer: &str) -> AuthorizationResponse {
        self.respond(vec![("code", code.to_owned())], issuer)
    }

    /// RFC 6749 §4.1.2.1 and RFC 9207 §2: an `error` and its description.
    pub fn with_error(&self, (error, description): (String, String), issuer: &str) -> AuthorizationResponse {
        self.with_words(&error, &description, issuer)
    }

    /// An error in the words of the app that asked the user. An empty description is none.
    pub fn with_words(&self, error: &str, description: &str, issuer: &str) -> AuthorizationResponse {
        let mut fields = vec![("error", error.to_owned())];
        fields.extend((!description.is_empty()).then(|| ("error_description", description.to_owned())));
        self.respond(fields, issuer)
    }

    /// For faults of ours, which RFC 6749 §4.1.2.1 has a code for too.
    pub fn with_temporarily_unavailable(&self, issuer: &str) -> AuthorizationResponse {
        self.respond(vec![("error", "temporarily_unavailable".to_owned())], issuer)
    }

    fn respond(&self, mut fields: Vec<(&'static str, String)>, issuer: &str) -> AuthorizationResponse {
        if let Some(client_name) = &self.shown_for {
            let (name, value) = fields.swap_remove(0);
            return match name {
                "code" => AuthorizationResponse::Show { client_name: client_name.clone(), code: value },
                _ => AuthorizationResponse::ShowError { error: value },
            };
        }
        self.send(&mut fields, issuer);
        match (self.mode, self.rules.status) {
            (ResponseMode::Query, RedirectStatus::SeeOther) => AuthorizationResponse::Redirect(self.location(&fields)),
            (ResponseMode::Query, RedirectStatus::Found) => {
                AuthorizationResponse::RedirectFound(self.location(&fields))
            }
            (ResponseMode::FormPost, _) => {
                AuthorizationResponse::FormPost { action: self.redirect_uri.clone(), fields }
            }
        }
    }

    /// A redirect as text, also where none would lead anywhere: for those who asked for it in a script.
    pub fn location_with_code(&self, code: &str, issuer: &str) -> String {
        let mut fields = vec![("code", code.to_owned())];
        self.send(&mut fields, issuer);
        self.location(&fields)
    }

    fn send(&self, fields: &mut Vec<(&'static str, String)>, issuer: &str) {
        fields.extend(self.state.clone().map(|state| ("state", state)));
        if self.rules.name_issuer {
            fields.push(("iss", issuer.to_owned()));
        }
    }

    fn location(&self, fields: &[(&'static str, String)]) -> String {
        with_query(&self.redirect_uri, fields)
    }
}

/// The parameters are appended to whatever query the URI was registered with (RFC 6749 §3.1.2).
pub fn with_query(uri: &str, parameters: &[(&str, String)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::authorization_rules::Spellings;
    use crate::domain::client::{ClientMetadata, ClientType, Introspects, Registrar};
    use crate::domain::resource::InvalidTarget;
    use crate::domain::timestamp::Timestamp;

    const CHALLENGE: &str = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    fn client(redirect_uris: &[&str]) -> Client {
        Client {
            id: "app".parse().expect("a client id"),
            name: "App".into(),
            client_type: ClientType::Public,
            redirect_uris: redirect_uris.iter().map(|uri| uri.parse().expect("a redirect URI")).collect(),
            scopes: "a b".parse().expect("scopes"),
            introspects: Introspects::Own,
            metadata: ClientMetadata::default(),
            created_at: Timestamp::from_unix(0),
            disabled_at: None,
            registrar: Registrar::Operator,
            last_used_at: None,
        }
    }

    fn validate(query: &str, redirect_uris: &[&str]) -> Result<AuthorizationRequest, Rejection> {
        let parameters = Parameters::parse(query.as_bytes()).expect("few parameters");
        let rules = AuthorizationRules::default();
        let (implications, known) = (Implications::default(), ResourceCatalogue::default());
        AuthorizationRequest::validate(&parameters, &client(redirect_uris), &rules, &implications, &known)
    }

    fn redirected(query: &str) -> OAuthError {
        match validate(query, &["https://c/cb"]) {
            Err(Rejection::Redirect { error, .. }) => error,
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn a1_a2_a21_the_client_is_named_exactly_once() {
        for (query, expected) in [
            ("", Fatal::ClientMissing),
            ("client_id=", Fatal::ClientMissing),
            ("client_id=a&client_id=a", Fatal::Repeated(Once::ClientId)),
            ("client_id=a%20b", Fatal::ClientUnknown),
        ] {
            let parameters = Parameters::parse(query.as_bytes()).expect("few parameters");
            assert_eq!(client_id(&parameters), Err(expected), "{query}");
        }
    }

    #[test]
    fn a3_a4_a21_a_doubtful_redirect_uri_is_never_followed() {
        let one = ["https://c/cb"].as_slice();
        let two = ["https://c/cb", "https://c/2"].as_slice();
        for (query, registered, expected) in [
            ("redirect_uri=https://evil/cb", one, Fatal::RedirectUriUnregistered),
            ("redirect_uri=https://c/cb&redirect_uri=https://c/cb", one, Fatal::Repeated(Once::RedirectUri)),
            ("redirect_uri=https:%5C%5Cc/cb", one, Fatal::RedirectUriMalformed),
            ("", two, Fatal::RedirectUriMissing),
            ("redirect_uri=", two, Fatal::RedirectUriMissing),
            ("", &[], Fatal::RedirectUriMissing),
        ] {
            let query = format!("response_type=code&{CHALLENGE}&{query}");
            assert_eq!(validate(&query, registered), Err(Rejection::Page(expected)), "{query}");
        }
        let request = validate(&format!("response_type=code&{CHALLENGE}"), one).expect("the only one is meant");
        assert_eq!(request.target.redirect_uri(), "https://c/cb");
        assert_eq!(request.redirect_uri_at_token, "");
    }

    #[test]
    fn a14_a15_a17_a21_a26_to_a31_a38_a51_everything_else_goes_back_to_the_client() {
        for (query, expected) in [
            (String::new(), InvalidRequest::Missing("response_type").into()),
            ("response_type=token".into(), OAuthError::UnsupportedResponseType),
            ("response_type=code+token".into(), OAuthError::UnsupportedResponseType),
            (format!("response_type=code&{CHALLENGE}&scope=c"), InvalidScope::NotAllowed.into()),
            (
                format!("response_type=code&{CHALLENGE}&scope=a+%22"),
                InvalidScope::Malformed(crate::domain::scope::MalformedScope).into(),
            ),
            (format!("response_type=code&{CHALLENGE}&state=1&state=1"), InvalidRequest::Repeated.into()),
            ("response_type=code".into(), InvalidRequest::ChallengeMissing.into()),
            ("response_type=code&code_challenge_method=S256".into(), InvalidRequest::ChallengeMissing.into()),
            (CHALLENGE.replace("S256", "plain") + "&response_type=code", InvalidRequest::ChallengeMethod.into()),
            (CHALLENGE.replace("S256", "S512") + "&response_type=code", InvalidRequest::ChallengeMethod.into()),
            (
                CHALLENGE.replace("&code_challenge_method=S256", "") + "&response_type=code",
                InvalidRequest::ChallengeMethod.into(),
            ),
            (
                CHALLENGE.replace("E9", "E") + "&response_type=code",
                InvalidRequest::Challenge(crate::domain::pkce::MalformedCodeChallenge).into(),
            ),
            (
                format!("response_type=code&{CHALLENGE}&dpop_jkt=x"),
                InvalidRequest::Thumbprint(crate::domain::dpop::MalformedThumbprint).into(),
            ),
            (format!("response_type=code&{CHALLENGE}&resource=x"), InvalidTarget::Malformed.into()),
            (format!("response_type=code&{CHALLENGE}&request=x"), OAuthError::RequestNotSupported),
            (format!("response_type=code&{CHALLENGE}&request_uri=https://evil"), OAuthError::RequestUriNotSupported),
            (format!("response_type=code&{CHALLENGE}&registration=%7B%7D"), OAuthError::RegistrationNotSupported),
            (format!("response_type=code&{CHALLENGE}&response_mode=fragment"), InvalidRequest::ResponseMode.into()),
            (format!("response_type=code&{CHALLENGE}&prompt=none+login"), InvalidRequest::Prompt.into()),
            (format!("response_type=code&{CHALLENGE}&prompt=create"), InvalidRequest::Prompt.into()),
            (format!("response_type=code&{CHALLENGE}&max_age=-1"), InvalidRequest::MaxAge.into()),
        ] {
            assert_eq!(redirected(&query), expected, "{query}");
        }
    }

    #[test]
    fn a7_a18_a19_a20_the_answer_keeps_the_query_and_echoes_the_state() {
        let query = format!("response_type=code&{CHALLENGE}&redirect_uri=https://c/cb?a=1&state=%26%3D+%C3%A4%22");
        let target = validate(&query, &["https://c/cb?a=1"]).expect("a good request").target;
        let redirect = |location: &str| AuthorizationResponse::Redirect(location.into());
        assert_eq!(
            target.with_code("xyz", "https://i"),
            redirect("https://c/cb?a=1&code=xyz&state=%26%3D+%C3%A4%22&iss=https%3A%2F%2Fi")
        );
        let target = validate(&format!("response_type=code&{CHALLENGE}&state="), &["https://c/cb"])
            .expect("a good request")
            .target;
        assert_eq!(
            target.with_error(Spellings::default().spell(&OAuthError::UnsupportedResponseType), "https://i"),
            redirect(
                "https://c/cb?error=unsupported_response_type&error_description=response_type+is+code&iss=https%3A%2F%2Fi"
            )
        );
    }

    #[test]
    fn a51_with_form_post_the_answer_is_a_form_and_so_are_errors() {
        let query = format!("response_type=code&{CHALLENGE}&response_mode=form_post&state=s");
        let target = validate(&query, &["https://c/cb"]).expect("a good request").target;
        let fields = vec![("code", "xyz".into()), ("state", "s".into()), ("iss", "https://i".into())];
        let expected = AuthorizationResponse::FormPost { action: "https://c/cb".into(), fields };
        assert_eq!(target.with_code("xyz", "https://i"), expected);
        match validate("response_type=token&response_mode=form_post", &["https://c/cb"]) {
            Err(Rejection::Redirect { target, error }) => {
                assert!(matches!(
                    target.with_error(Spellings::default().spell(&error), "https://i"),
                    AuthorizationResponse::FormPost { .. }
                ));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a5_openid_needs_the_redirect_uri() {
        let query = format!("response_type=code&{CHALLENGE}&scope=openid");
        assert_eq!(validate(&query, &["https://c/cb"]), Err(Rejection::Page(Fatal::RedirectUriMissing)));
    }

    #[test]
    fn without_a_scope_parameter_the_user_is_asked_for_all_that_the_client_may_have() {
        let query = format!("response_type=code&{CHALLENGE}");
        assert_eq!(validate(&query, &["https://c/cb"]).expect("a good request").scopes.as_str(), "a b");
    }
}
