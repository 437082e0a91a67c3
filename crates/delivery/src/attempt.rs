//! One attempt of one delivery: prepare, call, judge, conclude. Only the call waits; what the reply
//! comes to is decided by pure code, and whatever the endpoint did, the answer is a [`Resolution`]. What
//! it tells of the endpoint stands beside it, for those who keep count.

mod owed;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use postrider_types::delivery::{Progress, Waiting};
use postrider_types::outcome::{Ending, Issuer, Met, OutcomeError, Timing};
use postrider_types::{
    Clock, DeadLetter, DeadLetterReason, Delivery, DeliveryId, Notice, OutcomeResult, ParkCause, Parked, Resolution,
    Share, Timestamp, Trigger, Webhook, retry_record,
};
use rand::{Rng, RngExt};
use tokio_util::sync::CancellationToken;

use self::owed::Owed;
use crate::config::Config;
use crate::headers::Sending;
use crate::metrics::{self, Metrics, Tally};
use crate::notices::About;
use crate::reply::{Reply, Timed};
use crate::schedule::Schedule;
use crate::target::{BadTarget, Target};
use crate::verdict::{self, Finding, Rules, Verdict};

/// How long a request may have been under way before it counts as sent, where a failpoint wants one that
/// is and has no answer.
const SENT: Duration = Duration::from_millis(20);

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

/// An attempt that was made.
#[derive(Debug)]
pub struct Made {
    /// The delivery's part in settling its record, still unresolved: a task that is dropped loses it and
    /// says so.
    pub share: Share,
    /// What the attempt came to.
    pub resolution: Resolution,
    /// The webhook it was made for.
    pub webhook: Arc<Webhook>,
    /// What it tells of the endpoint.
    pub finding: Finding,
    /// When it ended.
    pub ended: Timestamp,
    /// How long the endpoint took, as far as that can be told from what the request waited for on this machine.
    pub endpoint_time: Duration,
    /// What is counted of it; `None` when it was cut short.
    pub tally: Option<Tally>,
}

/// What all attempts of a process share.
#[derive(Debug)]
pub struct Attempts {
    clock: Clock,
    issuer: Issuer,
    schedule: Arc<Schedule>,
    timeout: Duration,
    permanent_statuses: Vec<u16>,
    metrics: Metrics,
    largest_parked: usize,
    /// Fires when attempts under way are not waited for any longer.
    cut: CancellationToken,
}

impl Attempts {
    /// Takes what it needs of the section. `largest_parked` is how many bytes a retry record may have.
    #[must_use]
    pub fn new(
        config: &Config,
        schedule: Arc<Schedule>,
        issuer: Issuer,
        clock: Clock,
        metrics: Metrics,
        largest_parked: usize,
    ) -> Self {
        Self {
            clock,
            issuer,
            schedule,
            timeout: config.timeout,
            permanent_statuses: config.retry.permanent_statuses.clone(),
            metrics,
            largest_parked,
            cut: CancellationToken::new(),
        }
    }

    /// Cuts short what is under way, and whatever is begun from now on.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Whether it was.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// Makes the delivery's next attempt; a target that could not be prepared fails it unsent. An attempt that is
    /// [`cut`](Self::cut) short has no outcome: its delivery is parked, so that its record settles all the same. `None` when
    /// it cannot be parked; then its record is lost to this process.
    pub async fn make(&self, delivery: Delivery, target: &Result<Target, BadTarget>, chance: Chance) -> Option<Made> {
        let Delivery {
            event,
            webhook,
            progress,
            due,
            share,
        } = delivery;
        let mut owed = Owed::new(event, webhook, progress, chance);
        if self.issuer.traced && owed.trace.is_sampled() {
            owed.begin_span();
        }
        let start = self.clock.now();
        if let Some(due) = due {
            self.metrics.retried(start.since(due));
        }
        let timed = tokio::select! {
            biased;
            timed = self.call(&owed, target, start) => timed,
            () = self.cut.cancelled() => return self.cut_short(owed, share, chance.jitter),
        };
        let end = self.clock.now();
        let (verdict, finding) = (self.judge(&owed, &timed.reply, end), verdict::find(&timed.reply));
        let tally = tally(&owed, &timed, verdict, end);
        fail::fail_point!("k3");
        let timing = Timing {
            start,
            end,
            spent_ms: millis(timed.spent),
        };
        Some(Made {
            share,
            resolution: self.conclude(&owed, verdict, timed.reply, timing, chance.jitter),
            webhook: owed.webhook,
            finding,
            ended: end,
            endpoint_time: timed.spent,
            tally: Some(tally),
        })
    }

    fn cut_short(&self, owed: Owed, share: Share, jitter: f64) -> Option<Made> {
        if !retry_record::fits(&owed.event, self.largest_parked) {
            return None;
        }
        let now = self.clock.now();
        let wait = self.schedule.next(1, jitter, None);
        self.metrics.parked(ParkCause::LaneSlow);
        let parked = Parked {
            event: owed.event,
            tier: self.schedule.tier(wait),
            waiting: Waiting {
                webhook_id: owed.webhook.id.clone(),
                progress: owed.progress,
                due: now.after(wait),
                cause: ParkCause::LaneSlow,
            },
        };
        Some(Made {
            share,
            resolution: Resolution {
                parked: Some(Box::new(parked)),
                ..Resolution::default()
            },
            webhook: owed.webhook,
            finding: Finding::Unknown,
            ended: now,
            endpoint_time: Duration::ZERO,
            tally: None,
        })
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
        let timed = noticing_sent(pin!(target.send(&sending, self.timeout))).await;
        fail::fail_point!("k2b");
        timed
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
        match verdict::judge(reply, owed.attempt(), &rules, now) {
            // What cannot be parked cannot be tried again.
            Verdict::Retry { .. } if !retry_record::fits(&owed.event, self.largest_parked) => Verdict::GiveUp {
                reason: DeadLetterReason::Exhausted,
            },
            verdict => verdict,
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
            trace_id = owed.trace.trace_id(),
            "Attempt made"
        );
        let dead_letter = match verdict {
            Verdict::GiveUp { reason } => Some(Box::new(owed.dead_letter(reason, &outcome))),
            Verdict::Delivered | Verdict::Retry { .. } => None,
        };
        Resolution {
            parked: due.map(|due| Box::new(self.park(owed, due, timing.end, outcome.status_code))),
            notices: dead_letter
                .iter()
                .filter_map(|letter| self.exhausted(owed, letter, timing.end))
                .collect(),
            dead_letter,
            outcome: Some(outcome.into()),
            status_change: None,
            parent: self.issuer.parent(&owed.event),
        }
    }

    fn exhausted(&self, owed: &Owed, letter: &DeadLetter, at: Timestamp) -> Option<Notice> {
        let about = About {
            webhook: &owed.webhook,
            at,
            instance: &self.issuer.instance,
        };
        let delivery = DeliveryId::new(&owed.event.origin, &owed.webhook.id);
        (letter.reason == DeadLetterReason::Exhausted).then(|| about.exhausted(delivery, letter.message.clone()))
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

fn tally(owed: &Owed, timed: &Timed, verdict: Verdict, end: Timestamp) -> Tally {
    // A replay is as late as the person who asked for it.
    let is_measured = verdict == Verdict::Delivered && owed.progress.trigger != Trigger::Replay;
    Tally {
        event: owed.event.event_type,
        met: metrics::label(&timed.reply),
        spent: timed.spent,
        result: result(verdict),
        after: is_measured.then(|| end.since(owed.event.time())),
    }
}

/// Passes the failpoint `k2` while a request is under way that has no answer yet.
async fn noticing_sent(mut request: Pin<&mut impl Future<Output = Timed>>) -> Timed {
    if !fail::has_failpoints() {
        return request.await;
    }
    match tokio::time::timeout(SENT, &mut request).await {
        Ok(timed) => timed,
        Err(_) => {
            fail::fail_point!("k2");
            request.await
        }
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
