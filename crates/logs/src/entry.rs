//! One outcome: as it was published, and as the index keeps it.

use bytes::Bytes;
use postrider_kafka::feed::Record;
use postrider_types::{AccountId, EventType, Offset, Outcome, OutcomeResult, Partition, Timestamp, WebhookId};
use serde_json::value::RawValue;

use crate::key::Key;
use crate::terms::Term;

/// One outcome of the index.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(crate) key: Key,
    pub(crate) document: Box<RawValue>,
}

impl Entry {
    /// The document, byte for byte as it was published.
    #[must_use]
    pub fn document(&self) -> &RawValue {
        &self.document
    }

    /// When the attempt began; where nothing was attempted, when the outcome was published.
    #[must_use]
    pub fn date(&self) -> Timestamp {
        self.key.date()
    }

    /// The document, read. Only what can be read is ever indexed; `None` is for an index that somebody else wrote.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        serde_json::from_str(self.document.get()).ok()
    }
}

/// A record of the results topic is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it has no value")]
    Empty,
    #[error("its value is no outcome of a schema that this release knows")]
    Unreadable,
}

/// What rows have in common by which they are filtered: few of them are different.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Facet {
    pub(crate) account: AccountId,
    pub(crate) webhook: WebhookId,
    pub(crate) endpoint: String,
    pub(crate) event: EventType,
    pub(crate) result: OutcomeResult,
    pub(crate) retry: u32,
    pub(crate) status: Option<u16>,
}

/// An outcome on its way into the index.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) partition: Partition,
    pub(crate) offset: Offset,
    pub(crate) facet: Facet,
    pub(crate) terms: Vec<Term>,
    /// In microseconds.
    pub(crate) spent: Option<u64>,
    pub(crate) document: Bytes,
}

impl Row {
    /// Reads a record of the results topic.
    pub(crate) fn read(record: Record) -> Result<Self, Malformed> {
        let document = record.value.ok_or(Malformed::Empty)?;
        let outcome: Outcome = serde_json::from_slice(&document).map_err(|_| Malformed::Unreadable)?;
        if outcome.schema != postrider_types::outcome::SCHEMA {
            return Err(Malformed::Unreadable);
        }
        let date = outcome.date_start.unwrap_or(record.timestamp);
        Ok(Self {
            key: Key::new(date, record.partition, record.offset),
            partition: record.partition,
            offset: record.offset,
            terms: Term::of(&outcome).collect(),
            spent: outcome.time_spent_ms.map(micros),
            facet: Facet {
                account: outcome.account_id.into_owned(),
                webhook: outcome.webhook_id,
                endpoint: outcome.endpoint.into_owned(),
                event: outcome.event,
                result: outcome.result,
                retry: outcome.retry,
                status: outcome.status_code,
            },
            document,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates"
)]
fn micros(millis: f64) -> u64 {
    (millis * 1000.0).round().min(4e12) as u64
}
