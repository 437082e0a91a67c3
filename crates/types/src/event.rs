//! An event: one fact from upstream, decoded from one record of a source topic.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::position::{LONGEST_TOPIC, Origin};

/// What kind of fact an event is. Closed, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A shipment was made, or a return (`is_return`).
    OrderShipped,
    /// A shipment could not be made.
    OrderError,
    /// A parcel moved.
    TrackingUpdate,
}

impl EventType {
    /// All of them, in the catalog's order.
    pub const ALL: [Self; 3] = [Self::OrderShipped, Self::OrderError, Self::TrackingUpdate];

    /// The word used in payloads, headers, labels and outcomes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrderShipped => "order_shipped",
            Self::OrderError => "order_error",
            Self::TrackingUpdate => "tracking_update",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the name of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event type; one of order_shipped, order_error, tracking_update")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(UnknownEventType)
    }
}

/// The merchant (tenant) an event or a webhook belongs to: 1–128 of `A-Za-z0-9._-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String")]
pub struct AccountId(Arc<str>);

/// The text cannot be an account's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account is 1 to 128 of A-Z a-z 0-9 . _ -")]
pub struct BadAccount;

impl AccountId {
    /// Checks the text.
    ///
    /// # Errors
    /// [`BadAccount`] when the text is empty, longer than 128, or holds another character.
    pub fn new(text: &str) -> Result<Self, BadAccount> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into())).ok_or(BadAccount)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AccountId {
    /// The account of records and webhooks that name none.
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Characters of an id that upstream gives, at most.
const LONGEST_GIVEN: usize = 256;
/// Characters of a position id, at most: after the topic's name follow partition, offset and time.
const LONGEST_POSITION: usize = LONGEST_TOPIC + "-2147483647".len() + 2 * "-9223372036854775807".len();

/// The event's id: 1–256 visible ASCII characters given by upstream, or the position id, at most 300.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String")]
pub struct EventId(Arc<str>);

/// The text cannot be an event's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 1 to 256 visible ASCII characters")]
pub struct BadEventId;

impl EventId {
    /// Checks the text.
    ///
    /// # Errors
    /// [`BadEventId`] when the text is empty, longer than 256, or holds another character.
    pub fn new(text: &str) -> Result<Self, BadEventId> {
        Self::up_to(LONGEST_GIVEN, text)
    }

    fn up_to(longest: usize, text: &str) -> Result<Self, BadEventId> {
        let fits = (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into())).ok_or(BadEventId)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads an id back that postrider wrote: a position id may be longer than what upstream gives, where a topic's name is.
impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::up_to(LONGEST_POSITION, &text).map_err(serde::de::Error::custom)
    }
}

impl From<&Origin> for EventId {
    /// The position id, for records that bring no id of their own.
    fn from(origin: &Origin) -> Self {
        Self(origin.text_and(["", ""]).into())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One Kafka header. A header may have no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: Box<str>,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

/// The payload fields that outcomes show. Identifiers came as strings or integers and are text here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// `OrderID`
    pub order_id: Option<Arc<str>>,
    /// `TransactionID`
    pub transaction_id: Option<Arc<str>>,
    /// `tracking`
    pub tracking: Option<Arc<str>>,
    /// `TrackingCarrier`
    pub carrier: Option<Arc<str>>,
    /// `code`, when it is an integer or the text of one.
    pub code: Option<i64>,
    /// `message`
    pub message: Option<Arc<str>>,
    /// `is_return`
    pub is_return: bool,
}

/// One fact from upstream, with the bytes that will be sent.
#[derive(Debug, Clone)]
pub struct Event {
    /// The source record.
    pub origin: Origin,
    /// The event's id.
    pub id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// The account it belongs to.
    pub account: AccountId,
    /// What outcomes tell of it.
    pub facts: Facts,
    /// The record's key.
    pub key: Option<Bytes>,
    /// The record's headers, unchanged and in order.
    pub headers: Vec<Header>,
    /// The record's value: the very bytes that are sent.
    pub body: Bytes,
}

impl Event {
    /// When it happened: the source record's timestamp.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.origin.timestamp
    }

    /// The last value of a header that is not null. Names are compared exactly.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        last_header(&self.headers, name)
    }
}

/// The last value of a header that is not null: a null header counts as absent.
#[must_use]
pub fn last_header<'a>(headers: &'a [Header], name: &str) -> Option<&'a Bytes> {
    headers
        .iter()
        .rev()
        .filter(|header| &*header.name == name)
        .find_map(|header| header.value.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Offset, Partition};

    #[test]
    fn accounts_and_event_ids_keep_to_their_alphabets() {
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert_eq!(AccountId::new(bad), Err(BadAccount), "{bad:?}");
        }
        assert!(AccountId::new("Shop_1.eu-2").is_ok());
        for bad in ["", "a b", "a\u{7f}", "ä", &"x".repeat(257)] {
            assert_eq!(EventId::new(bad), Err(BadEventId), "{bad:?}");
        }
        assert!(EventId::new("~evt/1#!").is_ok());
    }

    #[test]
    fn the_longest_position_id_is_read_back() {
        let origin = Origin {
            topic: "t".repeat(LONGEST_TOPIC).into(),
            partition: Partition(i32::MAX),
            offset: Offset(i64::MAX),
            timestamp: Timestamp::from_millis(i64::MAX),
        };
        let id = EventId::from(&origin);
        let written = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<EventId>(&written).unwrap(), id);
        assert!(serde_json::from_str::<EventId>(&format!("\"{}\"", "x".repeat(301))).is_err());
    }

    #[test]
    fn a_null_header_counts_as_absent() {
        let header = |name: &str, value: Option<&'static str>| Header {
            name: name.into(),
            value: value.map(Bytes::from),
        };
        let headers = [header("a", Some("1")), header("a", Some("2")), header("a", None)];
        assert_eq!(last_header(&headers, "a").map(|v| &v[..]), Some(&b"2"[..]));
        assert_eq!(last_header(&headers, "A"), None);
    }
}
