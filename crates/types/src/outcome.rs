//! An outcome: what one attempt came to; one record of the results topic.
//! `schemas/outcome.v1.json` is its contract.

mod json;
mod written;

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, Progress, TraceParent, Trigger};
use crate::event::{AccountId, Event, EventId, EventType};
use crate::position::Source;
use crate::status;
use crate::webhook::{Webhook, WebhookId};

pub use self::written::Written;

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

/// Why there is no HTTP status. Closed, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The name could not be resolved.
    Dns,
    /// The address answered with a refusal.
    ConnectRefused,
    /// No connection within its time.
    ConnectTimeout,
    /// No connection for another reason.
    ConnectFailed,
    /// The configured proxy did not connect us.
    ProxyFailed,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before a status came.
    ClosedBeforeResponse,
    /// The connection was reset.
    Reset,
    /// What came was not HTTP.
    BadResponse,
    /// The deadline passed after the connection was made.
    Timeout,
    /// Heads or informational answers over the limits.
    ResponseTooLarge,
    /// The attempt was given up on our side.
    Cancelled,
    /// The address is forbidden.
    BlockedAddress,
    /// The webhook is no more.
    WebhookGone,
    /// The webhook is disabled, or does not want the event any more.
    WebhookDisabled,
    /// The URL cannot be used.
    BadUrl,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Dns,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::ProxyFailed,
        Self::Tls,
        Self::ClosedBeforeResponse,
        Self::Reset,
        Self::BadResponse,
        Self::Timeout,
        Self::ResponseTooLarge,
        Self::Cancelled,
        Self::BlockedAddress,
        Self::WebhookGone,
        Self::WebhookDisabled,
        Self::BadUrl,
    ];

    /// The word used in outcomes and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::ProxyFailed => "proxy_failed",
            Self::Tls => "tls",
            Self::ClosedBeforeResponse => "closed_before_response",
            Self::Reset => "reset",
            Self::BadResponse => "bad_response",
            Self::Timeout => "timeout",
            Self::ResponseTooLarge => "response_too_large",
            Self::Cancelled => "cancelled",
            Self::BlockedAddress => "blocked_address",
            Self::WebhookGone => "webhook_gone",
            Self::WebhookDisabled => "webhook_disabled",
            Self::BadUrl => "bad_url",
        }
    }

    /// The code of the product's status list that stands for this error; `None` where nothing was dialled.
    #[must_use]
    pub const fn status_code(self) -> Option<u16> {
        match self {
            Self::Dns
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::ProxyFailed
            | Self::Tls => Some(599),
            Self::ClosedBeforeResponse | Self::Reset | Self::BadResponse => Some(444),
            Self::Timeout | Self::ResponseTooLarge | Self::Cancelled => Some(499),
            Self::BlockedAddress | Self::WebhookGone | Self::WebhookDisabled | Self::BadUrl => None,
        }
    }
}

/// Why an attempt has no HTTP status, in a closed word and in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeError {
    /// The closed word.
    pub kind: ErrorKind,
    /// For people; names no address and no secret.
    pub message: String,
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

/// When an attempt began and ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Wall time at the start.
    pub start: Timestamp,
    /// Wall time at the end.
    pub end: Timestamp,
    /// The request's wall time in milliseconds, from the monotonic clock.
    pub spent_ms: f64,
}

/// What an attempt met: a status, or an error in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Met {
    /// The HTTP status.
    pub status: Option<u16>,
    /// Why there is none.
    pub error: Option<OutcomeError>,
    /// What came back.
    pub response: Option<ResponseFacts>,
}

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Always [`SCHEMA`].
    pub schema: Cow<'static, str>,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The event's id.
    pub event_id: EventId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The account.
    pub account_id: AccountId,
    /// The event's type.
    pub event: EventType,
    /// Why the request was made.
    pub trigger: Trigger,
    /// The URL, without userinfo and without the query's values.
    pub endpoint: String,
    /// `OrderID`
    pub order_id: Option<Arc<str>>,
    /// `TransactionID`
    pub transaction_id: Option<Arc<str>>,
    /// `tracking`
    pub tracking: Option<Arc<str>>,
    /// `TrackingCarrier`
    pub carrier: Option<Arc<str>>,
    /// `code`
    pub code: Option<i64>,
    /// `message`
    pub message: Option<Arc<str>>,
    /// `is_return`
    pub is_return: bool,
    /// The replay this belongs to.
    pub replay: Option<String>,
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
    pub trace_id: Option<String>,
    /// The instance that made the attempt.
    pub instance: Arc<str>,
}

/// How an attempt, or a decision to make none, ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// What became of the delivery.
    pub result: OutcomeResult,
    /// When the attempt ran and what it met; `None` when nothing was attempted.
    pub attempted: Option<(Timing, Met)>,
    /// Why nothing was attempted.
    pub skipped: Option<OutcomeError>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
}

impl Ending {
    /// A delivery that is not attempted because of `why`.
    #[must_use]
    pub const fn skipped(why: OutcomeError) -> Self {
        Self {
            result: OutcomeResult::Skipped,
            attempted: None,
            skipped: Some(why),
            next_attempt_at: None,
        }
    }
}

/// Who makes outcomes, and with which default: the same for every outcome of a process.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// `instance_id`
    pub instance: Arc<str>,
    /// `delivery.retry.max_retries`
    pub max_retries: u32,
    /// Whether a collector is told of traces.
    pub traced: bool,
}

impl Issuer {
    /// The trace parent that an event's record carried, where a collector is told of it.
    #[must_use]
    pub fn parent(&self, event: &Event) -> Option<TraceParent> {
        self.traced.then(|| TraceParent::of_record(event)).flatten()
    }

    /// The outcome of attempt `progress.attempts + 1`.
    #[must_use]
    pub fn outcome(&self, event: &Event, webhook: &Webhook, progress: &Progress, ending: Ending) -> Outcome {
        let (timing, met) = ending.attempted.unzip();
        let met = met.unwrap_or(Met {
            status: None,
            error: ending.skipped,
            response: None,
        });
        let status_code = met
            .status
            .or_else(|| met.error.as_ref().and_then(|error| error.kind.status_code()));
        let facts = &event.facts;
        Outcome {
            schema: Cow::Borrowed(SCHEMA),
            delivery_id: DeliveryId::new(&event.origin, &webhook.id),
            event_id: event.id.clone(),
            webhook_id: webhook.id.clone(),
            account_id: event.account.clone(),
            event: event.event_type,
            trigger: progress.trigger,
            endpoint: webhook.endpoint(),
            order_id: facts.order_id.clone(),
            transaction_id: facts.transaction_id.clone(),
            tracking: facts.tracking.clone(),
            carrier: facts.carrier.clone(),
            code: facts.code,
            message: facts.message.clone(),
            is_return: facts.is_return,
            replay: progress.replay.clone(),
            result: ending.result,
            attempt: progress.attempts + 1,
            retry: progress.attempts,
            max_retries: webhook.max_retries(self.max_retries),
            status_code,
            status_text: status_code.map(status::meaning),
            error: met.error,
            date_start: timing.map(|timing| timing.start),
            date_end: timing.map(|timing| timing.end),
            time_spent_ms: timing.map(|timing| timing.spent_ms),
            next_attempt_at: ending.next_attempt_at,
            event_time: event.time(),
            source: Some(event.origin.source()),
            request: RequestFacts {
                body_bytes: event.body.len() as u64,
            },
            response: met.response,
            trace_id: progress.trace.as_ref().map(|trace| trace.trace_id().to_owned()),
            instance: Arc::clone(&self.instance),
        }
    }
}
