//! `StreamCheckScopes`: requests come in, answers go out in their order.
//!
//! A stream has no time limit of its own: each check has that of a call, and the deadline of the caller ends the whole. While nothing
//! comes, the keepalive of the connection says whether somebody is there.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Request, Status, Streaming};

use super::status;
use super::tokens::{CHECK_LIMIT, TokenFront, log_check};
use crate::proto::scopegate::v1 as api;
use crate::service::Service;

/// Checks of one stream that are under way at a time. What comes meanwhile waits at the caller.
const MAX_UNDER_WAY: usize = 64;
/// A year: for callers without a deadline.
const NO_DEADLINE: Duration = Duration::from_hours(365 * 24);

/// What a caller gets.
pub(super) type Stream =
    Pin<Box<dyn futures_util::Stream<Item = Result<api::StreamCheckScopesResponse, Status>> + Send>>;

pub(super) fn answers(
    service: Arc<Service>,
    front: TokenFront,
    requests: Request<Streaming<api::StreamCheckScopesRequest>>,
) -> Result<Stream, Status> {
    let requested = status::requested_timeout(requests.metadata().as_ref())?;
    let deadline = Instant::now() + requested.unwrap_or(NO_DEADLINE).min(NO_DEADLINE);
    let (metadata, _, requests) = requests.into_parts();
    let headers = Arc::new(metadata.into_headers());
    let answers = received(service, requests, deadline)
        .map(move |request| {
            let (front, headers) = (front.clone(), headers.clone());
            async move { Ok(answer(front, request?, &headers).await) }
        })
        .buffered(MAX_UNDER_WAY);
    Ok(Box::pin(answers))
}

/// Requests until the caller has no more, or until the stream has to end, which is the last item.
fn received(
    service: Arc<Service>,
    requests: Streaming<api::StreamCheckScopesRequest>,
    deadline: Instant,
) -> impl futures_util::Stream<Item = Result<api::StreamCheckScopesRequest, Status>> + Send {
    stream::try_unfold((service, requests), move |(service, mut requests)| async move {
        let next = tokio::select! {
            () = service.stopping() => return Err(status::stopping()),
            () = sleep_until(deadline) => return Err(status::deadline_exceeded()),
            next = requests.message() => next?,
        };
        Ok(next.map(|request| (request, (service, requests))))
    })
}

/// One answer. Whatever goes wrong concerns this request alone. The trace is that of the stream.
async fn answer(
    front: TokenFront,
    request: api::StreamCheckScopesRequest,
    headers: &http::HeaderMap,
) -> api::StreamCheckScopesResponse {
    use api::stream_check_scopes_response::Result as Item;
    let request = request.request.unwrap_or_default();
    let check = AssertUnwindSafe(front.check_one(&request)).catch_unwind();
    let checked = match timeout(CHECK_LIMIT, check).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(_panic)) => Err(status::internal()),
        Err(_elapsed) => Err(status::deadline_exceeded()),
    };
    log_check(&checked, headers);
    let result = match checked {
        Ok(response) => Item::Response(response),
        Err(status) => Item::Error(status::as_item(&status)),
    };
    api::StreamCheckScopesResponse { result: Some(result) }
}
