//! What happens when the group's partitions move: ours to take, ours to give, ours no more.
//!
//! A partition that is given back is drained first, and its last commit made, while it is still ours. A partition that
//! was lost is forgotten at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fail::fail_point;
use parking_lot::Mutex;
use postrider_kafka::committer::Flush;
use postrider_kafka::connection::{Reachability, log_error, log_line};
use postrider_types::Partition;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::Start;
use crate::metrics::Metrics;
use crate::orphans::Moves;
use crate::pauses::{Pauses, wake};
use crate::setup::Heartbeat;
use crate::tracker::{TopicPartition, Tracker};

/// What librdkafka's log calls it that the group was not heard of for `session.timeout.ms`. A member without partitions
/// is told of it in no other way.
const SESSION_TIMED_OUT: &str = "SESSTMOUT";
/// What the callbacks need to know.
#[derive(Debug)]
pub struct Context {
    pub(crate) tracker: Arc<Tracker>,
    /// What this member reads.
    pub(crate) topics: Arc<HashSet<Arc<str>>>,
    pub(crate) pauses: Arc<Pauses>,
    /// This member's partitions that cannot be read yet, because nobody leads them.
    pub(crate) late: Mutex<Vec<TopicPartition>>,
    pub(crate) flush: Flush,
    pub(crate) reachability: Reachability,
    pub(crate) metrics: Metrics,
    /// How long a partition that is given back is drained.
    pub(crate) drain: Duration,
    /// The names of the source topics: `start` speaks of them alone.
    pub(crate) sources: Vec<Arc<str>>,
    pub(crate) start: Start,
    /// Whether the group had committed nothing of the sources when this process began, and has not since.
    pub(crate) group_is_new: AtomicBool,
    pub(crate) joined: AtomicBool,
    /// The group has not let this member in yet, or has put it out, as one that was not heard of for too long, and has
    /// not let it in again.
    pub(crate) is_away: AtomicBool,
    /// How often partitions were given to this instance.
    pub(crate) moves: Moves,
    /// How often they were given to this member of it.
    pub(crate) given: AtomicU64,
    pub(crate) stopping: AtomicBool,
    /// Fires when reading should end, also while a callback waits for Kafka.
    pub(crate) stop: CancellationToken,
    /// Ticks while a callback waits for Kafka: that is no fault of this process.
    pub(crate) heartbeat: Heartbeat,
    /// For waiting inside the callbacks.
    pub(crate) runtime: Handle,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == SESSION_TIMED_OUT {
            self.is_away.store(true, Ordering::Relaxed);
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&self.reachability, &error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.reachability.note(
            statistics
                .brokers
                .values()
                .any(|broker| broker.nodeid >= 0 && broker.state == "UP"),
        );
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, partitions),
            other => error!(code = ?other, "The group could not be rebalanced"),
        }
    }
}

impl Context {
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let (own, foreign) = self.sorted(partitions);
        let mut begun = self.begin(consumer, &own);
        for element in foreign.elements() {
            let added = begun.add_partition_offset(element.topic(), element.partition(), KafkaOffset::End);
            added.expect("the end can always be set");
        }
        if let Err(error) = consumer.incremental_assign(&begun) {
            error!(%error, "The assigned partitions cannot be read");
        }
        self.read_on(consumer);
        info!(partitions = partitions.count(), "Partitions assigned");
        self.joined.store(true, Ordering::Relaxed);
        self.is_away.store(false, Ordering::Relaxed);
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.given.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells the partitions that this member reads from those it does not. Of these it can be given some for a moment:
    /// by a group that still knows what its name subscribed to before a restart, or while it makes the group rebalance.
    /// It keeps them without reading them until the group takes them back.
    fn sorted(&self, partitions: &TopicPartitionList) -> (TopicPartitionList, TopicPartitionList) {
        let (mut own, mut foreign) = (TopicPartitionList::new(), TopicPartitionList::new());
        for element in partitions.elements() {
            let is_own = self.topics.contains(element.topic());
            let list = if is_own { &mut own } else { &mut foreign };
            list.add_partition(element.topic(), element.partition());
        }
        (own, foreign)
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let keys: Vec<TopicPartition> = partitions
            .elements()
            .iter()
            .map(|element| (element.topic().into(), Partition(element.partition())))
            .collect();
        if consumer.assignment_lost() {
            // Whom another process has replaced, that is told of before.
            let is_replaced = consumer.client().fatal_error().is_some();
            self.is_away.store(!is_replaced, Ordering::Relaxed);
            warn!(
                partitions = keys.len(),
                "Partitions lost; what was in flight for them is delivered again by their new owner"
            );
        } else if !self.stopping.load(Ordering::Relaxed) {
            let left = self.tracker.drain(&keys, self.drain, || self.flush.ask());
            fail_point!("k8");
            info!(partitions = keys.len(), left, "Partitions given back");
        }
        self.tracker.revoke(&keys);
        self.pauses.forget(&keys);
        self.late.lock().retain(|key| !keys.contains(key));
        for (topic, partition) in &keys {
            self.metrics.forget_lag(topic, partition.0);
        }
        if let Err(error) = consumer.incremental_unassign(&read_of(consumer, partitions)) {
            error!(%error, "The revoked partitions cannot be given back");
        }
        self.read_on(consumer);
    }

    /// The client pauses all partitions while the group rebalances, those too that stay.
    pub(crate) fn read_on(&self, consumer: &BaseConsumer<Self>) {
        if self.stopping.load(Ordering::Relaxed) {
            return;
        }
        match consumer.assignment() {
            Ok(assignment) => wake(consumer, assignment),
            Err(error) => debug!(%error, "The assignment is not known"),
        }
    }
}

/// Those of these partitions that the client reads: it refuses to let go of others, such as are late.
fn read_of(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> TopicPartitionList {
    let Ok(assignment) = consumer.assignment() else {
        return partitions.clone();
    };
    let mut read = TopicPartitionList::new();
    for element in partitions.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        if assignment.find_partition(topic, partition).is_some() {
            read.add_partition(topic, partition);
        }
    }
    read
}
