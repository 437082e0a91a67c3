//! A producer, with or without transactions: publishes one batch and its offsets, and tells how a
//! failure has to be met.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fail::fail_point;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};
use tokio::time::Instant;

use crate::connection::{Reachability, log_error, log_line};
use crate::encode::Outgoing;

/// How long one blocking call may take before it is made again.
const CALL: Duration = Duration::from_secs(5);

/// How a failed publication has to be met.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Nothing took effect; the same batch can be tried again after an abort.
    #[error("Kafka did not take the batch")]
    Again(#[source] KafkaError),
    /// Another process has taken this instance's place.
    #[error("another process runs with this instance_id; it has taken over")]
    Fenced(#[source] KafkaError),
    /// The producer cannot be used any more.
    #[error("the Kafka producer failed for good")]
    Fatal(#[source] KafkaError),
}

impl PublishError {
    /// What happened and why, once: librdkafka's errors repeat themselves as their own cause.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (Self::Again(cause) | Self::Fenced(cause) | Self::Fatal(cause)) = self;
        format!("{self}: {cause}")
    }

    fn of(error: KafkaError) -> Self {
        let code = error.rdkafka_error_code();
        let fenced = matches!(
            code,
            Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::FencedInstanceId)
        );
        let fatal = matches!(&error, KafkaError::Transaction(error) if error.is_fatal());
        match (fenced, fatal) {
            (true, _) => Self::Fenced(error),
            (false, true) => Self::Fatal(error),
            (false, false) => Self::Again(error),
        }
    }
}

#[derive(Debug)]
struct Reports {
    failed: AtomicU64,
    reachability: Reachability,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&self.reachability, &error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Tells from outside whether a call into librdkafka comes back: some hang for ever when a coordinator
/// has gone for good.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        *self.0.lock() = Some(Instant::now());
        let answer = call();
        *self.0.lock() = None;
        answer
    }

    /// How long the call under way has taken.
    #[must_use]
    pub fn stuck_for(&self) -> Duration {
        self.0.lock().map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Publishes batches.
pub struct Publisher {
    producer: BaseProducer<Reports>,
    partitions: HashMap<String, i32>,
    /// How long the identical call is repeated before the transaction is given up.
    patience: Duration,
    pulse: Pulse,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes the client. `partitions` tells how many each topic has whose records stick together.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(
        config: &ClientConfig,
        partitions: HashMap<String, i32>,
        reachability: Reachability,
        pulse: Pulse,
    ) -> Result<Self, KafkaError> {
        let context = Reports {
            failed: AtomicU64::new(0),
            reachability,
        };
        let patience = config
            .get("transaction.timeout.ms")
            .and_then(|text| text.parse().ok())
            .unwrap_or(30_000);
        let producer = config.create_with_context(context)?;
        Ok(Self {
            producer,
            partitions,
            patience: Duration::from_millis(patience),
            pulse,
        })
    }

    /// How long an identical call is repeated: the transaction's own time.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Takes this instance's place among the transactional producers, finishing or aborting what an
    /// earlier one left open. Tried again by the caller.
    ///
    /// # Errors
    /// When the coordinator cannot be reached in time, or refuses.
    pub fn take_place(&self) -> Result<(), KafkaError> {
        self.pulse
            .during(|| self.producer.init_transactions(Duration::from_secs(10)))
    }

    /// Begins a transaction and publishes the records in it; waits until every one is acknowledged.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction is still to be aborted.
    pub fn publish_in_transaction<'a>(
        &self,
        records: impl Iterator<Item = &'a Outgoing>,
        sequence: u32,
    ) -> Result<(), PublishError> {
        self.producer.begin_transaction().map_err(PublishError::of)?;
        self.send_all(records, sequence)
    }

    /// Publishes the records and waits until every one is acknowledged.
    ///
    /// # Errors
    /// [`PublishError::Again`] when any was not: then all may be published twice.
    pub fn send_all<'a>(&self, records: impl Iterator<Item = &'a Outgoing>, sequence: u32) -> Result<(), PublishError> {
        let failed_before = self.producer.context().failed.load(Ordering::Relaxed);
        for record in records {
            self.send(record, sequence)?;
        }
        self.drain();
        if self.producer.context().failed.load(Ordering::Relaxed) == failed_before {
            return Ok(());
        }
        Err(PublishError::Again(KafkaError::MessageProduction(
            RDKafkaErrorCode::MessageTimedOut,
        )))
    }

    fn send(&self, outgoing: &Outgoing, sequence: u32) -> Result<(), PublishError> {
        let mut record = self.record(outgoing, sequence);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    record = same;
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(PublishError::of(error)),
            }
        }
    }

    fn record<'a>(&self, outgoing: &'a Outgoing, sequence: u32) -> BaseRecord<'a, [u8], [u8]> {
        let mut headers = OwnedHeaders::new_with_capacity(outgoing.headers.len());
        for header in &outgoing.headers {
            headers = headers.insert(KafkaHeader {
                key: &header.name,
                value: header.value.as_deref(),
            });
        }
        let mut record = BaseRecord::to(&outgoing.topic).headers(headers);
        record.key = outgoing.key.as_deref();
        record.payload = outgoing.value.as_deref();
        let partitions = self.partitions.get(&outgoing.topic).filter(|_| outgoing.sticky);
        record.partition = partitions
            .and_then(|count| sequence.checked_rem(u32::try_from(*count).ok()?))
            .and_then(|at| at.try_into().ok());
        record
    }

    /// Waits for the acknowledgements in short polls: librdkafka's own flush waits in steps of 100 ms,
    /// and the commit calls it, so nothing may be left for it to wait for.
    fn drain(&self) {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
        }
    }

    /// Adds the offsets and ends the transaction. A call that may be repeated is repeated unchanged,
    /// never aborted early: the broker may have begun to act on it.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction is still to be aborted.
    pub fn commit(&self, offsets: &TopicPartitionList, membership: &ConsumerGroupMetadata) -> Result<(), PublishError> {
        self.patiently(|| self.producer.send_offsets_to_transaction(offsets, membership, CALL))?;
        fail_point!("k5");
        self.patiently(|| self.producer.commit_transaction(CALL))
    }

    /// Gives the transaction up.
    ///
    /// # Errors
    /// [`PublishError`] when even that fails.
    pub fn abort(&self) -> Result<(), PublishError> {
        // An abort with unpolled reports times out and sticks.
        self.producer.poll(Duration::ZERO);
        self.patiently(|| self.producer.abort_transaction(CALL))
    }

    fn patiently(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), PublishError> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.pulse.during(&call) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && Instant::now() < deadline => {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err(error) => return Err(PublishError::of(error)),
            }
        }
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable() && !error.is_fatal())
}
