//! One attempt of one delivery: prepare, call, judge, conclude. Only the call waits; what the reply
//! comes to is decided by pure code, and whatever the endpoint did, the answer is a [`Resolution`].

use std::sync::Arc;
use std::time::Duration;

use postrider_types::delivery::{Progress, TraceParent, Waiting};
use postrider_types::outcome::{Ending, Issuer, Met, OutcomeError, Timing};
use postrider_types::settlement::DeadDelivery;
use postrider_types::{
    Clock, DeadLetter, DeadLetterReason, Delivery, Event, Outcome, OutcomeResult, ParkCause, Parked, Resolution, Share,
    Timestamp, Webhook, status,
};
use rand::{Rng, RngExt};

use crate::config::Config;
use crate::headers::Sending;
use crate::metrics::Metrics;
use crate::reply::{Reply, Timed};
use crate::schedule::Schedule;
use crate::target::{BadTarget, Target};
use crate::verdict::{self, Rules, Verdict};

/// The random numbers one attempt may need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// Uniform in `0.0..1.0`; scales the jitter.
    pub jitter: f64,
    /// The trace's id, should there be none.
    pub trace: u128,
    /// The span's id, should there be no trace.
    pub span: u64,
}

impl Chance {
    /// Rolls all of them.
    pub fn roll(random: &mut impl Rng) -> Self {
        Self {
            jitter: random.random(),
            trace: random.random(),
            span: random.random(),
        }
    }
}

/// What all attempts of a process share.
#[derive(Debug)]
pub struct Attempts {
    clock: Clock,
    issuer: Issuer,
    schedule: Schedule,
    timeout: Duration,
    permanent_statuses: Vec<u16>,
    metrics: Metrics,
}

impl Attempts {
    /// Takes what it needs of the section.
    #[must_use]
    pub fn new(config: &Config, schedule: Schedule, issuer: Issuer, clock: Clock, metrics: Metrics) -> Self {
        Self {
            clock,
            issuer,
            schedule,
            timeout: config.timeout,
            permanent_statuses: config.retry.permanent_statuses.clone(),
            metrics,
        }
    }

    /// Makes the delivery's next attempt; a target that could not be prepared fails it unsent.
    ///
    /// The share comes back unresolved, so that a task that is cut short loses it and says so.
    pub async fn make(
        &self,
        delivery: Delivery,
        target: &Result<Target, BadTarget>,
        chance: Chance,
    ) -> (Share, Resolution) {
        let Delivery {
            event,
            webhook,
            progress,
            due,
            share,
        } = delivery;
        let owed = Owed::new(event, webhook, progress, chance);
        let start = self.clock.now();
        if let Some(due) = due {
            self.metrics.retried(start.since(due));
        }
        let timed = self.call(&owed, target, start).await;
        let end = self.clock.now();
        let verdict = self.judge(&owed, &timed.reply, end);
        self.count(&owed, &timed, verdict, end);
        let timing = Timing {
            start,
            end,
            spent_ms: millis(timed.spent),
        };
        (share, self.conclude(&owed, verdict, timed.reply, timing, chance.jitter))
    }

    async fn call(&self, owed: &Owed, target: &Result<Target, BadTarget>, at: Timestamp) -> Timed {
        let target = match target {
            Ok(target) => target,
            Err(bad) => return self.unsent(*bad),
        };
        let sending = Sending {
            event: &owed.event,
            webhook: &owed.webhook.id,
            attempt: owed.attempt(),
            trace: &owed.trace,
            at,
        };
        let _in_flight = self.metrics.in_flight();
        target.send(&sending, self.timeout).await
    }

    fn unsent(&self, bad: BadTarget) -> Timed {
        if let Some(reason) = bad.blocked() {
            self.metrics.blocked(reason);
        }
        Timed {
            reply: Reply::Failed(bad.failure()),
            spent: Duration::ZERO,
        }
    }

    fn judge(&self, owed: &Owed, reply: &Reply, now: Timestamp) -> Verdict {
        let rules = Rules {
            max_retries: owed.webhook.max_retries(self.issuer.max_retries),
            permanent_statuses: &self.permanent_statuses,
        };
        verdict::judge(reply, owed.attempt(), &rules, now)
    }

    fn count(&self, owed: &Owed, timed: &Timed, verdict: Verdict, end: Timestamp) {
        let event = owed.event.event_type;
        self.metrics.attempted(event, &timed.reply, timed.spent);
        self.metrics.ended(event, result(verdict));
        match verdict {
            Verdict::Delivered => self.metrics.delivered(event, end.since(owed.event.time())),
            Verdict::Retry { .. } => self.metrics.parked(ParkCause::Retry),
            Verdict::GiveUp { .. } => {}
        }
    }

    /// What the attempt comes to: an outcome, and a successor or a dead letter unless it succeeded.
    fn conclude(&self, owed: &Owed, verdict: Verdict, reply: Reply, timing: Timing, jitter: f64) -> Resolution {
        let due = match verdict {
            Verdict::Retry { after } => Some(timing.end.after(self.schedule.next(owed.attempt(), jitter, after))),
            Verdict::Delivered | Verdict::GiveUp { .. } => None,
        };
        let ending = Ending {
            result: result(verdict),
            attempted: Some((timing, met(reply))),
            skipped: None,
            next_attempt_at: due,
        };
        let outcome = self.issuer.outcome(&owed.event, &owed.webhook, &owed.progress, ending);
        tracing::debug!(
            delivery.id = %outcome.delivery_id,
            webhook.id = %outcome.webhook_id,
            attempt = outcome.attempt,
            result = outcome.result.as_str(),
            status = outcome.status_code,
            error = outcome.error.as_ref().map(|error| error.kind.as_str()),
            "Attempt made"
        );
        Resolution {
            parked: due.map(|due| self.park(owed, due, timing.end, outcome.status_code)),
            dead_letter: match verdict {
                Verdict::GiveUp { reason } => Some(owed.dead_letter(reason, &outcome)),
                Verdict::Delivered | Verdict::Retry { .. } => None,
            },
            outcome: Some(outcome),
            ..Resolution::default()
        }
    }

    fn park(&self, owed: &Owed, due: Timestamp, now: Timestamp, last_status: Option<u16>) -> Parked {
        Parked {
            event: Arc::clone(&owed.event),
            tier: self.schedule.tier(due.since(now)),
            waiting: Waiting {
                webhook_id: owed.webhook.id.clone(),
                progress: Progress {
                    attempts: owed.attempt(),
                    parkings: 0,
                    last_status,
                    ..owed.progress.clone()
                },
                due,
                cause: ParkCause::Retry,
            },
        }
    }
}

/// A delivery without its share, with a trace.
#[derive(Debug)]
struct Owed {
    event: Arc<Event>,
    webhook: Arc<Webhook>,
    progress: Progress,
    trace: TraceParent,
}

impl Owed {
    fn new(event: Arc<Event>, webhook: Arc<Webhook>, mut progress: Progress, chance: Chance) -> Self {
        let fresh = || TraceParent::from_random(chance.trace, chance.span);
        let trace = progress.trace.get_or_insert_with(fresh).clone();
        Self {
            event,
            webhook,
            progress,
            trace,
        }
    }

    /// The number of the attempt that is made.
    const fn attempt(&self) -> u32 {
        self.progress.attempts + 1
    }

    fn dead_letter(&self, reason: DeadLetterReason, outcome: &Outcome) -> DeadLetter {
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
fn in_words(reason: DeadLetterReason, outcome: &Outcome) -> String {
    let met = match (&outcome.error, outcome.status_code) {
        (Some(error), _) => error.message.clone(),
        (None, Some(code)) => format!("{code} {}", status::meaning(code)),
        (None, None) => "no answer".to_owned(),
    };
    let attempt = outcome.attempt;
    match reason {
        DeadLetterReason::Exhausted => format!("All {attempt} attempts failed; the last one met: {met}"),
        _ => format!("Attempt {attempt} met what is never tried again: {met}"),
    }
}

fn met(reply: Reply) -> Met {
    match reply {
        Reply::Answered(answer) => Met {
            status: Some(answer.status),
            error: None,
            response: Some(answer.response),
        },
        Reply::Failed(failure) => Met {
            status: None,
            error: Some(OutcomeError {
                kind: failure.kind,
                message: failure.message,
            }),
            response: None,
        },
    }
}

const fn result(verdict: Verdict) -> OutcomeResult {
    match verdict {
        Verdict::Delivered => OutcomeResult::Success,
        Verdict::Retry { .. } => OutcomeResult::Retrying,
        Verdict::GiveUp { .. } => OutcomeResult::Failed,
    }
}

/// Milliseconds with one digit after the point.
fn millis(spent: Duration) -> f64 {
    (spent.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests;
