//! The section `[account]`.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Scopes};
use crate::domain::scope::{Scope, ScopeSet};
use crate::service::{AccountPages, OwnClientsPolicy};

/// The pages on which users manage their apps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// Whether users see at `/account/apps` which apps may use their account, and end that.
    pub apps: bool,
    /// Whether users make clients of their own at `/account/clients`, for which they have to have signed in lately: with
    /// `login.method = "session_probe"` the app has to say when that was (`auth_time`), and with `trusted_header`, where nobody does, there
    /// is no such page. Nobody checks who is behind them, and those who are asked for their
    /// consent are told so.
    pub clients: bool,
    /// What clients of users may ask for. Empty: all of `scopes.catalogue`.
    pub scopes: Vec<String>,
    /// How many clients one user may have. One that was deleted counts for about a day.
    pub max_clients_per_user: u32,
}

impl Default for Account {
    fn default() -> Self {
        Self { apps: true, clients: false, scopes: Vec::new(), max_clients_per_user: 20 }
    }
}

impl Account {
    pub(super) fn validate(&self, scopes: &Scopes) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(&format!("account.{key}"), why));
        let unknown = |scope: &String| !scopes.catalogue.is_empty() && !scopes.catalogue.contains_key(scope);
        if self.scopes.iter().any(|scope| !Scope::is_well_formed(scope) || unknown(scope)) {
            return wrong("scopes", "these are scopes of scopes.catalogue");
        }
        if self.clients && self.scopes.is_empty() && scopes.catalogue.is_empty() {
            return wrong("scopes", "what clients of users may ask for has to be said, here or in scopes.catalogue");
        }
        if !(1..=1_000).contains(&self.max_clients_per_user) {
            return wrong("max_clients_per_user", "this is a number from 1 to 1000");
        }
        Ok(())
    }

    pub(super) fn pages(&self, scopes: &Scopes) -> AccountPages {
        let names: Vec<&str> = if self.scopes.is_empty() {
            scopes.catalogue.keys().map(String::as_str).collect()
        } else {
            self.scopes.iter().map(String::as_str).collect()
        };
        AccountPages {
            apps: self.apps,
            clients: self.clients.then(|| OwnClientsPolicy {
                scopes: names.join(" ").parse::<ScopeSet>().unwrap_or_default(),
                per_user: self.max_clients_per_user,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    const REQUIRED: &str = "issuer = 'https://i'\n[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

    fn pages(text: &str) -> Result<AccountPages, ConfigError> {
        let config = Layers::new().text(REQUIRED)?.text(text)?.build()?;
        Ok(config.account.pages(&config.scopes))
    }

    #[test]
    fn users_make_no_clients_unless_it_is_said_and_then_for_known_scopes_alone() {
        const CATALOGUE: &str = "[scopes.catalogue]\na = 'A'\nb = 'B'\n[account]\n";
        let usual = pages("").expect("the defaults are good");
        assert!(usual.apps && usual.clients.is_none());
        let all = pages(&format!("{CATALOGUE}clients = true")).expect("this is good").clients.expect("they are on");
        assert_eq!((all.scopes.as_str(), all.per_user), ("a b", 20));
        let some = pages(&format!("{CATALOGUE}clients = true\nscopes = ['b']")).expect("this is good");
        assert_eq!(some.clients.expect("they are on").scopes.as_str(), "b");
        for (text, key) in [
            (&*format!("{CATALOGUE}scopes = ['c']"), "scopes"),
            (&*format!("{CATALOGUE}scopes = ['a b']"), "scopes"),
            (&*format!("{CATALOGUE}max_clients_per_user = 0"), "max_clients_per_user"),
            ("[account]\nclients = true", "scopes"),
        ] {
            let error = pages(text).expect_err(text).to_string();
            assert!(error.contains(&format!("account.{key}")), "{text}: {error}");
        }
    }
}
