//! Looking through the topics for what concerns a subject.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use postrider_consumer::decode::{self, RawRecord, Rejection};
use postrider_consumer::ledger;
use postrider_kafka::Connection;
use postrider_kafka::parked::STATE_HEADER;
use postrider_kafka::record::Fetched;
use postrider_kafka::search::{Bounds, Committed, Glimpse, Searched, Searcher};
use postrider_kafka::topics::Layout;
use postrider_types::delivery::Waiting;
use postrider_types::event::last_header;
use postrider_types::{Event, EventType, Offset, Origin, Outcome, Partition, Timestamp};
use rdkafka::error::KafkaResult;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::subject::Subject;
use crate::config::Config;

/// How long to look through each kind of topic; together less than the API gives a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Records of each kind that are kept, and their bytes.
const RECORDS: usize = 1_000;
const BYTES: usize = 8 << 20;

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Places {
    connection: Connection,
    sources: Vec<(String, EventType)>,
    largest: usize,
    results: String,
    dead_letters: String,
    layout: Layout,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Events that are meant.
    pub(super) events: Vec<Event>,
    /// Records of sources that can be meant, and why they are no events.
    pub(super) unreadable: Vec<(Origin, Rejection)>,
    /// Outcomes of events that are meant.
    pub(super) outcomes: Vec<Outcome>,
    /// Parked deliveries of events that are meant.
    pub(super) parked: Vec<Waits>,
    /// Dead letters that can be meant: the record each was made of, and why that was no event, if that is why.
    pub(super) dead: HashMap<Origin, Option<String>>,
    /// What is committed of the sources.
    pub(super) progress: Progress,
    /// How many records were looked at.
    pub(super) looked_at: u64,
    /// Whether all were.
    pub(super) is_complete: bool,
    /// Topics that could not be read.
    pub(super) unread: Vec<String>,
}

impl Gathered {
    /// Notes how far a search came, and hands on what it found.
    fn take(&mut self, searched: Searched) -> Vec<Fetched> {
        self.looked_at += searched.looked_at;
        self.is_complete &= searched.is_complete;
        self.unread.extend(searched.missing);
        searched.found
    }
}

/// A parked delivery, and where it stands.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) at: Origin,
    pub(super) event: Arc<Event>,
    pub(super) waiting: Box<Waiting>,
}

/// How far the group is with each partition of the sources.
#[derive(Debug, Default)]
pub(super) struct Progress(HashMap<(Arc<str>, Partition), (i64, HashSet<i64>)>);

impl Progress {
    fn note(&mut self, topic: &str, committed: Committed) {
        let base = committed.offset.0;
        let above = ledger::decode(base, &committed.metadata).unwrap_or_default();
        let place = (topic.into(), committed.partition);
        self.0.insert(place, (base, above.into_iter().collect()));
    }

    /// Whether a record is settled, and that is committed.
    pub(super) fn is_settled(&self, origin: &Origin) -> bool {
        let place = (Arc::clone(&origin.topic), origin.partition);
        let known = self.0.get(&place);
        known.is_some_and(|(base, above)| origin.offset.0 < *base || above.contains(&origin.offset.0))
    }

    #[cfg(test)]
    pub(super) fn of(topic: &str, partition: i32, base: i64, above: &[i64]) -> Self {
        let place = (topic.into(), Partition(partition));
        Self(HashMap::from([(place, (base, above.iter().copied().collect()))]))
    }
}

impl Places {
    pub(super) fn new(config: &Config, connection: Connection) -> Self {
        let sources = config.consumer.sources.iter();
        Self {
            connection,
            sources: sources.map(|source| (source.topic.clone(), source.event)).collect(),
            largest: config.consumer.max_event_bytes.as_usize(),
            results: config.results.topic.clone(),
            dead_letters: config.results.dead_letters.clone(),
            layout: config.layout(),
        }
    }

    /// Blocks.
    pub(super) fn gather(&self, subject: &Subject, from: Timestamp, stop: &CancellationToken) -> KafkaResult<Gathered> {
        let mut gathered = Gathered {
            is_complete: true,
            ..Gathered::default()
        };
        let bounds = Bounds {
            from,
            patience: PATIENCE,
            records: RECORDS,
            bytes: BYTES,
        };
        let searcher = Searcher::new(&self.connection, stop.clone())?;
        self.sources(subject, &bounds, &searcher, &mut gathered)?;
        let mut look = |topics: &[String], wanted: &dyn Fn(&Glimpse<'_>) -> bool| {
            let searched = searcher.search(topics, &bounds, |glimpse| wanted(glimpse))?;
            KafkaResult::Ok(gathered.take(searched))
        };
        let results = look(std::slice::from_ref(&self.results), &|record| {
            subject.is_in_outcome(record.value())
        })?;
        let retries = look(&self.retries(&searcher)?, &|record| may_be_parked(subject, record))?;
        let dead = look(std::slice::from_ref(&self.dead_letters), &|record| {
            may_be_dead(subject, record)
        })?;
        let outcomes = results.iter().filter_map(outcome);
        gathered.outcomes = outcomes.filter(|outcome| subject.is_of(outcome)).collect();
        let parked = retries.into_iter().filter_map(waits);
        gathered.parked = parked.filter(|waits| subject.is(&waits.event)).collect();
        gathered.dead = dead.iter().filter_map(dead_letter).collect();
        Ok(gathered)
    }

    /// The retry topics, those that the schedule no longer has included.
    fn retries(&self, searcher: &Searcher) -> KafkaResult<Vec<String>> {
        let existing = searcher.topics()?;
        let retired = self.layout.retired(existing.iter());
        let all = self.layout.retry_topics().into_iter().chain(retired);
        Ok(all.map(|(name, _)| name).collect())
    }

    fn sources(
        &self,
        subject: &Subject,
        bounds: &Bounds,
        searcher: &Searcher,
        gathered: &mut Gathered,
    ) -> KafkaResult<()> {
        let place = subject.place().map(|place| &place.origin);
        let sources = self.sources.iter();
        let topics = sources.filter(|(topic, _)| place.is_none_or(|place| *place.topic == **topic));
        // A place is one record.
        let bounds = Bounds {
            records: if place.is_some() { 1 } else { bounds.records },
            ..*bounds
        };
        for (topic, default) in topics {
            let wanted = |record: &Glimpse<'_>| match place {
                Some(place) => (place.partition, place.offset) == (record.partition(), record.offset()),
                None => may_be_meant(subject, record),
            };
            let mut searched = searcher.search(std::slice::from_ref(topic), &bounds, wanted)?;
            searched.is_complete |= place.is_some() && !searched.found.is_empty();
            for found in gathered.take(searched) {
                self.read(found, *default, subject, gathered);
            }
            for part in searcher.committed(topic)? {
                gathered.progress.note(topic, part);
            }
        }
        Ok(())
    }

    fn read(&self, found: Fetched, default: EventType, subject: &Subject, gathered: &mut Gathered) {
        let record: RawRecord = found.into();
        match decode::source(&record, default, self.largest) {
            Ok(event) if subject.is(&event) => gathered.events.push(event),
            Ok(_) => {}
            Err(rejection) => gathered.unreadable.push((record.origin, rejection)),
        }
    }
}

fn may_be_parked(subject: &Subject, record: &Glimpse<'_>) -> bool {
    let state = record.header(STATE_HEADER).unwrap_or_default();
    if subject.place().is_some() {
        return subject.is_in_state(state);
    }
    subject.is_in_payload(record.value()) || subject.is_in(state)
}

/// Whether a source's record, or what was kept of it, can be meant: by what it says, by its key, by the id it was given.
fn may_be_meant(subject: &Subject, record: &Glimpse<'_>) -> bool {
    let mut given = decode::EVENT_ID.iter().filter_map(|name| record.header(name));
    subject.is_in_payload(record.value()) || subject.is_in(record.key()) || given.any(|id| subject.is_header(id))
}

fn may_be_dead(subject: &Subject, record: &Glimpse<'_>) -> bool {
    let Some(place) = subject.place() else {
        return may_be_meant(subject, record);
    };
    // More than this offset of another partition matches too; who reads it compares the whole place.
    let offset = place.origin.offset.to_string();
    record.header("pr-dl-offset") == Some(offset.as_bytes())
}

fn outcome(found: &Fetched) -> Option<Outcome> {
    let read = serde_json::from_slice(found.value.as_ref()?);
    read.inspect_err(|error| debug!(%error, "A record of the results topic is no outcome"))
        .ok()
}

fn waits(found: Fetched) -> Option<Waits> {
    let at = found.origin.clone();
    let (event, waiting) = decode::retry(found.into()).ok()?;
    Some(Waits { at, event, waiting })
}

/// The record that a dead letter was made of, and why it is no event; a delivery that was given up names its webhook.
fn dead_letter(found: &Fetched) -> Option<(Origin, Option<String>)> {
    let text = |name| {
        let value = last_header(&found.headers, name)?;
        std::str::from_utf8(value).ok()
    };
    let origin = Origin {
        topic: text("pr-dl-topic")?.into(),
        partition: Partition(text("pr-dl-partition")?.parse().ok()?),
        offset: Offset(text("pr-dl-offset")?.parse().ok()?),
        timestamp: Timestamp::from_millis(text("pr-dl-timestamp")?.parse().ok()?),
    };
    let reason = text("pr-dl-message").filter(|_| text("pr-webhook-id").is_none());
    Some((origin, reason.map(str::to_owned)))
}
