//! Looking through topics for the records of one thing: every partition, from a moment to the end it has now, within
//! bounds on time, on records and on bytes. Joins no group and commits nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_types::{Offset, Partition, Timestamp};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::connection::Connection;
use crate::partitions::{self, is_forbidden};
use crate::record::{self, Fetched, detach};
use crate::tail::Quiet;

const CALL: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// How much is looked at and kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Records that are older are passed over, as far as the broker's index of times tells them apart.
    pub from: Timestamp,
    /// How long to look.
    pub patience: Duration,
    /// How many records to keep.
    pub records: usize,
    /// How many bytes of records to keep.
    pub bytes: usize,
}

/// A record in the client's buffers.
#[derive(Debug)]
pub struct Glimpse<'a>(&'a BorrowedMessage<'a>);

impl Glimpse<'_> {
    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.0.topic()
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition(self.0.partition())
    }

    /// Its offset.
    #[must_use]
    pub fn offset(&self) -> Offset {
        Offset(self.0.offset())
    }

    /// Its value; empty where there is none.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.0.payload().unwrap_or_default()
    }

    /// Its key; empty where there is none.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.key().unwrap_or_default()
    }

    /// The last value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let named = record::headers(self.0).filter(|header| header.key == name);
        named.filter_map(|header| header.value).last()
    }
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Searched {
    /// What was found: each partition in its order.
    pub found: Vec<Fetched>,
    /// How many records were looked at.
    pub looked_at: u64,
    /// Whether everything was looked at: neither time nor room ran out, and no topic was missing.
    pub is_complete: bool,
    /// Topics that are not there, or may not be read.
    pub missing: Vec<String>,
}

/// Looks through topics, one after another, with one client.
pub struct Searcher {
    consumer: BaseConsumer<Quiet>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Searcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Searcher").finish_non_exhaustive()
    }
}

impl Searcher {
    /// Makes the client; what it does ends early when `stop` fires.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection, stop: CancellationToken) -> KafkaResult<Self> {
        Ok(Self {
            consumer: connection.table().create_with_context(Quiet)?,
            stop,
        })
    }

    /// Looks through topics. Blocks.
    ///
    /// # Errors
    /// When what a topic holds cannot be learnt in time.
    pub fn search(
        &self,
        topics: &[String],
        bounds: &Bounds,
        mut wanted: impl FnMut(&Glimpse<'_>) -> bool,
    ) -> KafkaResult<Searched> {
        let mut search = Search {
            searcher: self,
            deadline: Instant::now() + bounds.patience,
            room: bounds.bytes,
            bounds,
            searched: Searched {
                is_complete: true,
                ..Searched::default()
            },
        };
        for topic in topics {
            search.through(topic, &mut wanted)?;
        }
        Ok(search.searched)
    }

    /// The names of all topics. Blocks.
    ///
    /// # Errors
    /// When the cluster does not answer in time.
    pub fn topics(&self) -> KafkaResult<Vec<String>> {
        let metadata = self.consumer.fetch_metadata(None, CALL)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// What the connection's group has committed of a topic: each partition's offset and its metadata. Blocks.
    ///
    /// # Errors
    /// When the group's offsets cannot be learnt in time.
    pub fn committed(&self, topic: &str) -> KafkaResult<Vec<Committed>> {
        let mut asked = TopicPartitionList::new();
        for partition in partitions::of(&self.consumer, topic, CALL)? {
            asked.add_partition(topic, partition.0);
        }
        let offsets = self.consumer.committed_offsets(asked, CALL)?;
        let committed = offsets.elements().into_iter().filter_map(|element| {
            let KafkaOffset::Offset(offset) = element.offset() else {
                return None;
            };
            Some(Committed {
                partition: Partition(element.partition()),
                offset: Offset(offset),
                metadata: element.metadata().to_owned(),
            })
        });
        Ok(committed.collect())
    }
}

struct Search<'a> {
    searcher: &'a Searcher,
    deadline: Instant,
    /// Bytes that may still be kept.
    room: usize,
    bounds: &'a Bounds,
    searched: Searched,
}

impl Search<'_> {
    fn through(&mut self, topic: &str, wanted: &mut impl FnMut(&Glimpse<'_>) -> bool) -> KafkaResult<()> {
        let name: Arc<str> = topic.into();
        let places = self.places(topic)?;
        if places.count() == 0 {
            self.miss(topic);
        }
        self.searcher.consumer.assign(&places)?;
        let mut ended = HashSet::new();
        while ended.len() < places.count() {
            if self.is_over() {
                self.searched.is_complete = false;
                break;
            }
            // The client lends its buffers, and what is kept is copied out of them.
            let kept = match self.searcher.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    self.searched.looked_at += 1;
                    wanted(&Glimpse(&message)).then(|| detach(&message, &name))
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ended.insert(partition);
                    None
                }
                Some(Err(error)) if is_forbidden(&error) => {
                    self.miss(topic);
                    break;
                }
                Some(Err(error)) => {
                    debug!(%error, "A search met an error; trying again");
                    None
                }
                None => None,
            };
            kept.into_iter().for_each(|kept| self.keep(kept));
        }
        Ok(())
    }

    /// Where reading each partition of a topic begins.
    fn places(&self, topic: &str) -> KafkaResult<TopicPartitionList> {
        let consumer = &self.searcher.consumer;
        let moment = KafkaOffset::Offset(self.bounds.from.as_millis().max(0));
        let mut moments = TopicPartitionList::new();
        for partition in partitions::of(consumer, topic, CALL)? {
            moments.add_partition_offset(topic, partition.0, moment)?;
        }
        if moments.count() == 0 {
            return Ok(moments);
        }
        consumer.offsets_for_times(moments, CALL)
    }

    fn is_over(&self) -> bool {
        let is_full = self.searched.found.len() >= self.bounds.records || self.room == 0;
        is_full || self.searcher.stop.is_cancelled() || Instant::now() >= self.deadline
    }

    fn miss(&mut self, topic: &str) {
        self.searched.missing.push(topic.to_owned());
        self.searched.is_complete = false;
    }

    fn keep(&mut self, found: Fetched) {
        let size = found.value.as_ref().map_or(0, Bytes::len);
        self.room = self.room.saturating_sub(size.max(1));
        self.searched.found.push(found);
    }
}

/// What a group has committed of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: Partition,
    /// The lowest unsettled offset.
    pub offset: Offset,
    /// Which offsets above it are settled, as the ledger writes it.
    pub metadata: String,
}
