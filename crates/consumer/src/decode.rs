//! From a record to an event. Pure. The whole value is checked, unknown fields too; the bytes that
//! will be sent stay as they came.

mod scan;

use std::sync::Arc;

use bytes::Bytes;
use postrider_kafka::parked::{self, BadParkedRecord};
use postrider_kafka::record::Fetched;
use postrider_types::delivery::Waiting;
use postrider_types::event::last_header;
use postrider_types::{AccountId, DeadLetter, DeadLetterReason, Event, EventId, EventType, Header, Origin};

pub use scan::{MAX_DEPTH, NotAnEvent, Scan, scan};

/// A record as it was read, detached from the client's buffers.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// Where it was read; for a source record, the event's origin.
    pub origin: Origin,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl From<Fetched> for RawRecord {
    fn from(record: Fetched) -> Self {
        Self {
            origin: record.origin,
            key: record.key,
            headers: record.headers,
            value: record.value,
        }
    }
}

impl RawRecord {
    /// About what it holds in memory.
    #[must_use]
    pub fn size(&self) -> u64 {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|header| header.name.len() + len(&header.value))
            .sum();
        (len(&self.key) + len(&self.value) + headers) as u64
    }

    /// The dead letter of a record that is no event.
    #[must_use]
    pub fn rejected(self, rejection: &Rejection) -> DeadLetter {
        DeadLetter {
            origin: self.origin,
            key: self.key,
            headers: self.headers,
            value: self.value,
            reason: rejection.reason(),
            message: rejection.sentence(),
            delivery: None,
        }
    }
}

/// Why a record is no event.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// Null, or zero bytes.
    #[error("the value is null or empty")]
    Empty,
    /// Over the limit.
    #[error("the value has {size} bytes, more than the {limit} of consumer.max_event_bytes")]
    TooLarge {
        /// Its size.
        size: usize,
        /// `consumer.max_event_bytes`
        limit: usize,
    },
    /// What the value is instead.
    #[error(transparent)]
    NotAnEvent(#[from] NotAnEvent),
    /// The name is no event type.
    #[error("the event type is none of order_shipped, order_error, tracking_update")]
    UnknownEventType,
    /// The account is no account's id.
    #[error("the account is not 1 to 128 of A-Z a-z 0-9 . _ -")]
    BadAccount,
    /// The id is no event's id.
    #[error("the event id is not 1 to 256 visible ASCII characters")]
    BadEventId,
    /// A record of a retry topic that postrider did not write.
    #[error("the retry record cannot be read back")]
    BadRetryRecord(#[source] BadParkedRecord),
}

impl Rejection {
    /// The closed word for it.
    #[must_use]
    pub const fn reason(&self) -> DeadLetterReason {
        match self {
            Self::Empty => DeadLetterReason::Empty,
            Self::TooLarge { .. } => DeadLetterReason::TooLarge,
            Self::NotAnEvent(NotAnEvent::NotUtf8 { .. }) => DeadLetterReason::NotUtf8,
            Self::NotAnEvent(NotAnEvent::NotJson(_)) => DeadLetterReason::NotJson,
            Self::NotAnEvent(NotAnEvent::NotObject) => DeadLetterReason::NotObject,
            Self::UnknownEventType => DeadLetterReason::UnknownEventType,
            Self::BadAccount => DeadLetterReason::BadAccount,
            Self::BadEventId => DeadLetterReason::BadEventId,
            Self::BadRetryRecord(_) => DeadLetterReason::BadRetryRecord,
        }
    }

    /// The whole chain in one sentence.
    fn sentence(&self) -> String {
        let mut sentence = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            sentence = format!("{sentence}: {error}");
            cause = error.source();
        }
        sentence
    }
}

/// The headers that give an event its id; the first that is there counts.
pub const EVENT_ID: [&str; 2] = ["event-id", "ce_id"];

/// Reads a source record as an event.
///
/// # Errors
/// [`Rejection`]; the record goes to the dead letters whole.
pub fn source(record: &RawRecord, default_type: EventType, max_bytes: usize) -> Result<Event, Rejection> {
    let body = record
        .value
        .clone()
        .filter(|value| !value.is_empty())
        .ok_or(Rejection::Empty)?;
    if body.len() > max_bytes {
        return Err(Rejection::TooLarge {
            size: body.len(),
            limit: max_bytes,
        });
    }
    let scan = scan(&body)?;
    let headers = &record.headers;
    Ok(Event {
        id: event_id(headers, &record.origin)?,
        event_type: event_type(headers, &scan, default_type)?,
        account: account(headers, &scan)?,
        origin: record.origin.clone(),
        facts: scan.facts,
        key: record.key.clone(),
        headers: headers.clone(),
        body,
    })
}

/// Reads a retry record as the event it carries and what its delivery waits for.
///
/// # Errors
/// [`Rejection`]; the record goes to the dead letters whole.
pub fn retry(record: RawRecord) -> Result<(Arc<Event>, Box<Waiting>), Rejection> {
    let parked = parked::read(&record.headers).map_err(Rejection::BadRetryRecord)?;
    let body = record.value.unwrap_or_default();
    // The body was checked when it came; a limit that was lowered since must not kill what is parked.
    let facts = scan(&body).map(|scan| scan.facts).unwrap_or_default();
    let event = Event {
        origin: parked.origin,
        id: parked.id,
        event_type: parked.event_type,
        account: parked.account,
        facts,
        key: record.key,
        headers: parked.headers,
        body,
    };
    Ok((Arc::new(event), Box::new(parked.waiting)))
}

fn text<'a>(headers: &'a [Header], names: [&str; 2]) -> Option<Result<&'a str, std::str::Utf8Error>> {
    names
        .into_iter()
        .find_map(|name| last_header(headers, name))
        .map(|value| std::str::from_utf8(value))
}

fn event_id(headers: &[Header], origin: &Origin) -> Result<EventId, Rejection> {
    let Some(id) = text(headers, EVENT_ID) else {
        return Ok(EventId::from(origin));
    };
    id.ok()
        .and_then(|id| EventId::new(id).ok())
        .ok_or(Rejection::BadEventId)
}

fn event_type(headers: &[Header], scan: &Scan<'_>, default: EventType) -> Result<EventType, Rejection> {
    let named = match text(headers, ["event-type", "ce_type"]) {
        Some(header) => header.ok(),
        None => match &scan.event {
            scan::Field::Absent => return Ok(default),
            scan::Field::Text(text) => Some(&**text),
            scan::Field::Other => None,
        },
    };
    named
        .and_then(|name| name.parse().ok())
        .ok_or(Rejection::UnknownEventType)
}

fn account(headers: &[Header], scan: &Scan<'_>) -> Result<AccountId, Rejection> {
    let named = match text(headers, ["account-id", "account-id"]) {
        Some(header) => header.ok(),
        None => match &scan.account {
            scan::Field::Absent => return Ok(AccountId::default()),
            scan::Field::Text(text) => Some(&**text),
            scan::Field::Other => None,
        },
    };
    named
        .and_then(|name| AccountId::new(name).ok())
        .ok_or(Rejection::BadAccount)
}

#[cfg(test)]
mod tests;
