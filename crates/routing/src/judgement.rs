//! The one judgement on whether a webhook gets an event; routing, retries and explanations share it.

use std::fmt;
use std::sync::Arc;

use postrider_types::webhook::WebhookStatus;
use postrider_types::{Event, EventType, Fault, Webhook};

use crate::filter::Filter;
use crate::payload::Payload;

/// A webhook with its filter read.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) webhook: Arc<Webhook>,
    /// `None` admits every event, without the payload being read.
    pub(crate) filter: Option<Filter>,
}

/// Why a webhook does not get an event. The first that applies, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Cancelled,
    OtherAccount,
    Disabled,
    TypeNotWanted(EventType),
    Unreadable,
    FilterMissed,
}

impl Entry {
    pub(crate) fn new(webhook: Webhook) -> Result<Self, Vec<Fault>> {
        let filter = read_filter(&webhook)?;
        Ok(Self {
            webhook: Arc::new(webhook),
            filter,
        })
    }

    /// Why the webhook does not get the event; `None` when it does.
    pub(crate) fn refusal(&self, event: &Event, payload: &Payload<'_>) -> Option<Refusal> {
        let webhook = &self.webhook;
        match webhook.effective_status() {
            WebhookStatus::Cancelled => Some(Refusal::Cancelled),
            _ if webhook.account_id != event.account => Some(Refusal::OtherAccount),
            WebhookStatus::Disabled => Some(Refusal::Disabled),
            WebhookStatus::Active if !webhook.events.contains(&event.event_type) => {
                Some(Refusal::TypeNotWanted(event.event_type))
            }
            WebhookStatus::Active => self.filter_refusal(payload),
        }
    }

    /// Why the filter does not admit the payload. No filter admits one that cannot be read.
    pub(crate) fn filter_refusal(&self, payload: &Payload<'_>) -> Option<Refusal> {
        let filter = self.filter.as_ref()?;
        match payload.value() {
            None => Some(Refusal::Unreadable),
            Some(value) => (!filter.matches(value)).then_some(Refusal::FilterMissed),
        }
    }
}

/// The filter of a webhook, unless it has none or one that asks nothing; faults under `filter`.
pub(crate) fn read_filter(webhook: &Webhook) -> Result<Option<Filter>, Vec<Fault>> {
    let Some(value) = webhook.filter.as_ref().filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let under = |faults: Vec<Fault>| {
        faults
            .into_iter()
            .map(|fault| fault.under("filter"))
            .collect::<Vec<_>>()
    };
    let filter = Filter::parse(value).map_err(under)?;
    Ok(Some(filter).filter(|filter| !filter.is_empty()))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("The webhook was cancelled"),
            Self::OtherAccount => f.write_str("The webhook belongs to another account"),
            Self::Disabled => f.write_str("The webhook is disabled"),
            Self::TypeNotWanted(event_type) => write!(f, "The webhook does not want {event_type} events"),
            Self::Unreadable => f.write_str("The event's body cannot be read, so the webhook's filter does not match"),
            Self::FilterMissed => f.write_str("The webhook's filter does not match the event"),
        }
    }
}
