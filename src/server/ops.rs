//! Metrics and probes, on a port of their own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::store::Store;
use crate::telemetry::Metrics;

pub(super) fn router(metrics: Arc<Metrics>, store: Store) -> Router {
    Router::new()
        .route("/metrics", get(show).with_state(metrics))
        // Never asks a dependency: restarting us would not mend it.
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(store))
}

async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.render() {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            tracing::error!(error = %error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(store): State<Store>) -> Response {
    match store.revocation_head().await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => {
            tracing::warn!(error = %error, cause = %error.cause, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}
