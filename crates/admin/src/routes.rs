//! The routes and what every request passes before them: Host, size, time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::{Registry, TextEncoder};
use serde_json::json;

use crate::health::Health;
use crate::host::Hosts;
use crate::problem::Problem;

/// The largest body a request may have.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;
/// How long a route may take to answer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The address a connection came in at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local(pub(crate) SocketAddr);

/// All routes, wrapped in what every request passes.
pub(crate) fn router(health: Health, registry: Registry, hosts: Hosts) -> Router {
    let routes = Router::new()
        .route("/healthz", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .with_state(health)
        .merge(Router::new().route("/metrics", get(metrics)).with_state(registry))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method);
    guarded(routes, hosts)
}

fn guarded(routes: Router, hosts: Hosts) -> Router {
    routes
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(within_time))
        .layer(from_fn(within_size))
        .layer(from_fn_with_state(Arc::new(hosts), from_known_host))
}

async fn alive(State(health): State<Health>) -> Response {
    let reasons = health.stuck();
    (
        status_of(reasons.is_empty()),
        Json(json!({ "alive": reasons.is_empty(), "reasons": reasons })),
    )
        .into_response()
}

async fn ready(State(health): State<Health>) -> Response {
    let reasons = health.unready();
    (
        status_of(reasons.is_empty()),
        Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })),
    )
        .into_response()
}

const fn status_of(passed: bool) -> StatusCode {
    if passed {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn metrics(State(registry): State<Registry>) -> Result<Response, Problem> {
    let text = TextEncoder::new()
        .encode_to_string(&registry.gather())
        .map_err(|error| {
            tracing::error!(%error, "Metrics cannot be written");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics cannot be written; the log says why",
            )
        })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

async fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is nothing here; try /healthz, /readyz or /metrics",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this route does not take that method; see the Allow header",
    )
}

async fn from_known_host(
    State(hosts): State<Arc<Hosts>>,
    Extension(local): Extension<Local>,
    request: Request,
    next: Next,
) -> Response {
    if hosts.admits(request.uri(), request.headers(), local.0) {
        return next.run(request).await;
    }
    let detail = "the Host of this request is neither the listener's address nor in admin.allowed_hosts";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
}

/// Refuses a body that announces itself as too large; one that does not is cut by the body limit.
async fn within_size(request: Request, next: Next) -> Response {
    if announced(request.headers()) <= MAX_BODY_BYTES as u64 {
        return next.run(request).await;
    }
    let detail = format!("the body is larger than {MAX_BODY_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response()
}

fn announced(headers: &HeaderMap) -> u64 {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

async fn within_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let detail = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    async fn slow() -> &'static str {
        tokio::time::sleep(REQUEST_TIMEOUT * 2).await;
        "too late"
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_that_takes_too_long_is_answered_for() {
        let routes = guarded(Router::new().route("/slow", get(slow)), Hosts::new(&[]));
        let mut request = Request::get("/slow")
            .header("host", "localhost")
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(Local("127.0.0.1:80".parse().unwrap()));
        let answer = TowerToHyperService::new(routes).call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = to_bytes(answer.into_body(), 1024).await.unwrap();
        assert!(std::str::from_utf8(&body).unwrap().contains("no answer within 30 s"));
    }
}
