//! Tests and first connections. A transmission goes on to its end, so that its outcome is published, whoever waits.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use postrider_types::webhook::WebhookStatus;
use postrider_types::{EventType, FirstConnection, Transmission, Trigger, Webhook};
use postrider_webhooks::{Changed, Refusal};
use serde::Deserialize;
use tokio::time::timeout;

use super::ask::{Id, Nothing, Optional, Params, typed};
use super::desk::Desk;
use crate::problem::Problem;

/// How long the answer to a change waits for the first connection: the change is made, and has to be answered within
/// what a request has.
const FIRST_CONNECTION_PATIENCE: Duration = Duration::from_secs(20);

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
    let listed = desk.webhook(&id)?;
    let ask: TestRequest = typed(document)?;
    let webhook = listed.webhook;
    if webhook.status == WebhookStatus::Cancelled {
        return Err(Refusal::Cancelled.into());
    }
    let event = ask.event.or_else(|| webhook.events.first().copied());
    let transmitted = desk
        .transmit(webhook, event.unwrap_or(EventType::OrderShipped), Trigger::Test)
        .await;
    match transmitted {
        Ok(transmission) => Ok(Json(transmission).into_response()),
        Err(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)),
    }
}

impl Desk {
    /// The first connection of an endpoint that is new. It always carries a shipment, whatever the webhook wants.
    pub(super) async fn first_connection(&self, changed: &Changed) -> Option<FirstConnection> {
        if !changed.is_new_endpoint {
            return None;
        }
        let webhook = Arc::clone(&changed.webhook);
        let made = self.transmit(webhook, EventType::OrderShipped, Trigger::FirstConnection);
        Some(match timeout(FIRST_CONNECTION_PATIENCE, made).await {
            Ok(Ok(transmission)) => transmission.into(),
            Ok(Err(why)) => not_passed(why),
            Err(_) => not_passed(format!(
                "No answer within {} s yet; the outcome follows in the logs",
                FIRST_CONNECTION_PATIENCE.as_secs()
            )),
        })
    }

    async fn transmit(
        &self,
        webhook: Arc<Webhook>,
        event: EventType,
        trigger: Trigger,
    ) -> Result<Transmission, String> {
        let tester = Arc::clone(&self.api.tester);
        let made = tokio::spawn(async move { tester.transmit(webhook, event, trigger).await });
        match made.await {
            Ok(transmitted) => transmitted,
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        }
    }
}

const fn not_passed(message: String) -> FirstConnection {
    FirstConnection {
        passed: false,
        message,
        hint: None,
    }
}
