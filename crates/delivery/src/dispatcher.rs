//! The sending stage: takes deliveries, keeps each webhook in its lane, makes the attempts, hands on
//! what settled. A single task owns all state, so there is no lock; every attempt is a task of its own.
//!
//! An attempt keeps its place in flight until what it settled was accepted. When nobody takes settled
//! records any more, the places fill up and nothing is sent that could not be recorded.

use std::sync::Arc;
use std::time::Duration;

use postrider_types::outcome::Issuer;
use postrider_types::{Clock, Delivery, Fault, Settled, WebhookId};
use rand::rngs::StdRng;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, sleep_until};

use crate::attempt::{Attempts, Chance};
use crate::client::Clients;
use crate::config::Config;
use crate::egress::Policy;
use crate::lane::{Kind, Lanes, Limits};
use crate::metrics::Metrics;
use crate::running::Running;
use crate::schedule::Schedule;
use crate::targets::{Prepared, Targets};

/// How soon the end of the input is noticed while nothing is read from it.
const NOTICE: Duration = Duration::from_millis(50);

/// What a dispatcher is given besides its configuration.
#[derive(Debug)]
pub struct Parts {
    /// Makes the outcomes.
    pub issuer: Issuer,
    /// Tells the time.
    pub clock: Clock,
    /// Judges URLs and addresses.
    pub policy: Arc<Policy>,
    /// Makes one client per webhook.
    pub clients: Clients,
    /// Counts.
    pub metrics: Metrics,
    /// Jitter and trace ids.
    pub random: StdRng,
}

/// The sending stage.
#[derive(Debug)]
pub struct Dispatcher {
    lanes: Lanes<WebhookId, Delivery>,
    running: Running,
    targets: Targets,
    attempts: Arc<Attempts>,
    random: StdRng,
    max_in_flight_per_webhook: usize,
    timeout: Duration,
    drain: Duration,
    input: Input,
}

/// Where the input stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Input {
    /// More may come.
    Open,
    /// No more comes. What waits is started until `last_start`: later, it could not end in time.
    Ending { last_start: Instant, deadline: Instant },
    /// Nothing is started any more.
    Over { deadline: Instant },
}

impl Dispatcher {
    /// Builds the stage.
    ///
    /// # Errors
    /// The section's faults.
    pub fn new(config: &Config, parts: Parts) -> Result<Self, Vec<Fault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let schedule = Schedule::new(&config.retry).map_err(under_retry)?;
        let attempts = Attempts::new(config, schedule, parts.issuer, parts.clock, parts.metrics);
        Ok(Self {
            lanes: Lanes::new(Limits::new(config.max_in_flight, config.max_waiting_per_webhook)),
            running: Running::default(),
            targets: Targets::new(parts.policy, parts.clients),
            attempts: Arc::new(attempts),
            random: parts.random,
            max_in_flight_per_webhook: config.max_in_flight_per_webhook,
            timeout: config.timeout,
            drain: config.drain,
            input: Input::Open,
        })
    }

    /// Sends until the input ends and everything under way has ended, or `drain` after the input's
    /// end: what is then still in flight is cut off unsettled, and logged. Ends at once when nobody
    /// takes settled records any more.
    pub async fn run(mut self, mut deliveries: Receiver<Delivery>, settled: Sender<Settled>) {
        let mut exhausted = false;
        loop {
            self.notice_end(deliveries.is_closed());
            self.start_all(&settled);
            if self.is_done(exhausted) {
                return;
            }
            let (reads, moment) = (!exhausted && self.reads(), self.next_moment());
            tokio::select! {
                delivery = deliveries.recv(), if reads => match delivery {
                    Some(delivery) => self.offer(delivery),
                    None => exhausted = true,
                },
                lane = self.running.ended() => self.lanes.finish(&lane),
                () = settled.closed() => return self.abort("Nobody takes settled records any more").await,
                () = until(moment) => if let Input::Over { .. } = self.input {
                    return self.abort("Requests were still unanswered after delivery.drain").await;
                },
            }
        }
    }

    /// Begins to drain when the input has ended, and stops starting when it is too late for that.
    fn notice_end(&mut self, is_closed: bool) {
        let now = Instant::now();
        if self.input == Input::Open && is_closed {
            let deadline = now + self.drain;
            // Nothing that takes its full time would end between the last start and the deadline.
            let last_start = now + self.drain.saturating_sub(self.timeout);
            self.input = Input::Ending { last_start, deadline };
        }
        if let Input::Ending { last_start, deadline } = self.input
            && now >= last_start
        {
            self.input = Input::Over { deadline };
            let unsent = self.lanes.clear();
            if unsent > 0 {
                tracing::info!(
                    unsent,
                    "Deliveries that waited were not sent; their records are read again"
                );
            }
        }
    }

    fn is_done(&self, exhausted: bool) -> bool {
        let over = matches!(self.input, Input::Over { .. });
        self.running.len() == 0 && (over || (exhausted && self.lanes.waiting() == 0))
    }

    fn reads(&self) -> bool {
        !matches!(self.input, Input::Over { .. }) && self.lanes.accepts()
    }

    /// When to look again even if nothing happens.
    fn next_moment(&self) -> Option<Instant> {
        match self.input {
            Input::Open if self.reads() => None,
            Input::Open => Some(Instant::now() + NOTICE),
            Input::Ending { last_start, .. } => Some(last_start),
            Input::Over { deadline } => Some(deadline),
        }
    }

    fn offer(&mut self, delivery: Delivery) {
        let webhook = &delivery.webhook;
        let own = webhook.max_in_flight.and_then(|limit| usize::try_from(limit).ok());
        let limit = own.unwrap_or(self.max_in_flight_per_webhook);
        let kind = if delivery.due.is_some() {
            Kind::Retry
        } else {
            Kind::Fresh
        };
        self.lanes.offer(webhook.id.clone(), kind, limit, delivery);
    }

    fn start_all(&mut self, settled: &Sender<Settled>) {
        while let Some((lane, delivery)) = self.lanes.start() {
            let target = self.targets.of(&delivery.webhook);
            let chance = Chance::roll(&mut self.random);
            let attempt = settle(Arc::clone(&self.attempts), delivery, target, chance, settled.clone());
            self.running.spawn(lane, attempt);
        }
    }

    async fn abort(&mut self, why: &'static str) {
        let cut_off = self.running.len();
        let unsent = self.lanes.clear();
        if cut_off > 0 {
            tracing::warn!(cut_off, unsent, why, "Requests were cut off; they may be sent again");
        }
        self.running.abort().await;
    }
}

/// One attempt, from its start to the moment what it settled is accepted.
async fn settle(
    attempts: Arc<Attempts>,
    delivery: Delivery,
    target: Prepared,
    chance: Chance,
    settled: Sender<Settled>,
) {
    let (share, resolution) = attempts.make(delivery, &target, chance).await;
    if let Some(record) = share.resolve(resolution) {
        // A closed channel ends the dispatcher; the record's offset is not committed then.
        let _ = settled.send(record).await;
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn under_retry(faults: Vec<Fault>) -> Vec<Fault> {
    faults.into_iter().map(|fault| fault.under("retry")).collect()
}

#[cfg(test)]
mod tests;
