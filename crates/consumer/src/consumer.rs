//! The poll thread: reads source and retry topics, and hands events on.
//!
//! It polls even when nothing may be read, because a member that does not poll is put out of the
//! group. What slows it down are pauses: for bytes held, for a partition too far ahead of its
//! watermark, for retries not due yet, for a full pipeline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fail::fail_point;
use postrider_kafka::rest::rest;
use postrider_types::delivery::Waiting;
use postrider_types::{Clock, Event, Record};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::cleaner::Cleaner;
use crate::ends::Ends;
use crate::error::ConsumerError;
use crate::membership::Member;
use crate::orphans::Wanted;
use crate::outlets::Outlets;
use crate::pauses::Pauses;
use crate::rebalance::Context;
use crate::retry_tiers::{RetryTiers, TierLimits};
use crate::setup::Setup;
use crate::tracker::{TopicPartition, Tracker};

/// The longest one poll blocks: how soon a stop is heard.
const POLL: Duration = Duration::from_millis(50);
/// How long going back to an offset may take. No broker is asked, so only a machine without time for this process takes
/// long; what comes after that is a start from what is committed.
const GOING_BACK: Duration = Duration::from_secs(15);
/// How long a full pipeline is waited for before every partition is paused.
const SHORT_WAIT: Duration = Duration::from_secs(1);
const SLICE: Duration = Duration::from_millis(20);
/// How soon retries that found no room are offered again.
const CROWDED: Duration = Duration::from_millis(5);
/// How often offsets without records are passed over.
const PASSING: Duration = Duration::from_secs(1);
/// How often pauses, gauges and losses are looked at.
const UPKEEP: Duration = Duration::from_millis(20);

mod astray;
mod handing;
mod intake;
mod upkeep;

/// A retry record that waits in memory.
#[derive(Debug)]
struct Sleeper {
    event: Arc<Event>,
    carrier: Box<Waiting>,
    record: Record,
}

/// The reading side of one instance, or a part of it: one member of the group.
pub struct Consumer {
    setup: Setup,
    kafka: Arc<BaseConsumer<Context>>,
    tracker: Arc<Tracker>,
    tiers: RetryTiers<Sleeper>,
    pauses: Arc<Pauses>,
    clock: Clock,
    upkeep_due: Instant,
    passing_due: Instant,
    /// Where retry topics are read.
    cleaner: Option<Cleaner>,
    /// How many partitions it has told of that they are not read for now.
    resting: usize,
    /// How many records are being handed on, one because of the other.
    handing: u32,
    /// The pipeline takes no more events for now, so sources rest.
    stalled: bool,
    /// Retries that came due found no room.
    crowded: bool,
    wanted: Wanted,
    ends: Ends,
    rejoining: Option<Rejoining>,
    /// Partitions that the client may have stopped reading, at an offset that they do not have.
    astray: Vec<TopicPartition>,
}

/// A rebalance that this instance has brought about.
#[derive(Debug)]
struct Rejoining {
    /// How often partitions had been given to this member when it began.
    given: u64,
    since: Instant,
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
        let cleaner = || Cleaner::new(&setup.admin, setup.runtime.clone()).map_err(ConsumerError::Client);
        let context = setup.context(&tracker);
        let kafka: BaseConsumer<Context> = setup
            .client
            .create_with_context(context)
            .map_err(ConsumerError::Client)?;
        Ok(Self {
            pauses: Arc::clone(&kafka.context().pauses),
            kafka: Arc::new(kafka),
            tracker,
            tiers: RetryTiers::new(TierLimits::default(), setup.steps()),
            clock: setup.clock,
            upkeep_due: Instant::now(),
            passing_due: Instant::now(),
            cleaner: setup.reads_retries().then(cleaner).transpose()?,
            resting: 0,
            handing: 0,
            stalled: false,
            crowded: false,
            wanted: Wanted::default(),
            ends: Ends::default(),
            rejoining: None,
            astray: Vec::new(),
            setup,
        })
    }

    /// The group's side of the committer's transactions.
    #[must_use]
    pub fn member(&self) -> Member {
        let topics = Arc::clone(&self.kafka.context().topics);
        Member::new(Arc::clone(&self.kafka), Arc::clone(&self.tracker), topics)
    }

    /// Reads until stopped, then stays a member until `committed` fires, so that what was in flight
    /// can be committed. Blocks: for a thread of its own.
    ///
    /// # Errors
    /// [`ConsumerError`] when going on would break a promise.
    pub fn run(mut self, outlets: Outlets) -> Result<(), ConsumerError> {
        self.learn_group();
        fail_point!("k10");
        self.subscribe(self.setup.topics.keys())?;
        self.keep_lookout()?;
        self.keep_survey()?;
        let read = self.read(&outlets);
        self.kafka.context().stopping.store(true, Ordering::Relaxed);
        self.setup.stop.cancel();
        drop(outlets);
        for sleeper in self.tiers.retain(|_| false) {
            sleeper.record.give_back();
        }
        if matches!(read, Err(ConsumerError::Replaced(_) | ConsumerError::Displaced(_))) {
            // Whose place another has can commit nothing more.
            self.tracker.revoke(&self.owned());
        } else {
            self.stay_until_committed();
        }
        read
    }

    /// Whether the group is new decides where `start: latest` begins.
    fn learn_group(&self) {
        let context = self.kafka.context();
        if context.sources.is_empty() || context.start == crate::config::Start::Earliest {
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
            rest(&self.setup.runtime, SHORT_WAIT);
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
        if self.crowded {
            return CROWDED;
        }
        let next = self.tiers.next().map(|at| at.since(self.clock.now()));
        next.unwrap_or(POLL).min(POLL)
    }

    fn meet(&mut self, error: KafkaError) -> Result<(), ConsumerError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::FencedInstanceId) => return Err(self.fenced(error)),
            Some(RDKafkaErrorCode::AutoOffsetReset) => self.go_astray(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                debug!(%error, "A subscribed topic does not exist; reading it once it does");
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => warn!(
                "Kafka does not allow READ on a topic any more; `postrider topics acls` prints all that has to be allowed"
            ),
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => warn!(
                group = self.setup.client.get("group.id"),
                "Kafka does not allow READ on the consumer group; `postrider topics acls` prints all that has to be allowed"
            ),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => return Err(ConsumerError::Fatal(error)),
            _ => debug!(%error, "Reading met an error; trying again"),
        }
        Ok(())
    }

    /// Another has this member's place: a process, or a second request of its own.
    fn fenced(&self, error: KafkaError) -> ConsumerError {
        if self.kafka.context().is_away.load(Ordering::Relaxed) {
            ConsumerError::Displaced(error)
        } else {
            ConsumerError::Replaced(error)
        }
    }

    fn owned(&self) -> Vec<TopicPartition> {
        self.tracker.spans().into_iter().map(|(key, _)| key).collect()
    }

    /// Keeps the membership, reading nothing, until everything in flight is committed.
    fn stay_until_committed(&mut self) {
        self.pauses.pause(&self.kafka, &self.owned());
        while !self.setup.committed.is_cancelled() {
            self.setup.heartbeat.tick();
            // A record or an error that comes now is left for the next start.
            let _ = self.kafka.poll(SLICE);
        }
        info!("Everything in flight is committed; leaving Kafka");
    }
}
