//! The layers of the configuration: defaults, then the file, then the environment. The one place that reads the environment.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::{fs, io};

use toml::{Table, Value};

use super::{Config, profile};

const PREFIX: &str = "SCOPEGATE_";
/// Tables whose keys are the operator's own.
const FREE_FORM: [&str; 7] = [
    "answers.errors",
    "answers.extra",
    "authorization.errors",
    "gateway.policies",
    "resources.catalogue",
    "scopes.catalogue",
    "scopes.implications.explicit",
];

/// A configuration that the server cannot work with. The process ends with status 78.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {key}: {why}")]
pub struct ConfigError {
    key: String,
    why: String,
}

impl ConfigError {
    pub fn new(key: &str, why: &str) -> Self {
        Self { key: key.into(), why: why.into() }
    }

    /// Where there are several files: in which of them.
    #[must_use]
    pub fn within(self, file: &Path) -> Self {
        Self { key: format!("{}: {}", file.display(), self.key), why: self.why }
    }
}

/// The variables that concern us.
#[derive(Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process() -> Self {
        std::env::vars().collect()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Default,
    Profile(String),
    File(String),
    Environment(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::File(path) => f.write_str(path),
            Self::Environment(variable) => f.write_str(variable),
        }
    }
}

/// What was written, before it becomes a [`Config`].
pub struct Layers {
    /// The defaults: they say which keys there are, and of which type.
    known: Table,
    written: Table,
    /// Of each value that was written.
    sources: BTreeMap<String, Source>,
}

impl Layers {
    #[expect(clippy::new_without_default, reason = "an empty set of layers is a start, not a default")]
    pub fn new() -> Self {
        let known = Table::try_from(Config::default()).expect("the defaults can be written as TOML");
        Self { known, written: Table::new(), sources: BTreeMap::new() }
    }

    /// The layer of a file. Paths in it are relative to the working directory.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| ConfigError::new(&name, &error.to_string()))?;
        self.parse(&text, &name).map_err(|error| match error.key.as_str() {
            "" => ConfigError::new(&name, &error.why),
            _ => error,
        })
    }

    /// The layer of a TOML text.
    pub fn text(self, text: &str) -> Result<Self, ConfigError> {
        self.parse(text, "command line")
    }

    fn parse(mut self, text: &str, name: &str) -> Result<Self, ConfigError> {
        let table: Table =
            text.parse().map_err(|error: toml::de::Error| ConfigError::new("", error.to_string().trim_end()))?;
        refuse_unknown(&table, &self.known, "")?;
        for path in leaves(&table, "") {
            self.sources.insert(path, Source::File(name.to_owned()));
        }
        merge(&mut self.written, table);
        Ok(self)
    }

    /// The layer of the environment. A variable without `__` counts only when it is a key of the first level:
    /// Kubernetes sets others with our prefix for a service of our name.
    pub fn environment(mut self, environment: &Environment) -> Result<Self, ConfigError> {
        for (name, value) in &environment.0 {
            let path = name[PREFIX.len()..].to_lowercase();
            let (path, value) = match path.strip_suffix("_file") {
                Some(path) => (path, read_value(name, value)?),
                None => (path.as_str(), value.clone()),
            };
            let parts: Vec<&str> = path.split("__").collect();
            match (self.known_value(&parts), parts.len()) {
                (Some(known), _) => {
                    let value = typed(known, value).map_err(|why| ConfigError::new(name, &why))?;
                    self.sources.insert(parts.join("."), Source::Environment(name.clone()));
                    put(&mut self.written, &parts, value);
                }
                (None, 1) => {}
                (None, _) => return Err(ConfigError::new(name, "there is no such key")),
            }
        }
        Ok(self)
    }

    /// The effective configuration.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.over_profile()?.config()?;
        config.validate()?;
        Ok(config)
    }

    /// The effective values, which do not have to be good.
    pub fn effective(self) -> Result<Config, ConfigError> {
        self.over_profile()?.config()
    }

    /// The same as TOML, without secrets, and after each value where it comes from.
    pub fn describe(self) -> Result<String, ConfigError> {
        let layers = self.over_profile()?;
        let effective = Table::try_from(layers.config()?).expect("a configuration can be written as TOML");
        let mut text = String::new();
        layers.describe_table(&effective, "", &mut text);
        Ok(text)
    }

    /// With the layer of the profile that the others name below them.
    fn over_profile(mut self) -> Result<Self, ConfigError> {
        let name = self.written.get("profile").and_then(Value::as_str).unwrap_or(profile::STANDARD).to_owned();
        let mut base = profile::layer(&name)?;
        refuse_unknown(&base, &self.known, "")?;
        for path in leaves(&base, "") {
            self.sources.entry(path).or_insert_with(|| Source::Profile(name.clone()));
        }
        merge(&mut base, std::mem::take(&mut self.written));
        self.written = base;
        Ok(self)
    }

    fn config(&self) -> Result<Config, ConfigError> {
        serde_path_to_error::deserialize(Value::Table(self.written.clone()))
            .map_err(|error| ConfigError::new(&error.path().to_string(), error.inner().message()))
    }

    fn describe_table(&self, table: &Table, path: &str, text: &mut String) {
        let (tables, values): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
        if !path.is_empty() && !values.is_empty() {
            let _ = writeln!(text, "\n[{path}]");
        }
        for (key, value) in values {
            let source = self.sources.get(&join(path, key)).unwrap_or(&Source::Default);
            let _ = writeln!(text, "{} = {value} # {source}", quoted(key));
        }
        for (key, value) in tables {
            self.describe_table(value.as_table().unwrap_or(&Table::new()), &join(path, key), text);
        }
    }

    fn known_value(&self, path: &[&str]) -> Option<&Value> {
        let (last, tables) = path.split_last()?;
        let mut table = &self.known;
        for part in tables {
            table = table.get(*part)?.as_table()?;
        }
        table.get(*last)
    }
}

/// The paths of all values that are no tables.
fn leaves(table: &Table, path: &str) -> Vec<String> {
    let below = |(key, value): (&String, &Value)| match value {
        Value::Table(table) => leaves(table, &join(path, key)),
        _ => vec![join(path, key)],
    };
    table.iter().flat_map(below).collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { quoted(key) } else { format!("{path}.{}", quoted(key)) }
}

/// A key as TOML writes it.
fn quoted(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { Value::String(key.to_owned()).to_string() }
}

/// A value from the environment, as the type that the key has.
fn typed(known: &Value, text: String) -> Result<Value, String> {
    match known {
        Value::String(_) => Ok(Value::String(text)),
        Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| "this is a whole number".into()),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| "this is true or false".into()),
        _ => format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .filter(|value| value.same_type(known))
            .ok_or_else(|| format!("this is a TOML {}", known.type_str())),
    }
}

/// The content of a file, as Kubernetes mounts secrets: without the line feed at its end.
fn read_value(name: &str, path: &str) -> Result<String, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|error: io::Error| ConfigError::new(name, &format!("{path}: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn put(table: &mut Table, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let inner = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn refuse_unknown(table: &Table, known: &Table, path: &str) -> Result<(), ConfigError> {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (known.get(key), value) {
            (None, _) => return Err(ConfigError::new(&path, "there is no such key")),
            (Some(Value::Table(known)), Value::Table(table)) if !FREE_FORM.contains(&path.as_str()) => {
                refuse_unknown(table, known, &path)?;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn build(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let text = format!("issuer = 'https://i'\n{text}\n{}", if text.contains("[keys]") { "" } else { SECRET });
        Layers::new().text(&text)?.environment(&environment(variables))?.build()
    }

    #[test]
    fn the_environment_lies_over_the_file_and_the_file_over_the_defaults() {
        let config = build(
            "[tokens]\ncode_lifetime = 30\naccess_token_lifetime = 100\n[scopes.catalogue]\n'a:b' = 'A'",
            &[
                ("SCOPEGATE_TOKENS__CODE_LIFETIME", "20"),
                ("SCOPEGATE_GRPC__LISTEN", "127.0.0.1:0,unix:/tmp/s"),
                ("SCOPEGATE_DATABASE__AUTO_MIGRATE", "false"),
                ("SCOPEGATE_GRPC__CALLER_TOKEN", "12345"),
                ("SCOPEGATE_SERVICE_HOST", "10.0.0.1"),
                ("SCOPEGATE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
                ("OTHER__KEY", "x"),
            ],
        )
        .expect("a good configuration");
        assert_eq!(
            (config.tokens.code_lifetime, config.tokens.access_token_lifetime, config.tokens.refresh_grace),
            (20, 100, 10)
        );
        assert_eq!(config.grpc.listen.to_string(), "127.0.0.1:0,unix:/tmp/s");
        assert!(!config.database.migrates_itself());
        assert_eq!(config.grpc.caller_token.expose(), "12345");
        assert_eq!(config.scopes.catalogue["a:b"], "A".into());
    }

    #[test]
    fn every_error_names_its_key() {
        for (text, variables, key) in [
            ("colour = 1", &[][..], "colour"),
            ("[http]\nport = 1", &[], "http.port"),
            ("[http]\nlisten = 'nowhere'", &[], "http.listen"),
            ("[tokens]\ncode_lifetime = 'long'", &[], "tokens.code_lifetime"),
            ("[tokens]\ncode_lifetime = 601", &[], "tokens.code_lifetime"),
            ("[tokens]\nrefresh_grace = 61", &[], "tokens.refresh_grace"),
            ("[keys]\nsecret = 'short'", &[], "keys.secret"),
            ("[keys]\nsecret_id = 1", &[], "keys.secret"),
            ("[scopes.catalogue]\n'a b' = 'A'", &[], "scopes.catalogue.\"a b\""),
            ("[database]\nurl = 'mysql://x'", &[], "database.url"),
            ("[redis]\nurl = 'http://x'", &[], "redis.url"),
            ("[redis]\nurl = 'redis+sentinel://x'", &[], "redis.url"),
            ("[redis]\nkey_prefix = 'a b'", &[], "redis.key_prefix"),
            ("[redis]\nurl = 'rediss://x'\nca_path = '/nowhere'", &[], "redis.ca_path"),
            ("profile = 'other'", &[], "profile"),
            ("", &[("SCOPEGATE_HTTP__PORT", "1")], "SCOPEGATE_HTTP__PORT"),
            ("", &[("SCOPEGATE_TOKENS__CODE_LIFETIME", "long")], "SCOPEGATE_TOKENS__CODE_LIFETIME"),
            ("", &[("SCOPEGATE_KEYS__SECRET_FILE", "/nowhere")], "SCOPEGATE_KEYS__SECRET_FILE"),
            ("", &[("SCOPEGATE_ISSUER", "http://example.com")], "issuer"),
            ("", &[("SCOPEGATE_ISSUER", "https://example.com/?x")], "issuer"),
            ("[http]\nlisten = '0.0.0.0:80'", &[("SCOPEGATE_ISSUER", "")], "issuer"),
        ] {
            match build(text, variables) {
                Err(error) => assert_eq!(error.key, key, "{error}"),
                Ok(_) => panic!("{text} {variables:?} was accepted"),
            }
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = build("", &[]).expect("a good configuration");
        let shown = toml::to_string(&config).expect("it can be written");
        assert!(shown.contains("secret = \"***\"") && !shown.contains("AAAA"), "{shown}");
        assert!(!format!("{config:?}").contains("AAAA"));
    }

    #[test]
    fn a_value_can_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), "from file\n").expect("it can be written");
        let path = file.path().to_str().expect("a path in UTF-8");
        let config = build("", &[("SCOPEGATE_GRPC__CALLER_TOKEN_FILE", path)]).expect("a good configuration");
        assert_eq!(config.grpc.caller_token.expose(), "from file");
    }
}
