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
    pub fn outcome<'a>(
        &'a self,
        event: &'a Event,
        webhook: &'a Webhook,
        progress: &'a Progress,
        ending: Ending,
    ) -> OutcomeOf<'a> {
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
        OutcomeOf {
            schema: Cow::Borrowed(SCHEMA),
            delivery_id: DeliveryId::new(&event.origin, &webhook.id),
            event_id: Cow::Borrowed(&event.id),
            webhook_id: webhook.id.clone(),
            account_id: Cow::Borrowed(&event.account),
            event: event.event_type,
            trigger: progress.trigger,
            endpoint: webhook.endpoint(),
            order_id: facts.order_id.as_deref().map(Cow::Borrowed),
            transaction_id: facts.transaction_id.as_deref().map(Cow::Borrowed),
            tracking: facts.tracking.as_deref().map(Cow::Borrowed),
            carrier: facts.carrier.as_deref().map(Cow::Borrowed),
            code: facts.code,
            message: facts.message.as_deref().map(Cow::Borrowed),
            is_return: facts.is_return,
            replay: progress.replay.as_deref().map(Cow::Borrowed),
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
            trace_id: progress.trace.as_ref().map(|trace| Cow::Borrowed(trace.trace_id())),
            instance: Cow::Borrowed(&self.instance),
        }
    }
}
