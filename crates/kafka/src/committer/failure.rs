//! What a commit that failed comes to: the same batch again, a new producer, or the end.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::time::Instant;
use tracing::warn;

use super::place::FIRST_BACKOFF;
use super::{Committer, CommitterError, Mode};
use crate::metrics::TransactionResult;
use crate::offsets::{OffsetCommit, OffsetKeeper};
use crate::publisher::PublishError;

/// How often one batch's records may find no way, of one producer: twice `message.timeout.ms`.
const MOST_TIMED_OUT: u32 = 2;

impl Committer {
    /// Meets a failure: gives the transaction up and waits, or goes on with a new producer. Tells
    /// whether the transaction took effect after all.
    pub(super) fn meet(
        &mut self,
        mut failed: Failed,
        offsets: &dyn OffsetKeeper,
        tries: &mut Tries,
    ) -> Result<bool, CommitterError> {
        self.metrics.ended(TransactionResult::Aborted);
        self.trouble.note(Some(format!(
            "outcomes cannot be committed: {}",
            failed.error.sentence()
        )));
        if let error @ (PublishError::Again(_) | PublishError::Refused { .. }) = &failed.error {
            let error = error.sentence();
            warn!(error, "A batch was not committed; trying the same batch again");
            let begun = Instant::now();
            let aborted = self.abort();
            // Meanwhile the broker's time for the transaction runs on.
            self.last_commit += begun.elapsed();
            let Err(error) = aborted else {
                self.pause(&mut tries.backoff)?;
                if tries.note(&failed.error) {
                    warn!("The Kafka producer has found no way for its records for too long; making a new one");
                    self.reconnect()?;
                }
                return Ok(false);
            };
            warn!(error = error.sentence(), "The transaction could not be aborted");
            // Records that were given up do not tell of fencing; their abort does.
            failed.error = error;
        }
        self.recover(failed, offsets)
    }

    fn abort(&self) -> Result<(), PublishError> {
        match self.settings.mode {
            Mode::Transactions => self.publisher.abort(),
            Mode::AtLeastOnce => Ok(()),
        }
    }

    /// Goes on with a new producer after the old one failed for good; tells whether the transaction
    /// it was in took effect.
    fn recover(&mut self, failed: Failed, offsets: &dyn OffsetKeeper) -> Result<bool, CommitterError> {
        let Failed { error, commits } = failed;
        let stalled = self.last_commit >= self.publisher.patience();
        let error = mendable(error, stalled)?;
        warn!(error = error.sentence(), "The Kafka producer failed; making a new one");
        self.reconnect()?;
        if commits.is_empty() {
            return Ok(false);
        }
        let mut backoff = FIRST_BACKOFF;
        loop {
            match offsets.is_committed(&commits) {
                Ok(committed) => return Ok(committed),
                Err(error) => warn!(%error, "The committed offsets cannot be read; trying again"),
            }
            self.pause(&mut backoff)?;
        }
    }
}

/// How often one batch was tried.
#[derive(Debug)]
pub(super) struct Tries {
    backoff: Duration,
    timed_out: u32,
}

impl Default for Tries {
    fn default() -> Self {
        Self {
            backoff: FIRST_BACKOFF,
            timed_out: 0,
        }
    }
}

impl Tries {
    /// Notes a failure; tells whether the client is to be made anew. One whose brokers stood still for a while and were
    /// not in the cluster's answers meanwhile may go on taking them for gone, though it could abort through one of them.
    fn note(&mut self, failure: &PublishError) -> bool {
        if failure.code() != Some(RDKafkaErrorCode::MessageTimedOut) {
            self.timed_out = 0;
            return false;
        }
        self.timed_out = (self.timed_out + 1) % MOST_TIMED_OUT;
        self.timed_out == 0
    }
}

/// A failed publication, and the offsets it would have committed, once they were on their way.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: PublishError,
    pub(super) commits: Vec<OffsetCommit>,
}

impl From<PublishError> for Failed {
    fn from(error: PublishError) -> Self {
        Self {
            error,
            commits: Vec::new(),
        }
    }
}

/// The failure, if a new producer mends it.
///
/// A producer is fenced by its own stall, when the broker's time for the transaction ran out, or by
/// another process of the same name. In the second case going on would fence that one in turn. A consumer
/// that commits by itself is fenced by another process only, and no producer mends it.
pub(super) fn mendable(error: PublishError, stalled: bool) -> Result<PublishError, CommitterError> {
    match error {
        PublishError::Fenced(KafkaError::ConsumerCommit(_)) => Err(CommitterError::Replaced(error)),
        PublishError::Fenced(_) if !stalled => Err(CommitterError::Replaced(error)),
        PublishError::Fatal(cause @ KafkaError::ConsumerCommit(_)) => Err(CommitterError::Consumer(cause)),
        error => Ok(error),
    }
}

/// What a commit of the consumer's own failed with. It is tried again unless the consumer is done for: then each
/// try would only publish the batch once more.
pub(super) fn of_consumer(error: KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::FencedInstanceId) => PublishError::Fenced(error),
        Some(RDKafkaErrorCode::Fatal) => PublishError::Fatal(error),
        _ => PublishError::Again(error),
    }
}
