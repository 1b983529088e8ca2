//! The section `[apps]`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::client::ClientId;
use crate::domain::language::ScopeMeaning;
use crate::domain::redirect_uri::RedirectUri;
use crate::domain::scope::{Scope, ScopeSet};
use crate::service::apps::{AppsApi, AppsPolicy, BuiltInClient, RateLimit};

/// The longest time over which registrations are counted: a month.
const MAX_SECONDS: u32 = 31 * 86_400;

/// How apps are registered and managed over HTTP, as other systems have it. `[registration]` is the standard's way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apps {
    /// Paths, members and texts of the API: `none`; `fittrackee`, `/api/oauth/apps`; `funkwhale`, `/api/v1/oauth/apps` and
    /// `/api/v1/oauth/grants`; `gancio`, `/api/client` and `/api/clients`; or `forgejo`, `/api/v1/user/applications/oauth2`. With `funkwhale`
    /// and `gancio`, whoever is not signed in registers apps, too; they are limited and deleted by `registration.max_clients` and
    /// `registration.unused_lifetime`. How many a user may have, `account.max_clients_per_user` says.
    pub api: Api,
    /// What apps may ask for; other scopes are left out. Empty: all of `scopes.catalogue`, with those of OpenID Connect. Where that is
    /// empty, too, no app can be registered.
    pub scopes: Vec<String>,
    /// So many apps may be registered from one address without a user in `address_seconds`, by each server.
    pub per_address: u32,
    pub address_seconds: u32,
    /// So many may a user register in `user_seconds`, by each server. 0: there is no such limit.
    pub per_user: u32,
    pub user_seconds: u32,
    /// Whether an app of a user is unknown to all other users, who cannot authorize it then.
    pub owner_only: bool,
    /// Public clients that are there because they are named here. They cannot be changed elsewhere; one that is not named any more is
    /// disabled at the next start, and its tokens are revoked.
    pub built_in: Vec<BuiltIn>,
}

/// The shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    None,
    FitTrackee,
    Funkwhale,
    Gancio,
    Forgejo,
}

/// One client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltIn {
    pub client_id: String,
    pub name: String,
    pub redirect_uris: Vec<String>,
    /// What it may ask for. Empty: what apps may.
    #[serde(default)]
    pub scopes: Vec<String>,
}

impl Default for Apps {
    fn default() -> Self {
        Self {
            api: Api::None,
            scopes: Vec::new(),
            per_address: 10,
            address_seconds: 86_400,
            per_user: 0,
            user_seconds: 3_600,
            owner_only: false,
            built_in: Vec::new(),
        }
    }
}

impl Apps {
    pub(super) fn validate(&self, catalogue: &BTreeMap<String, ScopeMeaning>) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(&format!("apps.{key}"), why));
        let unknown =
            |scope: &String| !Scope::is_well_formed(scope) || !catalogue.is_empty() && !catalogue.contains_key(scope);
        if self.scopes.iter().any(unknown) {
            return wrong("scopes", "these are scopes of scopes.catalogue");
        }
        for (key, number, range) in [
            ("per_address", self.per_address, 1..=3_600),
            ("address_seconds", self.address_seconds, 1..=MAX_SECONDS),
            ("per_user", self.per_user, 0..=3_600),
            ("user_seconds", self.user_seconds, 1..=MAX_SECONDS),
        ] {
            if !range.contains(&number) {
                return wrong(key, &format!("this is a number from {} to {}", range.start(), range.end()));
            }
        }
        let mut ids = BTreeSet::new();
        for client in &self.built_in {
            let good = client.client_id.parse::<ClientId>().is_ok()
                && !client.client_id.contains("://")
                && ids.insert(&client.client_id);
            if !good {
                return wrong("built_in", "each client_id is that of one client, and no URL");
            }
            if client.name.trim().is_empty()
                || client.name.chars().count() > 200
                || client.name.chars().any(char::is_control)
            {
                return wrong("built_in", "a name has 1 to 200 characters that can be seen");
            }
            let uris = &client.redirect_uris;
            if uris.is_empty() || uris.len() > 20 || !uris.iter().all(|uri| uri.parse::<RedirectUri>().is_ok()) {
                return wrong("built_in", "redirect_uris has 1 to 20 redirect URIs");
            }
            if client.scopes.iter().any(unknown) {
                return wrong("built_in", "these are scopes of scopes.catalogue");
            }
        }
        Ok(())
    }

    pub(super) fn policy(&self, catalogue: &BTreeMap<String, ScopeMeaning>, per_user: u32) -> AppsPolicy {
        let set = |names: &[String]| names.join(" ").parse::<ScopeSet>().unwrap_or_default();
        let all: Vec<String> = catalogue.keys().cloned().collect();
        let scopes = set(if self.scopes.is_empty() { &all } else { &self.scopes });
        let built_in = |client: &BuiltIn| {
            Some(BuiltInClient {
                id: client.client_id.parse().ok()?,
                name: client.name.clone(),
                redirect_uris: client.redirect_uris.iter().filter_map(|uri| uri.parse().ok()).collect(),
                scopes: if client.scopes.is_empty() { scopes.clone() } else { set(&client.scopes) },
            })
        };
        AppsPolicy {
            api: match self.api {
                Api::None => AppsApi::None,
                Api::FitTrackee => AppsApi::FitTrackee,
                Api::Funkwhale => AppsApi::Funkwhale,
                Api::Gancio => AppsApi::Gancio,
                Api::Forgejo => AppsApi::Forgejo,
            },
            per_user,
            by_address: RateLimit { number: self.per_address, seconds: self.address_seconds },
            by_user: (self.per_user > 0).then_some(RateLimit { number: self.per_user, seconds: self.user_seconds }),
            owner_only: self.owner_only,
            built_in: self.built_in.iter().filter_map(built_in).collect(),
            scopes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    const REQUIRED: &str = "issuer = 'https://i'\n[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";
    const CATALOGUE: &str = "openid.enabled = false\n[scopes.catalogue]\na = 'A'\nb = 'B'\n[apps]\n";

    fn policy(text: &str) -> Result<AppsPolicy, ConfigError> {
        let config = Layers::new().text(REQUIRED)?.text(text)?.build()?;
        Ok(config.apps.policy(&config.catalogue(), config.account.max_clients_per_user))
    }

    #[test]
    fn apps_have_no_api_unless_it_is_said_and_then_known_scopes_alone() {
        let usual = policy("").expect("the defaults are good");
        assert!(usual.api == AppsApi::None && usual.built_in.is_empty() && !usual.owner_only);
        let all = policy(&format!("{CATALOGUE}api = 'funkwhale'\nper_user = 10")).expect("this is good");
        assert_eq!((all.api, all.scopes.as_str(), all.per_user), (AppsApi::Funkwhale, "a b", 20));
        assert_eq!(all.by_user, Some(RateLimit { number: 10, seconds: 3_600 }));
        let client = "[[apps.built_in]]\nclient_id = 'x'\nname = 'X'\nredirect_uris = ['http://127.0.0.1']\n";
        let one = policy(&format!("{CATALOGUE}scopes = ['b']\n{client}")).expect("this is good");
        assert_eq!(one.built_in[0].scopes.as_str(), "b");
        for (text, key) in [
            ("scopes = ['c']", "scopes"),
            ("scopes = ['a b']", "scopes"),
            ("api = 'gitea'", "api"),
            ("per_address = 0", "per_address"),
            ("address_seconds = 0", "address_seconds"),
            ("per_user = 3601", "per_user"),
            (&*format!("{client}{client}"), "built_in"),
            (&*client.replace("'x'", "'https://x'"), "built_in"),
            (&*client.replace("'X'", "' '"), "built_in"),
            (&*client.replace("http://127.0.0.1", "http://example.com"), "built_in"),
            (&*format!("{client}scopes = ['c']"), "built_in"),
        ] {
            let error = policy(&format!("{CATALOGUE}{text}")).expect_err(text).to_string();
            assert!(error.contains(&format!("apps.{key}")), "{text}: {error}");
        }
        let undescribed = policy("[apps]\napi = 'fittrackee'").expect("this is good");
        assert!(undescribed.scopes.is_empty(), "not any scope");
    }
}
