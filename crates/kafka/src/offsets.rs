//! What the committer asks of whoever keeps the offsets: the consumer's side of a transaction.

use std::sync::Arc;

use postrider_types::{Offset, Partition, Position};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

/// The position a partition commits, and in its metadata what is settled above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: Partition,
    /// The lowest unsettled offset.
    pub offset: Offset,
    /// Which offsets above it are settled; at most 4,096 ASCII characters.
    pub metadata: String,
}

/// The commit has no group to speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this instance is not a member of the consumer group now")]
pub struct NotAMember;

/// Keeps the offsets of the partitions this process owns.
pub trait OffsetKeeper: Send + Sync + 'static {
    /// The membership to commit under. It is asked for before [`owns`](Self::owns): if the
    /// assignments are still in force after it was taken, it speaks for them, and the broker
    /// fences it when it has gone stale.
    ///
    /// # Errors
    /// [`NotAMember`] when there is none, or it has been lost.
    fn membership(&self) -> Result<ConsumerGroupMetadata, NotAMember>;

    /// Whether the assignment under which a record was read is still in force.
    fn owns(&self, position: &Position) -> bool;

    /// What to commit if these records were settled; changes nothing. `sequence` goes into the
    /// metadata, so that a commit whose answer was lost can be recognised.
    fn preview(&self, settled: &[&Position], sequence: u32) -> Vec<OffsetCommit>;

    /// These records are settled and committed.
    fn apply(&self, settled: &[&Position]);

    /// Whether exactly these offsets and metadata are what the group has committed: then the
    /// transaction whose answer was lost took effect.
    ///
    /// # Errors
    /// When the group's offsets cannot be read.
    fn is_committed(&self, offsets: &[OffsetCommit]) -> KafkaResult<bool>;

    /// Commits without a transaction.
    ///
    /// # Errors
    /// What the broker or the client refuses.
    fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()>;
}

/// As librdkafka takes them.
///
/// # Errors
/// When an offset is none that Kafka could have given.
pub fn to_list(offsets: &[OffsetCommit]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for commit in offsets {
        let mut element = list.add_partition(&commit.topic, commit.partition.0);
        element.set_offset(KafkaOffset::Offset(commit.offset.0))?;
        element.set_metadata(&commit.metadata);
    }
    Ok(list)
}
