//! A seat that one of several instances has: the only partition of a topic, given out by a group of its own. Who has it
//! leads; when its holder dies, the group gives it to another. What a holder writes that has lost it without knowing
//! is fenced by the transactional id that all of them share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};
use tracing::debug;

use crate::connection::log_line;

const POLL: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Holding(AtomicBool);

impl ClientContext for Holding {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "A seat's group met an error; trying again");
    }
}

impl ConsumerContext for Holding {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Revoke(partitions) if has_seat(partitions)) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(partitions) if has_seat(partitions)) {
            self.0.store(true, Ordering::Relaxed);
            // Nothing is read by it: the seat is all it is for.
            let rests = |all: TopicPartitionList| consumer.pause(&all);
            if let Err(error) = consumer.assignment().and_then(rests) {
                debug!(%error, "A seat's partition could not be paused");
            }
        }
    }
}

/// Of a topic that has more than one partition the first is the seat.
fn has_seat(partitions: &TopicPartitionList) -> bool {
    partitions.elements().iter().any(|element| element.partition() == 0)
}

/// A member of the seat's group. Dropping it leaves the group.
pub struct Seat {
    consumer: BaseConsumer<Holding>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

impl Seat {
    /// Joins the group of `config` for a topic with one partition.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn seek(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        let consumer: BaseConsumer<Holding> = config.create_with_context(Holding::default())?;
        consumer.subscribe(&[topic])?;
        Ok(Self { consumer })
    }

    /// Does what the group asks of its members, for up to a tenth of a second; then tells whether the seat is held.
    #[must_use]
    pub fn look(&self) -> bool {
        if let Some(Err(error)) = self.consumer.poll(POLL) {
            debug!(%error, "A seat's group met an error; trying again");
        }
        self.held()
    }

    fn held(&self) -> bool {
        self.consumer.context().0.load(Ordering::Relaxed)
    }
}
