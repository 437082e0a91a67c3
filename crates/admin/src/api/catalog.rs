//! What there is to know before one adds a webhook: the event types with their samples, and the statuses.

use axum::extract::Extension;
use axum::response::Response;
use postrider_types::EventType;
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer;
use super::ask::{Nothing, Params};
use super::desk::Desk;
use crate::problem::Problem;

const STATUSES: &str = include_str!("../../../../schemas/status-catalog.json");

#[derive(Debug, Serialize)]
struct Entry {
    event: EventType,
    description: &'static str,
    samples: Vec<Sample>,
}

/// A payload, byte for byte as the file has it.
#[derive(Debug, Serialize)]
struct Sample {
    name: &'static str,
    payload: &'static RawValue,
}

/// Lists the event types, each with what it means and sample payloads.
///
/// A Test sends the first sample of a type.
#[utoipa::path(get, path = "/api/v1/event-types", operation_id = "list_event_types", tag = "catalog", responses(
    (status = 200, description = "All event types.", body = ref("#/components/schemas/EventTypeList")),
))]
pub(super) async fn event_types(_: Extension<Desk>, _: Params<Nothing>) -> Result<Response, Problem> {
    let entries: Vec<Entry> = EventType::ALL.into_iter().map(entry).collect();
    Ok(answer::list(entries, None))
}

fn entry(event: EventType) -> Entry {
    let samples = samples(event).iter().map(|(name, text)| Sample {
        name,
        payload: raw(text),
    });
    Entry {
        event,
        description: description(event),
        samples: samples.collect(),
    }
}

pub(crate) const fn description(event: EventType) -> &'static str {
    match event {
        EventType::OrderShipped => "A shipment was made, or a return (`is_return` is true).",
        EventType::OrderError => "A shipment could not be made.",
        EventType::TrackingUpdate => "A parcel moved.",
    }
}

const fn samples(event: EventType) -> &'static [(&'static str, &'static str)] {
    match event {
        EventType::OrderShipped => &[
            (
                "order_shipped",
                include_str!("../../../../schemas/samples/order_shipped.json"),
            ),
            ("return", include_str!("../../../../schemas/samples/return.json")),
        ],
        EventType::OrderError => &[(
            "order_error",
            include_str!("../../../../schemas/samples/order_error.json"),
        )],
        EventType::TrackingUpdate => &[(
            "tracking_update",
            include_str!("../../../../schemas/samples/tracking_update.json"),
        )],
    }
}

fn raw(text: &'static str) -> &'static RawValue {
    serde_json::from_str(text).expect("what the repository holds is JSON")
}

/// Lists every status that can be shown, with its meaning.
#[utoipa::path(get, path = "/api/v1/statuses", operation_id = "list_statuses", tag = "catalog", responses(
    (status = 200, description = "The status catalog.", body = ref("#/components/schemas/StatusList")),
))]
pub(super) async fn statuses(_: Extension<Desk>, _: Params<Nothing>) -> Result<Response, Problem> {
    Ok(answer::list(raw(STATUSES), None))
}
