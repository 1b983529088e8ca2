//! Metrics and probes, on a port of their own.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::join_all;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::store::Store;
use crate::telemetry::Metrics;

/// An issuer that a port tells of.
pub(super) struct Observed {
    pub(super) issuer: String,
    pub(super) metrics: Arc<Metrics>,
    pub(super) store: Store,
}

/// For each of the issuers of a port: metrics have the label `issuer` where there are several, and it is ready when all are.
pub(super) fn router(observed: Vec<Observed>) -> Router {
    Router::new()
        .route("/metrics", get(show))
        // Never asks a dependency: restarting us would not mend it.
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(observed.into())
}

async fn show(State(observed): State<Arc<[Observed]>>) -> Response {
    let rendered: Result<Vec<_>, _> =
        observed.iter().map(|one| Ok::<_, std::fmt::Error>((one.issuer.as_str(), one.metrics.render()?))).collect();
    let text = rendered.map(|mut rendered| match rendered.as_mut_slice() {
        [(_, text)] => std::mem::take(text),
        several => merged(several),
    });
    match text {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => {
            tracing::error!(error = %error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(observed): State<Arc<[Observed]>>) -> Response {
    let heads = join_all(observed.iter().map(|one| one.store.revocation_head())).await;
    let mut failed = false;
    for (one, head) in observed.iter().zip(heads) {
        if let Err(error) = head {
            tracing::warn!(issuer = one.issuer, error = %error, cause = %error.cause, "not ready");
            failed = true;
        }
    }
    if failed {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

/// One text of several in `OpenMetrics`: a family of metrics stands there once, with the samples of all.
fn merged(texts: &[(&str, String)]) -> String {
    let mut families: Vec<(Vec<&str>, String)> = Vec::new();
    for (issuer, text) in texts {
        let issuer = issuer.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut at = None;
        for line in text.lines().filter(|line| *line != "# EOF") {
            if line.starts_with("# HELP ") {
                at = families.iter().position(|(heads, _)| heads[0] == line);
                if at.is_none() {
                    families.push((vec![line], String::new()));
                    at = Some(families.len() - 1);
                }
                continue;
            }
            let Some((heads, samples)) = at.and_then(|at| families.get_mut(at)) else { continue };
            if line.starts_with('#') {
                if !heads.contains(&line) {
                    heads.push(line);
                }
                continue;
            }
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
            let written = match rest.strip_prefix('{') {
                Some(labels) if labels.starts_with('}') => writeln!(samples, "{name}{{issuer=\"{issuer}\"{labels}"),
                Some(labels) => writeln!(samples, "{name}{{issuer=\"{issuer}\",{labels}"),
                None => writeln!(samples, "{name}{{issuer=\"{issuer}\"}}{rest}"),
            };
            written.expect("a String takes what is written");
        }
    }
    let mut all = String::new();
    for (heads, samples) in families {
        for head in heads {
            all.push_str(head);
            all.push('\n');
        }
        all.push_str(&samples);
    }
    all.push_str("# EOF\n");
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_family_stands_once_with_the_samples_of_each_issuer() {
        let text = |one: u32, more: &str| {
            format!(
                "# HELP a A.\n# TYPE a counter\na_total {one}\n# HELP b B.\n# TYPE b gauge\nb{{x=\"y z\"}} 1\n{more}# EOF\n"
            )
        };
        let texts =
            [("https://a", text(1, "")), ("https://\"b", text(2, "# HELP c C.\n# TYPE c counter\nc_total{} 3\n"))];
        assert_eq!(
            merged(&texts),
            "# HELP a A.\n# TYPE a counter\na_total{issuer=\"https://a\"} 1\na_total{issuer=\"https://\\\"b\"} 2\n\
             # HELP b B.\n# TYPE b gauge\nb{issuer=\"https://a\",x=\"y z\"} 1\nb{issuer=\"https://\\\"b\",x=\"y z\"} 1\n\
             # HELP c C.\n# TYPE c counter\nc_total{issuer=\"https://\\\"b\"} 3\n# EOF\n"
        );
    }
}
