//! Failures as gRPC has them: a status with `google.rpc.ErrorInfo`, and `RetryInfo` where trying again makes sense.
//! Decisions are not failures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::domain::error::Unavailable;
use crate::domain::scope::MalformedScope;
use crate::domain::step_up::MalformedAcrValues;
use crate::proto::google::rpc;
use crate::service::accounts::AccountError;

/// `ErrorInfo.domain`.
pub const ERROR_DOMAIN: &str = "scopegate";
/// When to ask again.
const RETRY_DELAY: Duration = Duration::from_millis(500);

pub(super) fn invalid(reason: &str, message: &str) -> Status {
    with_info(Code::InvalidArgument, reason, message)
}

pub(super) fn token_missing() -> Status {
    invalid("TOKEN_MISSING", "token is required")
}

pub(super) fn batch_too_large(most: usize) -> Status {
    invalid("BATCH_TOO_LARGE", &format!("a batch has {most} requests at most"))
}

pub(super) fn malformed_scope(error: MalformedScope) -> Status {
    invalid("SCOPE_MALFORMED", &format!("required_scopes has one scope per element: {error}"))
}

pub(super) fn malformed_acr(error: MalformedAcrValues) -> Status {
    invalid("ACR_MALFORMED", &format!("acr_values cannot be read: {error}"))
}

pub(super) fn caller_unknown() -> Status {
    with_info(
        Code::Unauthenticated,
        "CALLER_UNKNOWN",
        "the caller is not known: it has to present a caller token as `authorization: Bearer …`, or a client certificate",
    )
}

pub(super) fn caller_not_permitted() -> Status {
    with_info(Code::PermissionDenied, "CALLER_NOT_PERMITTED", "the configuration does not let this caller do this")
}

pub(super) fn no_such_method() -> Status {
    with_info(Code::Unimplemented, "NO_SUCH_METHOD", "there is no such method")
}

pub(super) fn deadline_exceeded() -> Status {
    with_info(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the answer took longer than it may")
}

/// After a panic, which the log tells about.
pub(super) fn internal() -> Status {
    with_info(Code::Internal, "INTERNAL", "the call failed inside the server")
}

/// We do not know. The cause goes to the log, here and once.
pub(super) fn unavailable(error: Unavailable) -> Status {
    tracing::error!(error = %error, cause = %error.cause, "a call could not be answered");
    let mut status = retryable("STORE_UNAVAILABLE", "the answer is not known now; ask again");
    // For whoever called without a network, which the cause never goes over.
    status.set_source(Arc::new(error));
    status
}

pub(super) fn target_missing() -> Status {
    invalid("TARGET_MISSING", "target is required")
}

pub(super) fn target_malformed(error: impl std::error::Error) -> Status {
    invalid("TARGET_MALFORMED", &format!("target cannot be read: {error}"))
}

pub(super) fn cursor_too_old() -> Status {
    let message =
        "what was revoked since cannot be told any more: drop everything that is cached and watch from now on";
    with_info(Code::OutOfRange, "CURSOR_TOO_OLD", message)
}

pub(super) fn stopping() -> Status {
    retryable("SERVER_STOPPING", "this server is going away: open the stream again, at another one")
}

pub(super) fn behind() -> Status {
    retryable("BEHIND_CONSISTENCY_TOKEN", "this server has not come as far as the consistency token; ask again")
}

/// One field is wrong.
pub(super) fn invalid_field(field: &str, why: &str) -> Status {
    let mut details = ErrorDetails::with_error_info("FIELD_INVALID", ERROR_DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, why);
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {why}"), details)
}

pub(super) fn not_found(reason: &str, message: &str) -> Status {
    with_info(Code::NotFound, reason, message)
}

pub(super) fn failed_precondition(reason: &str, message: &str) -> Status {
    with_info(Code::FailedPrecondition, reason, message)
}

pub(super) fn interaction_over(restart: String) -> Status {
    let metadata = HashMap::from([("redirect_to".to_owned(), restart)]);
    let details = ErrorDetails::with_error_info("INTERACTION_OVER", ERROR_DOMAIN, metadata);
    let message = "the interaction was used or has expired: the browser can start again at redirect_to";
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

pub(super) fn etag_mismatch() -> Status {
    with_info(Code::Aborted, "ETAG_MISMATCH", "the client was changed since it was read")
}

pub(super) fn account(error: AccountError) -> Status {
    let message = error.to_string();
    match error {
        AccountError::Unavailable(error) => unavailable(error),
        AccountError::Unknown(_) => not_found("ACCOUNT_UNKNOWN", &message),
        AccountError::Exists(_) => with_info(Code::AlreadyExists, "ACCOUNT_EXISTS", &message),
        AccountError::Username => invalid_field("username", &message),
        AccountError::Password => invalid_field("password", &message),
    }
}

/// A status as an item of a batch carries it.
pub(super) fn as_item(status: &Status) -> rpc::Status {
    rpc::Status::decode(status.details()).unwrap_or_else(|_| rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

fn with_info(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

fn retryable(reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    details.set_retry_info(Some(RETRY_DELAY));
    Status::with_error_details(Code::Unavailable, message, details)
}

/// The `grpc-timeout` of a request: up to eight digits and a unit (gRPC over HTTP/2, "Timeout").
pub(super) fn requested_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    parse_timeout(value.as_bytes()).map(Some).ok_or_else(|| invalid("TIMEOUT_MALFORMED", "grpc-timeout is malformed"))
}

fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_grpc_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("99999999M", Some(Duration::from_mins(99_999_999))),
            ("5S", Some(Duration::from_secs(5))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("+1S", None),
            ("100000000S", None),
            ("1", None),
            ("1x", None),
            ("1 S", None),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn every_status_has_error_info_and_the_unknown_one_says_when_to_ask_again() {
        let status = unavailable(Unavailable { operation: "test", cause: "secret detail".into() });
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.message().contains("secret detail"));
        let details = status.get_error_details();
        assert_eq!(
            details.error_info().map(|info| (&*info.reason, &*info.domain)),
            Some(("STORE_UNAVAILABLE", "scopegate"))
        );
        assert_eq!(details.retry_info().and_then(|info| info.retry_delay), Some(RETRY_DELAY));
        let item = as_item(&token_missing());
        assert_eq!((item.code, &*item.message, item.details.len()), (3, "token is required", 1));
    }
}
