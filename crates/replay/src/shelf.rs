//! Where outcomes and events are read: the results topic, the source topics, and the dead letters for events whose
//! source record is kept no more.

mod letters;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use postrider_kafka::encode::Limits;
use postrider_kafka::reader::Reader;
use postrider_kafka::record::Fetched;
use postrider_types::{Event, EventType, Offset, Outcome, Partition, Timestamp, WebhookId, retry_record};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::document::{Candidate, Span};
use crate::ports::{Archive, Letters, Trouble};
use crate::request::{Ended, Wanted};
use crate::service::Parts;

/// How much older than an event's time its outcomes may look: the clocks of upstream and of Kafka differ.
const MARGIN: Duration = Duration::from_secs(3_600);
/// Bytes of events that are looked up at once, about.
const AHEAD_BYTES: usize = 4 << 20;
/// How many events are looked up at once where some have to come from dead letters.
const LETTERS: usize = 64;

/// Reads records as events.
pub trait Decoder: Send + Sync {
    /// What a record comes to today that was no event when it came: the event, and the webhooks that want it. `None`
    /// when it is none today either.
    fn reconsider(&self, record: Fetched) -> Option<(Event, Vec<WebhookId>)>;

    /// The event that a record was read as before; `default` is the type of a record that names none. `None` when it
    /// is none any more.
    fn event(&self, record: Fetched, default: EventType) -> Option<Event>;
}

/// The first offset that a partition keeps and the one after the last; none of one that is gone.
type Held = Option<(i64, i64)>;

/// The position of a source record, and its time.
type Source = (Arc<str>, Partition, Offset, Timestamp);

/// Reads for one replay.
pub(crate) struct Shelf {
    parts: Arc<Parts>,
    reader: Reader,
    results: Arc<str>,
    dead_letters: Arc<str>,
    /// Since when dead letters may be of use.
    since: Timestamp,
    /// What each source partition holds, as of the last look.
    ranges: HashMap<(Arc<str>, Partition), Held>,
    /// Where the dead letters of the list's source records are; looked for when one is needed.
    letters: Option<HashMap<Source, (Partition, Offset)>>,
}

impl Shelf {
    pub(crate) fn open(parts: &Arc<Parts>, since: Timestamp, stop: &CancellationToken) -> Result<Self, Trouble> {
        let reader = Reader::new(&parts.connection.reader(), stop.clone())?;
        Ok(Self {
            reader,
            results: parts.results.topic.as_str().into(),
            dead_letters: parts.results.dead_letters.as_str().into(),
            parts: Arc::clone(parts),
            since: earlier(since),
            ranges: HashMap::new(),
            letters: None,
        })
    }

    /// The records of the first of these, as far as their source records are kept.
    fn sources(&mut self, rest: &[Candidate], most: usize) -> Result<Vec<Option<Fetched>>, Trouble> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut last: Option<Fetched> = None;
        for candidate in rest.iter().take(most) {
            // Several webhooks may be owed the same event, one after the other.
            if !last.as_ref().is_some_and(|record| is_of(record, candidate)) {
                last = self.source(candidate)?;
            }
            bytes += last.as_ref().map_or(0, Fetched::size);
            found.push(last.clone());
            if bytes >= AHEAD_BYTES {
                break;
            }
        }
        Ok(found)
    }

    fn source(&mut self, candidate: &Candidate) -> Result<Option<Fetched>, Trouble> {
        let key = (Arc::clone(&candidate.topic), candidate.partition);
        let range = match self.ranges.get(&key) {
            Some(range) => *range,
            None => {
                let range = self.reader.range(&candidate.topic, candidate.partition)?;
                *self.ranges.entry(key).or_insert(range)
            }
        };
        let offset = candidate.offset;
        if !range.is_some_and(|(low, high)| (low..high).contains(&offset.0)) {
            return Ok(None);
        }
        let record = self.reader.one(&candidate.topic, candidate.partition, offset)?;
        Ok(record.filter(|record| is_of(record, candidate)))
    }

    /// What can be in a topic about events since a time.
    fn spans_of(&self, topic: &Arc<str>, from: Timestamp) -> Result<Vec<Span>, Trouble> {
        let mut spans = Vec::new();
        for partition in self.reader.partitions(topic)? {
            let Some((low, end)) = self.reader.range(topic, partition)? else {
                continue;
            };
            let start = self.reader.offset_at(topic, partition, earlier(from))?;
            let start = start.clamp(low, end);
            spans.push(Span { partition, start, end });
        }
        if spans.is_empty() {
            return Err(Trouble::NoTopic(Arc::clone(topic)));
        }
        Ok(spans)
    }

    fn event(&self, record: Fetched, candidate: &Candidate) -> Option<Event> {
        replayable(self.parts.decoder.event(record, candidate.event)?, &self.parts.limits)
    }
}

/// An event, unless a retry topic would refuse it: that is lost to a replay like what is kept no more.
fn replayable(event: Event, limits: &Limits) -> Option<Event> {
    retry_record::fits(&event, limits.retry).then_some(event)
}

impl Archive for Shelf {
    fn spans(&mut self, wanted: &Wanted) -> Result<Vec<Span>, Trouble> {
        let topic = match wanted.result {
            Ended::DeadLetter => &self.dead_letters,
            Ended::Failed | Ended::Skipped | Ended::Any => &self.results,
        };
        self.spans_of(topic, wanted.from)
    }

    fn letters(&mut self, span: Span, wanted: &Wanted, most: usize) -> Result<Letters, Trouble> {
        self.reconsider(span, wanted, most)
    }

    fn outcomes(&mut self, span: Span, each: &mut dyn FnMut(i64, &Outcome) -> ControlFlow<()>) -> Result<(), Trouble> {
        let topic = Arc::clone(&self.results);
        // A new list comes of it, and what was known for the last one is old.
        self.ranges.clear();
        self.letters = None;
        let range = (span.start, span.end);
        self.reader.read(&topic, span.partition, range, |record| {
            match serde_json::from_slice::<Outcome>(record.value.as_deref().unwrap_or_default()) {
                Ok(outcome) => each(record.origin.offset.0, &outcome),
                Err(error) => {
                    warn!(offset = record.origin.offset.0, %error, "A record of the results topic is no outcome");
                    ControlFlow::Continue(())
                }
            }
        })?;
        Ok(())
    }

    fn events(&mut self, rest: &[Candidate], most: usize) -> Result<Vec<Option<Event>>, Trouble> {
        let mut found = self.sources(rest, most)?;
        if found.iter().any(Option::is_none) {
            // How large they are is not known before they are had.
            found.truncate(LETTERS);
            self.fill_in(rest, &mut found)?;
        }
        let events = found.into_iter().zip(rest);
        Ok(events
            .map(|(record, candidate)| self.event(record?, candidate))
            .collect())
    }
}

fn earlier(time: Timestamp) -> Timestamp {
    let margin = i64::try_from(MARGIN.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(margin))
}

fn source(candidate: &Candidate) -> Source {
    (
        Arc::clone(&candidate.topic),
        candidate.partition,
        candidate.offset,
        candidate.time,
    )
}

fn is_of(record: &Fetched, candidate: &Candidate) -> bool {
    let origin = &record.origin;
    *origin.topic == *candidate.topic
        && (origin.partition, origin.offset, origin.timestamp)
            == (candidate.partition, candidate.offset, candidate.time)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_types::Header;

    use super::*;
    use crate::samples;

    #[test]
    fn an_event_with_very_many_small_headers_is_not_taken_for_one_that_a_retry_topic_takes() {
        let small = Header {
            name: "a".into(),
            value: Some(Bytes::from_static(b"1")),
        };
        let event = Event {
            headers: vec![small; 100_000],
            ..samples::event(1)
        };
        let in_a_record = "o.a".len() + "1".len() + 2;
        let limits = |each: usize| Limits {
            retry: event.body.len() + retry_record::ROOM + 100_000 * each,
            ..Limits::DEFAULT
        };
        assert!(replayable(event.clone(), &limits(in_a_record)).is_none());
        assert!(replayable(event.clone(), &limits(2 * in_a_record)).is_some());
    }
}
