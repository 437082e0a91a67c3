//! The committer: its own thread, one producer. It gathers settled records into a batch and
//! commits each batch with the offsets it settles, in one transaction.
//!
//! Three rules keep a commit honest:
//! - The memberships are taken first, and the assignments are checked after them. A generation of an
//!   ownership that is still in force cannot be stale without the broker knowing. Each membership commits
//!   the offsets of its own partitions; when the broker fences one, the whole transaction is given up.
//! - Once the end of a transaction may have been asked for, it is never aborted on a guess; when its
//!   answer is lost for good, the committed offsets tell whether it took effect.
//! - A call that may be repeated is repeated unchanged until the transaction's own time is over.

mod commit;
mod failure;
mod place;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_types::Settled;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::place::connect;
use crate::batch::{Batch, BatchLimits};
use crate::connection::Reachability;
use crate::encode::Encoder;
use crate::metrics::Metrics;
use crate::offsets::OffsetKeeper;
use crate::pending::OwnCounts;
use crate::publisher::{Partitions, PublishError, Publisher};

/// How long a batch that is open is left alone before what has settled meanwhile is added to it: being woken for each
/// record would cost more than the record.
const NAP: Duration = Duration::from_millis(5);
/// The longest an interval is stretched when commits are slow.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// Why the committer ended before its input did.
#[derive(Debug, thiserror::Error)]
pub enum CommitterError {
    /// Another process has this instance's place.
    #[error("another process runs with the same instance_id and has taken over; give each its own")]
    Replaced(#[source] PublishError),
    /// The client cannot be made.
    #[error("the Kafka producer cannot be made from kafka.properties")]
    Client(#[source] KafkaError),
    /// The client that commits the offsets failed for good; why, its own fault tells.
    #[error("the Kafka consumer failed for good, so that no offset can be committed; a restart mends it")]
    Consumer(#[source] KafkaError),
    /// It was told to give up while Kafka was away.
    #[error("stopped before everything was committed; what was not is delivered again")]
    GivenUp,
}

/// How batches are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Records and offsets in one transaction.
    Transactions,
    /// Records first, offsets after them.
    AtLeastOnce,
}

/// What the committer is made of.
#[derive(Debug)]
pub struct Settings {
    /// The producer's configuration.
    pub producer: ClientConfig,
    /// With or without transactions.
    pub mode: Mode,
    /// The partitions of the topics whose records stick together.
    pub partitions: Partitions,
    /// `consumer.commit_interval`
    pub interval: Duration,
    /// When a batch is full.
    pub limits: BatchLimits,
    /// Makes the records.
    pub encoder: Encoder,
}

/// Why commits fail at the moment, for readiness; `None` while they do not.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    fn note(&self, reason: Option<String>) {
        *self.0.lock() = reason;
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

/// Asks the committer to commit what it has without waiting for its interval.
#[derive(Debug, Clone, Default)]
pub struct Flush(Arc<Notify>);

impl Flush {
    /// Asks once.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

/// The committer. Made first, so that this instance holds its transactional place before it reads.
#[derive(Debug)]
pub struct Committer {
    settings: Settings,
    publisher: Publisher,
    reachability: Reachability,
    metrics: Metrics,
    runtime: Handle,
    give_up: CancellationToken,
    sequence: u32,
    last_commit: Duration,
    own: OwnCounts,
    trouble: Trouble,
}

impl Committer {
    /// Makes the producer and takes this instance's place; keeps trying while Kafka is away.
    /// Blocks: for a thread of its own.
    ///
    /// # Errors
    /// [`CommitterError`] when the client cannot be made, or when told to give up. Why it takes long is in `trouble`.
    pub fn open(
        settings: Settings,
        reachability: Reachability,
        metrics: Metrics,
        runtime: Handle,
        give_up: CancellationToken,
        trouble: Trouble,
    ) -> Result<Self, CommitterError> {
        let publisher = connect(&settings, &reachability)?;
        let last_commit = Duration::ZERO;
        let mut committer = Self {
            settings,
            publisher,
            reachability,
            metrics,
            runtime,
            give_up,
            sequence: 0,
            last_commit,
            own: OwnCounts::default(),
            trouble,
        };
        committer.take_place()?;
        committer.trouble.note(None);
        Ok(committer)
    }

    /// The same, to be given up by another signal than the one that stopped it from opening.
    #[must_use]
    pub fn giving_up(mut self, give_up: CancellationToken) -> Self {
        self.give_up = give_up;
        self
    }

    /// The same, going on from what the pending topic holds of this instance.
    #[must_use]
    pub fn counting_from(mut self, own: OwnCounts) -> Self {
        self.own = own;
        self
    }

    /// Commits what comes until the input closes and everything is committed. Blocks.
    ///
    /// # Errors
    /// [`CommitterError`] when going on would break a promise, or when told to give up.
    pub fn run(
        mut self,
        mut settled: mpsc::Receiver<Settled>,
        offsets: &dyn OffsetKeeper,
        flush: &Flush,
    ) -> Result<(), CommitterError> {
        let mut batch = Batch::default();
        while self.gather(&mut batch, &mut settled, flush)? {
            self.commit(&mut batch, offsets)?;
            batch.clear();
        }
        Ok(())
    }

    /// Fills the next batch: opened by the first record, closed by the interval, its limits, a flush, or
    /// the end of the input. False when there is none.
    fn gather(
        &self,
        batch: &mut Batch,
        settled: &mut mpsc::Receiver<Settled>,
        flush: &Flush,
    ) -> Result<bool, CommitterError> {
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            let first = tokio::select! {
                first = settled.recv() => first,
                () = self.give_up.cancelled() => return Err(CommitterError::GivenUp),
            };
            let Some(first) = first else { return Ok(false) };
            batch.push(first, &self.settings.encoder);
            let end = Instant::now() + self.interval();
            while self.fill(batch, settled) && Instant::now() < end {
                let rested = tokio::time::sleep_until(end.min(Instant::now() + NAP));
                tokio::select! {
                    biased;
                    () = flush.0.notified() => {
                        self.fill(batch, settled);
                        break;
                    }
                    () = rested => {}
                }
            }
            Ok(true)
        })
    }

    /// Adds what has settled already; tells whether more may be added.
    fn fill(&self, batch: &mut Batch, settled: &mut mpsc::Receiver<Settled>) -> bool {
        while !batch.is_full(self.settings.limits) {
            match settled.try_recv() {
                Ok(next) => batch.push(next, &self.settings.encoder),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        false
    }

    fn interval(&self) -> Duration {
        let configured = self.settings.interval;
        (self.last_commit * 2).clamp(configured, configured.max(LONGEST_INTERVAL))
    }
}

#[cfg(test)]
mod tests;
