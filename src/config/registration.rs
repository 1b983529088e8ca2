//! The section `[registration]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Host;

use super::{ConfigError, Secret};
use crate::domain::client_document::DocumentPolicy;
use crate::domain::language::ScopeMeaning;
use crate::domain::registration::{Gate, RegistrationPolicy};
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::secret::SecretHash;

/// The shortest initial access token.
const MIN_TOKEN_LENGTH: usize = 32;

/// Clients that register themselves (RFC 7591).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// `off`; `token`, for those who have the initial access token; or `open`, for everybody.
    pub mode: RegistrationMode,
    /// What they present with `token`: 32 random characters or more.
    pub initial_access_token: Secret,
    /// What they may ask for. Empty: all of `scopes.catalogue`, with those of OpenID Connect.
    pub scopes: Vec<String>,
    /// With `open`, how many may be registered from one address in an hour, by each server.
    pub per_hour: u32,
    /// How many there may be.
    pub max_clients: u32,
    /// One that gets no token for so long after its registration is deleted, in seconds.
    pub unused_lifetime: u32,
    /// Take clients whose `client_id` is the https URL of a document that says what they are (Client ID Metadata Documents). They are
    /// counted and limited apart from those that register themselves, and forgotten when they have no grant.
    pub client_id_metadata_documents: bool,
    /// The hosts of such URLs that are taken. Empty: any.
    pub client_id_hosts: Vec<String>,
    /// How many documents are read for requests from one address in an hour, by each server; for all addresses five times as many.
    /// Behind a proxy, all come from its address.
    pub documents_per_hour: u32,
    /// Whether they may say that their access tokens are JSON Web Tokens (`access_token_format`). Operators may in any case.
    pub jwt_access_tokens: bool,
}

/// Who may register a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationMode {
    Off,
    Token,
    Open,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            mode: RegistrationMode::Off,
            initial_access_token: Secret::default(),
            scopes: Vec::new(),
            per_hour: 20,
            max_clients: 1_000,
            unused_lifetime: 86_400,
            client_id_metadata_documents: false,
            client_id_hosts: Vec::new(),
            documents_per_hour: 120,
            jwt_access_tokens: false,
        }
    }
}

impl Registration {
    /// The catalogue has the scopes of OpenID Connect, as `scopes_supported` says it.
    pub(super) fn validate(&self, catalogue: &BTreeMap<String, ScopeMeaning>) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(&format!("registration.{key}"), why));
        if self.mode == RegistrationMode::Token && self.initial_access_token.expose().len() < MIN_TOKEN_LENGTH {
            return wrong(
                "initial_access_token",
                "this has 32 characters or more; `openssl rand -base64 32` makes one",
            );
        }
        let unknown = |scope: &&String| !catalogue.is_empty() && !catalogue.contains_key(*scope);
        if self.scopes.iter().any(|scope| !Scope::is_well_formed(scope))
            || self.scopes.iter().any(|scope| unknown(&scope))
        {
            return wrong("scopes", "these are scopes of scopes.catalogue");
        }
        let takes_any = self.mode != RegistrationMode::Off || self.client_id_metadata_documents;
        if takes_any && self.scopes.is_empty() && catalogue.is_empty() {
            return wrong(
                "scopes",
                "what clients may ask for that register themselves has to be said, here or in scopes.catalogue",
            );
        }
        for (key, number, most) in [
            ("per_hour", self.per_hour, 3_600),
            ("documents_per_hour", self.documents_per_hour, 3_600),
            ("max_clients", self.max_clients, 1_000_000),
            ("unused_lifetime", self.unused_lifetime, 86_400 * 365),
        ] {
            if !(1..=most).contains(&number) {
                return wrong(key, &format!("this is a number from 1 to {most}"));
            }
        }
        if self.client_id_hosts.iter().any(|host| Host::parse(host).map(|host| host.to_string()).as_ref() != Ok(host)) {
            return wrong("client_id_hosts", "these are host names in small letters, without a port");
        }
        Ok(())
    }

    pub(super) fn policy(&self, catalogue: &BTreeMap<String, ScopeMeaning>) -> RegistrationPolicy {
        let names: Vec<&str> = if self.scopes.is_empty() {
            catalogue.keys().map(String::as_str).collect()
        } else {
            self.scopes.iter().map(String::as_str).collect()
        };
        RegistrationPolicy {
            gate: match self.mode {
                RegistrationMode::Off => Gate::Nobody,
                RegistrationMode::Token => Gate::Token(SecretHash::of(self.initial_access_token.expose())),
                RegistrationMode::Open => Gate::Everybody { per_hour: self.per_hour },
            },
            scopes: names.join(" ").parse::<ScopeSet>().unwrap_or_default(),
            max_clients: self.max_clients,
            unused_lifetime: self.unused_lifetime,
            documents: self
                .client_id_metadata_documents
                .then(|| DocumentPolicy { hosts: self.client_id_hosts.clone(), per_hour: self.documents_per_hour }),
            jwt_access_tokens: self.jwt_access_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    const REQUIRED: &str = "issuer = 'https://i'\n[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

    fn policy(text: &str) -> Result<RegistrationPolicy, ConfigError> {
        let config = Layers::new().text(REQUIRED)?.text(text)?.build()?;
        Ok(config.registration.policy(&config.catalogue()))
    }

    #[test]
    fn n5_a_gate_that_would_be_open_by_mistake_is_no_configuration() {
        const CATALOGUE: &str = "[scopes.catalogue]\na = 'A'\nb = 'B'\n[registration]\n";
        assert!(matches!(policy("").expect("the defaults are good").gate, Gate::Nobody));
        let good = policy(&format!("{CATALOGUE}mode = 'open'")).expect("this is good");
        assert_eq!((good.scopes.as_str(), good.max_clients), ("a b openid profile", 1_000));
        let plain = policy(&format!("openid.enabled = false\n{CATALOGUE}mode = 'open'")).expect("this is good");
        assert_eq!(plain.scopes.as_str(), "a b", "without OpenID Connect");
        let narrowed = policy(&format!("{CATALOGUE}mode = 'open'\nscopes = ['b', 'openid']")).expect("this is good");
        assert_eq!(narrowed.scopes.as_str(), "b openid");
        for (text, key) in [
            ("mode = 'token'", "initial_access_token"),
            ("mode = 'token'\ninitial_access_token = 'short'", "initial_access_token"),
            ("mode = 'open'\nscopes = ['c']", "scopes"),
            ("mode = 'open'\nscopes = ['a b']", "scopes"),
            ("mode = 'open'\nmax_clients = 0", "max_clients"),
            ("mode = 'open'\nper_hour = 0", "per_hour"),
            ("mode = 'everybody'", "mode"),
            ("client_id_hosts = ['App.example']", "client_id_hosts"),
            ("client_id_hosts = ['app.example:443']", "client_id_hosts"),
            ("client_id_hosts = ['https://app.example']", "client_id_hosts"),
            ("documents_per_hour = 0", "documents_per_hour"),
        ] {
            let error = policy(&format!("{CATALOGUE}{text}")).expect_err(text).to_string();
            assert!(error.contains(&format!("registration.{key}")), "{text}: {error}");
        }
        for text in ["mode = 'open'", "client_id_metadata_documents = true"] {
            let undescribed = policy(&format!("[registration]\n{text}")).expect_err("any scope").to_string();
            assert!(undescribed.contains("registration.scopes"), "{undescribed}");
        }
    }
}
