//! The route that makes a Test.

use axum::Json;
use axum::extract::Extension;
use axum::response::{IntoResponse, Response};
use postrider_types::EventType;
use serde::Deserialize;

use super::ask::{Id, Nothing, Optional, Params, typed};
use super::desk::Desk;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestRequest {
    event: Option<EventType>,
}

/// Sends a sample to a webhook, once, as a delivery is sent.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/test", operation_id = "test_webhook", tag = "webhooks",
    request_body = ref("#/components/schemas/TestRequest"),
    responses(
    (status = 200, description = "Everything that was transmitted.", body = ref("#/components/schemas/Transmission")),
    (status = 409, description = "The webhook was cancelled."),
    (status = 422, description = "Some fields cannot be taken."),
))]
pub(super) async fn test(
    Extension(desk): Extension<Desk>,
    Id(id): Id,
    _: Params<Nothing>,
    Optional(document): Optional,
) -> Result<Response, Problem> {
    desk.webhook(&id)?;
    let ask: TestRequest = typed(document)?;
    let transmission = desk.test(&id, ask.event).await?;
    Ok(Json(transmission).into_response())
}
