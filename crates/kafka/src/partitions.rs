//! Which partitions a topic has, and whether it is there at all.

use std::time::Duration;

use postrider_types::Partition;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// A topic's partitions, in order; none when there is no such topic. Blocks for at most `wait`.
pub(crate) fn of<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    topic: &str,
    wait: Duration,
) -> KafkaResult<Vec<Partition>> {
    let metadata = consumer.fetch_metadata(Some(topic), wait)?;
    let known = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let mut all: Vec<Partition> = known.map(|partition| Partition(partition.id())).collect();
    all.sort_unstable();
    Ok(all)
}

/// Whether an error says that a topic, or its partition, is not there.
pub(crate) fn is_gone(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    let code = error.rdkafka_error_code();
    matches!(code, Some(UnknownTopicOrPartition | UnknownTopic | UnknownPartition))
}

/// Whether an error says that a topic may not be used.
pub(crate) fn is_forbidden(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}
