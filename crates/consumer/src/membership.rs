//! The consumer's side of a transaction: memberships, ownership and offsets, for the committer.

use std::collections::HashSet;
use std::sync::Arc;

use postrider_kafka::offsets::{Membership, OffsetCommit, OffsetKeeper, of_topics, to_list};
use postrider_types::Position;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::beginnings::OFFSETS_TIMEOUT;
use crate::rebalance::Context;
use crate::tracker::Tracker;

/// One member of the group, and the topics it reads.
pub struct Member {
    consumer: Arc<BaseConsumer<Context>>,
    tracker: Arc<Tracker>,
    topics: Arc<HashSet<Arc<str>>>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("topics", &self.topics)
            .field("tracker", &self.tracker)
            .finish_non_exhaustive()
    }
}

impl Member {
    pub(crate) const fn new(
        consumer: Arc<BaseConsumer<Context>>,
        tracker: Arc<Tracker>,
        topics: Arc<HashSet<Arc<str>>>,
    ) -> Self {
        Self {
            consumer,
            tracker,
            topics,
        }
    }

    /// `None` when it has been lost.
    fn membership(&self) -> Option<Membership> {
        let metadata = self.consumer.group_metadata()?;
        let topics = Arc::clone(&self.topics);
        (!self.consumer.assignment_lost()).then_some(Membership { topics, metadata })
    }

    fn is_committed(&self, offsets: &[&OffsetCommit]) -> KafkaResult<bool> {
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
}

/// All members of one instance. They speak for the group towards the committer, each for its own topics: what is another's,
/// its tracker does not know.
#[derive(Debug)]
pub struct Members(pub Vec<Member>);

impl OffsetKeeper for Members {
    fn memberships(&self) -> Vec<Membership> {
        self.0.iter().filter_map(Member::membership).collect()
    }

    fn owns(&self, position: &Position) -> bool {
        self.0.iter().any(|member| member.tracker.owns(position))
    }

    fn preview(&self, settled: &[&Position], sequence: u32) -> Vec<OffsetCommit> {
        let of = |member: &Member| member.tracker.preview(settled, sequence);
        self.0.iter().flat_map(of).collect()
    }

    fn apply(&self, settled: &[&Position]) {
        for member in &self.0 {
            member.tracker.apply(settled);
        }
    }

    fn is_committed(&self, offsets: &[OffsetCommit]) -> KafkaResult<bool> {
        for member in &self.0 {
            if let Some(own) = of_topics(offsets, &member.topics)
                && !member.is_committed(&own)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn commit(&self, offsets: &[OffsetCommit]) -> KafkaResult<()> {
        for member in &self.0 {
            if let Some(own) = of_topics(offsets, &member.topics) {
                member.consumer.commit(&to_list(&own)?, CommitMode::Sync)?;
            }
        }
        Ok(())
    }
}
