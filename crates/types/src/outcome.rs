//! An outcome: what one attempt came to; one record of the results topic.
//! `schemas/outcome.v1.json` is its contract.

mod error;
mod issuer;
mod json;
mod written;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::error::{ErrorKind, OutcomeError};
pub use self::issuer::{Ending, Issuer, Met, Timing};
pub use self::written::Written;
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, Trigger};
use crate::event::{AccountId, EventId, EventType};
use crate::position::Source;
use crate::webhook::WebhookId;

/// The name of the schema that every outcome carries.
pub const SCHEMA: &str = "postrider.outcome.v1";

/// What became of the delivery by this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeResult {
    /// The endpoint took it.
    Success,
    /// It failed, and another attempt is due at `next_attempt_at`.
    Retrying,
    /// It failed for good; a dead letter holds the event.
    Failed,
    /// The webhook is gone, disabled or changed; nothing was sent.
    Skipped,
}

impl OutcomeResult {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Success, Self::Retrying, Self::Failed, Self::Skipped];

    /// The results that end a delivery.
    pub const FINAL: [Self; 3] = [Self::Success, Self::Failed, Self::Skipped];

    /// The word used in documents and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What is told of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestFacts {
    /// The body's length.
    pub body_bytes: u64,
}

/// What is told of the response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResponseFacts {
    /// Its content type.
    pub content_type: Option<String>,
    /// The first 1 KiB of its body, as text; what is no UTF-8 is replaced.
    pub body: String,
    /// Whether the body was longer, broke off, or was not read to its end.
    pub truncated: bool,
}

/// What one attempt came to, with all that it tells.
pub type Outcome = OutcomeOf<'static>;

/// What one attempt came to, told with the texts of its event and its webhook: they are not taken along, because most
/// outcomes are written as soon as they are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Outcome", description = "What one attempt came to.")]
pub struct OutcomeOf<'a> {
    /// Always [`SCHEMA`].
    pub schema: Cow<'static, str>,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The event's id.
    pub event_id: Cow<'a, EventId>,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The account.
    pub account_id: Cow<'a, AccountId>,
    /// The event's type.
    pub event: EventType,
    /// Why the request was made.
    pub trigger: Trigger,
    /// The URL, without userinfo and without the query's values.
    pub endpoint: Cow<'a, str>,
    /// `OrderID`
    pub order_id: Option<Cow<'a, str>>,
    /// `TransactionID`
    pub transaction_id: Option<Cow<'a, str>>,
    /// `tracking`
    pub tracking: Option<Cow<'a, str>>,
    /// `TrackingCarrier`
    pub carrier: Option<Cow<'a, str>>,
    /// `code`
    pub code: Option<i64>,
    /// `message`
    pub message: Option<Cow<'a, str>>,
    /// `is_return`
    pub is_return: bool,
    /// The replay this belongs to.
    pub replay: Option<Cow<'a, str>>,
    /// What became of the delivery.
    pub result: OutcomeResult,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The retry's number: the attempt's less one.
    pub retry: u32,
    /// How many retries the webhook allows.
    pub max_retries: u32,
    /// The HTTP status, or the code that stands for the error.
    pub status_code: Option<u16>,
    /// The status in words.
    pub status_text: Option<Cow<'static, str>>,
    /// Why there is no HTTP status.
    pub error: Option<OutcomeError>,
    /// When the attempt began.
    pub date_start: Option<Timestamp>,
    /// When it ended.
    pub date_end: Option<Timestamp>,
    /// The request's wall time in milliseconds.
    pub time_spent_ms: Option<f64>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// The source record's timestamp.
    pub event_time: Timestamp,
    /// The source record; null for a Test or a first connection.
    pub source: Option<Source>,
    /// The request.
    pub request: RequestFacts,
    /// The response, when one came.
    pub response: Option<ResponseFacts>,
    /// The trace's id.
    pub trace_id: Option<Cow<'a, str>>,
    /// The instance that made the attempt.
    pub instance: Cow<'a, str>,
}

impl OutcomeOf<'_> {
    /// The same, for whoever keeps it.
    #[must_use]
    pub fn into_owned(self) -> Outcome {
        let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Outcome {
            event_id: Cow::Owned(self.event_id.into_owned()),
            account_id: Cow::Owned(self.account_id.into_owned()),
            endpoint: text(self.endpoint),
            order_id: self.order_id.map(text),
            transaction_id: self.transaction_id.map(text),
            tracking: self.tracking.map(text),
            carrier: self.carrier.map(text),
            message: self.message.map(text),
            replay: self.replay.map(text),
            trace_id: self.trace_id.map(text),
            instance: text(self.instance),
            schema: self.schema,
            delivery_id: self.delivery_id,
            webhook_id: self.webhook_id,
            event: self.event,
            trigger: self.trigger,
            code: self.code,
            is_return: self.is_return,
            result: self.result,
            attempt: self.attempt,
            retry: self.retry,
            max_retries: self.max_retries,
            status_code: self.status_code,
            status_text: self.status_text,
            error: self.error,
            date_start: self.date_start,
            date_end: self.date_end,
            time_spent_ms: self.time_spent_ms,
            next_attempt_at: self.next_attempt_at,
            event_time: self.event_time,
            source: self.source,
            request: self.request,
            response: self.response,
        }
    }
}
