//! What would become of an event: routing's own judgement of a payload that nobody sent.

use axum::extract::Extension;
use axum::response::Response;
use postrider_routing::explain;
use postrider_types::{AccountId, Event, EventId, EventType, Facts, Fault, Offset, Origin, Partition, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::answer;
use super::ask::{Document, Nothing, Params, typed};
use super::desk::Desk;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteRequest {
    account_id: Option<AccountId>,
    event: Option<EventType>,
    payload: Map<String, Value>,
}

/// Shows which webhooks of an account would get an event, and of each other why not.
///
/// The event's type and account are those that are given, or else those that the payload names.
#[utoipa::path(post, path = "/api/v1/route", operation_id = "route_event", tag = "routing",
    request_body = ref("#/components/schemas/RouteRequest"),
    responses(
    (status = 200, description = "Every webhook of the account.", body = ref("#/components/schemas/ExplanationList")),
    (status = 422, description = "Some fields cannot be taken."),
))]
pub(super) async fn route(
    Extension(desk): Extension<Desk>,
    _: Params<Nothing>,
    Document(document): Document,
) -> Result<Response, Problem> {
    let event = event(&desk, typed(document)?)?;
    Ok(answer::list(explain(&desk.api.editor.table(), &event), None))
}

fn event(desk: &Desk, ask: RouteRequest) -> Result<Event, Problem> {
    let RouteRequest {
        account_id,
        event,
        payload,
    } = ask;
    let event_type = match event {
        Some(event) => event,
        None => named_in(&payload, "event")?.ok_or_else(|| fault("event", "is missing, here and in the payload"))?,
    };
    let account = match account_id {
        Some(account) => Some(account),
        None => named_in(&payload, "account_id")?,
    };
    let origin = Origin {
        topic: "what-if".into(),
        partition: Partition(0),
        offset: Offset(0),
        timestamp: Timestamp::from_millis(0),
    };
    Ok(Event {
        id: EventId::from(&origin),
        origin,
        event_type,
        account: desk.account(account)?,
        facts: Facts::default(),
        key: None,
        headers: Vec::new(),
        body: Value::Object(payload).to_string().into(),
    })
}

/// Read as the consumer reads it: null is none, and an integer is its digits.
fn named_in<T: DeserializeOwned>(payload: &Map<String, Value>, name: &str) -> Result<Option<T>, Problem> {
    let given = payload.get(name).cloned().map(|given| match given {
        Value::Number(number) if !number.is_f64() => Value::String(number.to_string()),
        other => other,
    });
    let read = given.map_or(Ok(None), serde_json::from_value);
    read.map_err(|error| fault(&format!("payload.{name}"), &error.to_string()))
}

fn fault(path: &str, reason: &str) -> Problem {
    Problem::faults(vec![Fault::new(path, reason)])
}
