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

/// How long one write may take, with all its tries; then it is answered, whatever became of it.
pub const LONGEST_WRITE: Duration = Duration::from_secs(20);
/// How long a fenced writer lets the other one write, at most; by chance, so that two do not fence each other for long.
const GIVE_WAY: Duration = Duration::from_millis(300);
/// What has to be left for a commit to be asked for: one that is not answered in time leaves nobody any wiser.
const FOR_COMMIT: Duration = Duration::from_secs(2);

/// What stood in a write's way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// All instances share the place of the one writer.
    #[error("another instance was writing webhooks at the same time")]
    Overtaken(#[source] KafkaError),
    /// Kafka did not take it.
    #[error(transparent)]
    Publish(PublishError),
    /// It did not answer what it was asked.
    #[error("Kafka could not be asked")]
    Kafka(#[from] KafkaError),
    /// This instance has not read up to the topic's end.
    #[error("the webhooks topic could not be read to its end")]
    Behind,
    /// There is one write at a time.
    #[error("other changes were still being written")]
    Busy,
    /// So little time was left that an answer to the commit would have come too late.
    #[error("Kafka took too long")]
    Late,
}

impl Obstacle {
    /// What happened and why, once.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Publish(error) => error.sentence(),
            Self::Overtaken(cause) | Self::Kafka(cause) => format!("{self}: {cause}"),
            Self::Behind | Self::Busy | Self::Late => self.to_string(),
        }
    }
}

impl From<PublishError> for Obstacle {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Fenced(cause) => Self::Overtaken(cause),
            error => Self::Publish(error),
        }
    }
}

/// Why a write was not made, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<R> {
    /// Whoever decides what to write refused.
    #[error("refused")]
    Refused(R),
    /// Nothing was written within the time there is.
    #[error("nothing was written")]
    Unavailable(#[source] Obstacle),
    /// It was given to Kafka, and what became of it was not to be learnt within the time there is.
    #[error("it is not known whether it was written")]
    Uncertain(#[source] Obstacle),
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
    patience: Duration,
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
            patience: LONGEST_WRITE,
        }
    }

    /// Writes what `decide` says by everything that was written before, and ends once this instance has read it. What
    /// became of a try is learnt by the next one, which reads to the end first: `decide` is asked again then, and has to
    /// say nothing where what it said before is written. Blocks: for a thread of its own.
    ///
    /// # Errors
    /// [`WriteError`], which tells whether anything may have been written.
    pub fn write<R>(&self, decide: impl Fn() -> Result<Vec<Outgoing>, R>) -> Result<(), WriteError<R>> {
        let mut course = Course {
            deadline: Instant::now() + self.patience,
            may_be_written: false,
        };
        let Some(mut place) = self.place.try_lock_for(self.patience) else {
            return Err(WriteError::Unavailable(Obstacle::Busy));
        };
        loop {
            let obstacle = match self.write_once(&mut place, &decide, &mut course) {
                Ok(()) => return Ok(()),
                Err(Failed::Refused(refusal)) => return Err(WriteError::Refused(refusal)),
                Err(Failed::By(obstacle)) => obstacle,
            };
            leave(&mut place);
            if Instant::now() >= course.deadline {
                return Err(course.ended(obstacle));
            }
            debug!(
                why = obstacle.sentence(),
                "A write to the webhooks topic has to be tried again"
            );
            rest(&self.runtime, GIVE_WAY.mul_f64(rand::rng().random::<f64>()));
        }
    }

    fn write_once<R>(
        &self,
        place: &mut Option<Publisher>,
        decide: &impl Fn() -> Result<Vec<Outgoing>, R>,
        course: &mut Course,
    ) -> Result<(), Failed<R>> {
        let publisher = match place {
            Some(publisher) => publisher,
            None => place.insert(self.publisher(course.deadline)?),
        };
        publisher.answer_by(course.deadline);
        let end = publisher.end_of(&self.topic).map_err(Obstacle::Kafka)?;
        self.reach(end, course.deadline)?;
        let records = decide().map_err(Failed::Refused)?;
        if records.is_empty() {
            return Ok(());
        }
        self.publish(publisher, &records, course)?;
        Ok(self.reach(publisher.written_to(), course.deadline)?)
    }

    /// Takes the place of the one writer.
    fn publisher(&self, deadline: Instant) -> Result<Publisher, Obstacle> {
        let mut publisher = Publisher::new(
            &self.config,
            Partitions::default(),
            self.reachability.clone(),
            Some(self.topic.clone()),
        )?;
        publisher.answer_by(deadline);
        if self.mode == Mode::Transactions {
            publisher.take_place()?;
        }
        Ok(publisher)
    }

    /// Waits until this instance has read everything below `end`.
    fn reach(&self, end: i64, deadline: Instant) -> Result<(), Obstacle> {
        let mut reached = self.reached.clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let caught_up = self
            .runtime
            .block_on(async { timeout(left, reached.wait_for(|reached| *reached >= end)).await });
        match caught_up {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Obstacle::Behind),
        }
    }

    fn publish(&self, publisher: &Publisher, records: &[Outgoing], course: &mut Course) -> Result<(), Obstacle> {
        match self.mode {
            Mode::Transactions => {
                // What an earlier try came to is decided: this one has its place, and has read to the end since.
                course.may_be_written = false;
                publisher.publish_in_transaction(records.iter(), 0)?;
                if Instant::now() + FOR_COMMIT > course.deadline {
                    return Err(Obstacle::Late);
                }
                course.may_be_written = true;
                publisher.commit_alone()?;
            }
            Mode::AtLeastOnce => {
                course.may_be_written = true;
                publisher.send_all(records.iter(), 0)?;
            }
        }
        Ok(())
    }
}

/// Gives the place up. A producer's end may take as long as its calls: it ends on a thread of its own.
fn leave(place: &mut Option<Publisher>) {
    if let Some(publisher) = place.take() {
        std::thread::spawn(move || drop(publisher));
    }
}

/// How a write goes.
struct Course {
    deadline: Instant,
    /// Whether Kafka was given it, and may have taken it.
    may_be_written: bool,
}

impl Course {
    fn ended<R>(&self, obstacle: Obstacle) -> WriteError<R> {
        if self.may_be_written {
            WriteError::Uncertain(obstacle)
        } else {
            WriteError::Unavailable(obstacle)
        }
    }
}

enum Failed<R> {
    Refused(R),
    By(Obstacle),
}

impl<R> From<Obstacle> for Failed<R> {
    fn from(obstacle: Obstacle) -> Self {
        Self::By(obstacle)
    }
}

#[cfg(test)]
mod tests;
