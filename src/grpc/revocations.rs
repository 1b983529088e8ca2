//! Targets of revocations as messages have them, and the stream that tells of revocations.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tonic::Status;

use super::{consistency, status};
use crate::domain::grant::{GrantFacts, SubjectId};
use crate::domain::revocation::{Revocation, Target};
use crate::domain::timestamp::Timestamp;
use crate::proto::scopegate::v1 as api;
use crate::service::Service;
use crate::service::watching::{Told, WatchFailure};

/// What a watcher gets.
pub(super) type Stream =
    Pin<Box<dyn futures_util::Stream<Item = Result<api::WatchRevocationsResponse, Status>> + Send>>;

/// What a request is to end.
pub(super) fn target(request: api::BatchRevokeRequest) -> Result<Target, Status> {
    use api::batch_revoke_request::Target as Requested;
    Ok(match request.target.ok_or_else(status::target_missing)? {
        Requested::Subject(subject) => Target::Subject(self::subject(subject)?),
        Requested::ClientId(client) => Target::Client(client.parse().map_err(status::target_malformed)?),
        Requested::SubjectAndClient(pair) => Target::SubjectClient(
            self::subject(pair.subject)?,
            pair.client_id.parse().map_err(status::target_malformed)?,
        ),
        Requested::GrantId(grant) => {
            let id = grant.parse().map_err(status::target_malformed)?;
            Target::Grant { id, generation: GrantFacts::REVOKED }
        }
        Requested::SessionId(session) => Target::Session(session.parse().map_err(status::target_malformed)?),
    })
}

fn subject(subject: String) -> Result<SubjectId, Status> {
    if subject.is_empty() { Err(status::target_missing()) } else { Ok(SubjectId::new(subject)) }
}

/// Tells of revocations after a position, or from now on.
pub(super) async fn watch(service: Arc<Service>, after: Option<u64>) -> Result<Stream, Status> {
    let watcher = service.watch(after).await.map_err(failure)?;
    let told = stream::try_unfold((service, watcher), async |(service, mut watcher)| {
        let told = service.tell(&mut watcher).await.map_err(failure)?;
        Ok(Some((message(told), (service, watcher))))
    });
    Ok(told.boxed())
}

fn message(told: Told) -> api::WatchRevocationsResponse {
    api::WatchRevocationsResponse {
        revocations: told.revocations.into_iter().filter_map(revocation).collect(),
        consistency_token: consistency::token(told.position),
    }
}

fn revocation(revocation: Revocation) -> Option<api::Revocation> {
    use api::revocation::Target as Told;
    let target = match revocation.target {
        Target::Subject(subject) => Told::Subject(subject.as_str().to_owned()),
        Target::Client(client) => Told::ClientId(client.to_string()),
        Target::SubjectClient(subject, client) => Told::SubjectAndClient(api::SubjectAndClient {
            subject: subject.as_str().to_owned(),
            client_id: client.to_string(),
        }),
        Target::Grant { id, .. } => Told::GrantId(id.to_string()),
        Target::Session(session) => Told::SessionId(session.to_string()),
        // No grant of theirs has a row here: whoever watches is told to flush.
        Target::Key(_) | Target::Flush => return None,
    };
    Some(api::Revocation { target: Some(target), revoke_time: Some(time(revocation.at)) })
}

pub(super) fn time(timestamp: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: timestamp.as_unix(), nanos: 0 }
}

fn failure(failure: WatchFailure) -> Status {
    match failure {
        WatchFailure::TooOld => status::cursor_too_old(),
        WatchFailure::Behind => status::behind(),
        WatchFailure::Stopping => status::stopping(),
        WatchFailure::Unavailable(error) => status::unavailable(error),
    }
}
