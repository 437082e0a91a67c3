//! Finding outcomes, newest first, by keys alone; documents are read for those that are answered only.
//!
//! - What a facet tells (account, webhook, endpoint, event, result, retry, status) is asked of the few facets there
//!   are. The rows of those that fit are merged by their keys: each facet's are in order already.
//! - An identifier leads to its rows, bucket by bucket.
//! - A time is a range of keys.

use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::ops::Range;

use postrider_types::{DeliveryId, Offset, Outcome, Partition};
use rusqlite::types::{ToSql, Value};
use rusqlite::{OptionalExtension as _, params, params_from_iter};
use serde_json::value::RawValue;

use crate::cursor::{Cursor, Mark};
use crate::entry::Entry;
use crate::filter::{Filter, Retry};
use crate::key::Key;
use crate::progress::Progress;
use crate::reader::{Failed, Session};
use crate::terms::{Kind, Term};

/// With more facets than this the newest rows are looked at first, of which many may fit.
const MANY_FACETS: usize = 64;
/// Rows that are looked at first.
const FIRST_LOOK: usize = 4_000;
/// Rows after a mark that are looked at for one answer.
const MOST_LOOKED_AT: usize = 10_000;
const MOST_ENDPOINTS: usize = 1_000;

type Found = (Vec<Entry>, Option<Cursor>, Mark);

/// A page.
pub(crate) fn page(
    session: &Session<'_>,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Found, Failed> {
    let mut keys = filter.keys();
    if let Some(Cursor(last)) = after {
        keys.end = keys.end.min(last);
    }
    let mut found = Keys::new(session, filter, keys)?;
    let mut entries = Vec::new();
    // One more than asked for tells whether there is another page.
    while entries.len() <= limit {
        let Some(key) = found.next()? else { break };
        entries.extend(entry(session, key, filter)?);
    }
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(|last| Cursor(last.key));
    Ok((entries, next, mark(session)?))
}

/// What was added after a mark.
pub(crate) fn added(
    session: &Session<'_>,
    progress: &Progress,
    filter: &Filter,
    asked: Mark,
    limit: usize,
) -> Result<(Vec<Entry>, Mark, bool), Failed> {
    let now = mark(session)?;
    if is_stale(&asked, &now, progress) {
        return Err(Failed::StaleMark);
    }
    let facets = Facets::select(session, filter)?;
    let share = (MOST_LOOKED_AT / now.0.len().max(1)).max(1);
    let mut queues = BTreeMap::new();
    for (partition, end) in &now.0 {
        let range = asked.next(*partition)..*end;
        queues.insert(
            *partition,
            Queue::read(session, *partition, range, (share, &facets, filter))?,
        );
    }
    let mut mark = asked;
    let mut entries = Vec::new();
    while entries.len() < limit {
        let heads = queues
            .iter()
            .filter_map(|(partition, queue)| Some((queue.head()?, *partition)));
        let Some((_, partition)) = heads.min() else { break };
        entries.extend(queues.get_mut(&partition).and_then(Queue::pop));
    }
    let mut has_more = false;
    for (partition, queue) in &queues {
        let next = queue.next();
        if next > mark.next(*partition) {
            mark.0.insert(*partition, next);
        }
        has_more |= now.next(*partition) > mark.next(*partition);
    }
    Ok((entries, mark, has_more))
}

/// A mark that is beyond the topic's end is of an earlier topic; one that is beyond the index only, of another
/// instance that is further.
fn is_stale(asked: &Mark, now: &Mark, progress: &Progress) -> bool {
    asked.0.iter().any(|(partition, offset)| {
        let end = progress.end(*partition);
        end.is_some_and(|end| *offset > end.max(now.next(*partition)))
    })
}

/// The entries of one partition after a mark.
struct Queue {
    found: VecDeque<(Offset, Entry)>,
    /// Up to where the partition was looked at.
    seen: Offset,
}

impl Queue {
    fn read(
        session: &Session<'_>,
        partition: Partition,
        range: Range<Offset>,
        (most, facets, filter): (usize, &Facets, &Filter),
    ) -> Result<Self, Failed> {
        session.check()?;
        let mut statement = session.connection.prepare_cached(
            "SELECT position, id, facet FROM outcomes INDEXED BY by_position
             WHERE partition = ?1 AND position >= ?2 AND position < ?3 ORDER BY position LIMIT ?4",
        )?;
        let mut rows = statement.query(params![partition.0, range.start.0, range.end.0, most])?;
        let (mut found, mut seen, mut count) = (VecDeque::new(), range.start, 0);
        while let Some(row) = rows.next()? {
            let offset = Offset(row.get(0)?);
            (seen, count) = (Offset(offset.0 + 1), count + 1);
            let key = Key(row.get(1)?);
            if facets.have(row.get(2)?) && filter.keys().contains(&key) {
                found.extend(entry(session, key, filter)?.map(|entry| (offset, entry)));
            }
        }
        let seen = if count < most { range.end.max(seen) } else { seen };
        Ok(Self { found, seen })
    }

    fn head(&self) -> Option<Key> {
        self.found.front().map(|(_, entry)| entry.key)
    }

    fn pop(&mut self) -> Option<Entry> {
        self.found.pop_front().map(|(_, entry)| entry)
    }

    /// The offset to go on with.
    fn next(&self) -> Offset {
        self.found.front().map_or(self.seen, |(offset, _)| *offset)
    }
}

/// All outcomes of a delivery: each run in the order of its attempts, the replays after the delivery itself.
pub(crate) fn delivery(session: &Session<'_>, id: &DeliveryId, filter: &Filter) -> Result<Vec<Entry>, Failed> {
    let facets = Facets::select(session, filter)?;
    let terms = vec![Term::new(Kind::Delivery, id.as_str())];
    let mut keys = ByTerm::new(session, terms, facets, Key(0)..Key::END);
    let mut found: Vec<(Outcome, Entry)> = Vec::new();
    while let Some(key) = keys.next(session)? {
        let entry = entry(session, key, filter)?;
        let read = entry.and_then(|entry| Some((entry.outcome()?, entry)));
        found.extend(read.filter(|(outcome, _)| outcome.delivery_id == *id));
    }
    let begun = |replay: Option<&str>| {
        let run = found.iter().filter(|(outcome, _)| outcome.replay.as_deref() == replay);
        (replay.is_some(), run.map(|(_, entry)| entry.key).min())
    };
    let order: Vec<_> = found
        .iter()
        .map(|(outcome, entry)| {
            (
                begun(outcome.replay.as_deref()),
                outcome.replay.clone(),
                outcome.attempt,
                entry.key,
            )
        })
        .collect();
    let mut sorted: Vec<_> = order.into_iter().zip(found).collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(sorted.into_iter().map(|(_, (_, entry))| entry).collect())
}

/// The endpoints there are.
pub(crate) fn endpoints(session: &Session<'_>, filter: &Filter) -> Result<Vec<String>, Failed> {
    let (conditions, values) = facet_conditions(filter);
    let sql = format!(
        "SELECT DISTINCT endpoint FROM facets WHERE endpoint <> '' AND {conditions} ORDER BY endpoint LIMIT {MOST_ENDPOINTS}"
    );
    let mut statement = session.connection.prepare(&sql)?;
    let endpoints = statement.query_map(params_from_iter(values), |row| row.get(0))?;
    Ok(endpoints.collect::<Result<_, _>>()?)
}

/// Up to where the topic is indexed.
pub(crate) fn mark(session: &Session<'_>) -> Result<Mark, Failed> {
    let mut statement = session
        .connection
        .prepare_cached("SELECT partition, next FROM partitions")?;
    let rows = statement.query_map([], |row| Ok((Partition(row.get(0)?), Offset(row.get(1)?))))?;
    Ok(Mark(rows.collect::<Result<_, _>>()?))
}

/// The document of a key, if there is one and it is what was asked for: the hash of an identifier may be another's.
fn entry(session: &Session<'_>, key: Key, filter: &Filter) -> Result<Option<Entry>, Failed> {
    session.check()?;
    let mut statement = session
        .connection
        .prepare_cached("SELECT document FROM documents WHERE id = ?1")?;
    let document: Option<Vec<u8>> = statement.query_row([key.0], |row| row.get(0)).optional()?;
    let document = document.and_then(|bytes| String::from_utf8(bytes).ok());
    let document = document.and_then(|text| RawValue::from_string(text).ok());
    let entry = document.map(|document| Entry { key, document });
    let asked = |entry: &Entry| {
        filter.terms().is_empty()
            || entry
                .outcome()
                .is_some_and(|outcome| filter.matches(&outcome, key.date()))
    };
    Ok(entry.filter(asked))
}

/// The facets that fit.
pub(crate) enum Facets {
    All,
    /// Each with its newest row.
    These(HashMap<i64, Key>),
}

impl Facets {
    pub(crate) fn select(session: &Session<'_>, filter: &Filter) -> Result<Self, Failed> {
        if !filter.has_facets() {
            return Ok(Self::All);
        }
        let (conditions, values) = facet_conditions(filter);
        let sql = format!("SELECT id, last FROM facets WHERE {conditions}");
        let mut statement = session.connection.prepare_cached(&sql)?;
        let ids = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, Key(row.get(1)?))))?;
        Ok(Self::These(ids.collect::<Result<_, _>>()?))
    }

    pub(crate) fn have(&self, facet: i64) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.contains_key(&facet),
        }
    }
}

/// What a filter says of facets, as SQL and its values.
pub(crate) fn facet_conditions(filter: &Filter) -> (String, Vec<Value>) {
    let mut conditions = vec!["true".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let texts = [
        ("webhook", filter.webhook.as_ref().map(|webhook| webhook.as_str())),
        ("endpoint", filter.endpoint.as_deref()),
        ("event", filter.event.map(postrider_types::EventType::as_str)),
        ("result", filter.result.map(postrider_types::OutcomeResult::as_str)),
    ];
    for (column, text) in texts {
        if let Some(text) = text {
            conditions.push(format!("{column} = ?"));
            values.push(text.to_owned().into());
        }
    }
    if let Some(status) = filter.status_code {
        conditions.push("status = ?".to_owned());
        values.push(i64::from(status).into());
    }
    match filter.retry {
        None => {}
        Some(Retry::Any) => conditions.push("retry > 0".to_owned()),
        Some(Retry::Number(number)) => {
            conditions.push("retry = ?".to_owned());
            values.push(i64::from(number).into());
        }
    }
    if let Some(accounts) = &filter.accounts {
        conditions.push(format!("account IN ({})", vec!["?"; accounts.len()].join(",")));
        values.extend(accounts.iter().map(|account| account.as_str().to_owned().into()));
    }
    (conditions.join(" AND "), values)
}

/// The keys of what is asked for, newest first.
pub(crate) struct Keys<'a, 'c> {
    session: &'a Session<'c>,
    way: Way,
}

/// The way to them that looks at the fewest rows.
enum Way {
    ByTerm(ByTerm),
    ByDate(ByDate),
    ByFacet(Merge),
    /// The newest rows first, then by facet.
    Looking(ByDate, HashMap<i64, Key>, Range<Key>),
}

impl<'a, 'c> Keys<'a, 'c> {
    pub(crate) fn new(session: &'a Session<'c>, filter: &Filter, keys: Range<Key>) -> Result<Self, Failed> {
        let facets = Facets::select(session, filter)?;
        let terms = filter.terms();
        let way = match facets {
            facets if !terms.is_empty() => Way::ByTerm(ByTerm::new(session, terms, facets, keys)),
            Facets::All => Way::ByDate(ByDate::new(Facets::All, keys, usize::MAX)),
            Facets::These(ids) if ids.len() <= MANY_FACETS => Way::ByFacet(Merge::new(&ids, &keys)),
            Facets::These(ids) => {
                let looking = ByDate::new(Facets::These(ids.clone()), keys.clone(), FIRST_LOOK);
                Way::Looking(looking, ids, keys)
            }
        };
        Ok(Self { session, way })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Key>, Failed> {
        self.session.check()?;
        match &mut self.way {
            Way::ByTerm(keys) => keys.next(self.session),
            Way::ByDate(keys) => keys.next(self.session),
            Way::ByFacet(keys) => keys.next(self.session),
            Way::Looking(keys, ids, range) => {
                if let Some(key) = keys.next(self.session)? {
                    return Ok(Some(key));
                }
                let rest = range.start..keys.rest;
                self.way = Way::ByFacet(Merge::new(ids, &rest));
                self.next()
            }
        }
    }
}

/// Rows as they lie, a few more at a time.
struct ByDate {
    facets: Facets,
    start: Key,
    /// What was not looked at yet ends here.
    rest: Key,
    left: usize,
    chunk: usize,
    found: VecDeque<Key>,
}

impl ByDate {
    fn new(facets: Facets, keys: Range<Key>, most: usize) -> Self {
        Self {
            facets,
            start: keys.start,
            rest: keys.end,
            left: most,
            chunk: 256,
            found: VecDeque::new(),
        }
    }

    fn next(&mut self, session: &Session<'_>) -> Result<Option<Key>, Failed> {
        while self.found.is_empty() && self.left > 0 {
            self.look(session)?;
        }
        Ok(self.found.pop_front())
    }

    fn look(&mut self, session: &Session<'_>) -> Result<(), Failed> {
        let count = self.chunk.min(self.left);
        let mut statement = session
            .connection
            .prepare_cached("SELECT id, facet FROM outcomes WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3")?;
        let mut rows = statement.query(params![self.start.0, self.rest.0, count])?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            self.rest = Key(row.get(0)?);
            if self.facets.have(row.get(1)?) {
                self.found.push_back(self.rest);
            }
        }
        self.left = if seen < count { 0 } else { self.left - count };
        self.chunk = 1_024;
        Ok(())
    }
}

/// The rows of some facets, merged. A facet is looked into when nothing newer can be elsewhere: most never are.
struct Merge {
    streams: Vec<Stream>,
    /// The newest row that each may have; what it really has once it was looked into.
    heads: BinaryHeap<(Key, usize)>,
}

struct Stream {
    facet: i64,
    range: Range<Key>,
    found: VecDeque<Key>,
    chunk: usize,
    is_known: bool,
}

impl Merge {
    fn new(facets: &HashMap<i64, Key>, keys: &Range<Key>) -> Self {
        let with_rows = facets.iter().filter(|(_, last)| **last >= keys.start);
        let (heads, streams) = with_rows
            .enumerate()
            .map(|(at, (facet, last))| ((keys.end.min(*last), at), Stream::new(*facet, keys.clone())))
            .unzip();
        Self { streams, heads }
    }

    fn next(&mut self, session: &Session<'_>) -> Result<Option<Key>, Failed> {
        while let Some((key, at)) = self.heads.pop() {
            session.check()?;
            let stream = &mut self.streams[at];
            let is_known = std::mem::replace(&mut stream.is_known, true);
            let head = stream.next(session)?;
            self.heads.extend(head.map(|head| (head, at)));
            if is_known {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

impl Stream {
    const fn new(facet: i64, range: Range<Key>) -> Self {
        Self {
            facet,
            range,
            found: VecDeque::new(),
            chunk: 1,
            is_known: false,
        }
    }

    fn next(&mut self, session: &Session<'_>) -> Result<Option<Key>, Failed> {
        if self.found.is_empty() && self.range.start < self.range.end {
            self.look(session)?;
        }
        Ok(self.found.pop_front())
    }

    fn look(&mut self, session: &Session<'_>) -> Result<(), Failed> {
        let mut statement = session.connection.prepare_cached(
            "SELECT id FROM outcomes INDEXED BY by_facet
             WHERE facet = ?1 AND id >= ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4",
        )?;
        let range = &self.range;
        let rows = statement.query_map(params![self.facet, range.start.0, range.end.0, self.chunk], |row| {
            row.get(0)
        })?;
        for key in rows {
            self.found.push_back(Key(key?));
        }
        let is_last = self.found.len() < self.chunk;
        let rest = self.found.back().filter(|_| !is_last);
        self.range.end = rest.copied().unwrap_or(self.range.start);
        self.chunk = (self.chunk * 8).min(512);
        Ok(())
    }
}

/// The rows of an identifier, bucket by bucket.
struct ByTerm {
    terms: Vec<Term>,
    facets: Facets,
    range: Range<Key>,
    bucket: i64,
    found: VecDeque<Key>,
}

impl ByTerm {
    fn new(_: &Session<'_>, terms: Vec<Term>, facets: Facets, range: Range<Key>) -> Self {
        Self {
            terms,
            facets,
            bucket: range.end.bucket(),
            range,
            found: VecDeque::new(),
        }
    }

    fn next(&mut self, session: &Session<'_>) -> Result<Option<Key>, Failed> {
        while self.found.is_empty() && self.bucket >= self.range.start.bucket() {
            session.check()?;
            self.look(session)?;
        }
        Ok(self.found.pop_front())
    }

    /// Looks into the newest bucket that is left.
    fn look(&mut self, session: &Session<'_>) -> Result<(), Failed> {
        let mut statement = session
            .connection
            .prepare_cached("SELECT max(bucket) FROM terms WHERE bucket <= ?1")?;
        let bucket: Option<i64> = statement.query_row([self.bucket], |row| row.get(0))?;
        let bucket = bucket.unwrap_or(-1);
        self.bucket = bucket - 1;
        if bucket < self.range.start.bucket() || self.terms.is_empty() {
            return Ok(());
        }
        let mut statement = session.connection.prepare_cached(
            "SELECT id, facet FROM terms WHERE bucket = ?1 AND term = ?2 AND id >= ?3 AND id < ?4 ORDER BY id DESC",
        )?;
        let (start, end) = (self.range.start.0, self.range.end.0);
        let mut rows = statement.query(params![bucket, self.terms[0].0, start, end])?;
        while let Some(row) = rows.next()? {
            let key = Key(row.get(0)?);
            if self.facets.have(row.get(1)?) && self.has_others(session, bucket, key)? {
                self.found.push_back(key);
            }
        }
        Ok(())
    }

    fn has_others(&self, session: &Session<'_>, bucket: i64, key: Key) -> Result<bool, Failed> {
        let mut statement = session
            .connection
            .prepare_cached("SELECT 1 FROM terms WHERE bucket = ?1 AND term = ?2 AND id = ?3")?;
        for term in &self.terms[1..] {
            let values: [&dyn ToSql; 3] = [&bucket, &term.0, &key.0];
            if !statement.exists(values)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
