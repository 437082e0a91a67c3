//! A replay as the replays topic holds it: what was asked for, how far it has come, and what a successor needs to go
//! on exactly there.

use std::borrow::Cow;
use std::sync::Arc;

use postrider_types::{Event, EventType, Offset, Outcome, Partition, Timestamp, WebhookId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::Wanted;

/// The name of the schema that every document carries.
pub const SCHEMA: &str = "postrider.replay.v1";

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for its turn, or is finding out which deliveries it is about.
    Counting,
    /// Its deliveries are being made again.
    Running,
    /// Every one of them has been put on its way; of a dry run, they have been counted.
    Done,
    /// It was given up; the reason says why.
    Failed,
}

impl State {
    /// The word used in documents and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counting => "counting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// A delivery that a replay is about. Their order is that of a replay's list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The source record's topic.
    #[schemars(with = "String")]
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub time: Timestamp,
    /// The webhook it is owed to.
    pub webhook: WebhookId,
    /// The event's type.
    pub event: EventType,
}

impl Candidate {
    /// What an event owes to a webhook.
    #[must_use]
    pub fn new(event: &Event, webhook: WebhookId) -> Self {
        let origin = &event.origin;
        Self {
            topic: Arc::clone(&origin.topic),
            partition: origin.partition,
            offset: origin.offset,
            time: origin.timestamp,
            webhook,
            event: event.event_type,
        }
    }

    /// The delivery of an outcome; `None` of a Test or a first connection, which no record brought.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let source = outcome.source.as_ref()?;
        Some(Self {
            topic: source.topic.as_str().into(),
            partition: source.partition,
            offset: source.offset,
            time: outcome.event_time,
            webhook: outcome.webhook_id.clone(),
            event: outcome.event,
        })
    }
}

/// A stretch of a partition of the results topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// The partition.
    pub partition: Partition,
    /// Its first offset.
    pub start: i64,
    /// The offset after its last.
    pub end: i64,
}

/// What a successor needs to go on where a replay has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The replay's place among those that have begun, from 1: what an earlier one took up is not crossed.
    pub number: u64,
    /// What the results topic, or that of the dead letters, held when the replay began.
    pub spans: Vec<Span>,
    /// How many of the spans were counted.
    pub counted: usize,
    /// How many of the spans were gone through.
    pub replayed: usize,
    /// The last delivery of the next one that was put on its way.
    pub after: Option<Candidate>,
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replay {
    /// Always [`SCHEMA`].
    pub schema: Cow<'static, str>,
    /// Its id: `rp_` and a ULID.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// Why it was given up.
    pub reason: Option<String>,
    /// What was asked for.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// Deliveries that it is about, as far as they have been counted.
    pub matched: u64,
    /// Deliveries that were put on their way.
    pub parked: u64,
    /// Deliveries that cannot be made again: neither their source record nor a dead letter is kept any more.
    pub lost_source: u64,
    /// Dead letters that still cannot be read as events, as far as they have been counted.
    #[serde(default)]
    pub unreadable: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
    /// What only postrider needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl Replay {
    /// One that was asked for now.
    #[must_use]
    pub fn new(wanted: Wanted, now: Timestamp) -> Self {
        Self {
            schema: SCHEMA.into(),
            id: format!("rp_{}", ulid::Ulid::new()),
            state: State::Counting,
            reason: None,
            wanted,
            matched: 0,
            parked: 0,
            lost_source: 0,
            unreadable: 0,
            created_at: now,
            started_at: None,
            finished_at: None,
            progress: None,
        }
    }

    /// As it is shown to people.
    #[must_use]
    pub fn shown(&self) -> Self {
        Self {
            progress: None,
            ..self.clone()
        }
    }

    /// The same, come to its end.
    #[must_use]
    pub fn ended(self, state: State, reason: Option<String>, now: Timestamp) -> Self {
        Self {
            state,
            reason,
            finished_at: Some(now),
            ..self
        }
    }

    /// Its place among those that have begun; 0 before that.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.number)
    }

    /// Whether this replay has put, or is going to put, a delivery on its way whose last outcome is this one, at `at`
    /// of a partition of the results topic. As long as nothing newer stands there, the delivery is under way by it.
    #[must_use]
    pub fn takes(&self, candidate: &Candidate, outcome: &Outcome, (partition, at): (Partition, i64)) -> bool {
        let asked = !self.wanted.dry_run && self.wanted.fits(outcome);
        let Some(progress) = self.progress.as_ref().filter(|_| asked) else {
            return false;
        };
        let place = progress.spans.iter().position(|span| span.partition == partition);
        let Some(place) =
            place.filter(|place| (progress.spans[*place].start..progress.spans[*place].end).contains(&at))
        else {
            return false;
        };
        match self.state {
            State::Counting | State::Running | State::Done => true,
            State::Failed if place == progress.replayed => {
                progress.after.as_ref().is_some_and(|last| candidate <= last)
            }
            State::Failed => place < progress.replayed,
        }
    }
}
