//! The audit log: one line of JSON for each security-relevant event ([`crate::domain::audit`]), with the time, who did it and in which
//! request.
//!
//! A front says once in which request it works ([`within`]); use cases say what happened ([`Audit::record`]). Nothing is made of an event
//! while the log is off.

use std::net::IpAddr;

use serde::Serialize;

use super::Service;
use crate::domain::audit::{Actor, Event, Origin, Outcome};
use crate::domain::client::{ClientId, GrantType};
use crate::domain::grant::SubjectId;
use crate::effects::Effects;
use crate::effects::appender::Appender;

tokio::task_local! {
    static ORIGIN: Origin;
}

/// Does work that belongs to a request.
pub async fn within<T>(origin: Origin, work: impl Future<Output = T>) -> T {
    ORIGIN.scope(origin, work).await
}

/// Does work in the same request, as somebody who is known by now.
pub async fn acting_as<T>(actor: Actor, work: impl Future<Output = T>) -> T {
    let origin = ORIGIN.try_with(Origin::clone).unwrap_or_else(|_| outside());
    within(Origin { actor, ..origin }, work).await
}

/// Whether this is a command that runs on the database: its answers go to standard output.
pub fn is_command() -> bool {
    ORIGIN.try_with(|origin| matches!(origin.actor, Actor::CommandLine(_))).unwrap_or(false)
}

/// What no request asked for.
fn outside() -> Origin {
    Origin { actor: Actor::Server, address: None, request_id: Box::default() }
}

/// The audit log of a server, or of a command.
pub struct Audit {
    /// `None`: it is off.
    appender: Option<Appender>,
    effects: Effects,
}

#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339.
    time: String,
    event: &'a str,
    outcome: Outcome,
    actor: ActorLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Lines that were lost before this one.
    #[serde(skip_serializing_if = "is_zero")]
    lost: u64,
}

#[derive(Serialize)]
struct ActorLine {
    r#type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Audit {
    /// Without an appender, it is off.
    pub fn new(appender: Option<Appender>, effects: Effects) -> Self {
        Self { appender, effects }
    }

    pub fn is_on(&self) -> bool {
        self.appender.is_some()
    }

    /// Notes an event in the present request.
    pub fn record(&self, event: Event<'_>) {
        let Some(appender) = &self.appender else { return };
        let recorded = ORIGIN.try_with(|origin| self.append(appender, event, origin));
        recorded.unwrap_or_else(|_| self.append(appender, event, &outside()));
    }

    /// Notes an event in a request that nobody works on any further.
    pub fn record_in(&self, origin: &Origin, event: Event<'_>) {
        if let Some(appender) = &self.appender {
            self.append(appender, event, origin);
        }
    }

    fn append(&self, appender: &Appender, event: Event<'_>, origin: &Origin) {
        let entry = event.entry();
        let (kind, id) = entry.actor.as_ref().unwrap_or(&origin.actor).parts();
        appender.append(|lost| {
            let line = Line {
                time: prost_types::Timestamp { seconds: self.effects.now().as_unix(), nanos: 0 }.to_string(),
                event: entry.event,
                outcome: entry.outcome,
                actor: ActorLine { r#type: kind, id },
                subject: entry.subject.map(SubjectId::as_str),
                client_id: entry.client.map(ClientId::as_str),
                grant_id: entry.grant.map(|grant| grant.to_string()),
                session_id: entry.session.map(|session| session.to_string()),
                key_id: entry.key.map(|key| key.to_string()),
                grant_type: entry.grant_type.map(GrantType::as_str),
                address: origin.address,
                request_id: &origin.request_id,
                reason: entry.reason,
                lost,
            };
            serde_json::to_string(&line).expect("text, numbers and maps with keys of text can be written as JSON")
        });
    }
}

impl Service {
    /// A request that has just come, with the name that it brings or a new one.
    pub fn origin(&self, actor: Actor, address: Option<IpAddr>, request_id: Option<&str>) -> Origin {
        let request_id = request_id.map_or_else(|| self.effects.random_name(), str::to_owned);
        Origin { actor, address, request_id: request_id.into() }
    }
}
