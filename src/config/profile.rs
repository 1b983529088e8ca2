//! Profiles: what the configuration is where nobody says otherwise, for who stands in for another system.

use std::fs;
use std::path::Path;

use toml::Table;

use super::ConfigError;

/// The one that changes nothing.
pub const STANDARD: &str = "standard";
/// Those that are built in.
const BUILT_IN: [(&str, &str); 6] = [
    (STANDARD, ""),
    ("fittrackee", include_str!("../profiles/fittrackee.toml")),
    ("forgejo", include_str!("../profiles/forgejo.toml")),
    ("funkwhale", include_str!("../profiles/funkwhale.toml")),
    ("gancio", include_str!("../profiles/gancio.toml")),
    ("oauthlib", include_str!("../profiles/oauthlib.toml")),
];

/// The layer of a profile: a built-in one by its name, or a file by its path, which ends in `.toml`.
pub(super) fn layer(name: &str) -> Result<Table, ConfigError> {
    let wrong = |why: &str| ConfigError::new("profile", why);
    let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        Some((_, text)) => (*text).to_owned(),
        None if Path::new(name).extension().is_some_and(|extension| extension == "toml") => {
            fs::read_to_string(name).map_err(|error| wrong(&format!("{name}: {error}")))?
        }
        None => {
            let names = BUILT_IN.map(|(built_in, _)| built_in).join(", ");
            return Err(wrong(&format!("this is one of {names}, or a file whose name ends in .toml")));
        }
    };
    let table: Table =
        text.parse().map_err(|error: toml::de::Error| wrong(&format!("{name}: {}", error.to_string().trim_end())))?;
    match ["profile", "keys.secret"].into_iter().find(|key| names(&table, key)) {
        Some(key) => Err(wrong(&format!("{name}: a profile does not set {key}"))),
        None => Ok(table),
    }
}

fn names(table: &Table, path: &str) -> bool {
    match path.split_once('.') {
        Some((first, rest)) => table.get(first).and_then(toml::Value::as_table).is_some_and(|inner| names(inner, rest)),
        None => table.contains_key(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn every_built_in_profile_is_a_good_configuration() {
        for (name, _) in BUILT_IN {
            let text = format!("profile = '{name}'\n[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n");
            let config =
                Layers::new().text(&text).and_then(Layers::build).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(config.profile, name);
        }
    }
}
