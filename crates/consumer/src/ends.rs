//! Where a member's partitions end, which their lag is counted to. The client knows that from what it reads, so of a
//! partition that is not read for now it would stay where it was: the leaders are asked instead, on a thread of its own.

use std::sync::Arc;

use parking_lot::Mutex;
use postrider_types::Partition;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::looks::{CALL, LOOK, rest};
use crate::pauses::{ask_ends, list};
use crate::rebalance::Context;
use crate::tracker::TopicPartition;

/// The ends that were told last, until the poll thread takes them: only it knows whether a partition is still ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<Vec<(TopicPartition, i64)>>>);

impl Ends {
    /// Those that nobody has taken yet.
    pub(crate) fn take(&self) -> Vec<(TopicPartition, i64)> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// Asks where the partitions of one member end.
pub(crate) struct Surveyor {
    pub(crate) kafka: Arc<BaseConsumer<Context>>,
    pub(crate) runtime: Handle,
    pub(crate) stop: CancellationToken,
    pub(crate) ends: Ends,
}

impl Surveyor {
    /// Asks until stopped. Blocks: for a thread of its own.
    pub(crate) fn keep(self) {
        while rest(&self.runtime, &self.stop, LOOK) {
            match self.ask() {
                Ok(ends) => *self.ends.0.lock() = ends,
                Err(error) => debug!(%error, "Kafka does not say where partitions end; asking again"),
            }
        }
    }

    fn ask(&self) -> KafkaResult<Vec<(TopicPartition, i64)>> {
        let spans = self.kafka.context().tracker.spans();
        let owned: Vec<TopicPartition> = spans.into_iter().map(|(key, _)| key).collect();
        if owned.is_empty() {
            return Ok(Vec::new());
        }
        Ok(told(&ask_ends(&self.kafka, list(&owned), CALL)?))
    }
}

/// The ends among what the leaders say; one that did not say is asked again.
fn told(answers: &TopicPartitionList) -> Vec<(TopicPartition, i64)> {
    let answers = answers.elements();
    let known = answers.iter().filter_map(|answer| match answer.offset() {
        Offset::Offset(end) if answer.error().is_ok() => {
            Some(((answer.topic().into(), Partition(answer.partition())), end))
        }
        _ => None,
    });
    known.collect()
}
