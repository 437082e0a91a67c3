//! Events, webhooks and records for the tests of this crate.

use std::sync::Arc;

use postrider_types::delivery::{Progress, Waiting};
use postrider_types::settlement::HeldTotals;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{
    AccountId, Arrival, AssignmentNumber, Carrier, Event, EventId, EventType, Facts, Held, Losses, Offset, Origin,
    ParkCause, Partition, Position, Record, Timestamp, Webhook, WebhookId,
};
use serde_json::Value;

pub(crate) fn id(text: &str) -> WebhookId {
    WebhookId::new(text).unwrap()
}

pub(crate) fn account(text: &str) -> AccountId {
    AccountId::new(text).unwrap()
}

/// An active webhook of the default account that wants every type.
pub(crate) fn webhook(name: &str) -> Webhook {
    Webhook::new(
        id(name),
        "https://m.example/hooks?token=s3cret",
        EventType::ALL.to_vec(),
    )
}

pub(crate) fn filtered(name: &str, filter: Value) -> Webhook {
    Webhook {
        filter: Some(filter),
        ..webhook(name)
    }
}

pub(crate) fn with_status(name: &str, status: WebhookStatus) -> Webhook {
    Webhook {
        status,
        ..webhook(name)
    }
}

/// A `tracking_update` of the default account.
pub(crate) fn event(body: impl Into<Vec<u8>>) -> Event {
    let origin = Origin {
        topic: "tracking".into(),
        partition: Partition(3),
        offset: Offset(1841),
        timestamp: Timestamp::from_millis(1_763_805_600_000),
    };
    Event {
        id: EventId::from(&origin),
        origin,
        event_type: EventType::TrackingUpdate,
        account: AccountId::default(),
        facts: Facts::default(),
        key: None,
        headers: Vec::new(),
        body: body.into().into(),
    }
}

/// What the consumer's end sees of the arrivals.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    pub(crate) totals: Arc<HeldTotals>,
    pub(crate) losses: Losses,
}

impl Origins {
    pub(crate) fn arrival(&self, event: Event, carrier: Carrier) -> Arrival {
        let position = Position {
            topic: "tracking".into(),
            partition: Partition(3),
            offset: Offset(1841),
            assignment: AssignmentNumber(1),
        };
        Arrival {
            event: Arc::new(event),
            carrier,
            record: Record::new(position, Held::take(&self.totals, 100), &self.losses),
        }
    }
}

/// A delivery to `webhook` that comes due after two attempts.
pub(crate) fn waiting(webhook: &str) -> Waiting {
    let progress = Progress {
        attempts: 2,
        parkings: 1,
        last_status: Some(503),
        ..Progress::start(None)
    };
    Waiting {
        webhook_id: id(webhook),
        progress,
        due: Timestamp::from_millis(1_763_805_700_000),
        cause: ParkCause::Retry,
    }
}
