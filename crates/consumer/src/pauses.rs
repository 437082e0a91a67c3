//! Which partitions are not read for now. A pause throws away what the client had prefetched, so it is
//! for waits that last; the records are read again afterwards.

use std::collections::HashSet;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tracing::debug;

use crate::rebalance::Context;
use crate::tracker::TopicPartition;

/// The paused partitions.
#[derive(Debug, Default)]
pub(crate) struct Pauses(HashSet<TopicPartition>);

impl Pauses {
    pub(crate) fn holds(&self, key: &TopicPartition) -> bool {
        self.0.contains(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets the partitions that `keep` denies: they are not ours any more.
    pub(crate) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        self.0.retain(keep);
    }

    pub(crate) fn pause(&mut self, kafka: &BaseConsumer<Context>, keys: &[TopicPartition]) {
        if keys.is_empty() {
            return;
        }
        match kafka.pause(&list(keys)) {
            Ok(()) => self.0.extend(keys.iter().cloned()),
            Err(error) => debug!(%error, "Partitions could not be paused"),
        }
    }

    pub(crate) fn resume(&mut self, kafka: &BaseConsumer<Context>, keys: &[TopicPartition]) {
        if keys.is_empty() {
            return;
        }
        match kafka.resume(&list(keys)) {
            Ok(()) => self.0.retain(|key| !keys.contains(key)),
            Err(error) => debug!(%error, "Partitions could not be resumed"),
        }
    }
}

fn list(keys: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(keys.len());
    for (topic, partition) in keys {
        list.add_partition(topic, partition.0);
    }
    list
}
