//! Cleans the retry topics: they have no time limit, so what is committed is deleted by the partition's
//! owner. Never more than that: a record that is not committed is a delivery somebody is owed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::tracker::TopicPartition;

const EVERY: Duration = Duration::from_secs(60);
const CALL: Duration = Duration::from_secs(10);

/// Deletes what is committed, once a minute.
pub(crate) struct Cleaner {
    admin: Arc<AdminClient<DefaultClientContext>>,
    runtime: Handle,
    /// Up to where each partition's records are deleted.
    deleted: Arc<Mutex<HashMap<TopicPartition, i64>>>,
    due: Instant,
}

impl Cleaner {
    pub(crate) fn new(config: &ClientConfig, runtime: Handle) -> KafkaResult<Self> {
        let admin = Arc::new(config.create()?);
        Ok(Self {
            admin,
            runtime,
            deleted: Arc::default(),
            due: Instant::now() + EVERY,
        })
    }

    /// Whether it is time.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Begins to delete what lies below these committed offsets. Does not wait: what fails is
    /// deleted a minute later.
    pub(crate) fn clean(&mut self, committed: Vec<(TopicPartition, i64)>) {
        self.due = Instant::now() + EVERY;
        let fresh = self.fresh(committed);
        if fresh.is_empty() {
            return;
        }
        let (admin, deleted) = (Arc::clone(&self.admin), Arc::clone(&self.deleted));
        self.runtime.spawn(async move {
            match delete(&admin, &fresh).await {
                Ok(()) => deleted.lock().extend(fresh),
                Err(error) => warn!(%error, "Committed retry records could not be deleted; trying again in a minute"),
            }
        });
    }

    /// The partitions whose commit has moved since their records were deleted.
    fn fresh(&self, committed: Vec<(TopicPartition, i64)>) -> Vec<(TopicPartition, i64)> {
        let deleted = self.deleted.lock();
        let moved = |(key, offset): &(TopicPartition, i64)| *offset > 0 && deleted.get(key) != Some(offset);
        committed.into_iter().filter(moved).collect()
    }
}

async fn delete(admin: &AdminClient<DefaultClientContext>, below: &[(TopicPartition, i64)]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(below.len());
    for ((topic, partition), offset) in below {
        list.add_partition_offset(topic, partition.0, Offset::Offset(*offset))?;
    }
    let options = AdminOptions::new()
        .request_timeout(Some(CALL))
        .operation_timeout(Some(CALL));
    let answers = admin.delete_records(&list, &options).await?;
    for element in answers.elements() {
        element.error()?;
    }
    debug!(partitions = below.len(), "Committed retry records deleted");
    Ok(())
}
