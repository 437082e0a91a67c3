//! Reading partitions by hand, without a group: where they begin and end, where a time begins, what stands between
//! two offsets, and single records. A record that lies a little ahead is read up to, because a jump costs a tenth of
//! a second and a thousand records cost less.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use postrider_types::{Offset, Partition, Timestamp};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::partitions;
use crate::record::{Fetched, detach};
use crate::tail::Quiet;

const CALL: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
/// How long nothing may come before reading is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many offsets ahead a single record is read up to rather than jumped to.
const NEAR: i64 = 2_000;

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kafka refused or could not be asked.
    #[error("Kafka could not be read: {0}")]
    Kafka(KafkaError),
    /// Nothing came for long.
    #[error("Kafka could not be read: nothing came for {} s", PATIENCE.as_secs())]
    Stalled,
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

impl From<KafkaError> for ReadError {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

/// Where the client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    topic: Arc<str>,
    partition: Partition,
    /// Where reading stood before the last record, so that none lies between.
    before: i64,
    /// The next offset that is handed over is at least this.
    next: i64,
    /// Nothing follows.
    ended: bool,
}

/// How a record can be had from where the client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toward {
    /// There is none.
    Nothing,
    /// It is the last one that was read.
    Ahead,
    /// By reading on.
    On,
    /// By a jump.
    Elsewhere,
}

impl Place {
    fn at(topic: &Arc<str>, partition: Partition, next: i64) -> Self {
        Self {
            topic: Arc::clone(topic),
            partition,
            before: next,
            next,
            ended: false,
        }
    }

    fn toward(&self, topic: &Arc<str>, partition: Partition, offset: i64) -> Toward {
        let last = self.next - 1;
        if *self.topic != **topic || self.partition != partition {
            Toward::Elsewhere
        } else if offset == last {
            Toward::Ahead
        } else if (self.before..last).contains(&offset) || (self.ended && offset > last) {
            Toward::Nothing
        } else if (self.next..=self.next + NEAR).contains(&offset) {
            Toward::On
        } else {
            Toward::Elsewhere
        }
    }

    fn passed(&mut self, offset: i64) {
        self.before = self.next;
        self.next = offset + 1;
    }
}

/// What a poll came to.
enum Came {
    Record(Fetched),
    End,
}

/// Reads what it is asked for.
pub struct Reader {
    consumer: BaseConsumer<Quiet>,
    place: Option<Place>,
    /// A record that was read and lies beyond what was asked for.
    ahead: Option<Fetched>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Makes the client; reading ends early when `stop` fires.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(config: &ClientConfig, stop: CancellationToken) -> KafkaResult<Self> {
        Ok(Self {
            consumer: config.create_with_context(Quiet)?,
            place: None,
            ahead: None,
            stop,
        })
    }

    /// A topic's partitions, in order; none when there is no such topic. Blocks.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, ReadError> {
        Ok(partitions::of(&self.consumer, topic, CALL)?)
    }

    /// The first offset that a partition still has, and the one after the last that is committed; `None` when there
    /// is no such partition. Blocks.
    ///
    /// # Errors
    /// When its leader does not answer in time.
    pub fn range(&self, topic: &str, partition: Partition) -> Result<Option<(i64, i64)>, ReadError> {
        match self.consumer.fetch_watermarks(topic, partition.0, CALL) {
            Ok(range) => Ok(Some(range)),
            Err(error) if partitions::is_gone(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The first offset whose record is as young as `time`; the end when none is. Blocks.
    ///
    /// # Errors
    /// When its leader does not answer in time.
    pub fn offset_at(&self, topic: &str, partition: Partition, time: Timestamp) -> Result<i64, ReadError> {
        let mut asked = TopicPartitionList::new();
        let time = KafkaOffset::Offset(time.as_millis().max(0));
        asked.add_partition_offset(topic, partition.0, time)?;
        let found = self.consumer.offsets_for_times(asked, CALL)?;
        let element = found.elements().into_iter().next();
        match element.map(|element| (element.offset(), element.error())) {
            Some((KafkaOffset::Offset(offset), Ok(()))) => Ok(offset),
            Some((_, Err(error))) => Err(error.into()),
            _ => Ok(self.range(topic, partition)?.map_or(0, |(_, high)| high)),
        }
    }

    /// Hands over every record from `from` up to, and without, `to`, which may be the partition's end. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] when it cannot be read to its end.
    pub fn read(
        &mut self,
        topic: &Arc<str>,
        partition: Partition,
        (from, to): (i64, i64),
        mut each: impl FnMut(Fetched) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        if from >= to {
            return Ok(());
        }
        self.go_to(topic, partition, from)?;
        while let Came::Record(record) = self.next()? {
            if record.origin.offset.0 >= to {
                self.ahead = Some(record);
                break;
            }
            let last = record.origin.offset.0 + 1 >= to;
            if each(record).is_break() || last {
                break;
            }
        }
        Ok(())
    }

    /// One record, if the partition still has it; `offset` has to be below its end. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] when it cannot be read.
    pub fn one(
        &mut self,
        topic: &Arc<str>,
        partition: Partition,
        offset: Offset,
    ) -> Result<Option<Fetched>, ReadError> {
        match self
            .place
            .as_ref()
            .map(|place| place.toward(topic, partition, offset.0))
        {
            Some(Toward::Nothing) => return Ok(None),
            Some(Toward::Ahead) if self.ahead.is_some() => return Ok(self.ahead.take()),
            Some(Toward::On) => self.ahead = None,
            _ => self.go_to(topic, partition, offset.0)?,
        }
        while let Came::Record(record) = self.next()? {
            if record.origin.offset == offset {
                return Ok(Some(record));
            }
            if record.origin.offset > offset {
                self.ahead = Some(record);
                break;
            }
        }
        Ok(None)
    }

    fn go_to(&mut self, topic: &Arc<str>, partition: Partition, offset: i64) -> Result<(), ReadError> {
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(topic, partition.0, KafkaOffset::Offset(offset))?;
        self.consumer.assign(&assigned)?;
        self.ahead = None;
        self.place = Some(Place::at(topic, partition, offset));
        Ok(())
    }

    fn next(&mut self) -> Result<Came, ReadError> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.stop.is_cancelled() {
                return Err(ReadError::Stopped);
            }
            let came = match self.consumer.poll(POLL) {
                Some(Ok(message)) => self.place.as_ref().map(|place| detach(&message, &place.topic)),
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.place.iter_mut().for_each(|place| place.ended = true);
                    return Ok(Came::End);
                }
                Some(Err(error)) => {
                    debug!(%error, "Reading a partition met an error; trying again");
                    None
                }
                None => None,
            };
            if let (Some(record), Some(place)) = (came, &mut self.place) {
                place.passed(record.origin.offset.0);
                return Ok(Came::Record(record));
            }
        }
        Err(ReadError::Stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_a_little_ahead_is_read_up_to_and_one_that_was_passed_is_jumped_to() {
        let topic: Arc<str> = "t".into();
        let mut place = Place::at(&topic, Partition(0), 10);
        let toward = |place: &Place, offset| place.toward(&topic, Partition(0), offset);
        assert_eq!(toward(&place, 10), Toward::On);
        place.passed(15);
        assert_eq!(
            [9, 10, 14, 15, 16].map(|offset| toward(&place, offset)),
            [
                Toward::Elsewhere,
                Toward::Nothing,
                Toward::Nothing,
                Toward::Ahead,
                Toward::On
            ]
        );
        assert_eq!(toward(&place, 16 + NEAR + 1), Toward::Elsewhere);
        assert_eq!(place.toward(&topic, Partition(1), 16), Toward::Elsewhere);
        place.ended = true;
        assert_eq!(toward(&place, 16), Toward::Nothing);
    }
}
