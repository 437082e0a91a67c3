//! Writing to a topic that several instances write to and all of them read: one writer at a time, by a transactional
//! id they share. Taking the place fences whoever had it, so what a fenced writer was about to commit never is.

use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::committer::Mode;
use crate::connection::Reachability;
use crate::encode::Outgoing;
use crate::publisher::{Partitions, PublishError, Publisher};
use crate::rest::rest;

/// How long one write may take, with all its tries.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a fenced writer lets the other one write, at most; by chance, so that two do not fence each other for long.
const GIVE_WAY: Duration = Duration::from_millis(300);

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<R> {
    /// Whoever decides what to write refused.
    #[error("refused")]
    Refused(R),
    /// Kafka did not take it within the time there is.
    #[error("Kafka did not take it in time: {0}")]
    Unavailable(String),
}

/// The writing side of the topic.
#[derive(Debug)]
pub struct Journal {
    config: ClientConfig,
    mode: Mode,
    topic: String,
    reachability: Reachability,
    /// Up to which offset this instance has read.
    reached: watch::Receiver<i64>,
    runtime: Handle,
    /// The writer, as long as nobody fenced it.
    place: Mutex<Option<Publisher>>,
}

impl Journal {
    /// Of a topic with one partition that this instance reads up to `reached`.
    #[must_use]
    pub fn new(
        config: ClientConfig,
        mode: Mode,
        topic: impl Into<String>,
        reachability: Reachability,
        reached: watch::Receiver<i64>,
        runtime: Handle,
    ) -> Self {
        Self {
            config,
            mode,
            topic: topic.into(),
            reachability,
            reached,
            runtime,
            place: Mutex::default(),
        }
    }

    /// Writes what `decide` says by everything that was written before, and ends once this instance has read it.
    /// Blocks: for a thread of its own.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written then.
    pub fn write<R>(&self, decide: impl Fn() -> Result<Vec<Outgoing>, R>) -> Result<(), WriteError<R>> {
        let mut place = self.place.lock();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = self.write_once(&mut place, &decide, deadline);
            match tried {
                Ok(()) => return Ok(()),
                Err(Failed::Refused(refusal)) => return Err(WriteError::Refused(refusal)),
                Err(Failed::Kafka(why)) => {
                    // What became of it is learnt by whoever comes next: it reads to the end first.
                    *place = None;
                    if Instant::now() >= deadline {
                        return Err(WriteError::Unavailable(why));
                    }
                    debug!(why, "A write to the webhooks topic has to be tried again");
                    let pause = GIVE_WAY.mul_f64(rand::rng().random::<f64>());
                    rest(&self.runtime, pause);
                }
            }
        }
    }

    fn write_once<R>(
        &self,
        place: &mut Option<Publisher>,
        decide: &impl Fn() -> Result<Vec<Outgoing>, R>,
        deadline: Instant,
    ) -> Result<(), Failed<R>> {
        let publisher = match place {
            Some(publisher) => publisher,
            None => place.insert(self.take_place()?),
        };
        self.reach(publisher.end_of(&self.topic)?, deadline)?;
        let records = decide().map_err(Failed::Refused)?;
        if records.is_empty() {
            return Ok(());
        }
        self.publish(publisher, &records)?;
        self.reach(publisher.written_to(), deadline)
    }

    fn take_place<R>(&self) -> Result<Publisher, Failed<R>> {
        let publisher = Publisher::new(
            &self.config,
            Partitions::default(),
            self.reachability.clone(),
            Some(self.topic.clone()),
        )?;
        if self.mode == Mode::Transactions {
            publisher.take_place()?;
        }
        Ok(publisher)
    }

    /// Waits until this instance has read everything below `end`.
    fn reach<R>(&self, end: i64, deadline: Instant) -> Result<(), Failed<R>> {
        let mut reached = self.reached.clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let caught_up = self
            .runtime
            .block_on(async { timeout(left, reached.wait_for(|reached| *reached >= end)).await });
        match caught_up {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Failed::Kafka(
                "the webhooks topic could not be read to its end".to_owned(),
            )),
        }
    }

    fn publish<R>(&self, publisher: &Publisher, records: &[Outgoing]) -> Result<(), Failed<R>> {
        match self.mode {
            Mode::Transactions => {
                publisher.publish_in_transaction(records.iter(), 0)?;
                publisher.commit_alone()?;
            }
            Mode::AtLeastOnce => publisher.send_all(records.iter(), 0)?,
        }
        Ok(())
    }
}

enum Failed<R> {
    Refused(R),
    Kafka(String),
}

impl<R> From<PublishError> for Failed<R> {
    fn from(error: PublishError) -> Self {
        Self::Kafka(error.sentence())
    }
}

impl<R> From<KafkaError> for Failed<R> {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error.to_string())
    }
}
