//! One record, read by its position: the body of an event, while Kafka keeps it.

use std::time::Duration;

use parking_lot::Mutex;
use postrider_types::Offset;
use postrider_types::position::Source;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, TopicPartitionList};
use tokio::time::Instant;

use crate::partitions::is_gone;
use crate::record::{Fetched, detach};
use crate::tail::Quiet;

const POLL: Duration = Duration::from_millis(50);

/// Why a record is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Retention has removed it.
    #[error("Kafka no longer keeps it: the topic's retention has removed it")]
    Removed,
    /// The topic, or its partition, is no more; or it ends before the record.
    #[error("its topic is gone or was made anew")]
    NoTopic,
    /// Kafka did not answer in time.
    #[error("Kafka did not answer in time; try again")]
    Late,
}

/// Reads single records, one at a time.
pub struct Lookup {
    config: ClientConfig,
    client: Mutex<Option<BaseConsumer<Quiet>>>,
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl Lookup {
    /// With a configuration from [`Connection::lookup`](crate::Connection::lookup). Connects when it is first used.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            client: Mutex::new(None),
        }
    }

    /// The record at `source`. Blocks for at most `within`, others that look for one included.
    ///
    /// # Errors
    /// [`Missing`] says why there is none.
    pub fn read(&self, source: &Source, within: Duration) -> Result<Fetched, Missing> {
        let until = Instant::now() + within;
        let mut held = self.client.try_lock_until(until.into_std()).ok_or(Missing::Late)?;
        if held.is_none() {
            *held = self.config.create_with_context(Quiet).ok();
        }
        let client = held.as_ref().ok_or(Missing::Late)?;
        is_kept(client, source, until)?;
        let found = seek(client, source, until);
        // Nothing is read ahead while nobody looks for anything.
        let _ = client.unassign();
        found
    }
}

/// Whether the record lies between the first and the last of its partition.
fn is_kept(client: &BaseConsumer<Quiet>, source: &Source, until: Instant) -> Result<(), Missing> {
    let left = until.saturating_duration_since(Instant::now());
    let bounds = client.fetch_watermarks(&source.topic, source.partition.0, left);
    match bounds {
        Ok((first, _)) if source.offset < Offset(first) => Err(Missing::Removed),
        Ok((_, end)) if source.offset >= Offset(end) => Err(Missing::NoTopic),
        Ok(_) => Ok(()),
        Err(error) if is_gone(&error) => Err(Missing::NoTopic),
        Err(_) => Err(Missing::Late),
    }
}

fn seek(client: &BaseConsumer<Quiet>, source: &Source, until: Instant) -> Result<Fetched, Missing> {
    let mut one = TopicPartitionList::new();
    let offset = rdkafka::Offset::Offset(source.offset.0);
    let assigned = one
        .add_partition_offset(&source.topic, source.partition.0, offset)
        .and_then(|()| client.assign(&one));
    assigned.map_err(|_| Missing::Late)?;
    while Instant::now() < until {
        match client.poll(POLL) {
            Some(Ok(message)) if is_at(&message, source) => return Ok(detach(&message, &source.topic.as_str().into())),
            // An earlier look's record, still on its way.
            Some(Ok(message)) if is_elsewhere(&message, source) => {}
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Err(Missing::Removed),
            Some(Err(error)) if is_gone(&error) => return Err(Missing::NoTopic),
            Some(Err(_)) | None => {}
        }
    }
    Err(Missing::Late)
}

fn is_at(message: &BorrowedMessage<'_>, source: &Source) -> bool {
    !is_elsewhere(message, source) && message.offset() == source.offset.0
}

fn is_elsewhere(message: &BorrowedMessage<'_>, source: &Source) -> bool {
    message.topic() != source.topic || message.partition() != source.partition.0 || message.offset() < source.offset.0
}
