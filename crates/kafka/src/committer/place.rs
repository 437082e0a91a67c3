//! The committer's producer, and this instance's transactional place that it holds. While Kafka is away both are asked
//! for again and again.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use tracing::{info, warn};

use super::{Committer, CommitterError, Mode, Settings};
use crate::connection::Reachability;
use crate::publisher::{PublishError, Publisher};
use crate::rights::{Right, denial};

pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

impl Committer {
    pub(super) fn take_place(&mut self) -> Result<(), CommitterError> {
        if self.settings.mode == Mode::AtLeastOnce {
            return Ok(());
        }
        let mut backoff = FIRST_BACKOFF;
        while let Err(error) = self.publisher.take_place() {
            let why = self.placeless(&error);
            warn!(
                error = why,
                "Kafka does not give this instance its transactional place; trying again"
            );
            self.trouble.note(Some(why));
            self.pause(&mut backoff)?;
            if !matches!(error, PublishError::Again(_)) {
                self.replace_producer()?;
            }
        }
        info!("Ready to commit in transactions");
        Ok(())
    }

    fn placeless(&self, error: &PublishError) -> String {
        let said = |name| self.settings.producer.get(name).unwrap_or_default();
        let id = said("transactional.id");
        match error.code() {
            Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => denial(&[Right::on_id(id.to_owned())]),
            Some(RDKafkaErrorCode::InvalidTransactionTimeout) => format!(
                "the brokers allow no transaction of {} ms: raise their transaction.max.timeout.ms, or lower \
                 transaction.timeout.ms in kafka.properties, and message.timeout.ms with it",
                said("transaction.timeout.ms")
            ),
            _ => format!("the transactional id {id} is not to be had: {}", error.sentence()),
        }
    }

    pub(super) fn reconnect(&mut self) -> Result<(), CommitterError> {
        self.replace_producer()?;
        self.take_place()
    }

    /// The old producer ends on a thread of its own: its end may take as long as its calls.
    fn replace_producer(&mut self) -> Result<(), CommitterError> {
        let fresh = connect(&self.settings, &self.reachability)?;
        let old = std::mem::replace(&mut self.publisher, fresh);
        std::thread::spawn(move || drop(old));
        Ok(())
    }

    pub(super) fn pause(&self, backoff: &mut Duration) -> Result<(), CommitterError> {
        let stopped = self.give_up.cancelled();
        let slept = self
            .runtime
            .block_on(async { tokio::time::timeout(*backoff, stopped).await });
        *backoff = (*backoff * 2).min(LONGEST_BACKOFF);
        if slept.is_ok() {
            Err(CommitterError::GivenUp)
        } else {
            Ok(())
        }
    }
}

pub(super) fn connect(settings: &Settings, reachability: &Reachability) -> Result<Publisher, CommitterError> {
    Publisher::new(
        &settings.producer,
        settings.partitions.clone(),
        reachability.clone(),
        None,
    )
    .map_err(CommitterError::Client)
}
