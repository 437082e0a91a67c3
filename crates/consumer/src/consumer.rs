//! The poll thread: reads source and retry topics, and hands events on.
//!
//! It polls even when nothing may be read, because a member that does not poll is put out of the
//! group. What slows it down are pauses: for bytes held, for a partition too far ahead of its
//! watermark, for retries not due yet, for a full pipeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fail::fail_point;
use postrider_types::settlement::HeldTotals;
use postrider_types::{Carrier, Clock, Event, Losses, Partition, Record};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::cleaner::Cleaner;
use crate::error::ConsumerError;
use crate::ledger::MAX_SPAN;
use crate::membership::Membership;
use crate::outlets::{Offer, Outgoing, Outlets};
use crate::pauses::Pauses;
use crate::rebalance::Context;
use crate::retry_tiers::{RetryTiers, TierLimits};
use crate::setup::{Setup, Topic};
use crate::tracker::{TopicPartition, Tracker};

/// The longest one poll blocks: how soon a stop is heard.
const POLL: Duration = Duration::from_millis(50);
/// How long a full pipeline is waited for before every partition is paused.
const SHORT_WAIT: Duration = Duration::from_secs(1);
const SLICE: Duration = Duration::from_millis(20);
/// How often offsets without records are passed over.
const PASSING: Duration = Duration::from_secs(1);
/// How often pauses, gauges and losses are looked at.
const UPKEEP: Duration = Duration::from_millis(20);

mod intake;

/// A retry record that waits in memory.
#[derive(Debug)]
struct Sleeper {
    event: Arc<Event>,
    carrier: Carrier,
    record: Record,
}

/// The reading side of one instance.
pub struct Consumer {
    setup: Setup,
    kafka: Arc<BaseConsumer<Context>>,
    tracker: Arc<Tracker>,
    tiers: RetryTiers<Sleeper>,
    pauses: Pauses,
    totals: Arc<HeldTotals>,
    losses: Losses,
    clock: Clock,
    upkeep_due: Instant,
    passing_due: Instant,
    cleaner: Cleaner,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("setup", &self.setup)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Makes the client. Nothing is read before [`run`](Self::run).
    ///
    /// # Errors
    /// [`ConsumerError::Client`] when librdkafka refuses the configuration.
    pub fn new(setup: Setup) -> Result<Self, ConsumerError> {
        let tracker = Arc::new(Tracker::default());
        let context = setup.context(&tracker);
        let kafka = setup
            .client
            .create_with_context(context)
            .map_err(ConsumerError::Client)?;
        Ok(Self {
            kafka: Arc::new(kafka),
            tracker,
            tiers: RetryTiers::new(TierLimits::default()),
            pauses: Pauses::default(),
            totals: Arc::default(),
            losses: Losses::default(),
            clock: setup.clock,
            upkeep_due: Instant::now(),
            passing_due: Instant::now(),
            cleaner: Cleaner::new(&setup.admin, setup.runtime.clone()).map_err(ConsumerError::Client)?,
            setup,
        })
    }

    /// The group's side of the committer's transactions.
    #[must_use]
    pub fn membership(&self) -> Membership {
        Membership::new(Arc::clone(&self.kafka), Arc::clone(&self.tracker))
    }

    /// Reads until stopped, then stays a member until `committed` fires, so that what was in flight
    /// can be committed. Blocks: for a thread of its own.
    ///
    /// # Errors
    /// [`ConsumerError`] when going on would break a promise.
    pub fn run(mut self, outlets: Outlets) -> Result<(), ConsumerError> {
        self.learn_group();
        fail_point!("k10");
        let names: Vec<&str> = self.setup.topics.keys().map(|name| &**name).collect();
        self.kafka.subscribe(&names).map_err(ConsumerError::Subscribe)?;
        let read = self.read(&outlets);
        self.kafka.context().stopping.store(true, Ordering::Relaxed);
        self.setup.stop.cancel();
        drop(outlets);
        self.stay_until_committed();
        read
    }

    /// Whether the group is new decides where `start: latest` begins.
    fn learn_group(&self) {
        if self.setup.config.start == crate::config::Start::Earliest {
            return;
        }
        while !self.setup.stop.is_cancelled() {
            match self.setup.group_has_commits(&self.kafka) {
                Ok(has_commits) => {
                    self.kafka.context().group_is_new.store(!has_commits, Ordering::Relaxed);
                    return;
                }
                Err(error) => warn!(%error, "The group's offsets cannot be read; trying again"),
            }
            self.sleep(SHORT_WAIT);
        }
    }

    fn read(&mut self, outlets: &Outlets) -> Result<(), ConsumerError> {
        let kafka = Arc::clone(&self.kafka);
        while !self.setup.stop.is_cancelled() {
            self.upkeep()?;
            self.wake_sleepers(outlets)?;
            match kafka.poll(self.poll_time()) {
                Some(Ok(message)) => self.take_in(&message, outlets)?,
                Some(Err(error)) => self.meet(error)?,
                None => {}
            }
        }
        Ok(())
    }

    fn poll_time(&self) -> Duration {
        let next = self.tiers.next().map(|at| at.since(self.clock.now()));
        next.unwrap_or(POLL).min(POLL)
    }

    /// Looks after what time and settling change: pauses, gauges, losses, partitions that went.
    fn upkeep(&mut self) -> Result<(), ConsumerError> {
        self.setup.heartbeat.tick();
        let now = Instant::now();
        if now < self.upkeep_due {
            return Ok(());
        }
        self.upkeep_due = now + UPKEEP;
        if self.losses.count() > 0 {
            return Err(ConsumerError::Lost(self.losses.count()));
        }
        self.forget_strangers();
        self.balance();
        self.pass_over();
        self.show();
        self.clean();
        Ok(())
    }

    /// Transaction markers and compacted records at a partition's end are never delivered: what the client
    /// has passed over is settled.
    fn pass_over(&mut self) {
        let now = Instant::now();
        if now < self.passing_due {
            return;
        }
        self.passing_due = now + PASSING;
        let Ok(positions) = self.kafka.position() else { return };
        for element in positions.elements() {
            if let rdkafka::Offset::Offset(position) = element.offset() {
                self.tracker
                    .pass_over(&(element.topic().into(), Partition(element.partition())), position);
            }
        }
    }

    fn clean(&mut self) {
        if !self.cleaner.is_due() {
            return;
        }
        let mut committed = self.tracker.committed();
        committed.retain(|((topic, _), _)| matches!(self.setup.topics.get(topic), Some(Topic::Retry(_))));
        self.cleaner.clean(committed);
    }

    fn forget_strangers(&mut self) {
        let tracker = Arc::clone(&self.tracker);
        let ours = |key: &TopicPartition| tracker.watermark(&key.0, key.1).is_some();
        for sleeper in self.tiers.retain(ours) {
            sleeper.record.give_back();
        }
        self.pauses.retain(ours);
    }

    /// Pauses and resumes partitions as the bounds say.
    fn balance(&mut self) {
        let most = self.setup.config.max_held_bytes.0;
        let held = self.totals.bytes();
        let now = self.clock.now();
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (key, span) in self.tracker.spans() {
            let resting = self.pauses.holds(&key);
            // Reading goes on well below a bound, or each record would pause and resume.
            let (most, furthest) = if resting {
                (most / 4 * 3, MAX_SPAN / 4 * 3)
            } else {
                (most, MAX_SPAN)
            };
            let rest = held >= most || span >= furthest || self.tiers.rests(&key, now, resting);
            match (rest, resting) {
                (true, false) => pause.push(key),
                (false, true) => resume.push(key),
                _ => {}
            }
        }
        self.pauses.pause(&self.kafka, &pause);
        self.pauses.resume(&self.kafka, &resume);
    }

    fn show(&self) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let metrics = &self.setup.metrics;
        metrics.held_events.set(gauge(self.totals.events()));
        metrics.held_bytes.set(gauge(self.totals.bytes()));
        metrics.paused.set(gauge(self.pauses.len() as u64));
        metrics.kafka_up.set(i64::from(self.setup.reachability.is_up()));
        for (delay, late) in self.tiers.lags(self.clock.now()) {
            metrics.parked_lag(delay, late);
        }
        self.setup.joined.send_if_modified(|joined| {
            let now = self.kafka.context().joined.load(Ordering::Relaxed);
            std::mem::replace(joined, now) != now
        });
    }

    /// Hands something on; while the pipeline is full it keeps its membership, and after a short wait
    /// nothing more is read.
    fn hand_on(&mut self, outgoing: Outgoing, outlets: &Outlets) -> Result<(), ConsumerError> {
        if !self.tracker.dispatch(outgoing.position()) {
            outgoing.give_back();
            return Ok(());
        }
        let mut outgoing = outgoing;
        let began = Instant::now();
        loop {
            match outgoing.offer(outlets, &self.setup.runtime, SLICE) {
                Offer::Taken => return Ok(()),
                Offer::Closed => return Err(ConsumerError::Abandoned),
                Offer::Full(same) => outgoing = same,
            }
            if self.setup.stop.is_cancelled() {
                outgoing.give_back();
                return Ok(());
            }
            if began.elapsed() >= SHORT_WAIT {
                self.keep_membership()?;
            }
        }
    }

    /// Polls with everything paused, for the group's sake.
    fn keep_membership(&mut self) -> Result<(), ConsumerError> {
        self.setup.heartbeat.tick();
        self.forget_strangers();
        let owned = self.tracker.spans().into_iter().map(|(key, _)| key);
        let unpaused: Vec<TopicPartition> = owned.filter(|key| !self.pauses.holds(key)).collect();
        self.pauses.pause(&self.kafka, &unpaused);
        let kafka = Arc::clone(&self.kafka);
        match kafka.poll(Duration::ZERO) {
            // A record that slipped through the pause is read again.
            Some(Ok(message)) => {
                let back = rdkafka::Offset::Offset(message.offset());
                kafka
                    .seek(message.topic(), message.partition(), back, SHORT_WAIT)
                    .map_err(ConsumerError::Fatal)
            }
            Some(Err(error)) => self.meet(error),
            None => Ok(()),
        }
    }

    fn meet(&mut self, error: KafkaError) -> Result<(), ConsumerError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::FencedInstanceId) => return Err(ConsumerError::Replaced(error)),
            Some(RDKafkaErrorCode::AutoOffsetReset) => self.skip_removed(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                debug!(%error, "A subscribed topic does not exist; reading it once it does");
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => return Err(ConsumerError::Fatal(error)),
            _ => debug!(%error, "Reading met an error; trying again"),
        }
        Ok(())
    }

    /// Retention overtook reading: goes on with the oldest records there are.
    fn skip_removed(&mut self) {
        for (key, _) in self.tracker.spans() {
            let Ok((low, _)) = self.kafka.fetch_watermarks(&key.0, key.1.0, SHORT_WAIT) else {
                continue;
            };
            let Some(next) = self.tracker.next_expected(&key) else {
                continue;
            };
            if next < low {
                self.kafka.context().note_lost(&key.0, key.1.0, next, low);
                let forward = rdkafka::Offset::Offset(low);
                if let Err(error) = self.kafka.seek(&key.0, key.1.0, forward, SHORT_WAIT) {
                    warn!(%error, "Reading could not go on after removed records; trying again");
                }
            }
        }
    }

    /// Keeps the membership, reading nothing, until everything in flight is committed.
    fn stay_until_committed(&mut self) {
        for sleeper in self.tiers.retain(|_| false) {
            sleeper.record.give_back();
        }
        let owned: Vec<TopicPartition> = self.tracker.spans().into_iter().map(|(key, _)| key).collect();
        self.pauses.pause(&self.kafka, &owned);
        while !self.setup.committed.is_cancelled() {
            self.setup.heartbeat.tick();
            // A record or an error that comes now is left for the next start.
            let _ = self.kafka.poll(SLICE);
        }
        info!("Everything in flight is committed; leaving Kafka");
    }

    fn sleep(&self, time: Duration) {
        self.setup.runtime.block_on(tokio::time::sleep(time));
    }
}
