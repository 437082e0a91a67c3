//! The sending stage: takes deliveries, sends each when its turn comes, hands on what settled. A single
//! task owns all state, so there is no lock; every attempt is a task of its own.
//!
//! What has happened meanwhile is taken in together, so that a busy stage does not pay for waiting each time. What
//! settled is handed on before anything else is read or started. When nobody takes settled records
//! any more, nothing is sent that could not be recorded.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use postrider_types::outcome::Issuer;
use postrider_types::{Clock, Delivery, Fault, Settled, Successes, Timestamp, Undelivered, WebhookId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc::{Receiver, Sender, error::TrySendError};
use tokio::time::{Instant, sleep_until};

use crate::attempt::{Attempts, Chance};
use crate::client::Clients;
use crate::config::Config;
use crate::egress::Policy;
use crate::lane::{Each, Kind};
use crate::metrics::Metrics;
use crate::pace;
use crate::parking::Parking;
use crate::running::{Ended, Running};
use crate::schedule::Schedule;
use crate::standing::Standings;
use crate::targets::Targets;
use crate::traffic::Traffic;

/// How much of each kind of news is taken in at most before anything is started.
const TOGETHER: usize = 64;
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
    /// The webhooks that have been failing, and when the first failure after their last success ended.
    pub failing_since: HashMap<WebhookId, Timestamp>,
    /// When webhooks last took a delivery, from any instance.
    pub successes: Successes,
    /// What is owed to webhooks, and since when.
    pub undelivered: Undelivered,
    /// Bytes that a retry record may have: the smallest `max.message.bytes` of the retry topics. What
    /// does not fit is never parked; its first failed attempt is its last.
    pub largest_parked: usize,
}

/// The sending stage.
#[derive(Debug)]
pub struct Dispatcher {
    traffic: Traffic,
    running: Running,
    targets: Targets,
    attempts: Arc<Attempts>,
    metrics: Metrics,
    random: StdRng,
    timeout: Duration,
    drain: Duration,
    input: Input,
    /// Which of the two inputs has ended and was read to its end.
    exhausted: Each<bool>,
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
        let schedule = Arc::new(Schedule::new(&config.retry).map_err(under_retry)?);
        let Parts {
            issuer,
            clock,
            metrics,
            mut random,
            largest_parked: largest,
            undelivered,
            ..
        } = parts;
        let (seeds, successes) = (parts.failing_since, parts.successes);
        let standings = Standings::new(config, Arc::clone(&issuer.instance), metrics.clone(), seeds, successes);
        let parking = Parking::new(Arc::clone(&schedule), issuer.clone(), clock, metrics.clone(), largest);
        let attempts = Attempts::new(config, schedule, issuer, clock, metrics.clone(), largest);
        Ok(Self {
            traffic: Traffic::new(config, standings, parking, undelivered, StdRng::from_rng(&mut random)),
            running: Running::new(config.max_in_flight),
            targets: Targets::new(parts.policy, parts.clients),
            attempts: Arc::new(attempts),
            metrics,
            random,
            timeout: config.timeout,
            drain: config.drain,
            input: Input::Open,
            exhausted: Each::default(),
        })
    }

    /// Sends until both inputs end and everything under way has ended, or `drain` after their end: what
    /// is then still in flight is cut short and parked, so that what was answered beside it is not sent again. Ends at once when nobody takes settled
    /// records any more. Deliveries with a due time belong into `retries`, all others into `fresh`, so
    /// that neither kind waits behind the other.
    pub async fn run(
        mut self,
        mut fresh: Receiver<Delivery>,
        mut retries: Receiver<Delivery>,
        settled: Sender<Settled>,
    ) {
        loop {
            self.notice_end(&mut fresh, &mut retries);
            self.hand_on(&settled);
            self.traffic.look(Instant::now());
            self.start_all();
            self.hand_on(&settled);
            self.metrics.in_flight(self.running.len());
            if self.is_done() {
                return;
            }
            let (moment, stuck) = (self.next_moment(), self.is_stuck());
            tokio::select! {
                delivery = fresh.recv(), if self.reads(Kind::Fresh) => self.take_in(Kind::Fresh, delivery),
                delivery = retries.recv(), if self.reads(Kind::Retry) => self.take_in(Kind::Retry, delivery),
                ended = self.running.ended() => self.finish(ended, Instant::now()),
                permit = settled.reserve(), if stuck => if let Ok(permit) = permit
                    && let Some(record) = self.traffic.settled().pop_front()
                {
                    permit.send(record);
                },
                () = settled.closed() => return self.abort("Nobody takes settled records any more").await,
                () = until(moment) => if self.is_too_late() {
                    self.cut_short();
                },
            }
            // Everybody else who can go on does so first, and what that comes to is taken in at one go.
            tokio::task::yield_now().await;
            self.catch_up(&settled, &mut fresh, &mut retries);
        }
    }

    /// Takes in what else has happened already.
    fn catch_up(
        &mut self,
        settled: &Sender<Settled>,
        fresh: &mut Receiver<Delivery>,
        retries: &mut Receiver<Delivery>,
    ) {
        let now = Instant::now();
        for _ in 0..TOGETHER {
            let Some(ended) = self.running.already_ended() else {
                break;
            };
            self.finish(ended, now);
        }
        self.hand_on(settled);
        for (kind, input) in [(Kind::Fresh, fresh), (Kind::Retry, retries)] {
            for _ in 0..TOGETHER {
                let Some(delivery) = self.reads(kind).then(|| input.try_recv().ok()).flatten() else {
                    break;
                };
                self.traffic.offer(delivery, now);
            }
        }
    }

    fn finish(&mut self, ended: Ended, now: Instant) {
        count(&self.metrics, &ended);
        let (seat, made) = ended;
        self.traffic.finish(&seat, made, now);
    }

    /// Hands on what settled, as far as it is taken at once.
    fn hand_on(&mut self, settled: &Sender<Settled>) {
        let waiting = self.traffic.settled();
        while let Some(record) = waiting.pop_front() {
            // A closed channel ends the stage; the records' offsets are not committed then.
            if let Err(TrySendError::Full(record) | TrySendError::Closed(record)) = settled.try_send(record) {
                return waiting.push_front(record);
            }
        }
    }

    fn is_stuck(&mut self) -> bool {
        !self.traffic.settled().is_empty()
    }

    fn take_in(&mut self, kind: Kind, delivery: Option<Delivery>) {
        match delivery {
            Some(delivery) => self.traffic.offer(delivery, Instant::now()),
            None => self.exhausted[kind] = true,
        }
    }

    /// Begins to drain when the input has ended, and stops starting when it is too late for that.
    fn notice_end(&mut self, fresh: &mut Receiver<Delivery>, retries: &mut Receiver<Delivery>) {
        let now = Instant::now();
        if self.input == Input::Open && fresh.is_closed() && retries.is_closed() {
            let deadline = now + self.drain;
            // Nothing that takes its full time would end between the last start and the deadline.
            let last_start = now + self.drain.saturating_sub(self.timeout);
            self.input = Input::Ending { last_start, deadline };
        }
        if let Input::Ending { last_start, deadline } = self.input
            && now >= last_start
        {
            self.input = Input::Over { deadline };
            while let Ok(delivery) = fresh.try_recv().or_else(|_| retries.try_recv()) {
                self.traffic.offer(delivery, now);
            }
            let unsent = self.traffic.wind_up(now);
            if unsent > 0 {
                tracing::info!(
                    unsent,
                    "Deliveries that waited were not sent; their records are read again"
                );
            }
        }
    }

    fn is_done(&mut self) -> bool {
        let over = matches!(self.input, Input::Over { .. });
        let exhausted = Kind::LIVE.iter().all(|kind| self.exhausted[*kind]);
        let nothing_left = over || (exhausted && self.traffic.waiting() == 0);
        self.running.len() == 0 && nothing_left && !self.is_stuck()
    }

    fn is_too_late(&self) -> bool {
        !self.attempts.is_cut() && matches!(self.input, Input::Over { deadline } if Instant::now() >= deadline)
    }

    fn cut_short(&self) {
        let unanswered = self.running.len();
        tracing::warn!(
            unanswered,
            "Requests were still unanswered after delivery.drain; parked, to be sent again"
        );
        self.attempts.cut();
    }

    fn reads(&self, kind: Kind) -> bool {
        !matches!(self.input, Input::Over { .. }) && !self.exhausted[kind] && self.traffic.accepts(kind)
    }

    /// When to look again even if nothing happens.
    fn next_moment(&self) -> Option<Instant> {
        let reads = Kind::LIVE.iter().all(|kind| self.reads(*kind));
        let end = match self.input {
            Input::Open if reads => None,
            Input::Open => Some(Instant::now() + NOTICE),
            Input::Ending { last_start, .. } => Some(last_start),
            Input::Over { deadline } => Some(deadline).filter(|_| !self.attempts.is_cut()),
        };
        [end, self.traffic.next_moment()].into_iter().flatten().min()
    }

    fn start_all(&mut self) {
        let now = Instant::now();
        while let Some(departure) = self.traffic.start(now) {
            let delivery = departure.delivery;
            let target = self.targets.of(&delivery.webhook);
            let chance = Chance::roll(&mut self.random);
            let (attempts, ready) = (Arc::clone(&self.attempts), Instant::now());
            self.running.spawn(departure.seat, async move {
                let own_share = pace::own_share(ready);
                let mut made = attempts.make(delivery, &target, chance).await?;
                made.endpoint_time = made.endpoint_time.saturating_sub(own_share);
                Some(made)
            });
        }
    }

    async fn abort(&mut self, why: &'static str) {
        let cut_off = self.running.len();
        let unsent = self.traffic.clear();
        if cut_off > 0 {
            tracing::warn!(cut_off, unsent, why, "Requests were cut off; they may be sent again");
        }
        self.attempts.cut();
        self.running.end(|ended| count(&self.metrics, &ended)).await;
        self.metrics.in_flight(self.running.len());
    }
}

fn count(metrics: &Metrics, (seat, made): &Ended) {
    if let Some(tally) = made.as_ref().and_then(|made| made.tally.as_ref()) {
        metrics.attempted(&seat.webhook, tally);
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
