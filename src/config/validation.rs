//! What the types alone do not check: everything that would keep the server from working.

use std::str::FromStr as _;

use http::HeaderName;
use url::Url;

use super::{CertificateAuthentication, Config, ConfigError};
use crate::domain::language::Wording;
use crate::domain::{resource, signing_key};

impl Config {
    /// Checks what the types alone do not: everything that would keep the server from working.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why));
        if !self.issuer.is_empty() {
            check_issuer(&self.issuer)?;
        }
        self.paths.validate().map_err(|error| ConfigError::new("paths", &error.to_string()))?;
        for (key, addresses) in [("http.listen", &self.http.listen), ("ops.listen", &self.ops.listen)] {
            if addresses.only_tcp().is_none() {
                return wrong(key, "this takes one address, ip:port");
            }
        }
        if self.issuer.is_empty() && self.http.listen.only_tcp().is_none_or(|address| !address.ip().is_loopback()) {
            return wrong(
                "issuer",
                "the URL under which browsers reach this server is required, such as https://auth.example.com",
            );
        }
        let url = self.database.url.expose();
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return wrong("database.url", "this starts with sqlite: or postgres://");
        }
        let tokens = &self.tokens;
        for (key, seconds, most) in [
            ("tokens.code_lifetime", tokens.code_lifetime, 600),
            ("login.session_lifetime", self.login.session_lifetime, 86_400 * 365),
            ("openid.id_token_lifetime", self.openid.id_token_lifetime, signing_key::AFTERLIFE),
        ] {
            if !(1..=most).contains(&seconds) {
                return wrong(key, &format!("this is a number of seconds from 1 to {most}"));
            }
        }
        if tokens.access_token_lifetime > 86_400 * 365 {
            return wrong("tokens.access_token_lifetime", "this is a number of seconds from 0 to 31536000");
        }
        if tokens.access_token_lifetime == 0 && (tokens.refresh_token_absolute_lifetime != 0 || self.jwt.access_tokens)
        {
            return wrong(
                "tokens.access_token_lifetime",
                "0 needs tokens.refresh_token_absolute_lifetime = 0 and jwt.access_tokens = false",
            );
        }
        self.token_endpoint.validate()?;
        self.answers.validate()?;
        self.clients.validate()?;
        self.validate_client_certificates()?;
        if HeaderName::from_str(&self.http.client_address_header).is_err() {
            return wrong("http.client_address_header", "this is the name of a header");
        }
        if self.par.required && !self.par.enabled {
            return wrong("par.required", "this needs par.enabled");
        }
        if !(60..=600).contains(&self.par.lifetime) {
            return wrong("par.lifetime", "this is a number of seconds from 60 to 600");
        }
        if !(100..=30_000).contains(&self.cache.lease) {
            return wrong("cache.lease", "this is a number of milliseconds from 100 to 30000");
        }
        if self.cache.answer_ttl > 60_000 {
            return wrong("cache.answer_ttl", "this is a number of milliseconds from 0 to 60000");
        }
        if !self.redis.key_prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("redis.key_prefix", "this is made of printable ASCII characters other than space");
        }
        self.redis_endpoint()?;
        if tokens.refresh_grace > 60 {
            return wrong("tokens.refresh_grace", "this is a number of seconds from 0 to 60");
        }
        self.scopes.validate()?;
        if let Some(resource) = self.resources.catalogue.keys().find(|resource| !resource::is_well_formed(resource)) {
            return wrong(
                &format!("resources.catalogue.{resource:?}"),
                "this is no absolute URI without a fragment (RFC 8707 section 2)",
            );
        }
        self.jwt.validate()?;
        self.attempts.validate()?;
        self.authorization.validate(&self.paths)?;
        self.pkce.validate()?;
        self.audit.validate()?;
        self.login.validate(&self.http.trusted_proxies)?;
        self.registration.validate(&self.catalogue())?;
        self.account.validate(&self.scopes)?;
        self.apps.validate(&self.catalogue())?;
        self.gateway.validate(&self.routes)?;
        self.outgoing.validate()?;
        if self.registration.client_id_metadata_documents && !self.outgoing.enabled {
            return wrong("registration.client_id_metadata_documents", "this needs outgoing.enabled");
        }
        self.validate_pages()?;
        self.http.tls.validate("http.tls")?;
        self.grpc.tls.validate("grpc.tls")?;
        self.callers()?;
        self.token_keys().map(drop)
    }

    fn validate_client_certificates(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why));
        let header = &self.http.client_certificate_header;
        if !header.is_empty() && (HeaderName::from_str(header).is_err() || self.http.trusted_proxies.is_empty()) {
            return wrong(
                "http.client_certificate_header",
                "this is the name of a header, and needs http.trusted_proxies",
            );
        }
        if self.http.client_certificate_authentication != CertificateAuthentication::Off && !self.sees_certificates() {
            return wrong(
                "http.client_certificate_authentication",
                "this needs http.client_certificate_header or http.tls.client_ca_file",
            );
        }
        Ok(())
    }

    /// And that each scope is said in the language for everybody.
    fn validate_pages(&self) -> Result<(), ConfigError> {
        self.pages.validate()?;
        let fallback = self.pages.languages()?.fallback();
        let silent = |wording: &Wording| wording.text(fallback, fallback).is_none();
        if let Some((scope, _)) = self.scopes.catalogue.iter().find(|(_, wording)| silent(wording)) {
            return Err(ConfigError::new(
                &format!("scopes.catalogue.{scope:?}"),
                &format!("the text in {fallback} is missing, the first of pages.languages"),
            ));
        }
        Ok(())
    }
}

fn check_issuer(issuer: &str) -> Result<(), ConfigError> {
    let wrong = |why| Err(ConfigError::new("issuer", why));
    let Ok(url) = Url::parse(issuer) else { return wrong("this is a URL, such as https://auth.example.com") };
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return wrong("this is an https URL (RFC 8414 section 2); http is for loopback addresses only"),
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return wrong("an issuer has no query, fragment or user (RFC 8414 section 2)");
    }
    if url.path() != "/" {
        return wrong("an issuer with a path is not supported yet");
    }
    Ok(())
}
