//! What a replay reads and writes: Kafka, as far as it goes, so that a test can stand in its place.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use postrider_kafka::publisher::PublishError;
use postrider_kafka::reader::ReadError;
use postrider_types::{Event, Outcome, Parked};

use crate::document::{Candidate, Replay, Span};
use crate::request::Wanted;

/// Why a step was not made. It can be made again, by whoever has the seat then.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Kafka cannot be read.
    #[error("{0}")]
    Read(ReadError),
    /// Kafka did not take what was written.
    #[error("{}", of_writing(.0))]
    Write(PublishError),
    /// A topic has no partitions.
    #[error("the topic {0} is not there")]
    NoTopic(Arc<str>),
    /// What was committed before is not all known.
    #[error("the replays topic could not be read to its end")]
    Behind,
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

fn of_writing(error: &PublishError) -> String {
    match error {
        PublishError::Fenced(cause) => format!("another instance has taken the replays over: {cause}"),
        error => error.sentence(),
    }
}

impl<E: Into<ReadError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        match error.into() {
            ReadError::Stopped => Self::Stopped,
            other => Self::Read(other),
        }
    }
}

/// What is read.
pub trait Archive {
    /// What the results topic holds now that can be about events since the time asked for, or the topic of the dead
    /// letters, where they were asked for.
    ///
    /// # Errors
    /// [`Trouble`]
    fn spans(&mut self, wanted: &Wanted) -> Result<Vec<Span>, Trouble>;

    /// What the dead letters of a span come to today.
    ///
    /// # Errors
    /// [`Trouble`]
    fn letters(&mut self, span: Span, wanted: &Wanted, most: usize) -> Result<Letters, Trouble>;

    /// Hands over the outcomes of a span with their offsets, in order.
    ///
    /// # Errors
    /// [`Trouble`]
    fn outcomes(&mut self, span: Span, each: &mut dyn FnMut(i64, &Outcome) -> ControlFlow<()>) -> Result<(), Trouble>;

    /// The events of the first of these deliveries, of one at least and of `most` at most; `None` for what is kept
    /// nowhere any more.
    ///
    /// # Errors
    /// [`Trouble`]
    fn events(&mut self, rest: &[Candidate], most: usize) -> Result<Vec<Option<Event>>, Trouble>;
}

/// What dead letters of records that were no events come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letters {
    /// The deliveries that are owed by today's webhooks, and have never been made.
    pub owed: HashSet<Candidate>,
    /// How many are no events today either.
    pub unreadable: u64,
}

/// What is written.
pub trait Ledger {
    /// Writes a replay's document and parks deliveries, all of it or nothing.
    ///
    /// # Errors
    /// [`Trouble`]; whether it was written is not known then, and only a new beginning finds out.
    fn commit(&mut self, replay: &Replay, parked: Vec<Parked>) -> Result<(), Trouble>;
}
