//! Outcomes that settle nothing: those of Tests and first connections. They are published beside the committer's
//! transactions, each by itself.

use parking_lot::Mutex;
use postrider_types::{Outcome, Resolution};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::connection::Reachability;
use crate::encode::{Encoder, Outgoing};
use crate::publisher::{Partitions, PublishError, Publisher};

/// Publishes single outcomes.
#[derive(Debug)]
pub struct Aside {
    publisher: Mutex<Publisher>,
    encoder: Encoder,
}

impl Aside {
    /// With a producer of its own, without transactions.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(config: &ClientConfig, encoder: Encoder, reachability: Reachability) -> Result<Self, KafkaError> {
        let publisher = Publisher::new(config, Partitions::default(), reachability, None)?;
        Ok(Self {
            publisher: Mutex::new(publisher),
            encoder,
        })
    }

    /// Publishes an outcome and waits until Kafka has it. Blocks.
    ///
    /// # Errors
    /// [`PublishError`] when it has not.
    pub fn publish(&self, outcome: Outcome) -> Result<(), PublishError> {
        let resolution = Resolution {
            outcome: Some(outcome.into()),
            ..Resolution::default()
        };
        let records: Vec<Outgoing> = self.encoder.resolution(resolution).collect();
        self.publisher.lock().send_all(records.iter(), 0)
    }
}
