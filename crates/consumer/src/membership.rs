//! The consumer's side of a transaction: membership, ownership and offsets, for the committer.

use std::sync::Arc;

use postrider_kafka::offsets::{NotAMember, OffsetCommit, OffsetKeeper};
use postrider_types::Position;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::rebalance::{Context, OFFSETS_TIMEOUT};
use crate::tracker::Tracker;

/// Speaks for the group towards the committer.
pub struct Membership {
    consumer: Arc<BaseConsumer<Context>>,
    tracker: Arc<Tracker>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("tracker", &self.tracker)
            .finish_non_exhaustive()
    }
}

impl Membership {
    pub(crate) fn new(consumer: Arc<BaseConsumer<Context>>, tracker: Arc<Tracker>) -> Self {
        Self { consumer, tracker }
    }
}

impl OffsetKeeper for Membership {
    fn membership(&self) -> Result<ConsumerGroupMetadata, NotAMember> {
        let metadata = self.consumer.group_metadata().ok_or(NotAMember)?;
        if self.consumer.assignment_lost() {
            Err(NotAMember)
        } else {
            Ok(metadata)
        }
    }

    fn owns(&self, position: &Position) -> bool {
        self.tracker.owns(position)
    }

    fn preview(&self, settled: &[&Position], sequence: u32) -> Vec<OffsetCommit> {
        self.tracker.preview(settled, sequence)
    }

    fn apply(&self, settled: &[&Position]) {
        self.tracker.apply(settled);
    }

    fn is_committed(&self, offsets: &[OffsetCommit]) -> KafkaResult<bool> {
        let mut asked = TopicPartitionList::new();
        for commit in offsets {
            asked.add_partition(&commit.topic, commit.partition.0);
        }
        let found = self.consumer.committed_offsets(asked, OFFSETS_TIMEOUT)?;
        Ok(offsets.iter().all(|commit| {
            let element = found.find_partition(&commit.topic, commit.partition.0);
            element.is_some_and(|element| {
                element.offset() == KafkaOffset::Offset(commit.offset.0) && element.metadata() == commit.metadata
            })
        }))
    }

    fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.commit(offsets, CommitMode::Sync)
    }
}
