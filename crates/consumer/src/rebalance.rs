//! What happens when the group's partitions move: ours to take, ours to give, ours no more.
//!
//! A partition begins where its commit says, with what the commit's metadata says is settled, read in
//! the same call. A partition that is given back is drained first, and its last commit made, while it
//! is still ours. A partition that was lost is forgotten at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fail::fail_point;
use postrider_kafka::committer::Flush;
use postrider_kafka::connection::{Reachability, log_error, log_line};
use postrider_kafka::rest::rest;
use postrider_types::Partition;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as KafkaOffset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::config::Start;
use crate::ledger::{Ledger, decode};
use crate::metrics::Metrics;
use crate::orphans::Moves;
use crate::pauses::{Pauses, lift, wake};
use crate::range::{Outside, outside};
use crate::setup::Heartbeat;
use crate::tracker::{TopicPartition, Tracker};

/// How long reading committed offsets may take: it waits for open transactions of the group.
pub(crate) const OFFSETS_TIMEOUT: Duration = Duration::from_secs(45);
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(10);
/// What librdkafka's log calls it that the group was not heard of for `session.timeout.ms`. A member without partitions
/// is told of it in no other way.
const SESSION_TIMED_OUT: &str = "SESSTMOUT";
/// Between two tries: some errors are told at once.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What the callbacks need to know.
#[derive(Debug)]
pub struct Context {
    pub(crate) tracker: Arc<Tracker>,
    /// What this member reads.
    pub(crate) topics: Arc<HashSet<Arc<str>>>,
    pub(crate) pauses: Arc<Pauses>,
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

/// Where a partition begins.
struct Beginning {
    ledger: Ledger,
    /// Nothing was committed before.
    is_first: bool,
}

impl Context {
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let mut begun = TopicPartitionList::new();
        let mut first = TopicPartitionList::new();
        let (own, foreign) = self.sorted(partitions);
        if own.count() > 0 {
            let committed = self.committed(consumer, &own);
            for element in committed.elements() {
                let Some(beginning) = self.beginning(consumer, &element) else {
                    continue;
                };
                let offset = KafkaOffset::Offset(beginning.ledger.base());
                if beginning.is_first {
                    add(&mut first, &element, offset);
                }
                add(&mut begun, &element, offset);
                self.tracker
                    .assign(element.topic().into(), Partition(element.partition()), beginning.ledger);
            }
        }
        if begun.count() > 0 {
            self.group_is_new.store(false, Ordering::Relaxed);
        }
        self.commit_start(consumer, &first);
        lift(consumer, &begun);
        for element in foreign.elements() {
            add(&mut begun, &element, KafkaOffset::End);
        }
        if let Err(error) = consumer.incremental_assign(&begun) {
            error!(%error, "The assigned partitions cannot be read");
        }
        self.read_on(consumer);
        info!(partitions = begun.count(), "Partitions assigned");
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

    /// What the group committed; asked again until it is known, because nothing may be read before.
    fn committed(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> TopicPartitionList {
        loop {
            match consumer.committed_offsets(partitions.clone(), OFFSETS_TIMEOUT) {
                Ok(committed) => return committed,
                Err(error) if self.stop.is_cancelled() => {
                    debug!(%error, "Stopping while the committed offsets were being read");
                    return TopicPartitionList::new();
                }
                Err(error) => warn!(%error, "The committed offsets cannot be read; trying again"),
            }
            self.ask_again();
        }
    }

    /// Waits before Kafka is asked again.
    fn ask_again(&self) {
        self.heartbeat.tick();
        rest(&self.runtime, ASK_AGAIN);
    }

    fn beginning(&self, consumer: &BaseConsumer<Self>, element: &TopicPartitionListElem<'_>) -> Option<Beginning> {
        let (topic, partition) = (element.topic(), element.partition());
        let (low, high) = self.watermarks(consumer, topic, partition)?;
        let KafkaOffset::Offset(committed) = element.offset() else {
            let base = self.first_offset(topic, low, high);
            return Some(Beginning {
                ledger: Ledger::new(base, &[]),
                is_first: true,
            });
        };
        if let Some((why, there)) = outside(committed, low, high) {
            self.note_outside(&(topic.into(), Partition(partition)), why, committed, there);
            return Some(Beginning {
                ledger: Ledger::new(there, &[]),
                is_first: false,
            });
        }
        let settled = decode(committed, element.metadata()).unwrap_or_else(|error| {
            error!(topic, partition, committed, %error, "What is settled above the committed offset is unknown; delivering from there");
            Vec::new()
        });
        Some(Beginning {
            ledger: Ledger::new(committed, &settled),
            is_first: false,
        })
    }

    fn watermarks(&self, consumer: &BaseConsumer<Self>, topic: &str, partition: i32) -> Option<(i64, i64)> {
        loop {
            match consumer.fetch_watermarks(topic, partition, WATERMARKS_TIMEOUT) {
                Ok(watermarks) => return Some(watermarks),
                Err(_) if self.stop.is_cancelled() => return None,
                Err(error) => warn!(topic, partition, %error, "A partition's ends cannot be read; trying again"),
            }
            // The client may know an older state of the topic, and say so without asking.
            if let Err(error) = consumer.fetch_metadata(Some(topic), ASK_AGAIN) {
                debug!(topic, %error, "The topic cannot be asked for");
            }
            self.ask_again();
        }
    }

    fn first_offset(&self, topic: &str, low: i64, high: i64) -> i64 {
        let is_source = self.sources.iter().any(|source| &**source == topic);
        // A partition that was added to a group that reads already holds only what came after.
        let may_skip = is_source && self.start == Start::Latest && self.group_is_new.load(Ordering::Relaxed);
        if may_skip { high } else { low }
    }

    pub(crate) fn note_outside(&self, (topic, partition): &TopicPartition, why: Outside, wanted: i64, there: i64) {
        let (topic, partition) = (&**topic, partition.0);
        match why {
            Outside::Removed => {
                self.metrics.lost(topic, there.abs_diff(wanted));
                error!(
                    topic,
                    partition, wanted, there, "Kafka removed records before they were read; going on with the oldest"
                );
            }
            Outside::MadeAnew => warn!(topic, partition, "A topic was made anew; reading it from its beginning"),
            Outside::CutOff => error!(
                topic,
                partition, wanted, there, "Kafka lost the end of a partition; going on with what comes next"
            ),
        }
    }

    /// A start that is not committed would be chosen anew after a restart.
    fn commit_start(&self, consumer: &BaseConsumer<Self>, first: &TopicPartitionList) {
        if first.count() == 0 {
            return;
        }
        let Err(error) = consumer.commit(first, CommitMode::Sync) else {
            return;
        };
        // The beginning is the same whenever it is chosen, and members join at every start.
        let is_usual = error.rdkafka_error_code() == Some(RDKafkaErrorCode::RebalanceInProgress);
        if is_usual && self.start != Start::Latest {
            debug!(%error, "Where reading starts is committed with the first outcomes");
        } else {
            warn!(%error, "Where reading starts could not be committed; it is committed with the first outcomes");
        }
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
        for (topic, partition) in &keys {
            self.metrics.forget_lag(topic, partition.0);
        }
        if let Err(error) = consumer.incremental_unassign(partitions) {
            error!(%error, "The revoked partitions cannot be given back");
        }
        self.read_on(consumer);
    }

    /// The client pauses all partitions while the group rebalances, those too that stay.
    fn read_on(&self, consumer: &BaseConsumer<Self>) {
        if self.stopping.load(Ordering::Relaxed) {
            return;
        }
        match consumer.assignment() {
            Ok(assignment) => wake(consumer, assignment),
            Err(error) => debug!(%error, "The assignment is not known"),
        }
    }
}

fn add(list: &mut TopicPartitionList, element: &TopicPartitionListElem<'_>, offset: KafkaOffset) {
    let added: KafkaResult<()> = list.add_partition_offset(element.topic(), element.partition(), offset);
    added.expect("a non-negative offset, or the end, can always be set");
}
