//! Why each webhook of an account gets an event, or why not; for `postrider route`.

use postrider_types::{Event, WebhookId};
use schemars::JsonSchema;
use serde::Serialize;

use crate::judgement::{Entry, Refusal};
use crate::payload::Payload;
use crate::table::Table;

/// What routing makes of one webhook and one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// The webhook.
    pub webhook: WebhookId,
    /// Whether it gets the event.
    pub matches: bool,
    /// Why, or the first reason why not.
    pub reason: String,
}

/// Explains every webhook of the event's account, in the table's order.
#[must_use]
pub fn explain(table: &Table, event: &Event) -> Vec<Explanation> {
    let payload = Payload::new(&event.body);
    let entries = table.account_entries(&event.account).iter();
    entries
        .map(|entry| {
            let refusal = entry.refusal(event, &payload);
            Explanation {
                webhook: entry.webhook.id.clone(),
                matches: refusal.is_none(),
                reason: refusal.map_or_else(|| admitted(entry, event), |refusal| refused(entry, refusal, &payload)),
            }
        })
        .collect()
}

fn admitted(entry: &Entry, event: &Event) -> String {
    let filter = if entry.filter.is_some() {
        "its filter matches"
    } else {
        "it has no filter"
    };
    format!("The webhook wants {} events, and {filter}", event.event_type)
}

fn refused(entry: &Entry, refusal: Refusal, payload: &Payload<'_>) -> String {
    let detail = match refusal {
        Refusal::Disabled if !entry.webhook.enabled => Some("by its owner".to_owned()),
        Refusal::Disabled => entry.webhook.disabled_reason.clone(),
        Refusal::FilterMissed => entry
            .filter
            .as_ref()
            .zip(payload.value())
            .and_then(|(filter, value)| filter.first_miss(value)),
        _ => None,
    };
    detail.map_or_else(|| refusal.to_string(), |detail| format!("{refusal}: {detail}"))
}
