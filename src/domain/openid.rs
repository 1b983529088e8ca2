//! What a client asks and learns about the sign-in (OpenID Connect Core §2 and §3.1.2.1).

use serde::{Deserialize, Serialize};

use super::app_user::UserClaims;
use super::error::{InvalidRequest, OAuthError};
use super::grant::{SessionId, SubjectId};
use super::interaction::AppSignIn;
use super::parameters::Parameters;
use super::step_up::UserAuthentication;
use super::timestamp::Timestamp;

/// The scope that makes a request one of OpenID Connect.
pub const OPENID: &str = "openid";
/// The scope for the user's names.
pub const PROFILE: &str = "profile";
/// The scope for the user's address of e-mail.
pub const EMAIL: &str = "email";
/// The scope for the user's groups, where they are told.
pub const GROUPS: &str = "groups";

/// Authentication with a password: level 1 of ISO/IEC 29115 (OpenID Connect Core §2).
pub const ACR: &str = "1";

/// A longer nonce is refused: it is stored with the grant.
const MAX_NONCE_LENGTH: usize = 1_024;

/// What the client wants to know, or to be so, about the sign-in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInRequest {
    pub prompt: Prompt,
    /// The sign-in may be so many seconds old.
    pub max_age: Option<u32>,
    /// To be repeated in the ID token.
    pub nonce: Option<String>,
    /// Who the client thinks is there: something to fill into the form.
    pub login_hint: Option<String>,
    /// Which languages the user reads, the best first.
    pub ui_locales: Option<String>,
    /// Who the client thinks is there: an ID token.
    pub id_token_hint: Option<String>,
    /// Whether the client asks for an authentication context class.
    pub asks_for_class: bool,
}

/// What the user has to be shown. The consent page offers another account, so `select_account` is as good as `consent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    #[default]
    Anything,
    /// Nothing at all.
    None,
    /// The login page, also to a user who is signed in.
    Login,
    /// The consent page, also where it was answered before.
    Consent,
    /// Both.
    LoginAndConsent,
}

impl SignInRequest {
    /// Who asks for authentication context classes that nobody can have here is told so: to sign in would change nothing
    /// (RFC 9470 §5, OpenID Connect Core Error Code `unmet_authentication_requirements` §1).
    pub fn parse(parameters: &Parameters) -> Result<Self, OAuthError> {
        let max_age = parameters.get("max_age").map(|age| age.parse().map_err(|_| InvalidRequest::MaxAge));
        let text = |name: &str| parameters.get(name).map(str::to_owned);
        if parameters.get("nonce").is_some_and(|nonce| nonce.len() > MAX_NONCE_LENGTH) {
            return Err(InvalidRequest::Nonce.into());
        }
        if parameters.get("acr_values").is_some_and(|values| !values.split(' ').any(|acr| acr == ACR)) {
            return Err(OAuthError::UnmetAuthenticationRequirements);
        }
        Ok(Self {
            prompt: Prompt::parse(parameters.get("prompt").unwrap_or_default())?,
            max_age: max_age.transpose()?,
            nonce: text("nonce"),
            login_hint: text("login_hint"),
            ui_locales: text("ui_locales"),
            id_token_hint: text("id_token_hint"),
            asks_for_class: parameters.get("acr_values").is_some(),
        })
    }
}

impl Prompt {
    /// OpenID Connect Core §3.1.2.1: a list of words, and `none` only alone.
    fn parse(text: &str) -> Result<Self, InvalidRequest> {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        if words == ["none"] {
            return Ok(Self::None);
        }
        if !words.iter().all(|word| matches!(*word, "login" | "consent" | "select_account")) {
            return Err(InvalidRequest::Prompt);
        }
        let consent = words.iter().any(|word| *word != "login");
        Ok(match (words.contains(&"login"), consent) {
            (false, false) => Self::Anything,
            (true, false) => Self::Login,
            (false, true) => Self::Consent,
            (true, true) => Self::LoginAndConsent,
        })
    }

    /// Whether a user who is signed in has to sign in again.
    pub fn asks_to_sign_in(self) -> bool {
        matches!(self, Self::Login | Self::LoginAndConsent)
    }

    /// Whether a user has to be asked who allowed all of it before.
    pub fn asks_for_consent(self) -> bool {
        matches!(self, Self::Consent | Self::LoginAndConsent)
    }
}

/// How the user signed in, as ID tokens and introspection tell it. Kept with the grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `None` where the app that knows the user does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// How (RFC 8176 §2), as far as a login app says; `None`: it was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amr: Option<Vec<String>>,
}

impl Authentication {
    /// With a password, here.
    pub fn new(request: &SignInRequest, signed_in_at: Timestamp) -> Self {
        Self { acr: Some(ACR.to_owned()), ..Self::elsewhere(request, Some(signed_in_at)) }
    }

    /// In the way that a login app says.
    pub fn at_app(request: &SignInRequest, signed_in_at: Timestamp, sign_in: &AppSignIn) -> Self {
        let (acr, amr) = (sign_in.acr.clone(), Some(sign_in.amr.clone()));
        Self { acr, amr, ..Self::elsewhere(request, Some(signed_in_at)) }
    }

    /// In whichever way the app has.
    pub fn elsewhere(request: &SignInRequest, signed_in_at: Option<Timestamp>) -> Self {
        Self { auth_time: signed_in_at.map(Timestamp::as_unix), nonce: request.nonce.clone(), acr: None, amr: None }
    }

    /// What access tokens of the grant stand for, if it is known when the user signed in.
    pub fn of_user(&self) -> Option<UserAuthentication> {
        let auth_time = Timestamp::from_unix(self.auth_time?);
        Some(UserAuthentication { auth_time, acr: self.acr.as_deref().map(Into::into) })
    }

    /// As ID tokens tell it: with how it was (RFC 8176 §2), where that is known. The class that is ours is that of passwords.
    #[must_use]
    pub fn told(self) -> Self {
        let amr = match self.amr {
            Some(methods) => Some(methods).filter(|methods| !methods.is_empty()),
            None => self.acr.is_some().then(|| vec!["pwd".to_owned()]),
        };
        Self { amr, ..self }
    }

    /// What an ID token of a refresh says: all but the nonce (OpenID Connect Core §12.2).
    #[must_use]
    pub fn without_nonce(self) -> Self {
        Self { nonce: None, ..self }
    }
}

/// The claims of an ID token (OpenID Connect Core §2).
#[derive(Serialize)]
pub struct IdTokenClaims<'a> {
    pub iss: &'a str,
    pub sub: &'a str,
    pub aud: Audience<&'a str>,
    pub exp: i64,
    pub iat: i64,
    #[serde(flatten)]
    pub authentication: &'a Authentication,
    pub at_hash: String,
    /// The browser session (OpenID Connect Back-Channel Logout §2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// What the app says of the user, as far as the scopes go.
    #[serde(flatten)]
    pub user: Option<UserClaims>,
}

/// For whom an ID token is: one client, as text or in an array (OpenID Connect Core §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience<T> {
    Text(T),
    Array([T; 1]),
}

impl<T> Audience<T> {
    /// `as_array`: how clients of another system expect it.
    pub fn new(client: T, as_array: bool) -> Self {
        if as_array { Self::Array([client]) } else { Self::Text(client) }
    }

    /// The client.
    pub fn client(self) -> T {
        match self {
            Self::Text(client) | Self::Array([client]) => client,
        }
    }
}

/// What a client tells by an ID token that it once got.
#[derive(Debug, Deserialize)]
pub struct HintClaims {
    iss: String,
    sub: String,
    aud: Audience<String>,
    #[serde(default)]
    sid: Option<String>,
}

/// An ID token of ours, maybe of long ago: for whom it was, and about whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub client: String,
    pub subject: SubjectId,
    pub session: Option<SessionId>,
}

impl HintClaims {
    /// `None` for a token of another issuer. That it has expired does not matter (OpenID Connect Core §3.1.2.1).
    pub fn into_hint(self, issuer: &str) -> Option<Hint> {
        (self.iss == issuer).then(|| Hint {
            client: self.aud.client(),
            subject: SubjectId::new(self.sub),
            session: self.sid.and_then(|sid| sid.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a35_none_stands_alone() {
        for (text, expected) in [
            ("", Ok(Prompt::Anything)),
            ("none", Ok(Prompt::None)),
            ("login", Ok(Prompt::Login)),
            ("login login", Ok(Prompt::Login)),
            ("consent login", Ok(Prompt::LoginAndConsent)),
            ("select_account", Ok(Prompt::Consent)),
            ("none login", Err(InvalidRequest::Prompt)),
            ("none none", Err(InvalidRequest::Prompt)),
            ("NONE", Err(InvalidRequest::Prompt)),
        ] {
            assert_eq!(Prompt::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_sign_in_is_told_with_the_nonce_of_its_request() {
        let parameters = Parameters::parse(b"nonce=n&acr_values=2+1&max_age=0").expect("few parameters");
        let request = SignInRequest::parse(&parameters).expect("a good request");
        assert_eq!(request.max_age, Some(0));
        let told = Authentication::new(&request, Timestamp::from_unix(7));
        assert_eq!(serde_json::to_string(&told).expect("JSON"), r#"{"auth_time":7,"nonce":"n","acr":"1"}"#);
        let told = Authentication::new(&SignInRequest::default(), Timestamp::from_unix(7));
        assert_eq!(serde_json::to_string(&told).expect("JSON"), r#"{"auth_time":7,"acr":"1"}"#);
    }

    #[test]
    fn a_class_that_nobody_can_have_is_refused() {
        for (query, expected) in [("acr_values=2", false), ("acr_values=11+2", false), ("acr_values=2+1", true)] {
            let parameters = Parameters::parse(query.as_bytes()).expect("few parameters");
            let parsed = SignInRequest::parse(&parameters).map(drop);
            assert_eq!(parsed.is_ok(), expected, "{query}");
            assert!(expected || parsed == Err(OAuthError::UnmetAuthenticationRequirements));
        }
    }
}
