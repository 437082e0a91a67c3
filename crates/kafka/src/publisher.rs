//! A producer, with or without transactions: publishes one batch and its offsets, and tells how a
//! failure has to be met.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use fail::fail_point;
use foldhash::HashMap;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use tokio::time::Instant;

use crate::config::TRANSACTION_TIMEOUT;
use crate::connection::{Reachability, log_error, log_line};
use crate::encode::Outgoing;
use crate::offsets::{OffsetCommit, to_list};

/// How long one blocking call may take before it is made again.
const CALL: Duration = Duration::from_secs(5);
/// The same for taking a place, which may have to wait for another transaction's end.
const INIT: Duration = Duration::from_secs(10);
/// A frozen cluster holds a call for 30 s, whatever it was given, and lets go of it again; what takes longer than
/// this does not come back.
const LONGEST_CALL: Duration = Duration::from_secs(45);

/// How long a cluster that takes no records is asked for one of their topics.
const ASK: Duration = Duration::from_secs(1);

/// How long acknowledgements are waited for before they are looked for again.
const NAP: Duration = Duration::from_micros(500);

/// How a failed publication has to be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nothing took effect; the same batch can be tried again after an abort.
    #[error("Kafka did not take the batch")]
    Again(#[source] KafkaError),
    /// A topic did not take a record; the same batch can be tried again after an abort.
    #[error("the topic {topic} did not take a record")]
    Refused {
        /// The topic.
        topic: Box<str>,
        /// Why not.
        #[source]
        source: KafkaError,
    },
    /// A call did not come back, and the producer with it.
    #[error("a call to Kafka does not come back")]
    Stuck,
    /// Another producer has this one's transactional id. Who that can be, only the one knows who gave it the id.
    #[error("another Kafka producer has taken this one's place")]
    Fenced(#[source] KafkaError),
    /// The producer cannot be used any more.
    #[error("the Kafka producer failed for good")]
    Fatal(#[source] KafkaError),
}

impl PublishError {
    /// What happened and why, once: librdkafka's errors repeat themselves as their own cause.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Again(cause) | Self::Fenced(cause) | Self::Fatal(cause) | Self::Refused { source: cause, .. } => {
                format!("{self}: {cause}")
            }
            Self::Stuck => self.to_string(),
        }
    }

    /// What Kafka, or its client, says it is.
    #[must_use]
    pub fn code(&self) -> Option<RDKafkaErrorCode> {
        match self {
            Self::Again(cause) | Self::Fenced(cause) | Self::Fatal(cause) | Self::Refused { source: cause, .. } => {
                cause.rdkafka_error_code()
            }
            Self::Stuck => None,
        }
    }

    /// Whether one topic's trouble may be told of as another's. A topic that is not there keeps the whole transaction
    /// from going on: which of its records is given up first is chance.
    fn may_come_of_another_topic(&self) -> bool {
        use RDKafkaErrorCode::{MessageTimedOut, PurgeInflight, PurgeQueue, UnknownTopic};
        matches!(self, Self::Again(_) | Self::Refused { .. })
            && matches!(
                self.code(),
                Some(MessageTimedOut | PurgeInflight | PurgeQueue | UnknownTopic)
            )
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
    /// The topic that refused a record last, and why.
    refused: Mutex<Option<(String, KafkaError)>>,
    /// The topic whose written offsets are noted, and the one after the last of them.
    noted: Option<String>,
    written_to: AtomicI64,
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
        if let (Ok(message), Some(noted)) = (result, &self.noted)
            && message.topic() == noted
        {
            self.written_to.fetch_max(message.offset() + 1, Ordering::Relaxed);
        }
        if let Err((error, message)) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let mut refused = self.refused.lock();
            // What an abort purges is no cause.
            if refused.as_ref().is_none_or(|(_, before)| was_purged(before)) {
                *refused = Some((message.topic().to_owned(), error.clone()));
            }
        }
    }
}

/// How many partitions each topic has, by its name.
pub type Partitions = HashMap<String, i32>;

/// Publishes batches.
pub struct Publisher {
    producer: Arc<BaseProducer<Reports>>,
    partitions: Partitions,
    /// How long the identical call is repeated before the transaction is given up.
    patience: Duration,
    /// When nothing is waited for any more.
    deadline: Option<Instant>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes the client. `partitions` tells how many each topic has whose records stick together; `noted` is a topic
    /// of which [`written_to`](Self::written_to) has to tell.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(
        config: &ClientConfig,
        partitions: Partitions,
        reachability: Reachability,
        noted: Option<String>,
    ) -> Result<Self, KafkaError> {
        let context = Reports {
            failed: AtomicU64::new(0),
            refused: Mutex::default(),
            noted,
            written_to: AtomicI64::new(0),
            reachability,
        };
        let patience = config
            .get("transaction.timeout.ms")
            .and_then(|text| text.parse().ok())
            .unwrap_or(TRANSACTION_TIMEOUT);
        let producer = config.create_with_context(context)?;
        Ok(Self {
            producer: Arc::new(producer),
            partitions,
            patience: Duration::from_millis(patience),
            deadline: None,
        })
    }

    /// From now on nothing is waited for beyond `deadline`: a call that has not come back by then counts as
    /// [`PublishError::Stuck`].
    pub const fn answer_by(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// So long, or what is left until the deadline.
    fn at_most(&self, time: Duration) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.map_or(time, |deadline| time.min(left(deadline)))
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
    pub fn take_place(&self) -> Result<(), PublishError> {
        self.apart(|producer| producer.init_transactions(INIT))
    }

    /// Begins a transaction and publishes the records in it; waits until every one is acknowledged.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction is still to be aborted.
    pub fn publish_in_transaction<'a>(
        &self,
        records: impl Iterator<Item = &'a Outgoing> + Clone,
        sequence: u32,
    ) -> Result<(), PublishError> {
        self.producer.begin_transaction().map_err(PublishError::of)?;
        self.send_all(records, sequence)
    }

    /// Publishes the records and waits until every one is acknowledged.
    ///
    /// # Errors
    /// [`PublishError::Refused`] when any was not: then all may be published twice.
    pub fn send_all<'a>(
        &self,
        records: impl Iterator<Item = &'a Outgoing> + Clone,
        sequence: u32,
    ) -> Result<(), PublishError> {
        let sent = self.send_each(records.clone(), sequence);
        sent.map_err(|error| {
            let cause = error
                .may_come_of_another_topic()
                .then(|| self.unwell(records))
                .flatten();
            cause.unwrap_or(error)
        })
    }

    fn send_each<'a>(&self, records: impl Iterator<Item = &'a Outgoing>, sequence: u32) -> Result<(), PublishError> {
        let failed_before = self.producer.context().failed.load(Ordering::Relaxed);
        *self.producer.context().refused.lock() = None;
        for record in records {
            self.send(record, sequence)?;
        }
        self.drain()?;
        if self.producer.context().failed.load(Ordering::Relaxed) == failed_before {
            return Ok(());
        }
        let refused = self.producer.context().refused.lock().take();
        let unknown = || {
            (
                String::new(),
                KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut),
            )
        };
        let (topic, source) = refused.unwrap_or_else(unknown);
        Err(PublishError::Refused {
            topic: topic.into(),
            source,
        })
    }

    /// The refusal of the first of the records' topics that the cluster says something is wrong with.
    fn unwell<'a>(&self, records: impl Iterator<Item = &'a Outgoing>) -> Option<PublishError> {
        let topics: BTreeSet<&str> = records.map(|record| &*record.topic).collect();
        for topic in topics {
            let metadata = self
                .producer
                .client()
                .fetch_metadata(Some(topic), self.at_most(ASK))
                .ok()?;
            let error = metadata.topics().iter().find_map(|topic| topic.error());
            if let Some(error) = error {
                return Some(PublishError::Refused {
                    topic: topic.into(),
                    source: KafkaError::MessageProduction(error.into()),
                });
            }
        }
        None
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
        for header in &*outgoing.headers {
            headers = headers.insert(KafkaHeader {
                key: &header.name,
                value: header.value.as_deref(),
            });
        }
        let mut record = BaseRecord::to(&outgoing.topic).headers(headers);
        record.key = outgoing.key.as_deref();
        record.payload = outgoing.value.as_deref();
        let partitions = self.partitions.get(&*outgoing.topic).filter(|_| outgoing.sticky);
        record.partition = partitions
            .and_then(|count| sequence.checked_rem(u32::try_from(*count).ok()?))
            .and_then(|at| at.try_into().ok());
        record
    }

    /// Waits for the acknowledgements in short naps: librdkafka's own flush waits in steps of 100 ms,
    /// and the commit calls it, so nothing may be left for it to wait for. A poll with a time of its own
    /// spins through its last millisecond.
    fn drain(&self) -> Result<(), PublishError> {
        let mut left = self.producer.in_flight_count();
        while left > 0 {
            if self.at_most(NAP).is_zero() {
                return Err(PublishError::Stuck);
            }
            // One of those that have come: a batch of one partition.
            self.producer.poll(Duration::ZERO);
            let before = std::mem::replace(&mut left, self.producer.in_flight_count());
            if left == before {
                std::thread::park_timeout(NAP);
            }
        }
        Ok(())
    }

    /// Adds the offsets and ends the transaction. A call that may be repeated is repeated unchanged,
    /// never aborted early: the broker may have begun to act on it.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction is still to be aborted.
    pub fn commit(&self, shares: Vec<(Vec<&OffsetCommit>, ConsumerGroupMetadata)>) -> Result<(), PublishError> {
        for (offsets, membership) in shares {
            let settled = Arc::new((to_list(&offsets).map_err(PublishError::Again)?, membership));
            self.patiently(move |producer| producer.send_offsets_to_transaction(&settled.0, &settled.1, CALL))?;
        }
        fail_point!("k5");
        self.patiently(|producer| producer.commit_transaction(CALL))
    }

    /// Ends a transaction that settles no offsets.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction is still to be aborted.
    pub fn commit_alone(&self) -> Result<(), PublishError> {
        self.patiently(|producer| producer.commit_transaction(CALL))
    }

    /// The offset after the last record that was written of the noted topic.
    #[must_use]
    pub fn written_to(&self) -> i64 {
        self.producer.context().written_to.load(Ordering::Relaxed)
    }

    /// The offset after the last record of a topic's first partition that a `read_committed` reader can have: less
    /// than what was written, as long as a transaction's end is on its way.
    ///
    /// # Errors
    /// When its leader does not answer in time.
    pub fn end_of(&self, topic: &str) -> Result<i64, KafkaError> {
        let ends = self.producer.client().fetch_watermarks(topic, 0, self.at_most(CALL));
        ends.map(|(_, high)| high)
    }

    /// Gives the transaction up.
    ///
    /// # Errors
    /// [`PublishError`] when even that fails.
    pub fn abort(&self) -> Result<(), PublishError> {
        // An abort with unpolled reports times out and sticks.
        self.producer.poll(Duration::ZERO);
        self.patiently(|producer| producer.abort_transaction(CALL))
    }

    fn patiently(
        &self,
        call: impl Fn(&BaseProducer<Reports>) -> Result<(), KafkaError> + Clone + Send + 'static,
    ) -> Result<(), PublishError> {
        let deadline = Instant::now() + self.at_most(self.patience);
        loop {
            match self.apart(call.clone()) {
                Err(PublishError::Again(error)) if is_retriable(&error) && Instant::now() < deadline => {
                    self.producer.poll(Duration::from_millis(10));
                }
                ended => return ended,
            }
        }
    }

    /// Makes a call on a thread of its own, because some never come back when a coordinator has gone for good. Such a
    /// thread keeps its producer, which is fenced by the next one, and both end when the call does.
    fn apart(
        &self,
        call: impl FnOnce(&BaseProducer<Reports>) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), PublishError> {
        let (answered, answer) = std::sync::mpsc::sync_channel(1);
        let producer = Arc::clone(&self.producer);
        let called = std::thread::Builder::new()
            .name("kafka-call".to_owned())
            .spawn(move || {
                let came = call(&producer);
                drop(producer);
                // Nobody waits any more for what took too long.
                let _ = answered.send(came);
            });
        if called.is_err() {
            return Err(PublishError::Stuck);
        }
        let came = answer.recv_timeout(self.at_most(LONGEST_CALL));
        let came = came.map_err(|_| PublishError::Stuck)?;
        came.map_err(PublishError::of)
    }
}

fn was_purged(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
    )
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable() && !error.is_fatal())
}
