//! The routes and what every request passes before them: Host, size, time.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;

use axum::extract::{DefaultBodyLimit, Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::{Registry, TextEncoder};
use serde_json::json;

use crate::api::{self, Gate, openapi, page};
use crate::console;
use crate::deadline::{Deadline, REQUEST_TIMEOUT};
use crate::health::Health;
use crate::host::Hosts;
use crate::problem::Problem;

/// The largest body a request may have.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;

/// The two ends of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

/// What is written once and answered as it is.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    openapi: Bytes,
    docs: Bytes,
    policy: HeaderValue,
}

impl Written {
    fn new() -> Self {
        let document = openapi::document();
        let policy = HeaderValue::from_str(&page::policy()).expect("a policy is visible text");
        Self {
            openapi: document.to_string().into(),
            docs: page::html(&document).into(),
            policy,
        }
    }
}

/// All routes, wrapped in what every request passes.
pub(crate) fn router(health: Health, registry: Registry, hosts: Hosts, gate: &Arc<Gate>) -> Router {
    let written = Router::new()
        .route("/openapi.json", get(openapi))
        .route("/docs", get(docs))
        .with_state(Written::new());
    let routes = Router::new()
        .route("/healthz", get(self::health))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(health)
        .merge(Router::new().route("/metrics", get(metrics)).with_state(registry))
        .merge(written)
        .merge(api::router(gate))
        .merge(console::router(gate))
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
        .layer(from_fn(never_kept))
}

/// Tells whether the process makes progress.
#[utoipa::path(get, path = "/healthz", tag = "process", responses(
    (status = 200, description = "It does.", content_type = "application/json", body = serde_json::Value),
    (status = 503, description = "It does not; the reasons say what is stuck.", content_type = "application/json",
     body = serde_json::Value),
))]
pub(crate) async fn health(State(health): State<Health>) -> Response {
    let reasons = health.stuck();
    (
        status_of(reasons.is_empty()),
        Json(json!({ "alive": reasons.is_empty(), "reasons": reasons })),
    )
        .into_response()
}

/// Tells what `/healthz` tells.
#[utoipa::path(get, path = "/livez", tag = "process", responses(
    (status = 200, description = "It does.", content_type = "application/json", body = serde_json::Value),
    (status = 503, description = "It does not; the reasons say what is stuck.", content_type = "application/json",
     body = serde_json::Value),
))]
pub(crate) async fn live(state: State<Health>) -> Response {
    health(state).await
}

/// Tells whether the process delivers.
#[utoipa::path(get, path = "/readyz", tag = "process", responses(
    (status = 200, description = "It does.", content_type = "application/json", body = serde_json::Value),
    (status = 503, description = "It does not yet, or no more; the reasons say why.", content_type = "application/json",
     body = serde_json::Value),
))]
pub(crate) async fn ready(State(health): State<Health>) -> Response {
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

/// Writes the metrics.
#[utoipa::path(get, path = "/metrics", tag = "process", responses(
    (status = 200, description = "The metrics in Prometheus' text format.", content_type = "text/plain", body = String),
))]
pub(crate) async fn metrics(State(registry): State<Registry>) -> Result<Response, Problem> {
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

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "process", responses(
    (status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = serde_json::Value),
))]
pub(crate) async fn openapi(State(written): State<Written>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], written.openapi).into_response()
}

/// This document as a page.
#[utoipa::path(get, path = "/docs", tag = "process", responses(
    (status = 200, description = "HTML without scripts.", content_type = "text/html", body = String),
))]
pub(crate) async fn docs(State(written): State<Written>) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, written.policy),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, written.docs).into_response()
}

async fn unknown(headers: HeaderMap) -> Response {
    if console::wants_page(&headers) {
        return console::unknown();
    }
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here; /docs says what there is").into_response()
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this route does not take that method; see the Allow header",
    )
}

async fn from_known_host(
    State(hosts): State<Arc<Hosts>>,
    Extension(ends): Extension<Ends>,
    request: Request,
    next: Next,
) -> Response {
    if hosts.admits(request.uri(), request.headers(), ends.local) {
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
    too_large().into_response()
}

pub(crate) fn too_large() -> Problem {
    let detail = format!("the body is larger than {MAX_BODY_BYTES} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Nobody keeps an answer that does not say otherwise: it is of one moment and for one caller. And nobody guesses at
/// what it is.
async fn never_kept(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn announced(headers: &HeaderMap) -> u64 {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

async fn within_time(mut request: Request, next: Next) -> Response {
    let (deadline, is_safe) = (Deadline::new(), request.method().is_safe());
    request.extensions_mut().insert(deadline);
    let answer = tokio::time::timeout_at(deadline.instant(), next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let look = if is_safe {
            ""
        } else {
            "; look before you repeat it, it may have been done"
        };
        let detail = format!("no answer within {} s{look}", REQUEST_TIMEOUT.as_secs());
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
        let routes = guarded(Router::new().route("/slow", get(slow).post(slow)), Hosts::new(&[]));
        let routes = TowerToHyperService::new(routes);
        let address = "127.0.0.1:80".parse().unwrap();
        for (method, told) in [("GET", "no answer within 30 s\""), ("POST", "it may have been done")] {
            let request = Request::builder()
                .method(method)
                .uri("/slow")
                .header("host", "localhost");
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(Ends {
                local: address,
                peer: address,
            });
            let answer = routes.call(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            let body = to_bytes(answer.into_body(), 1024).await.unwrap();
            assert!(std::str::from_utf8(&body).unwrap().contains(told));
        }
    }
}
