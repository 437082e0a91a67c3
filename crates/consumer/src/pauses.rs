//! Which partitions are not read for now. A pause throws away what the client had prefetched, so it is
//! for waits that last; the records are read again afterwards.
//!
//! The client keeps a pause beyond the end of the assignment under which it was made. So a partition that comes is
//! resumed before anything else, or one that went while it was paused would never be read again when it comes back.

use std::collections::HashSet;

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tracing::{debug, error};

use crate::rebalance::Context;
use crate::tracker::TopicPartition;

/// The paused partitions of the present assignment.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<HashSet<TopicPartition>>);

impl Pauses {
    pub(crate) fn holds(&self, key: &TopicPartition) -> bool {
        self.0.lock().contains(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Forgets partitions: they are not paused, or not ours any more.
    pub(crate) fn forget(&self, keys: &[TopicPartition]) {
        self.0.lock().retain(|key| !keys.contains(key));
    }

    pub(crate) fn pause(&self, kafka: &BaseConsumer<Context>, keys: &[TopicPartition]) {
        if keys.is_empty() {
            return;
        }
        match kafka.pause(&list(keys)) {
            Ok(()) => self.0.lock().extend(keys.iter().cloned()),
            Err(error) => debug!(%error, "Partitions could not be paused"),
        }
    }

    pub(crate) fn resume(&self, kafka: &BaseConsumer<Context>, keys: &[TopicPartition]) {
        if keys.is_empty() {
            return;
        }
        match kafka.resume(&list(keys)) {
            Ok(()) => self.forget(keys),
            Err(error) => debug!(%error, "Partitions could not be resumed"),
        }
    }
}

/// Ends the pauses that the client has kept of earlier assignments, of partitions that come. Called before they are
/// read: nothing has been prefetched that a resume could throw away.
pub(crate) fn lift(kafka: &BaseConsumer<Context>, coming: &TopicPartitionList) {
    if coming.count() == 0 {
        return;
    }
    if let Err(error) = kafka.resume(coming) {
        error!(%error, "Partitions that were paused when they went could not be resumed");
    }
}

fn list(keys: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(keys.len());
    for (topic, partition) in keys {
        list.add_partition(topic, partition.0);
    }
    list
}
