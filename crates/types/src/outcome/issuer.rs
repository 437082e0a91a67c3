//! From how an attempt ended to the outcome that tells of it.

use std::borrow::Cow;
use std::sync::Arc;

use super::{OutcomeError, OutcomeOf, OutcomeResult, RequestFacts, ResponseFacts, SCHEMA};
use crate::clock::Timestamp;
use crate::delivery::{DeliveryId, Progress, TraceParent};
use crate::event::Event;
use crate::status;
use crate::webhook::Webhook;

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
