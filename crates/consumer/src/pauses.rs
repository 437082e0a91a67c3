//! Which partitions are not read for now. A pause throws away what the client had prefetched, so it is
//! for waits that last; the records are read again afterwards.
//!
//! The client keeps a pause beyond the end of the assignment under which it was made. So a partition that comes is
//! resumed before anything else, or one that went while it was paused would never be read again when it comes back.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, error};

use crate::rebalance::Context;
use crate::tracker::TopicPartition;

/// How long the answer to [`wake`] is waited for. Asking is what counts.
const ANSWER: Duration = Duration::from_millis(50);

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
        let list = list(keys);
        match kafka.resume(&list) {
            Ok(()) => {
                self.forget(keys);
                wake(kafka, list);
            }
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

/// Has partitions read at once that are not paused any more. The client's thread for a broker from which nothing was
/// being fetched sleeps for up to a second, and that partitions may be read again does not wake it; that the broker is
/// asked something does. So each leader is asked where its partitions end.
pub(crate) fn wake<C: ConsumerContext>(kafka: &BaseConsumer<C>, partitions: TopicPartitionList) {
    if partitions.count() == 0 {
        return;
    }
    if let Err(error) = ask_ends(kafka, partitions, ANSWER) {
        debug!(%error, "A leader did not say at once where partitions end");
    }
}

/// Asks each leader where its partitions end.
pub(crate) fn ask_ends<C: ConsumerContext>(
    kafka: &BaseConsumer<C>,
    mut partitions: TopicPartitionList,
    wait: Duration,
) -> KafkaResult<TopicPartitionList> {
    partitions.set_all_offsets(Offset::End)?;
    kafka.offsets_for_times(partitions, wait)
}

pub(crate) fn list(keys: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(keys.len());
    for (topic, partition) in keys {
        list.add_partition(topic, partition.0);
    }
    list
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::DefaultConsumerContext;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    use tokio::time::Instant;

    use super::*;

    const TOPIC: &str = "shipments";
    /// Longer than a fetch waits for records, so that none is under way.
    const REST: Duration = Duration::from_millis(150);

    /// How long after its resume a partition's next record comes.
    fn time_to_read(kafka: &BaseConsumer, producer: &BaseProducer, resume: impl Fn(&TopicPartitionList)) -> Duration {
        let mut partition = TopicPartitionList::new();
        partition.add_partition(TOPIC, 0);
        kafka.pause(&partition).unwrap();
        assert!(kafka.poll(REST).is_none(), "it is paused");
        producer.send(BaseRecord::<(), _>::to(TOPIC).payload("{}")).unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
        let began = Instant::now();
        resume(&partition);
        let patience = Duration::from_secs(30);
        while began.elapsed() < patience {
            if let Some(read) = kafka.poll(patience) {
                read.expect("the record is read");
                return began.elapsed();
            }
        }
        panic!("no record came");
    }

    /// Fails once the client wakes by itself: then nobody has to wake it.
    #[test]
    fn what_is_read_again_is_fetched_at_once_and_not_when_the_client_looks_next() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        config.set("group.id", "g").set("fetch.wait.max.ms", "50");
        let producer: BaseProducer = config.create().unwrap();
        let kafka: BaseConsumer<DefaultConsumerContext> = config.create().unwrap();
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(TOPIC, 0, Offset::Offset(0)).unwrap();
        kafka.assign(&assigned).unwrap();
        time_to_read(&kafka, &producer, |partition| kafka.resume(partition).unwrap());
        let (mut left_alone, mut woken) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..5 {
            left_alone += time_to_read(&kafka, &producer, |partition| kafka.resume(partition).unwrap());
            woken += time_to_read(&kafka, &producer, |partition| {
                kafka.resume(partition).unwrap();
                wake(&kafka, partition.clone());
            });
        }
        assert!(woken < left_alone / 2, "woken {woken:?}, left alone {left_alone:?}");
    }
}
