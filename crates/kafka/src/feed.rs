//! A topic read from given offsets on: every partition, no group, committed records only. Whoever reads keeps the
//! offsets, together with what was made of the records.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use postrider_types::{Offset, Partition, Timestamp};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, TopicPartitionList};

use crate::partitions::{self, is_forbidden, is_gone};
use crate::tail::Quiet;

const CALL: Duration = Duration::from_secs(5);

/// One record of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// Its timestamp; the epoch where it has none.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
}

/// What a poll came to.
#[derive(Debug)]
pub enum Fed {
    /// A record.
    Record(Record),
    /// There is nothing more in this partition for now.
    End(Partition),
    /// Nothing came in time.
    Nothing,
    /// The client met an error. It tries again by itself.
    Trouble(KafkaError),
    /// The topic is not there, or may not be read.
    Lost(KafkaError),
}

/// From where to where records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that is still kept.
    pub first: Offset,
    /// The offset after the last.
    pub end: Offset,
}

/// A reader of all partitions of one topic.
pub struct Feed {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    partitions: Vec<Partition>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("topic", &self.topic)
            .field("partitions", &self.partitions.len())
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// Learns the topic's partitions; nothing is read before [`start`](Self::start). Blocks.
    ///
    /// # Errors
    /// When the client cannot be made, or the topic's partitions cannot be learnt in time.
    pub fn open(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet)?;
        let partitions = partitions(&consumer, topic)?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            partitions,
        })
    }

    /// The partitions that the topic had when it was opened.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Whether the topic has other partitions than it had when it was opened. Blocks.
    ///
    /// # Errors
    /// When Kafka does not say in time.
    pub fn has_changed(&self) -> KafkaResult<bool> {
        Ok(partitions(&self.consumer, &self.topic)? != self.partitions)
    }

    /// From where to where a partition's records are kept. Blocks.
    ///
    /// # Errors
    /// When Kafka does not say in time.
    pub fn bounds(&self, partition: Partition) -> KafkaResult<Bounds> {
        let (first, end) = self.consumer.fetch_watermarks(&self.topic, partition.0, CALL)?;
        Ok(Bounds {
            first: Offset(first),
            end: Offset(end),
        })
    }

    /// Reads each partition from its offset on, those that are not named from their beginning.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn start(&self, offsets: &BTreeMap<Partition, Offset>) -> KafkaResult<()> {
        let mut all = TopicPartitionList::new();
        for partition in &self.partitions {
            let offset = offsets.get(partition);
            let offset = offset.map_or(rdkafka::Offset::Beginning, |offset| rdkafka::Offset::Offset(offset.0));
            all.add_partition_offset(&self.topic, partition.0, offset)?;
        }
        self.consumer.assign(&all)
    }

    /// The next thing that happens. Blocks for at most `wait`.
    pub fn poll(&self, wait: Duration) -> Fed {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => Fed::Record(record(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => Fed::End(Partition(partition)),
            Some(Err(error)) if is_gone(&error) || is_forbidden(&error) => Fed::Lost(error),
            Some(Err(error)) => Fed::Trouble(error),
            None => Fed::Nothing,
        }
    }

    /// Where reading stands in each partition. Markers of transactions are passed over without a record.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<Partition, Offset> {
        let Ok(positions) = self.consumer.position() else {
            return BTreeMap::new();
        };
        let elements = positions.elements();
        let known = elements.iter().filter_map(|element| match element.offset() {
            rdkafka::Offset::Offset(offset) => Some((Partition(element.partition()), Offset(offset))),
            _ => None,
        });
        known.collect()
    }
}

fn partitions(consumer: &BaseConsumer<Quiet>, topic: &str) -> KafkaResult<Vec<Partition>> {
    let partitions = partitions::of(consumer, topic, CALL)?;
    if partitions.is_empty() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    Ok(partitions)
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        partition: Partition(message.partition()),
        offset: Offset(message.offset()),
        timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}
