//! What was asked for.

use std::str::FromStr;

use memchr::memchr;
use memchr::memmem::Finder;
use postrider_consumer::decode::scan;
use postrider_types::{Event, Facts, Offset, Origin, Outcome, Partition, Timestamp, WebhookId};

/// What was asked for, as it can be looked for.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// The record and the webhook that the text names, if it names a place.
    place: Option<Place>,
    text: Finder<'static>,
    /// What a retry record's state says of the place.
    state: Finder<'static>,
}

/// A source record, and a webhook if one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) webhook: Option<WebhookId>,
}

impl Subject {
    /// A delivery's id or a position id names a place; anything else is a text that events carry.
    pub(super) fn new(text: &str) -> Self {
        let place = text.parse().ok();
        let state = place.as_ref().map(state).unwrap_or_default();
        Self {
            place,
            text: Finder::new(text).into_owned(),
            state: Finder::new(&state).into_owned(),
        }
    }

    /// The place, if it is one.
    pub(super) const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Nothing of it can be older.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.place().map(|place| place.origin.timestamp)
    }

    /// The webhook that alone is meant.
    pub(super) fn webhook(&self) -> Option<&WebhookId> {
        self.place()?.webhook.as_ref()
    }

    /// Whether these bytes can concern it.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.text.find(bytes).is_some()
    }

    /// Whether a payload can concern it. JSON may write any text with escapes, so one that has some is read.
    pub(super) fn is_in_payload(&self, value: &[u8]) -> bool {
        self.is_in(value) || has_escapes(value) && scan(value).is_ok_and(|scan| self.is_among(&scan.facts))
    }

    /// Whether a record of the results topic can concern it.
    pub(super) fn is_in_outcome(&self, value: &[u8]) -> bool {
        let is_of = |outcome: Outcome| self.is_of(&outcome);
        self.is_in(value) || has_escapes(value) && serde_json::from_slice(value).is_ok_and(is_of)
    }

    /// Whether it is the value of a header that names an event.
    pub(super) fn is_header(&self, value: &[u8]) -> bool {
        self.text.needle() == value
    }

    /// Whether a retry record's state can concern it, if it is a place.
    pub(super) fn is_in_state(&self, state: &[u8]) -> bool {
        self.place.is_some() && self.state.find(state).is_some()
    }

    /// Whether an event is meant.
    pub(super) fn is(&self, event: &Event) -> bool {
        self.is_at(&event.origin) || self.is_text(event.id.as_str()) || self.is_among(&event.facts)
    }

    fn is_among(&self, facts: &Facts) -> bool {
        let ids = [&facts.order_id, &facts.transaction_id, &facts.tracking];
        ids.into_iter().flatten().any(|id| self.is_text(id))
    }

    /// Whether an outcome's event is meant.
    pub(super) fn is_of(&self, outcome: &Outcome) -> bool {
        let ids = [&outcome.order_id, &outcome.transaction_id, &outcome.tracking];
        origin(outcome).is_some_and(|origin| self.is_at(&origin))
            || self.is_text(outcome.event_id.as_str())
            || ids.into_iter().flatten().any(|id| self.is_text(id))
    }

    /// Whether it is this place.
    pub(super) fn is_at(&self, origin: &Origin) -> bool {
        self.place().is_some_and(|place| place.origin == *origin)
    }

    fn is_text(&self, id: &str) -> bool {
        self.text.needle() == id.as_bytes()
    }
}

fn has_escapes(json: &[u8]) -> bool {
    memchr(b'\\', json).is_some()
}

/// The source record of an outcome; a Test has none.
pub(super) fn origin(outcome: &Outcome) -> Option<Origin> {
    outcome.source.as_ref().map(|source| Origin {
        topic: source.topic.as_str().into(),
        partition: source.partition,
        offset: source.offset,
        timestamp: outcome.event_time,
    })
}

/// The source record as the state of a retry record names it: see `postrider_kafka::parked`.
fn state(place: &Place) -> String {
    let origin = &place.origin;
    let topic = serde_json::Value::from(&*origin.topic);
    format!(
        "[{topic},{},{},{}]",
        origin.partition,
        origin.offset,
        origin.timestamp.as_millis()
    )
}

/// The text names no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    /// `<topic>-<partition>-<offset>-<timestamp ms>`, and for a delivery `.<webhook>`. Topics may hold dots and dashes,
    /// webhooks no dots.
    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (position, webhook) = match text.rsplit_once('.') {
            Some((position, webhook)) if is_position(position) => (position, Some(webhook)),
            _ => (text, None),
        };
        let webhook = webhook.map(WebhookId::new).transpose().map_err(|_| NoPlace)?;
        let origin = read(position).ok_or(NoPlace)?;
        Ok(Self { origin, webhook })
    }
}

fn is_position(text: &str) -> bool {
    read(text).is_some()
}

fn read(position: &str) -> Option<Origin> {
    let mut parts = position.rsplitn(4, '-');
    let timestamp = parts.next()?.parse().ok()?;
    let offset = parts.next()?.parse().ok()?;
    let partition = parts.next()?.parse().ok()?;
    let topic = parts.next().filter(|topic| !topic.is_empty())?;
    Some(Origin {
        topic: topic.into(),
        partition: Partition(partition),
        offset: Offset(offset),
        timestamp: Timestamp::from_millis(timestamp),
    })
}
