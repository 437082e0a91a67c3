//! Counts and times. Whole hours are counted as the rows come in; the hours at both ends of what is asked for, and
//! everything about an identifier, from the rows themselves.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use postrider_types::{EventType, OutcomeResult, Timestamp};
use rusqlite::{OptionalExtension as _, params, params_from_iter};
use schemars::JsonSchema;
use serde::Serialize;

use crate::filter::Filter;
use crate::histogram::Histogram;
use crate::key::{HOUR, Key};
use crate::progress::Indexed;
use crate::query::{Keys, facet_conditions};
use crate::reader::{Failed, Session};
use crate::writer::meta;

/// How many attempts there were, and what became of their deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// All outcomes.
    pub total: u64,
    /// The endpoint took it.
    pub success: u64,
    /// It failed, and another attempt followed.
    pub retrying: u64,
    /// It failed for good.
    pub failed: u64,
    /// Nothing was sent.
    pub skipped: u64,
}

impl Counts {
    pub(crate) const fn add(&mut self, result: OutcomeResult, count: u64) {
        self.total += count;
        match result {
            OutcomeResult::Success => self.success += count,
            OutcomeResult::Retrying => self.retrying += count,
            OutcomeResult::Failed => self.failed += count,
            OutcomeResult::Skipped => self.skipped += count,
        }
    }

    /// The share of requests that succeeded, of 1; `None` when none was sent.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn success_rate(&self) -> Option<f64> {
        let sent = self.total - self.skipped;
        (sent > 0).then(|| self.success as f64 / sent as f64)
    }
}

/// Times spent in milliseconds, within 3 %; null where nothing was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct TimeSpent {
    /// Half of the requests took no longer.
    pub p50: Option<f64>,
    /// 95 in 100 took no longer.
    pub p95: Option<f64>,
    /// 99 in 100 took no longer.
    pub p99: Option<f64>,
}

/// What is told of some outcomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
    /// The share of requests that succeeded, of 1; null when none was sent.
    pub success_rate: Option<f64>,
    /// How long they took.
    pub time_spent_ms: TimeSpent,
}

/// Of an event type.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct OfEvent {
    /// The type.
    pub event: EventType,
    /// What is told of it.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Of an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct OfEndpoint {
    /// The endpoint, as outcomes have it.
    pub endpoint: String,
    /// What is told of it.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Of an hour.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct OfHour {
    /// When it began.
    pub hour: Timestamp,
    /// What is told of it.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Counts and times of the outcomes that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Stats {
    /// Of all of them.
    #[serde(flatten)]
    pub all: Summary,
    /// Of each event type that occurs.
    pub by_event: Vec<OfEvent>,
    /// Of each endpoint, the busiest first; at most 100.
    pub by_endpoint: Vec<OfEndpoint>,
    /// Of each hour in which there is anything, in order; at most the last 2,400.
    pub by_hour: Vec<OfHour>,
    /// How far the index is behind the topic.
    pub indexed: Indexed,
}

/// Endpoints that are told of.
const MOST_ENDPOINTS: usize = 100;
/// Hours that are told of.
const MOST_HOURS: usize = 2_400;
/// Rows between two looks at whether anybody still waits.
const CHECK_EVERY: usize = 4_096;

pub(crate) fn stats(session: &Session<'_>, filter: &Filter) -> Result<Stats, Failed> {
    let mut gathered = Gathered::new(session, filter)?;
    let keys = kept(session, filter)?;
    if !filter.terms().is_empty() {
        gathered.add_terms(session, filter)?;
    } else if keys.start < keys.end {
        let (first, last) = whole_hours(&keys);
        if first < last {
            gathered.add_rows(session, keys.start..Key::of_hour(first))?;
            gathered.add_hours(session, first..last)?;
            gathered.add_rows(session, Key::of_hour(last)..keys.end)?;
        } else {
            gathered.add_rows(session, keys)?;
        }
    }
    Ok(gathered.told())
}

/// What is asked for, as far as it was not pruned.
fn kept(session: &Session<'_>, filter: &Filter) -> Result<Range<Key>, Failed> {
    let floor: Option<i64> = meta(session.connection, "floor")?;
    let keys = filter.keys();
    Ok(keys.start.max(Key(floor.unwrap_or(0)))..keys.end)
}

/// From the first hour that is in as a whole to the one that is not any more.
fn whole_hours(keys: &Range<Key>) -> (i64, i64) {
    let begun = keys.start.hour();
    let first = begun + i64::from(Key::of_hour(begun) < keys.start);
    let last = if keys.end == Key::END {
        i64::MAX
    } else {
        keys.end.hour()
    };
    (first, last)
}

/// What is told of a facet's rows.
struct Told {
    event: EventType,
    result: OutcomeResult,
    endpoint: usize,
}

#[derive(Default)]
struct Sum {
    counts: Counts,
    spent: Histogram,
}

impl Sum {
    fn add(&mut self, result: OutcomeResult, count: u64, spent: Spent<'_>) {
        self.counts.add(result, count);
        match spent {
            Spent::One(None) => {}
            Spent::One(Some(micros)) => self.spent.add(micros),
            Spent::Many(bytes) => self.spent.add_bytes(bytes),
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            counts: self.counts,
            success_rate: self.counts.success_rate(),
            time_spent_ms: TimeSpent {
                p50: self.spent.quantile(0.5),
                p95: self.spent.quantile(0.95),
                p99: self.spent.quantile(0.99),
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Spent<'a> {
    One(Option<u64>),
    Many(&'a [u8]),
}

/// Sums of everything that is told of.
struct Gathered {
    facets: HashMap<i64, Told>,
    endpoints: Vec<String>,
    all: Sum,
    by_event: BTreeMap<EventType, Sum>,
    by_endpoint: BTreeMap<usize, Sum>,
    by_hour: BTreeMap<i64, Sum>,
}

impl Gathered {
    fn new(session: &Session<'_>, filter: &Filter) -> Result<Self, Failed> {
        let (conditions, values) = facet_conditions(filter);
        let sql = format!("SELECT id, event, result, endpoint FROM facets WHERE {conditions} ORDER BY endpoint");
        let mut statement = session.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let (mut facets, mut endpoints) = (HashMap::new(), Vec::<String>::new());
        while let Some(row) = rows.next()? {
            let endpoint: String = row.get(3)?;
            if endpoints.last() != Some(&endpoint) {
                endpoints.push(endpoint);
            }
            let (event, result): (String, String) = (row.get(1)?, row.get(2)?);
            let told = event.parse().ok().zip(result_of(&result)).map(|(event, result)| Told {
                event,
                result,
                endpoint: endpoints.len() - 1,
            });
            facets.extend(told.map(|told| Ok::<_, Failed>((row.get(0)?, told))).transpose()?);
        }
        Ok(Self {
            facets,
            endpoints,
            all: Sum::default(),
            by_event: BTreeMap::new(),
            by_endpoint: BTreeMap::new(),
            by_hour: BTreeMap::new(),
        })
    }

    fn add(&mut self, hour: i64, facet: i64, count: u64, spent: Spent<'_>) {
        let Some(told) = self.facets.get(&facet) else { return };
        let sums = [
            &mut self.all,
            self.by_event.entry(told.event).or_default(),
            self.by_endpoint.entry(told.endpoint).or_default(),
            self.by_hour.entry(hour).or_default(),
        ];
        for sum in sums {
            sum.add(told.result, count, spent);
        }
    }

    fn add_hours(&mut self, session: &Session<'_>, hours: Range<i64>) -> Result<(), Failed> {
        let mut statement = session
            .connection
            .prepare_cached("SELECT hour, facet, count, spent FROM hours WHERE hour >= ?1 AND hour < ?2")?;
        let mut rows = statement.query(params![hours.start, hours.end])?;
        while let Some(row) = rows.next()? {
            let spent = row.get_ref(3)?.as_blob().unwrap_or_default();
            self.add(row.get(0)?, row.get(1)?, row.get(2)?, Spent::Many(spent));
        }
        Ok(())
    }

    fn add_rows(&mut self, session: &Session<'_>, keys: Range<Key>) -> Result<(), Failed> {
        let mut statement = session
            .connection
            .prepare_cached("SELECT id, facet, spent FROM outcomes WHERE id >= ?1 AND id < ?2")?;
        let mut rows = statement.query(params![keys.start.0, keys.end.0])?;
        let mut count: usize = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            if count.is_multiple_of(CHECK_EVERY) {
                session.check()?;
            }
            let key = Key(row.get(0)?);
            self.add(key.hour(), row.get(1)?, 1, Spent::One(row.get(2)?));
        }
        Ok(())
    }

    fn add_terms(&mut self, session: &Session<'_>, filter: &Filter) -> Result<(), Failed> {
        let mut keys = Keys::new(session, filter, filter.keys())?;
        let mut statement = session
            .connection
            .prepare_cached("SELECT facet, spent FROM outcomes WHERE id = ?1")?;
        while let Some(key) = keys.next()? {
            let row = statement
                .query_row([key.0], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if let Some((facet, spent)) = row {
                self.add(key.hour(), facet, 1, Spent::One(spent));
            }
        }
        Ok(())
    }

    fn told(self) -> Stats {
        let mut endpoints: Vec<(usize, Sum)> = self.by_endpoint.into_iter().collect();
        endpoints.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.counts.total));
        endpoints.truncate(MOST_ENDPOINTS);
        let unseen = self.by_hour.len().saturating_sub(MOST_HOURS);
        let events = self.by_event.iter();
        Stats {
            all: self.all.summary(),
            by_event: events
                .map(|(event, sum)| OfEvent {
                    event: *event,
                    summary: sum.summary(),
                })
                .collect(),
            by_endpoint: endpoints
                .into_iter()
                .map(|(at, sum)| OfEndpoint {
                    endpoint: self.endpoints[at].clone(),
                    summary: sum.summary(),
                })
                .collect(),
            by_hour: self
                .by_hour
                .iter()
                .skip(unseen)
                .map(|(hour, sum)| OfHour {
                    hour: Timestamp::from_millis(hour * HOUR),
                    summary: sum.summary(),
                })
                .collect(),
            indexed: Indexed::default(),
        }
    }
}

fn result_of(text: &str) -> Option<OutcomeResult> {
    OutcomeResult::ALL.into_iter().find(|result| result.as_str() == text)
}
