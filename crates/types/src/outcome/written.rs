//! An outcome in writing. It is written where it is made, while the event it tells of is at hand: whoever publishes it has
//! no more to do with it than with any other bytes.

use bytes::Bytes;

use super::{Outcome, OutcomeOf, OutcomeResult};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::webhook::WebhookId;

/// What most outcomes need at most, so that writing one does not grow its buffer.
const ROOM: usize = 1280;

/// An outcome as it is published, and what is counted of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// What became of the delivery.
    pub result: OutcomeResult,
    /// When the attempt ended; `None` when there was none.
    pub date_end: Option<Timestamp>,
    /// The whole outcome, as JSON.
    pub json: Bytes,
}

impl Written {
    /// The outcome.
    ///
    /// # Errors
    /// When it was not written by us.
    pub fn read(&self) -> serde_json::Result<Outcome> {
        serde_json::from_slice(&self.json)
    }
}

impl From<OutcomeOf<'_>> for Written {
    fn from(outcome: OutcomeOf<'_>) -> Self {
        let mut json = Vec::with_capacity(ROOM);
        outcome.write_json(&mut json);
        Self {
            json: json.into(),
            delivery_id: outcome.delivery_id,
            webhook_id: outcome.webhook_id,
            result: outcome.result,
            date_end: outcome.date_end,
        }
    }
}
