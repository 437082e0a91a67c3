//! Everything known of one order, delivery or tracking number, as `GET /api/v1/explain` answers it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use postrider_routing::Explanation;
use postrider_types::position::Source;
use postrider_types::{AccountId, DeliveryId, EventId, EventType, Outcome, ParkCause, Timestamp, WebhookId};
use schemars::JsonSchema;
use serde::Serialize;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// A delivery's id, an event's id, an OrderID, a TransactionID or a tracking number.
    pub subject: String,
    /// Records that are older are not looked at; `None` for as long as outcomes are kept by default.
    pub from: Option<Timestamp>,
    /// Only what belongs to these accounts is told of; empty means all.
    pub accounts: Vec<AccountId>,
}

impl Question {
    /// Whether who asks may know of an account's events.
    #[must_use]
    pub fn sees(&self, account: &AccountId) -> bool {
        self.accounts.is_empty() || self.accounts.contains(account)
    }
}

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// Others are being made.
    #[error("other explanations are being made, and each reads many topics; ask again in a moment")]
    Busy,
    /// Kafka cannot be read.
    #[error("the topics cannot be read: {0}")]
    Unreadable(String),
}

/// An explanation under way.
pub type Explaining<'a> = Pin<Box<dyn Future<Output = Result<Explained, Unexplained>> + Send + 'a>>;

/// Finds out what is known of something.
pub trait Explainer: Send + Sync + fmt::Debug {
    /// Looks through the topics.
    fn explain(&self, question: Question) -> Explaining<'_>;
}

/// Everything known of what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explained {
    /// What was asked for.
    pub subject: String,
    /// What was looked at.
    pub searched: SearchedFor,
    /// The events found, oldest first.
    pub events: Vec<ExplainedEvent>,
    /// Records that were found and are no events.
    pub unreadable: Vec<Unreadable>,
}

/// What was looked at to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SearchedFor {
    /// Older records were not looked at.
    pub from: Timestamp,
    /// Records that were looked at.
    pub records: u64,
    /// Whether all of it was: neither time nor room ran out, and no topic was missing.
    pub is_complete: bool,
    /// Topics that are not there, or that Kafka does not allow postrider to read.
    pub unread: Vec<String>,
}

/// One event, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ExplainedEvent {
    /// Its source record.
    pub source: Source,
    /// The source record's timestamp.
    pub event_time: Timestamp,
    /// Its id.
    pub event_id: EventId,
    /// Its type.
    pub event: EventType,
    /// Its account.
    pub account_id: AccountId,
    /// `OrderID`
    pub order_id: Option<String>,
    /// `TransactionID`
    pub transaction_id: Option<String>,
    /// `tracking`
    pub tracking: Option<String>,
    /// How far postrider is with the record.
    pub record: RecordState,
    /// What each webhook of the account, as it is now, makes of it. Null when the record is gone from its topic.
    pub webhooks: Option<Vec<Explanation>>,
    /// What it was owed to, and what became of that.
    pub deliveries: Vec<ExplainedDelivery>,
}

/// How far postrider is with a source record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// All its deliveries have ended or are parked, and that is committed.
    Settled,
    /// It waits to be read, or its deliveries are being sent.
    Unsettled,
    /// It is gone from its topic, which keeps records for a time only.
    Gone,
}

/// One delivery, and what became of it. A replay is told of by itself.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ExplainedDelivery {
    /// Its id.
    pub delivery_id: DeliveryId,
    /// Its webhook.
    pub webhook_id: WebhookId,
    /// The replay it belongs to.
    pub replay: Option<String>,
    /// What became of it.
    pub state: DeliveryState,
    /// The same in words, and what comes next.
    pub summary: String,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// Where it waits.
    pub parked: Option<ParkedAt>,
    /// Every attempt, in order.
    pub attempts: Vec<Outcome>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// The endpoint took it.
    Success,
    /// It failed for good.
    Failed,
    /// It was not sent.
    Skipped,
    /// It waits in a retry topic.
    Parked,
    /// It is being sent, or about to be.
    UnderWay,
}

/// Where a delivery waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ParkedAt {
    /// The retry topic's record.
    pub at: Source,
    /// Why.
    pub cause: ParkCause,
    /// When it comes out.
    pub due: Timestamp,
    /// Attempts that were made before.
    pub attempts: u32,
}

/// A record that was found and is no event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unreadable {
    /// Where it stands.
    pub source: Source,
    /// Why it is none.
    pub reason: String,
    /// Whether it is among the dead letters.
    pub is_dead_letter: bool,
}
