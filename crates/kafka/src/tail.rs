//! A compacted topic as a table: read to its end before anything depends on it, then followed.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::connection::log_line;
use crate::partitions;

const CALL: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// One record of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` deletes what the key had.
    pub value: Option<Bytes>,
}

/// Says nothing aloud: what fails is tried again, or met where it is asked for.
#[derive(Debug)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "A reader met an error; trying again");
    }
}

impl ConsumerContext for Quiet {}

/// A reader of all partitions of one topic, without a group.
pub struct Tail {
    consumer: BaseConsumer<Quiet>,
    partitions: usize,
    reached: watch::Sender<i64>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// Begins at the topic's beginning. Blocks.
    ///
    /// # Errors
    /// When the client cannot be made, or the topic's partitions cannot be learnt in time.
    pub fn open(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet)?;
        let mut all = TopicPartitionList::new();
        for partition in partitions::of(&consumer, topic, CALL)? {
            all.add_partition_offset(topic, partition.0, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        Ok(Self {
            consumer,
            partitions: all.count(),
            reached: watch::Sender::new(0),
        })
    }

    /// Whether the topic is there.
    #[must_use]
    pub const fn has_partitions(&self) -> bool {
        self.partitions > 0
    }

    /// Reads every record up to the end that the topic has now. Blocks; ends early when `stop` fires.
    pub fn read_to_end(&self, stop: &CancellationToken, mut each: impl FnMut(Entry)) {
        let mut ended = std::collections::HashSet::new();
        while ended.len() < self.partitions && !stop.is_cancelled() {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => each(entry(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended.insert(partition);
                }
                Some(Err(error)) => debug!(%error, "Reading a table met an error; trying again"),
                None => {}
            }
        }
    }

    /// Goes on with what is added. Blocks until `stop` fires.
    pub fn follow(self, stop: &CancellationToken, mut each: impl FnMut(Entry)) {
        while !stop.is_cancelled() {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => each(entry(&message)),
                // Transaction markers are passed over without a record; an end tells where reading stands.
                Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(_)) => continue,
            }
            self.tell_position();
        }
    }

    /// Up to which offset all was handed on while following; of a topic with one partition.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    fn tell_position(&self) {
        let Ok(positions) = self.consumer.position() else {
            return;
        };
        let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        let sum = positions.elements().iter().map(offset).sum();
        self.reached
            .send_if_modified(|reached| std::mem::replace(reached, sum) != sum);
    }
}

fn entry(message: &rdkafka::message::BorrowedMessage<'_>) -> Entry {
    Entry {
        key: message.key().map(Bytes::copy_from_slice).unwrap_or_default(),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}
