//! What becomes of deliveries that are not attempted now: they are parked, which is no attempt, or
//! skipped for good.

use std::sync::Arc;
use std::time::Duration;

use postrider_types::delivery::{Progress, TraceParent, Waiting};
use postrider_types::outcome::{Ending, Issuer, OutcomeError};
use postrider_types::{Clock, Delivery, ErrorKind, Event, ParkCause, Parked, Resolution, Share, retry_record};

use crate::metrics::Metrics;
use crate::schedule::Schedule;
use crate::standing::Disabled;

/// Resolves deliveries without a request.
#[derive(Debug)]
pub(crate) struct Parking {
    schedule: Arc<Schedule>,
    issuer: Issuer,
    clock: Clock,
    metrics: Metrics,
    largest: usize,
}

impl Parking {
    pub(crate) const fn new(
        schedule: Arc<Schedule>,
        issuer: Issuer,
        clock: Clock,
        metrics: Metrics,
        largest: usize,
    ) -> Self {
        Self {
            schedule,
            issuer,
            clock,
            metrics,
            largest,
        }
    }

    /// Whether a delivery of this event can be parked at all.
    pub(crate) fn takes(&self, event: &Event) -> bool {
        retry_record::fits(event, self.largest)
    }

    /// The step that a delivery has to wait at least: its k-th parking in a row takes the schedule's k-th.
    pub(crate) fn step(&self, delivery: &Delivery) -> Duration {
        self.schedule.step(delivery.progress.parkings.saturating_add(1))
    }

    /// The shortest and the longest wait of the schedule.
    pub(crate) fn bounds(&self) -> (Duration, Duration) {
        (self.schedule.step(1), self.schedule.longest())
    }

    /// Parks a delivery until its booked time, or for its step with as much chance as `jitter` says, uniform in
    /// `0.0..1.0`.
    pub(crate) fn park(
        &self,
        delivery: Delivery,
        cause: ParkCause,
        booked: Option<Duration>,
        jitter: f64,
    ) -> (Share, Resolution) {
        let parkings = delivery.progress.parkings.saturating_add(1);
        let wait = booked.unwrap_or_else(|| self.schedule.next(parkings, jitter, None));
        self.metrics.parked(cause);
        tracing::debug!(
            delivery.id = %delivery.id(),
            webhook.id = %delivery.webhook.id,
            cause = cause.as_str(),
            parkings,
            trace_id = delivery.progress.trace.as_ref().map(TraceParent::trace_id),
            "Delivery parked without an attempt"
        );
        let waiting = Waiting {
            webhook_id: delivery.webhook.id.clone(),
            progress: Progress {
                parkings,
                ..delivery.progress
            },
            due: self.clock.now().after(wait),
            cause,
        };
        let parked = Parked {
            event: delivery.event,
            tier: self.schedule.tier(wait),
            waiting,
        };
        let resolution = Resolution {
            parked: Some(Box::new(parked)),
            ..Resolution::default()
        };
        (delivery.share, resolution)
    }

    /// Ends a delivery of a webhook that was disabled; it takes the next attempt's number.
    pub(crate) fn skip(&self, delivery: Delivery, why: Disabled) -> (Share, Resolution) {
        let ending = Ending::skipped(OutcomeError {
            kind: ErrorKind::WebhookDisabled,
            message: format!("The webhook was disabled: {}", why.in_words()),
        });
        let (event, webhook) = (&delivery.event, &delivery.webhook);
        let outcome = self.issuer.outcome(event, webhook, &delivery.progress, ending);
        self.metrics.ended(event.event_type, outcome.result);
        tracing::debug!(
            delivery.id = %outcome.delivery_id,
            error.kind = ErrorKind::WebhookDisabled.as_str(),
            trace_id = outcome.trace_id.as_deref(),
            "Delivery skipped"
        );
        let resolution = Resolution {
            parent: self.issuer.parent(event),
            outcome: Some(outcome.into()),
            ..Resolution::default()
        };
        (delivery.share, resolution)
    }
}
