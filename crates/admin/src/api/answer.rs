//! Webhooks and lists as they are answered.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postrider_types::Webhook;
use postrider_webhooks::{Listed, Origin};
use serde::Serialize;
use serde_json::{Value, json};

use super::work::Done;

/// A webhook's document: its secrets masked by their own type, its status with the owner's switch in it.
pub(super) fn document(webhook: &Webhook, origin: Origin) -> Value {
    let mut document = serde_json::to_value(webhook).expect("a webhook is JSON");
    document["status"] = json!(webhook.effective_status());
    document["origin"] = json!(origin.as_str());
    document
}

/// The answer to a change. A secret that was made is in it, this once.
pub(super) fn done(done: &Done) -> Response {
    let changed = &done.changed;
    let mut document = document(&changed.webhook, changed.origin);
    if let Some(secret) = &changed.generated {
        document["signing"]["secret"] = json!(secret.expose());
    }
    if let Some(first) = &done.first_connection {
        document["first_connection"] = json!(first);
    }
    tagged(&changed.webhook, document)
}

pub(super) fn one(listed: &Listed) -> Response {
    tagged(&listed.webhook, document(&listed.webhook, listed.origin))
}

/// The same answer for something that is new.
pub(super) fn created(webhook: &Webhook, answer: Response) -> Response {
    let location = format!("/api/v1/webhooks/{}", webhook.id);
    (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response()
}

fn tagged(webhook: &Webhook, document: Value) -> Response {
    (etag(webhook.version), Json(document)).into_response()
}

fn etag(version: u64) -> [(HeaderName, HeaderValue); 1] {
    let tag = format!("\"{version}\"");
    [(header::ETAG, tag.parse().expect("digits in quotes are visible"))]
}

/// A list, or a page of it.
pub(super) fn list<T: Serialize>(items: T, next_cursor: Option<String>) -> Response {
    #[derive(Serialize)]
    struct List<T> {
        items: T,
        next_cursor: Option<String>,
    }
    Json(List { items, next_cursor }).into_response()
}
