//! Where the partitions that come begin: where their commit says, with what the commit's metadata says is settled, read
//! in the same call.
//!
//! What a partition has is asked of its leader. One that has none, because its broker is away, is late: it is the
//! group's and this member's, and is begun once somebody leads it. The others do not wait for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_kafka::rest::rest;
use postrider_types::Partition;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::config::Start;
use crate::ledger::{Ledger, decode};
use crate::pauses::{lift, list};
use crate::range::{Outside, outside};
use crate::rebalance::Context;
use crate::tracker::TopicPartition;

/// How long reading committed offsets may take: it waits for open transactions of the group.
pub(crate) const OFFSETS_TIMEOUT: Duration = Duration::from_secs(45);
/// How long the leaders of all partitions that come may take together to say what these have.
const WATERMARKS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long each of them may take at least.
const WATERMARKS_SHARE: Duration = Duration::from_millis(500);
/// How long telling who leads the partitions of a topic may take.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two tries: some errors are told at once.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Where a partition begins.
struct Beginning {
    ledger: Ledger,
    /// Nothing was committed before.
    is_first: bool,
}

impl Context {
    /// Begins those of this member's new partitions whose ends can be read, and returns where each is to be read from.
    /// The others are late.
    pub(crate) fn begin(&self, consumer: &BaseConsumer<Self>, own: &TopicPartitionList) -> TopicPartitionList {
        let (mut begun, mut first) = (TopicPartitionList::new(), TopicPartitionList::new());
        if own.count() == 0 {
            return begun;
        }
        let committed = self.committed(consumer, own);
        let deadline = Instant::now() + WATERMARKS_TIMEOUT;
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            if self.stop.is_cancelled() {
                break;
            }
            self.heartbeat.tick();
            let beginning = match self.beginning(consumer, &element, deadline) {
                Ok(beginning) => beginning,
                Err(error) => {
                    warn!(topic, partition, %error, "A partition's ends cannot be read; it is read once they can");
                    self.late.lock().push((topic.into(), Partition(partition)));
                    continue;
                }
            };
            let offset = KafkaOffset::Offset(beginning.ledger.base());
            if beginning.is_first {
                add(&mut first, &element, offset);
            }
            add(&mut begun, &element, offset);
            self.tracker
                .assign(topic.into(), Partition(partition), beginning.ledger);
        }
        // To one that is late the group is as new as it was.
        if begun.count() > 0 && self.late.lock().is_empty() {
            self.group_is_new.store(false, Ordering::Relaxed);
        }
        self.commit_start(consumer, &first);
        lift(consumer, &begun);
        begun
    }

    /// Begins what is late and has a leader by now.
    pub(crate) fn begin_late(&self, consumer: &BaseConsumer<Self>) {
        let late = std::mem::take(&mut *self.late.lock());
        if late.is_empty() {
            return;
        }
        let led = led(consumer, &late);
        let (ready, without): (Vec<_>, Vec<_>) = late.into_iter().partition(|key| led.contains(key));
        *self.late.lock() = without;
        let begun = self.begin(consumer, &list(&ready));
        if begun.count() == 0 {
            return;
        }
        match consumer.incremental_assign(&begun) {
            Ok(()) => info!(partitions = begun.count(), "Partitions that were late are read"),
            Err(error) => error!(%error, "Partitions that were late cannot be read"),
        }
        self.read_on(consumer);
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
            self.heartbeat.tick();
            rest(&self.runtime, ASK_AGAIN);
        }
    }

    fn beginning(
        &self,
        consumer: &BaseConsumer<Self>,
        element: &TopicPartitionListElem<'_>,
        deadline: Instant,
    ) -> KafkaResult<Beginning> {
        let (topic, partition) = (element.topic(), element.partition());
        let patience = deadline.saturating_duration_since(Instant::now()).max(WATERMARKS_SHARE);
        let (low, high) = consumer.fetch_watermarks(topic, partition, patience)?;
        let KafkaOffset::Offset(committed) = element.offset() else {
            let base = self.first_offset(topic, low, high);
            return Ok(Beginning {
                ledger: Ledger::new(base, &[]),
                is_first: true,
            });
        };
        if let Some((why, there)) = outside(committed, low, high) {
            self.note_outside(&(topic.into(), Partition(partition)), why, committed, there);
            return Ok(Beginning {
                ledger: Ledger::new(there, &[]),
                is_first: false,
            });
        }
        let settled = decode(committed, element.metadata()).unwrap_or_else(|error| {
            error!(topic, partition, committed, %error, "What is settled above the committed offset is unknown; delivering from there");
            Vec::new()
        });
        Ok(Beginning {
            ledger: Ledger::new(committed, &settled),
            is_first: false,
        })
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
}

/// Which of these partitions have a leader. Asking also has the client learn what became of a topic.
fn led(consumer: &BaseConsumer<Context>, partitions: &[TopicPartition]) -> HashSet<TopicPartition> {
    let topics: HashSet<&Arc<str>> = partitions.iter().map(|(topic, _)| topic).collect();
    let mut led = HashSet::new();
    for name in topics {
        let metadata = match consumer.fetch_metadata(Some(name), LEADERS_TIMEOUT) {
            Ok(metadata) => metadata,
            Err(error) => {
                debug!(topic = %name, %error, "Who leads a topic's partitions cannot be told");
                continue;
            }
        };
        let all = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let with_leader = all.filter(|partition| partition.leader() >= 0);
        led.extend(with_leader.map(|partition| (Arc::clone(name), Partition(partition.id()))));
    }
    led
}

fn add(list: &mut TopicPartitionList, element: &TopicPartitionListElem<'_>, offset: KafkaOffset) {
    let added: KafkaResult<()> = list.add_partition_offset(element.topic(), element.partition(), offset);
    added.expect("a non-negative offset, or the end, can always be set");
}
