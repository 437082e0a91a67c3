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

use std::sync::Arc;
use std::time::Duration;

use fail::fail_point;
use parking_lot::Mutex;
use postrider_types::Settled;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::batch::{Batch, BatchLimits};
use crate::connection::Reachability;
use crate::encode::{Encoder, Outgoing};
use crate::metrics::{Metrics, TransactionResult};
use crate::offsets::{OffsetCommit, OffsetKeeper, share_out};
use crate::pending::OwnCounts;
use crate::publisher::{Partitions, PublishError, Publisher};
use crate::rights::{Right, denial};

/// How long a batch that is open is left alone before what has settled meanwhile is added to it: being woken for each
/// record would cost more than the record.
const NAP: Duration = Duration::from_millis(5);
/// The longest an interval is stretched when commits are slow.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

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

    fn take_place(&mut self) -> Result<(), CommitterError> {
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

    fn commit(&mut self, batch: &mut Batch, offsets: &dyn OffsetKeeper) -> Result<(), CommitterError> {
        let mut tries = Tries::default();
        while !batch.is_empty() {
            self.sequence = self.sequence.wrapping_add(1);
            let begun = Instant::now();
            let touched = self.own.preview(batch.touches());
            let counts: Vec<Outgoing> = touched
                .iter()
                .map(|(webhook, counts)| self.settings.encoder.pending(webhook, counts))
                .collect();
            let tried = match self.settings.mode {
                Mode::Transactions => self.transaction(batch, &counts, offsets),
                Mode::AtLeastOnce => self.without_transaction(batch, &counts, offsets),
            };
            self.last_commit = begun.elapsed();
            let committed = match tried {
                Ok(()) => true,
                Err(failed) => self.meet(failed, offsets, &mut tries)?,
            };
            if committed {
                self.own.apply(touched);
                self.committed(batch, offsets);
                return Ok(());
            }
        }
        // All of it is another instance's to commit now.
        self.trouble.note(None);
        Ok(())
    }

    fn committed(&self, batch: &Batch, offsets: &dyn OffsetKeeper) {
        fail_point!("k7");
        offsets.apply(&batch.positions());
        for reason in batch.dead_letters() {
            self.metrics.dead_letter(reason);
        }
        self.trouble.note(None);
        self.reachability.note(true);
        self.metrics.transaction_seconds.observe(self.last_commit.as_secs_f64());
        self.metrics.ended(TransactionResult::Committed);
    }

    fn transaction(&self, batch: &mut Batch, counts: &[Outgoing], offsets: &dyn OffsetKeeper) -> Result<(), Failed> {
        self.publisher
            .publish_in_transaction(batch.records().chain(counts), self.sequence)?;
        fail_point!("k4");
        let memberships = offsets.memberships();
        without_lost(batch, offsets)?;
        let commits = offsets.preview(&batch.positions(), self.sequence);
        // Once more: of what is lost between the two there would be outcomes, and no offset that fences.
        without_lost(batch, offsets)?;
        let shares = share_out(&commits, memberships).ok_or_else(not_a_member)?;
        let committed = self.publisher.commit(shares);
        committed.map_err(|error| Failed { error, commits })
    }

    /// The counts may be a little off after a crash, as outcomes may be doubled.
    fn without_transaction(
        &self,
        batch: &mut Batch,
        counts: &[Outgoing],
        offsets: &dyn OffsetKeeper,
    ) -> Result<(), Failed> {
        batch.retain(|position| offsets.owns(position));
        self.publisher.send_all(batch.records().chain(counts), self.sequence)?;
        let commits = offsets.preview(&batch.positions(), self.sequence);
        Ok(offsets.commit(&commits).map_err(of_consumer)?)
    }

    /// Meets a failure: gives the transaction up and waits, or goes on with a new producer. Tells
    /// whether the transaction took effect after all.
    fn meet(
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

    fn reconnect(&mut self) -> Result<(), CommitterError> {
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

    fn pause(&self, backoff: &mut Duration) -> Result<(), CommitterError> {
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

fn connect(settings: &Settings, reachability: &Reachability) -> Result<Publisher, CommitterError> {
    Publisher::new(
        &settings.producer,
        settings.partitions.clone(),
        reachability.clone(),
        None,
    )
    .map_err(CommitterError::Client)
}

/// How often one batch's records may find no way, of one producer: twice `message.timeout.ms`.
const MOST_TIMED_OUT: u32 = 2;

/// How often one batch was tried.
#[derive(Debug)]
struct Tries {
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
struct Failed {
    error: PublishError,
    commits: Vec<OffsetCommit>,
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
fn mendable(error: PublishError, stalled: bool) -> Result<PublishError, CommitterError> {
    match error {
        PublishError::Fenced(KafkaError::ConsumerCommit(_)) => Err(CommitterError::Replaced(error)),
        PublishError::Fenced(_) if !stalled => Err(CommitterError::Replaced(error)),
        PublishError::Fatal(cause @ KafkaError::ConsumerCommit(_)) => Err(CommitterError::Consumer(cause)),
        error => Ok(error),
    }
}

/// What a commit of the consumer's own failed with. It is tried again unless the consumer is done for: then each
/// try would only publish the batch once more.
fn of_consumer(error: KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::FencedInstanceId) => PublishError::Fenced(error),
        Some(RDKafkaErrorCode::Fatal) => PublishError::Fatal(error),
        _ => PublishError::Again(error),
    }
}

/// Takes out of a batch what is another instance's to commit now. If there is any, it was published already.
fn without_lost(batch: &mut Batch, offsets: &dyn OffsetKeeper) -> Result<(), Failed> {
    let lost = batch.retain(|position| offsets.owns(position));
    if lost == 0 {
        return Ok(());
    }
    debug!(
        lost,
        "Partitions were lost while their records were being published; trying without them"
    );
    Err(Failed::from(not_a_member()))
}

fn not_a_member() -> PublishError {
    PublishError::Again(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownMemberId))
}

#[cfg(test)]
mod tests;
