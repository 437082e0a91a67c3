//! What the committer asks of whoever keeps the offsets: the consumer's side of a transaction.

use std::collections::HashSet;
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

/// What one member of the group commits under: its membership, and the topics it speaks for.
#[derive(Debug)]
pub struct Membership<M = ConsumerGroupMetadata> {
    /// The topics; no other membership has one of them.
    pub topics: Arc<HashSet<Arc<str>>>,
    /// The member, and the generation of the group it knows of.
    pub metadata: M,
}

/// Keeps the offsets of the partitions this process owns.
pub trait OffsetKeeper: Send + Sync + 'static {
    /// The memberships to commit under, but for those that have been lost. They are asked for before
    /// [`owns`](Self::owns): if the assignments are still in force after they were taken, they speak for
    /// them, and the broker fences the one that has gone stale.
    fn memberships(&self) -> Vec<Membership>;

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
    fn commit(&self, offsets: &[OffsetCommit]) -> KafkaResult<()>;
}

/// The offsets of these topics; `None` when there are none, of which librdkafka is not to be asked.
#[must_use]
pub fn of_topics<'a>(commits: &'a [OffsetCommit], topics: &HashSet<Arc<str>>) -> Option<Vec<&'a OffsetCommit>> {
    let own: Vec<&OffsetCommit> = commits.iter().filter(|commit| topics.contains(&commit.topic)).collect();
    (!own.is_empty()).then_some(own)
}

/// Gives each membership what it speaks for, and leaves those out that have nothing to say. `None` when something
/// is left that none of them speaks for.
#[must_use]
pub fn share_out<M>(commits: &[OffsetCommit], memberships: Vec<Membership<M>>) -> Option<Vec<(Vec<&OffsetCommit>, M)>> {
    let share = |Membership { topics, metadata }| Some((of_topics(commits, &topics)?, metadata));
    let shares: Vec<(Vec<&OffsetCommit>, M)> = memberships.into_iter().filter_map(share).collect();
    let shared: usize = shares.iter().map(|(own, _)| own.len()).sum();
    (shared == commits.len()).then_some(shares)
}

/// As librdkafka takes them.
///
/// # Errors
/// When an offset is none that Kafka could have given.
pub fn to_list(offsets: &[&OffsetCommit]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for commit in offsets {
        let mut element = list.add_partition(&commit.topic, commit.partition.0);
        element.set_offset(KafkaOffset::Offset(commit.offset.0))?;
        element.set_metadata(&commit.metadata);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(topic: &str) -> OffsetCommit {
        OffsetCommit {
            topic: topic.into(),
            partition: Partition(0),
            offset: Offset(7),
            metadata: String::new(),
        }
    }

    fn membership(metadata: &'static str, topics: &[&str]) -> Membership<&'static str> {
        let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
        Membership {
            topics: Arc::new(topics),
            metadata,
        }
    }

    fn both() -> Vec<Membership<&'static str>> {
        vec![
            membership("sources", &["shipments", "tracking"]),
            membership("retries", &["retry.1s"]),
        ]
    }

    #[test]
    fn each_membership_commits_the_offsets_of_its_own_topics() {
        let commits = ["shipments", "retry.1s", "tracking"].map(commit);
        let shares = share_out(&commits, both()).unwrap();
        let sources = (vec![&commits[0], &commits[2]], "sources");
        assert_eq!(shares, [sources, (vec![&commits[1]], "retries")]);
    }

    #[test]
    fn a_membership_without_offsets_is_left_out() {
        let commits = [commit("retry.1s")];
        let shares = share_out(&commits, both()).unwrap();
        assert_eq!(shares, [(vec![&commits[0]], "retries")]);
        assert_eq!(share_out(&[], both()).unwrap(), []);
    }

    #[test]
    fn offsets_that_no_membership_speaks_for_are_not_committed_and_nothing_is_with_them() {
        let commits = ["shipments", "retry.1s"].map(commit);
        let mut lost = both();
        lost.truncate(1);
        assert_eq!(share_out(&commits, lost), None);
    }
}
