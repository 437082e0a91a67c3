//! What one attempt is about, and the dead letter it may leave.

use std::sync::Arc;

use postrider_types::delivery::{Progress, TraceParent};
use postrider_types::settlement::DeadDelivery;
use postrider_types::{DeadLetter, DeadLetterReason, DeliveryId, Event, OutcomeOf, SpanId, Webhook, status};

use super::Chance;

/// A delivery without its share, with the trace that its request names.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) event: Arc<Event>,
    pub(super) webhook: Arc<Webhook>,
    pub(super) progress: Progress,
    pub(super) trace: TraceParent,
}

impl Owed {
    pub(super) fn new(event: Arc<Event>, webhook: Arc<Webhook>, mut progress: Progress, chance: Chance) -> Self {
        let fresh = || TraceParent::from_random(chance.trace, chance.span);
        let trace = progress.trace.get_or_insert_with(fresh).clone();
        Self {
            event,
            webhook,
            progress,
            trace,
        }
    }

    /// Makes the attempt a span of the trace.
    pub(super) fn begin_span(&mut self) {
        let delivery = DeliveryId::new(&self.event.origin, &self.webhook.id);
        let span = SpanId::of_delivery(&delivery, self.progress.replay.as_deref());
        self.trace = self.trace.under(span.of_attempt(self.attempt()));
    }

    /// The number of the attempt that is made.
    pub(super) const fn attempt(&self) -> u32 {
        self.progress.attempts + 1
    }

    pub(super) fn dead_letter(&self, reason: DeadLetterReason, outcome: &OutcomeOf<'_>) -> DeadLetter {
        DeadLetter {
            origin: self.event.origin.clone(),
            key: self.event.key.clone(),
            headers: self.event.headers.clone(),
            value: Some(self.event.body.clone()),
            reason,
            message: in_words(reason, outcome),
            delivery: Some(DeadDelivery {
                webhook_id: self.webhook.id.clone(),
                attempts: self.attempt(),
                last_status: outcome.status_code,
            }),
        }
    }
}

/// Why a delivery ended, for people.
fn in_words(reason: DeadLetterReason, outcome: &OutcomeOf<'_>) -> String {
    let met = match (&outcome.error, outcome.status_code) {
        (Some(error), _) => error.message.clone(),
        (None, Some(code)) => status::line(code, &status::meaning(code)),
        (None, None) => "no answer".to_owned(),
    };
    let attempt = outcome.attempt;
    match reason {
        DeadLetterReason::Exhausted if attempt <= outcome.max_retries => format!(
            "Attempt {attempt} failed, and the event is too large for another: with its headers it exceeds the \
             max.message.bytes of the retry topics; it met: {met}"
        ),
        DeadLetterReason::Exhausted if attempt == 1 => format!("The only attempt failed; it met: {met}"),
        DeadLetterReason::Exhausted => format!("All {attempt} attempts failed; the last one met: {met}"),
        _ => format!("Attempt {attempt} met what is never tried again: {met}"),
    }
}
