//! Logs and metrics.

pub mod correlation;

use std::io::{IsTerminal as _, stderr};
use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat, Telemetry};
use crate::facts::redis::RedisMetrics;
use crate::facts::{LocalCache, TierCounter};
use crate::service::attempts::RefusedAttempts;
use crate::service::backchannel_logout::LogoutMetrics;
use crate::service::pruning::PruningMetrics;
use crate::store::OperationCounter;

/// Sends log lines to standard error: standard output is for answers.
pub fn start_logging(telemetry: &Telemetry) -> Result<(), ConfigError> {
    let filter =
        EnvFilter::try_new(&telemetry.log).map_err(|error| ConfigError::new("telemetry.log", &error.to_string()))?;
    let terminal = stderr().is_terminal();
    let json = match telemetry.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(terminal);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.init();
    }
    Ok(())
}

/// What is counted about TLS on our ports.
#[derive(Clone, Debug, Default)]
pub struct TlsMetrics {
    pub reloads: Counter,
    pub reload_failures: Counter,
    pub handshake_failures: Counter,
}

/// What `/metrics` says. No label ever holds a token, a client or a user.
pub struct Metrics {
    registry: Registry,
    pub store_operations: OperationCounter,
    pub pruning: PruningMetrics,
    pub logouts: LogoutMetrics,
    pub refused_attempts: RefusedAttempts,
    pub facts: TierCounter,
    pub tls: TlsMetrics,
    cache_entries: Gauge,
    cache_bytes: Gauge,
    cache: Arc<LocalCache>,
}

impl Metrics {
    pub fn new(cache: Arc<LocalCache>) -> Self {
        let mut registry = Registry::with_prefix("scopegate");
        let store_operations = OperationCounter::default();
        let (pruning, logouts) = (PruningMetrics::default(), LogoutMetrics::default());
        let refused_attempts = RefusedAttempts::default();
        let facts = TierCounter::default();
        let tls = TlsMetrics::default();
        let (cache_entries, cache_bytes) = (Gauge::default(), Gauge::default());
        registry.register("store_operations", "Operations on the database, by name", store_operations.clone());
        registry.register("facts", "Facts about grants, by where they came from", facts.clone());
        registry.register("cache_entries", "Grants whose facts are cached in this process", cache_entries.clone());
        registry.register("cache_bytes", "Estimated size of the cached facts, in bytes", cache_bytes.clone());
        registry.register(
            "pruned_rows",
            "Rows that nobody could use any more and that were deleted, by table",
            pruning.pruned_rows.clone(),
        );
        registry.register(
            "oldest_expired_age_seconds",
            "For how long the grant that waits longest could have been pruned",
            pruning.oldest_expired_age.clone(),
        );
        registry.register(
            "logout_tokens",
            "Attempts to tell a client that a user was signed out, by outcome",
            logouts.tokens.clone(),
        );
        registry.register(
            "refused_attempts",
            "Passwords and client secrets that were not looked at, because too many had been wrong",
            refused_attempts.clone(),
        );
        registry.register("tls_reloads", "Changed certificates that were read again", tls.reloads.clone());
        registry.register(
            "tls_reload_failures",
            "Changed certificates that are of no use, so that the old ones stay",
            tls.reload_failures.clone(),
        );
        registry.register(
            "tls_handshake_failures",
            "Connections without a good handshake",
            tls.handshake_failures.clone(),
        );
        Self {
            registry,
            store_operations,
            pruning,
            logouts,
            refused_attempts,
            facts,
            tls,
            cache_entries,
            cache_bytes,
            cache,
        }
    }

    /// What is counted about Redis, where there is one.
    pub fn of_redis(&mut self) -> RedisMetrics {
        let redis = RedisMetrics::default();
        let (errors, unusable) = (redis.errors.clone(), redis.unusable.clone());
        self.registry.register(
            "redis_errors",
            "Commands to Redis without a good reply, and failed connections",
            errors,
        );
        self.registry.register("redis_unusable", "Values in Redis that no server of this secret wrote there", unusable);
        self.registry.register("redis_up", "1 while Redis answers", redis.up.clone());
        redis
    }

    /// The metrics in OpenMetrics text format.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let gauge = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.cache_entries.set(gauge(self.cache.len() as u64));
        self.cache_bytes.set(gauge(self.cache.bytes()));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
