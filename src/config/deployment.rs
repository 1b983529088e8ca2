//! The configurations of one process: one issuer each, and nothing between them that both would use.

use std::path::PathBuf;

use super::{Config, ConfigError, ListenAddress};
use crate::domain::authority::Authority;
use crate::store::is_same_database;

/// What of two configurations would be one, its key, and how they can differ.
type Clash = (&'static str, &'static str);

const OWN_SECRET: &str = "the same secret: each issuer needs one of its own, from which all its keys derive. \
    SCOPEGATE_KEYS__SECRET lies over every file: with several, it stands in each file";
const OWN_DATABASE: &str = "the same database: each issuer needs one of its own. \
    SCOPEGATE_DATABASE__URL lies over every file: with several, it stands in each file";
const OWN_ISSUER: &str = "the same issuer, or two that one request could mean: each needs a host or a port of its own. \
    SCOPEGATE_ISSUER lies over every file: with several, it stands in each file";
const OWN_GRPC: &str = "the same address: each issuer needs one of its own for gRPC";
const OWN_KEYS_IN_REDIS: &str = "the same redis.key_prefix in the same Redis: each issuer needs one of its own";
const OWN_AUDIT_LOG: &str = "the same audit log: each issuer needs one of its own";
const ONE_PROCESS: &str = "this is about the whole process: it is the same in every file";
const ONE_PORT: &str = "this is about http.listen, which they share: it is the same in each of these files";

/// Configurations that can be served in one process, each with the file that it is from.
pub struct Deployment(Vec<(PathBuf, Config)>);

impl Deployment {
    /// A configuration alone.
    pub fn of(config: Config) -> Self {
        Self(vec![(PathBuf::new(), config)])
    }

    /// Several, and whether they can stand side by side.
    pub fn new(files: Vec<(PathBuf, Config)>) -> Result<Self, ConfigError> {
        for (index, (file, config)) in files.iter().enumerate() {
            for (earlier_file, earlier) in &files[..index] {
                if let Some((key, why)) = clash(earlier, config)? {
                    let both = format!("{} and {}", earlier_file.display(), file.display());
                    return Err(ConfigError::new(key, &format!("{both}: {why}")));
                }
            }
        }
        if files.is_empty() {
            return Err(ConfigError::new("--config", "there is no configuration"));
        }
        Ok(Self(files))
    }

    /// At least one.
    pub fn configs(&self) -> impl Iterator<Item = &Config> {
        self.0.iter().map(|(_, config)| config)
    }

    /// The one that says what is about the whole process.
    pub fn first(&self) -> &Config {
        &self.0[0].1
    }
}

/// What two configurations would share, or see differently where it has to be one.
fn clash(one: &Config, other: &Config) -> Result<Option<Clash>, ConfigError> {
    if let Some(clash) = clash_at_port(one, other) {
        return Ok(Some(clash));
    }
    if one.workers != other.workers {
        return Ok(Some(("workers", ONE_PROCESS)));
    }
    if one.telemetry != other.telemetry {
        return Ok(Some(("telemetry", ONE_PROCESS)));
    }
    if let (Some(one), Some(other)) = (Authority::of(&one.issuer), Authority::of(&other.issuer))
        && one.overlaps(&other)
    {
        return Ok(Some(("issuer", OWN_ISSUER)));
    }
    if one.shares_a_secret_with(other)? {
        return Ok(Some(("keys.secret", OWN_SECRET)));
    }
    if is_same_database(one.database.url.expose(), other.database.url.expose()) {
        return Ok(Some(("database.url", OWN_DATABASE)));
    }
    let is_shared = |address: &&ListenAddress| match address {
        ListenAddress::Tcp(tcp) if tcp.port() == 0 => false,
        address => other.grpc.listen.iter().any(|taken| taken == *address),
    };
    if one.grpc.listen.iter().find(is_shared).is_some() {
        return Ok(Some(("grpc.listen", OWN_GRPC)));
    }
    let (redis, other_redis) = (one.redis.url.expose(), other.redis.url.expose());
    if !redis.is_empty()
        && one.redis.key_prefix == other.redis.key_prefix
        && servers_of_redis(redis) == servers_of_redis(other_redis)
    {
        return Ok(Some(("redis.key_prefix", OWN_KEYS_IN_REDIS)));
    }
    if !one.audit.path.is_empty() && one.audit.path == other.audit.path {
        return Ok(Some(("audit.path", OWN_AUDIT_LOG)));
    }
    Ok(None)
}

/// What is settled before anybody knows which issuer a request is for.
fn clash_at_port(one: &Config, other: &Config) -> Option<Clash> {
    if one.http.listen != other.http.listen {
        return None;
    }
    if one.issuer.is_empty() || other.issuer.is_empty() {
        return Some((
            "issuer",
            "they share http.listen, where the host of a request says which issuer it is for: each needs one",
        ));
    }
    let (one, other) = (&one.http, &other.http);
    if one.tls != other.tls {
        return Some(("http.tls", ONE_PORT));
    }
    if one.trusted_proxies != other.trusted_proxies {
        return Some(("http.trusted_proxies", ONE_PORT));
    }
    if one.forwarded_target != other.forwarded_target {
        return Some(("http.forwarded_target", ONE_PORT));
    }
    (!one.client_address_header.eq_ignore_ascii_case(&other.client_address_header))
        .then_some(("http.client_address_header", ONE_PORT))
}

/// Where a Redis is, without the user and the database: channels have no database.
fn servers_of_redis(url: &str) -> &str {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if scheme.ends_with("unix") {
        return rest.split('?').next().unwrap_or_default();
    }
    let rest = rest.rsplit_once('@').map_or(rest, |(_, servers)| servers);
    rest.split(['/', '?']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn config(number: u8, more: &str) -> Config {
        let text = format!(
            "issuer = 'https://{number}.example'\n[grpc]\nlisten = ['127.0.0.1:5005{number}', 'unix:/run/{number}']\n\
             [database]\nurl = 'sqlite:{number}.db'\n[keys]\nsecret = '{}A='\n[redis]\nurl = 'redis://h/0'\nkey_prefix = '{number}:'",
            number.to_string().repeat(42),
        );
        let layers = Layers::new().text(&text).expect("TOML");
        layers.text(more).expect("TOML").build().expect("a good configuration")
    }

    #[test]
    fn two_that_would_use_one_thing_are_refused_by_its_key_and_both_files() {
        let previous = "[[keys.previous]]\nid = 3\nsecret = '111111111111111111111111111111111111111111A='";
        for (more, key) in [
            ("", None),
            ("[http]\nlisten = '127.0.0.1:8081'\ntrusted_proxies = ['10.0.0.1']", None),
            ("[ops]\nlisten = '127.0.0.1:1'", None),
            ("[grpc]\nlisten = '127.0.0.1:0'", None),
            ("issuer = 'https://1.example'", Some("issuer")),
            ("issuer = 'https://1.EXAMPLE:443/'\n[http]\nlisten = '127.0.0.1:8081'", Some("issuer")),
            ("issuer = 'https://1.example:8443'", None),
            ("issuer = ''", Some("issuer")),
            ("issuer = ''\n[http]\nlisten = '127.0.0.1:8081'", None),
            ("[keys]\nsecret = '111111111111111111111111111111111111111111A='", Some("keys.secret")),
            (previous, Some("keys.secret")),
            ("[database]\nurl = 'sqlite:./1.db'", Some("database.url")),
            ("[grpc]\nlisten = '127.0.0.1:50051'", Some("grpc.listen")),
            ("[grpc]\nlisten = ['127.0.0.1:0', 'unix:/run/1']", Some("grpc.listen")),
            ("[redis]\nkey_prefix = '1:'", Some("redis.key_prefix")),
            ("[redis]\nurl = 'redis://u:p@h/1'\nkey_prefix = '1:'", Some("redis.key_prefix")),
            ("[redis]\nurl = 'redis://i/0'\nkey_prefix = '1:'", None),
            ("[redis]\nurl = ''\nkey_prefix = '1:'", None),
            ("workers = 3", Some("workers")),
            ("[telemetry]\nlog = 'debug'", Some("telemetry")),
            ("[http]\ntrusted_proxies = ['10.0.0.1']", Some("http.trusted_proxies")),
            ("[http]\nforwarded_target = false", Some("http.forwarded_target")),
            ("[http]\nclient_address_header = 'forwarded'", Some("http.client_address_header")),
        ] {
            let files = vec![("a.toml".into(), config(1, "")), ("b.toml".into(), config(2, more))];
            match (Deployment::new(files), key) {
                (Ok(_), None) => {}
                (Err(error), Some(key)) => {
                    let said = error.to_string();
                    let start = format!("configuration: {key}: a.toml and b.toml: ");
                    assert!(said.starts_with(&start), "{more}: {said}");
                }
                (Ok(_), Some(_)) => panic!("{more} was accepted"),
                (Err(error), None) => panic!("{more}: {error}"),
            }
        }
        let mut encrypted = config(2, "");
        encrypted.http.tls.certificate_file = "b.crt".into();
        let files = vec![("a.toml".into(), config(1, "")), ("b.toml".into(), encrypted)];
        assert!(Deployment::new(files).is_err_and(|error| error.to_string().contains("http.tls")));
        let audit = tempfile::NamedTempFile::new().expect("a temporary file");
        let more = format!("[audit]\npath = '{}'", audit.path().display());
        let files = vec![("a.toml".into(), config(1, &more)), ("b.toml".into(), config(2, &more))];
        assert!(Deployment::new(files).is_err_and(|error| error.to_string().contains("audit.path")));
    }

    #[test]
    fn a_redis_is_known_by_its_servers() {
        for (url, servers) in [
            ("redis://h", "h"),
            ("rediss://u:p@h:1/2?x", "h:1"),
            ("redis+unix:///run/r?db=1", "/run/r"),
            ("redis+sentinel://u:p@a:1,b:2/master/0", "a:1,b:2"),
        ] {
            assert_eq!(servers_of_redis(url), servers);
        }
    }
}
