//! Everything that a run left behind, as the laws look at it: what upstream produced, what a `read_committed`
//! reader sees, what the endpoints saw, which offsets were committed when, and what broke.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use postrider_types::{Outcome, OutcomeResult, Timestamp};

/// A delivery's id.
pub type DeliveryName = String;

/// What an endpoint can tell of a request: the message it is about, and the attempt's number.
pub type Sending = (String, u32);

/// A request that an endpoint saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `webhook-id`
    pub message: String,
    /// `x-postrider-attempt`
    pub attempt: u32,
    /// When it had arrived whole.
    pub at: Timestamp,
}

impl Seen {
    /// What it is a request of.
    #[must_use]
    pub fn sending(&self) -> Sending {
        (self.message.clone(), self.attempt)
    }
}

/// An outcome, as far as the laws are about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// `delivery_id`
    pub delivery: DeliveryName,
    /// `replay`
    pub replay: Option<String>,
    /// The `webhook-id` that its request carries.
    pub message: String,
    /// `attempt`
    pub number: u32,
    /// `result`
    pub result: OutcomeResult,
    /// Whether an HTTP status came, so that an endpoint must have seen the request.
    pub answered: bool,
    /// `date_start`
    pub started: Option<Timestamp>,
    /// `next_attempt_at`
    pub next: Option<Timestamp>,
    /// Where it is in the results topic.
    pub place: (i32, i64),
}

impl Attempt {
    /// From an outcome and its partition and offset.
    #[must_use]
    pub fn new(outcome: &Outcome, place: (i32, i64)) -> Self {
        Self {
            delivery: outcome.delivery_id.to_string(),
            replay: outcome.replay.clone().map(Cow::into_owned),
            message: message_id(&outcome.event_id.to_string(), outcome.webhook_id.as_str()),
            number: outcome.attempt,
            result: outcome.result,
            answered: outcome.date_start.is_some() && outcome.error.is_none(),
            started: outcome.date_start,
            next: outcome.next_attempt_at,
            place,
        }
    }

    /// Whether it ends its delivery.
    #[must_use]
    pub fn is_final(&self) -> bool {
        OutcomeResult::FINAL.contains(&self.result)
    }

    /// What its request is to an endpoint.
    #[must_use]
    pub fn sending(&self) -> Sending {
        (self.message.clone(), self.number)
    }
}

/// The `webhook-id` of an event for a webhook.
#[must_use]
pub fn message_id(event: &str, webhook: &str) -> String {
    let hash = digest(&SHA256, &[event.as_bytes(), b"\0", webhook.as_bytes()].concat());
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{hex}")
}

/// Something that may make requests come again: a process killed, a partition lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// When.
    pub at: Timestamp,
    /// What had committed by a moment after it: partitions of the results topic, each with the offset
    /// below which everything had been read.
    pub committed: BTreeMap<i32, i64>,
    /// How many of the history's requests had come by a later moment; ascends from crash to crash.
    pub seen: usize,
}

/// Committed offsets at one moment.
pub type Sample = BTreeMap<(String, i32), i64>;

/// How far a partition of a retry topic was settled in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryEnd {
    /// The topic and the partition.
    pub partition: (String, i32),
    /// The last record that can be read.
    pub last: Option<i64>,
    /// The committed offset.
    pub committed: Option<i64>,
}

/// Everything that a run left behind.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Every produced event × matching webhook.
    pub owed: BTreeSet<DeliveryName>,
    /// Every outcome, committed, in the order of the topic.
    pub attempts: Vec<Attempt>,
    /// The delivery of every dead letter.
    pub dead_letters: Vec<DeliveryName>,
    /// Every request, in the order they came.
    pub requests: Vec<Seen>,
    /// What broke.
    pub crashes: Vec<Crash>,
    /// Committed offsets, in the order they were asked for.
    pub samples: Vec<Sample>,
    /// The retry topics in the end.
    pub retry_ends: Vec<RetryEnd>,
}
