//! The section `[login]`.

use std::str::FromStr as _;
use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Outgoing};
use crate::domain::network::Network;
use crate::domain::outgoing::OutgoingUrl;
use crate::effects::outgoing::OutgoingPolicy;
use crate::service::app_sign_in::{self, LoginMethod, SessionProbe, TrustedHeaders};
use crate::service::interaction::AppPages;

/// Who the users are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// How they are known: `accounts`, the built-in login; `session_probe`, where the app is asked who has its cookies;
    /// `trusted_header`, where a proxy in front says it; or `challenge`, where browsers are sent to the app with a challenge, which it
    /// answers over gRPC (`InteractionService`) or REST (`login.rest`).
    pub method: Method,
    /// With `accounts`, how long a browser stays signed in, in seconds. With `challenge`, where the app says that it stays so, and not how
    /// long.
    pub session_lifetime: u32,
    /// Whose the names of users are; empty: those of the method. Who is known in one realm is not let in from another. To change the
    /// method and keep the users, where both name the same people alike, set this to the method before. Not `accounts`.
    pub realm: String,
    /// The page of the app where users sign in. Required with `session_probe` and with `challenge`, where clients may have others; with `trusted_header`, users whom the proxy does not name
    /// are told that they cannot sign in if this is empty.
    pub url: String,
    /// With `session_probe` and `trusted_header`, the parameter that tells this page where to send the browser afterwards: a URL of this server.
    pub return_to: String,
    /// With `session_probe` and `trusted_header`, the page of the app where who is signed in makes way for somebody else: a link on the pages
    /// that name the user leads there, with `return_to`. Empty: `login.url` with `prompt=login`, if there is one.
    pub switch_url: String,
    /// With `challenge`, the page of the app where users say what clients may do. Empty: our own page asks them.
    pub consent_url: String,
    /// With `challenge`, how long the user has at the app, in seconds. 60 to 3600.
    pub challenge_lifetime: u32,
    /// With `challenge`, whether the app may answer at `/admin/oauth2/auth/requests` of the HTTP port, too, in the shape of Ory Hydra's API.
    /// Callers with the permission `interact` may, by their tokens.
    pub rest: bool,
    /// The URL of the app that says whose the cookies are that it gets.
    pub probe_url: String,
    /// The names of the cookies that it gets. Empty: all but those of this server.
    pub probe_cookies: Vec<String>,
    /// The schemes of `Authorization` headers that it gets beside the cookies, such as `Bearer`, for users who show their own token of
    /// the app. Tokens of this server are never passed on. Empty: it gets none.
    pub probe_authorization: Vec<String>,
    /// How long it may take, in milliseconds. 100 to 10000.
    pub probe_timeout: u32,
    /// The header in which the proxies of `http.trusted_proxies` name the user. They have to remove what browsers send under this name.
    pub subject_header: String,
    /// Those with the name for people to read, and with the address of e-mail. Empty: there is none.
    pub name_header: String,
    pub email_header: String,
}

/// How users are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    Accounts,
    SessionProbe,
    TrustedHeader,
    Challenge,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            method: Method::Accounts,
            session_lifetime: 12 * 3_600,
            realm: String::new(),
            url: String::new(),
            return_to: "return_to".into(),
            switch_url: String::new(),
            consent_url: String::new(),
            challenge_lifetime: 1_800,
            rest: true,
            probe_url: String::new(),
            probe_cookies: Vec::new(),
            probe_authorization: Vec::new(),
            probe_timeout: 1_500,
            subject_header: String::new(),
            name_header: String::new(),
            email_header: String::new(),
        }
    }
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::SessionProbe => "session_probe",
            Self::TrustedHeader => "trusted_header",
            Self::Challenge => "challenge",
        }
    }
}

impl Login {
    pub(super) fn validate(&self, proxies: &[Network]) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why));
        if self.realm == Method::Accounts.as_str() {
            return wrong("login.realm", "the realm of the built-in login has its own users alone");
        }
        if self.realm.len() > 64 || !self.realm.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("login.realm", "this is at most 64 printable ASCII characters other than space");
        }
        if !(100..=10_000).contains(&self.probe_timeout) {
            return wrong("login.probe_timeout", "this is a number of milliseconds from 100 to 10000");
        }
        if !(60..=3_600).contains(&self.challenge_lifetime) {
            return wrong("login.challenge_lifetime", "this is a number of seconds from 60 to 3600");
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if !is_name(&self.return_to) {
            return wrong("login.return_to", "this is the name of a parameter");
        }
        for (key, url, required) in [
            ("login.url", &self.url, matches!(self.method, Method::SessionProbe | Method::Challenge)),
            ("login.switch_url", &self.switch_url, false),
            ("login.consent_url", &self.consent_url, false),
            ("login.probe_url", &self.probe_url, self.method == Method::SessionProbe),
        ] {
            if (required || !url.is_empty()) && OutgoingUrl::from_str(url).is_err() {
                return wrong(key, "this is an http or https URL of the app without user, password and fragment");
            }
        }
        let is_cookie = |name: &String| HeaderName::from_str(name).is_ok();
        if !self.probe_cookies.iter().all(is_cookie) {
            return wrong("login.probe_cookies", "these are names of cookies");
        }
        // The name of a scheme is made of the same characters (RFC 9110 §11.1).
        if !self.probe_authorization.iter().all(is_cookie) {
            return wrong("login.probe_authorization", "these are names of schemes, such as Bearer");
        }
        for (key, header, required) in [
            ("login.subject_header", &self.subject_header, self.method == Method::TrustedHeader),
            ("login.name_header", &self.name_header, false),
            ("login.email_header", &self.email_header, false),
        ] {
            if (required || !header.is_empty()) && (HeaderName::from_str(header).is_err() || proxies.is_empty()) {
                return wrong(key, "this is the name of a header, and needs http.trusted_proxies");
            }
        }
        Ok(())
    }

    pub(super) fn settings(&self, proxies: &[Network]) -> app_sign_in::Login {
        let header = |name: &str| HeaderName::from_str(name).ok();
        let page = |url: &str| OutgoingUrl::from_str(url).ok().map(|url| (url, self.return_to.clone()));
        let probe = OutgoingUrl::from_str(&self.probe_url).ok();
        let method = match self.method {
            Method::Accounts => LoginMethod::Accounts,
            Method::SessionProbe => LoginMethod::SessionProbe(SessionProbe {
                url: probe.expect("it was checked"),
                cookies: self.probe_cookies.clone(),
                authorization: self.probe_authorization.iter().map(|scheme| scheme.to_ascii_lowercase()).collect(),
            }),
            Method::TrustedHeader => LoginMethod::TrustedHeader(TrustedHeaders {
                subject: header(&self.subject_header).expect("it was checked"),
                name: header(&self.name_header),
                email: header(&self.email_header),
                proxies: proxies.to_vec(),
            }),
            Method::Challenge => LoginMethod::Challenge(Box::new(AppPages {
                login: OutgoingUrl::from_str(&self.url).expect("it was checked"),
                consent: OutgoingUrl::from_str(&self.consent_url).ok(),
                lifetime: self.challenge_lifetime,
                rest: self.rest,
            })),
        };
        app_sign_in::Login {
            method,
            realm: if self.realm.is_empty() { self.method.as_str().into() } else { self.realm.clone() },
            page: page(&self.url),
            switch_page: page(&self.switch_url),
        }
    }

    /// What requests to the app are made by. It may be anywhere: the operator says where.
    pub fn policy(&self, outgoing: &Outgoing) -> Result<OutgoingPolicy, ConfigError> {
        let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| Network::from_str(network).ok()).collect();
        let timeout = Duration::from_millis(self.probe_timeout.into());
        Ok(OutgoingPolicy { enabled: true, allowed_networks: everywhere, timeout, ..outgoing.policy()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    const REQUIRED: &str = "issuer = 'https://i'\n[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n[login]\nmethod = 'challenge'\n";

    #[test]
    fn users_cannot_be_sent_to_an_app_that_is_nowhere() {
        let configured = |text: &str| Layers::new().text(&format!("{REQUIRED}{text}"))?.build();
        let url = "url = 'https://app.example/login'";
        let good = configured(url).expect("this is good");
        assert_eq!(
            (good.login.method, good.login.rest, good.login.challenge_lifetime),
            (Method::Challenge, true, 1_800)
        );
        for (text, key) in [
            (String::new(), "login.url"),
            ("url = 'javascript:alert(1)'".into(), "login.url"),
            (format!("{url}\nconsent_url = '/consent'"), "login.consent_url"),
            (format!("{url}\nswitch_url = 'javascript:alert(1)'"), "login.switch_url"),
            (format!("{url}\nchallenge_lifetime = 59"), "login.challenge_lifetime"),
            (format!("{url}\nchallenge_lifetime = 3601"), "login.challenge_lifetime"),
        ] {
            let error = configured(&text).expect_err(&text).to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
