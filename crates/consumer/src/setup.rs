//! What the poll thread is made of.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use postrider_kafka::committer::Flush;
use postrider_kafka::connection::Reachability;
use postrider_types::settlement::HeldTotals;
use postrider_types::{Clock, EventType, Losses, Undelivered};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::beginnings::OFFSETS_TIMEOUT;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::orphans::Moves;
use crate::rebalance::Context;
use crate::retry_tiers::Steps;
use crate::tracker::Tracker;

/// What a topic is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Events, of this type unless they say otherwise.
    Source(EventType),
    /// Parked deliveries of this delay.
    Retry(Duration),
}

impl Topic {
    pub(crate) const fn is_retry(&self) -> bool {
        self.delay().is_some()
    }

    /// The delay of a retry topic.
    pub(crate) const fn delay(&self) -> Option<Duration> {
        match self {
            Self::Retry(delay) => Some(*delay),
            Self::Source(_) => None,
        }
    }
}

/// What the members of one instance count together.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    pub(crate) totals: Arc<HeldTotals>,
    pub(crate) losses: Losses,
    pub(crate) moves: Moves,
}

/// Tells that the poll thread makes progress.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat(Arc<AtomicI64>);

impl Heartbeat {
    pub(crate) fn tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has ticked; whoever watches compares.
    #[must_use]
    pub fn ticks(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the poll thread is made of.
#[derive(Debug)]
pub struct Setup {
    /// The `consumer` section.
    pub config: Config,
    /// librdkafka's configuration.
    pub client: ClientConfig,
    /// librdkafka's configuration for cleaning topics.
    pub admin: ClientConfig,
    /// The topics to read.
    pub topics: HashMap<Arc<str>, Topic>,
    /// The topics among whose partitions those are looked for that nobody has: all that the instance reads, for one of
    /// its members; none for the others.
    pub looked_after: HashMap<Arc<str>, Topic>,
    /// None of the topics exists yet, so there is no group to join before one does: as good as joined.
    pub has_nothing_yet: bool,
    /// The delays of the retry schedule.
    pub delays: Vec<Duration>,
    /// The part of a delay that chance adds at most.
    pub jitter: f64,
    /// `delivery.drain`
    pub drain: Duration,
    /// For waiting inside the thread.
    pub runtime: Handle,
    /// The time.
    pub clock: Clock,
    /// Its series.
    pub metrics: Metrics,
    /// Shared with the other members of this instance.
    pub shared: Shared,
    /// Shared with the delivery stage.
    pub undelivered: Undelivered,
    /// Shared with the committer.
    pub flush: Flush,
    /// Shared with the committer.
    pub reachability: Reachability,
    /// Ticks with every poll.
    pub heartbeat: Heartbeat,
    /// True once partitions have been assigned.
    pub joined: watch::Sender<bool>,
    /// Fires when reading should end; fired here when it ends by itself.
    pub stop: CancellationToken,
    /// Fires when everything in flight is committed.
    pub committed: CancellationToken,
}

impl Setup {
    pub(crate) fn steps(&self) -> Steps {
        Steps {
            jitter: self.jitter,
            shortest: self.delays.iter().min().copied().unwrap_or_default(),
        }
    }

    /// The topics of the configured sources.
    #[must_use]
    pub fn source_topics(config: &Config) -> HashMap<Arc<str>, Topic> {
        let sources = config.sources.iter();
        sources
            .map(|source| (source.topic.as_str().into(), Topic::Source(source.event)))
            .collect()
    }

    /// The retry topics, of their names and delays.
    #[must_use]
    pub fn retry_topics(retry: &[(String, Duration)]) -> HashMap<Arc<str>, Topic> {
        let retry = retry.iter();
        retry
            .map(|(name, delay)| (name.as_str().into(), Topic::Retry(*delay)))
            .collect()
    }

    pub(crate) fn reads_retries(&self) -> bool {
        self.topics.values().any(Topic::is_retry)
    }

    pub(crate) fn is_retry(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(Topic::is_retry)
    }

    pub(crate) fn names(&self) -> Arc<HashSet<Arc<str>>> {
        Arc::new(self.topics.keys().cloned().collect())
    }

    pub(crate) fn context(&self, tracker: &Arc<Tracker>) -> Context {
        Context {
            tracker: Arc::clone(tracker),
            topics: self.names(),
            pauses: Arc::default(),
            late: Mutex::default(),
            flush: self.flush.clone(),
            reachability: self.reachability.clone(),
            metrics: self.metrics.clone(),
            drain: self.drain,
            sources: self.sources(),
            start: self.config.start,
            group_is_new: AtomicBool::new(true),
            joined: AtomicBool::new(self.has_nothing_yet),
            is_away: AtomicBool::new(!self.has_nothing_yet),
            moves: Arc::clone(&self.shared.moves),
            given: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            stop: self.stop.clone(),
            heartbeat: self.heartbeat.clone(),
            runtime: self.runtime.clone(),
        }
    }

    fn sources(&self) -> Vec<Arc<str>> {
        let is_source = |topic: &Topic| matches!(topic, Topic::Source(_));
        self.topics
            .iter()
            .filter(|(_, topic)| is_source(topic))
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    /// Whether the group has committed anything of the sources.
    pub(crate) fn group_has_commits(&self, kafka: &BaseConsumer<Context>) -> KafkaResult<bool> {
        let mut asked = TopicPartitionList::new();
        for source in self.sources() {
            let metadata = kafka.fetch_metadata(Some(&source), OFFSETS_TIMEOUT)?;
            for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                asked.add_partition(&source, partition.id());
            }
        }
        if asked.count() == 0 {
            return Ok(false);
        }
        let committed = kafka.committed_offsets(asked, OFFSETS_TIMEOUT)?;
        Ok(committed
            .elements()
            .iter()
            .any(|element| matches!(element.offset(), Offset::Offset(_))))
    }
}
