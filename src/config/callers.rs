//! Who calls over gRPC: `grpc.caller_token`, `grpc.local_callers` and `[[grpc.callers]]`.

use std::collections::BTreeSet;
use std::fs;

use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, Secret};
use crate::domain::caller::{Caller, Callers, Permission, Sight};
use crate::domain::resource;
use crate::domain::secret::SecretHash;

/// The shortest token of a caller.
const MIN_TOKEN_LENGTH: usize = 32;
/// The longest name of a caller.
const MAX_NAME_LENGTH: usize = 64;

/// Whether being on the same machine is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalCallers {
    /// They see all tokens and may do everything.
    All,
    /// They have to be known by a token or a certificate, as all others.
    None,
}

/// A service that calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredCaller {
    /// For the log. Each has a name of its own.
    pub name: String,
    /// What it presents as `authorization: Bearer …`, each of 32 random characters or more. Several, so that one can follow another.
    #[serde(default)]
    pub tokens: Vec<Secret>,
    /// Files with one such token each, read at start.
    #[serde(default)]
    pub token_files: Vec<String>,
    /// Names in its client certificate (subjectAltName): URIs, such as `spiffe://example.org/orders`, and hosts. They need
    /// `grpc.tls.client_ca_file`.
    #[serde(default)]
    pub certificates: Vec<Box<str>>,
    /// The resources that it is: it sees the access tokens that are meant for one of them.
    #[serde(default)]
    pub audiences: Vec<Box<str>>,
    /// It sees all tokens.
    #[serde(default)]
    pub all: bool,
    /// `check`, `introspect`, `revoke`, `watch`, `admin`, `interact`.
    #[serde(default = "least")]
    pub may: Vec<Permission>,
}

fn least() -> Vec<Permission> {
    vec![Permission::Check, Permission::Introspect]
}

impl Config {
    /// Who may call over gRPC.
    pub fn callers(&self) -> Result<Callers, ConfigError> {
        let mut callers = Callers::default();
        if self.grpc.local_callers == LocalCallers::All {
            callers.add_local(Caller::unrestricted("local"));
        }
        let mut taken = BTreeSet::from(["name local", "name caller_token"].map(String::from));
        let caller_token = self.grpc.caller_token.expose();
        if !caller_token.is_empty() {
            taken.insert(caller_token.to_owned());
            callers.add(Caller::unrestricted("caller_token"), [SecretHash::of(caller_token)], []);
        }
        for caller in &self.grpc.callers {
            let tokens = caller.read_tokens()?;
            self.check_caller(caller, &tokens)?;
            let own = |kind: &str, value: &str| format!("{kind} {value}");
            let names = caller.certificates.iter().map(|name| own("certificate", &name.to_ascii_lowercase()));
            let keys = names.chain(tokens.iter().cloned()).chain([own("name", &caller.name)]);
            if keys.into_iter().any(|key| !taken.insert(key)) {
                return Err(wrong("", "each caller has a name, tokens and certificates of its own"));
            }
            let sight = if caller.all { Sight::All } else { Sight::Audiences(caller.audiences.clone()) };
            callers.add(
                Caller { name: caller.name.as_str().into(), sight, permissions: caller.may.clone() },
                tokens.iter().map(|token| SecretHash::of(token)),
                caller.certificates.iter().cloned(),
            );
        }
        Ok(callers)
    }

    fn check_caller(&self, caller: &ConfiguredCaller, tokens: &[String]) -> Result<(), ConfigError> {
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable(&caller.name) || caller.name.len() > MAX_NAME_LENGTH {
            return Err(wrong("name", "this is made of 1 to 64 printable ASCII characters other than space"));
        }
        let name = &caller.name;
        if tokens.iter().any(|token| token.len() < MIN_TOKEN_LENGTH || !printable(token)) {
            let why = "a token has 32 printable characters or more; `openssl rand -base64 32` makes one";
            return Err(wrong("tokens", &format!("{name}: {why}")));
        }
        if tokens.is_empty() && caller.certificates.is_empty() {
            return Err(wrong("tokens", &format!("{name}: a caller is known by tokens or by certificates")));
        }
        if !caller.certificates.iter().all(|certificate| printable(certificate)) {
            return Err(wrong("certificates", &format!("{name}: a name is that of a host, or a URI")));
        }
        if !caller.certificates.is_empty() && !self.grpc.tls.asks_clients() {
            return Err(wrong("certificates", &format!("{name}: certificates need grpc.tls.client_ca_file")));
        }
        if caller.all != caller.audiences.is_empty() {
            return Err(wrong("audiences", &format!("{name}: a caller has either audiences or all = true")));
        }
        let catalogue = &self.resources.catalogue;
        let known = |audience: &str| catalogue.is_empty() || catalogue.contains_key(audience);
        if !caller.audiences.iter().all(|audience| resource::is_well_formed(audience) && known(audience)) {
            return Err(wrong(
                "audiences",
                &format!("{name}: these are resources (RFC 8707), of resources.catalogue if it has any"),
            ));
        }
        if caller.may.is_empty() {
            return Err(wrong("may", &format!("{name}: this says what the caller may do")));
        }
        if !caller.all && caller.may.contains(&Permission::Admin) {
            return Err(wrong(
                "may",
                &format!("{name}: who manages clients and accounts may see every token, and needs all = true"),
            ));
        }
        if !caller.all && caller.may.contains(&Permission::Watch) {
            return Err(wrong("may", &format!("{name}: who watches learns of every revocation, and needs all = true")));
        }
        Ok(())
    }
}

impl ConfiguredCaller {
    fn read_tokens(&self) -> Result<Vec<String>, ConfigError> {
        let written = self.tokens.iter().map(|token| Ok(token.expose().to_owned()));
        let read = self.token_files.iter().map(|path| {
            let text = fs::read_to_string(path);
            text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| wrong("token_files", &format!("{}: {path}: {error}", self.name)))
        });
        written.chain(read).collect()
    }
}

fn wrong(key: &str, why: &str) -> ConfigError {
    let key = if key.is_empty() { "grpc.callers".to_owned() } else { format!("grpc.callers.{key}") };
    ConfigError::new(&key, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    const REQUIRED: &str = "issuer = 'https://i'\n[keys]\nsecret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n\
        [resources.catalogue]\n'https://a' = []\n";
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn configured(text: &str) -> Result<Config, ConfigError> {
        Layers::new().text(REQUIRED)?.text(text)?.build()
    }

    #[test]
    fn a_caller_that_would_see_or_do_too_much_by_mistake_is_no_configuration() {
        let caller = |rest: &str| format!("[[grpc.callers]]\nname = 'a'\ntokens = ['{TOKEN}']\n{rest}\n");
        let good = configured(&caller("audiences = ['https://a']")).expect("this is good");
        assert_eq!(good.grpc.callers[0].may, [Permission::Check, Permission::Introspect]);
        assert!(!toml::to_string(&good).expect("it can be written").contains(TOKEN));
        for (text, key) in [
            (caller(""), "audiences"),
            (caller("all = true\naudiences = ['https://a']"), "audiences"),
            (caller("audiences = ['https://b']"), "audiences"),
            (caller("audiences = ['a']"), "audiences"),
            (caller("all = true\nmay = []"), "may"),
            (caller("all = true\nmay = ['everything']"), "may"),
            (caller("audiences = ['https://a']\nmay = ['watch']"), "may"),
            (caller("audiences = ['https://a']\nmay = ['admin']"), "may"),
            (caller("all = true\ncertificates = ['a.example']"), "certificates"),
            (caller("all = true\ntoken_files = ['/nowhere']"), "token_files"),
            (caller("all = true\ncolour = 'red'"), "colour"),
            (caller("all = true").replace(TOKEN, "short"), "tokens"),
            (caller("all = true").replace(&format!("'{TOKEN}'"), ""), "tokens"),
            (caller("all = true").replace("'a'", "'a b'"), "name"),
            (caller("all = true").repeat(2), ""),
            (caller("all = true").replace("'a'", "'local'"), ""),
            (format!("[grpc]\ncaller_token = '{TOKEN}'\n{}", caller("all = true")), ""),
            (format!("{}{}", caller("all = true"), caller("all = true").replace("'a'", "'b'")), ""),
        ] {
            let error = configured(&text).expect_err(&text).to_string();
            assert!(error.contains("grpc.callers") && error.contains(key), "{text}: {error}");
        }
        for (text, key) in [
            ("[grpc.tls]\nkey_file = '/nowhere'", "grpc.tls.certificate_file"),
            ("[http.tls]\ncertificate_file = '/nowhere'", "http.tls.certificate_file"),
            ("[grpc.tls]\nclient_ca_file = '/nowhere'", "grpc.tls.certificate_file"),
        ] {
            let error = configured(text).expect_err(text).to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn a_token_of_a_caller_can_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), format!("{TOKEN}\n")).expect("it can be written");
        let path = file.path().display();
        let config = configured(&format!("[[grpc.callers]]\nname = 'a'\ntoken_files = ['{path}']\nall = true"));
        let callers = config.and_then(|config| config.callers()).expect("this is good");
        assert!(callers.with_token(TOKEN).is_some() && callers.with_token("").is_none());
    }
}
