//! Writing: a batch of outcomes with the offsets it ends at, in one transaction, so that each outcome is in the index
//! once whatever ends the process.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use postrider_kafka::feed::Record;
use postrider_types::{Offset, Partition, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::entry::{Facet, Malformed, Row};
use crate::histogram::Histogram;
use crate::key::Key;
use crate::schema::{self, OpenError, Unusable};

/// Facets that are remembered; more are looked up.
const MOST_FACETS: usize = 50_000;

/// Up to where a partition is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The next offset.
    pub(crate) next: Offset,
    /// When the record before it was published.
    pub(crate) timestamp: Timestamp,
}

/// What is written together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    rows: Vec<Row>,
    reached: BTreeMap<Partition, Reached>,
    bytes: usize,
    taken: usize,
}

impl Batch {
    /// Takes a record in, or at least notes that it was seen.
    pub(crate) fn take(&mut self, record: Record) -> Result<(), Malformed> {
        let reached = Reached {
            next: Offset(record.offset.0 + 1),
            timestamp: record.timestamp,
        };
        self.reached.insert(record.partition, reached);
        self.taken += 1;
        let row = Row::read(record)?;
        self.bytes += row.document.len();
        self.rows.push(row);
        Ok(())
    }

    /// Records that were taken.
    pub(crate) const fn len(&self) -> usize {
        self.taken
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.reached.clear();
        (self.bytes, self.taken) = (0, 0);
    }
}

/// A write that did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("another process writes this index too; give each instance its own admin.logs.path")]
    Shared,
}

/// The one who writes.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    facets: HashMap<Facet, i64>,
    /// Rows in the index.
    pub(crate) rows: u64,
    /// Below it everything was pruned.
    pub(crate) floor: Key,
    token: i64,
}

impl Writer {
    /// Opens the index, or makes it; and says why it had to be made anew.
    pub(crate) fn open(path: &Path, topic: &str) -> Result<(Self, Option<Unusable>), WriterError> {
        let (connection, unusable) = schema::open(path)?;
        let mut writer = Self {
            connection,
            facets: HashMap::new(),
            rows: 0,
            floor: Key(0),
            token: rand::random::<i64>(),
        };
        writer.begin(topic)?;
        Ok((writer, unusable))
    }

    /// Learns what the index says of itself. One of another topic is emptied.
    fn begin(&mut self, topic: &str) -> rusqlite::Result<()> {
        let of: Option<String> = meta(&self.connection, "topic")?;
        if of.is_some_and(|of| of != topic) {
            self.clear()?;
        }
        self.rows = meta(&self.connection, "rows")?.unwrap_or(0);
        self.floor = Key(meta(&self.connection, "floor")?.unwrap_or(0));
        set_meta(&self.connection, "topic", topic)?;
        set_meta(&self.connection, "writer", self.token)
    }

    /// Up to where each partition is indexed.
    pub(crate) fn reached(&self) -> rusqlite::Result<BTreeMap<Partition, Reached>> {
        let mut statement = self
            .connection
            .prepare("SELECT partition, next, timestamp FROM partitions")?;
        let rows = statement.query_map([], |row| {
            let reached = Reached {
                next: Offset(row.get(1)?),
                timestamp: Timestamp::from_millis(row.get(2)?),
            };
            Ok((Partition(row.get(0)?), reached))
        })?;
        rows.collect()
    }

    /// Empties the index.
    pub(crate) fn clear(&mut self) -> rusqlite::Result<()> {
        self.facets.clear();
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(
            "DELETE FROM outcomes; DELETE FROM documents; DELETE FROM terms; DELETE FROM hours; DELETE FROM facets;
             DELETE FROM partitions; DELETE FROM meta WHERE name IN ('rows', 'floor', 'topic');",
        )?;
        transaction.commit()?;
        (self.rows, self.floor) = (0, Key(0));
        Ok(())
    }

    /// What was pruned may have had the last row of a facet.
    pub(crate) fn forget_facets(&mut self) {
        self.facets.clear();
    }

    /// Writes a batch, all of it or nothing.
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let written = self.try_write(batch);
        if written.is_err() {
            // Facets of a transaction that was rolled back have no ids.
            self.facets.clear();
        }
        self.rows += written?;
        Ok(())
    }

    fn try_write(&mut self, batch: &Batch) -> Result<u64, WriteError> {
        if self.facets.len() > MOST_FACETS {
            self.facets.clear();
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if meta::<i64>(&transaction, "writer")? != Some(self.token) {
            return Err(WriteError::Shared);
        }
        let mut tallies = Tallies::default();
        for row in batch.rows.iter().filter(|row| row.key >= self.floor) {
            let facet = facet(&transaction, &mut self.facets, &row.facet)?;
            if let Some(key) = insert(&transaction, row, facet)? {
                tallies.count(row, key, facet);
            }
        }
        tallies.write(&transaction)?;
        for (partition, reached) in &batch.reached {
            let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO partitions VALUES (?1, ?2, ?3)")?;
            statement.execute(params![partition.0, reached.next.0, reached.timestamp.as_millis()])?;
        }
        set_meta(&transaction, "rows", self.rows + tallies.rows)?;
        transaction.commit()?;
        Ok(tallies.rows)
    }
}

/// The index cannot be opened, or says nothing of itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriterError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

pub(crate) fn meta<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

pub(crate) fn set_meta(connection: &Connection, name: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
    statement.execute(params![name, value]).map(drop)
}

/// The id of a facet, a new one where there is none.
fn facet(connection: &Connection, known: &mut HashMap<Facet, i64>, facet: &Facet) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(facet) {
        return Ok(*id);
    }
    let status = facet.status.unwrap_or(0);
    let values = params![
        facet.account.as_str(),
        facet.webhook.as_str(),
        facet.endpoint,
        facet.event.as_str(),
        facet.result.as_str(),
        facet.retry,
        status
    ];
    let mut statement = connection.prepare_cached(
        "INSERT INTO facets (account, webhook, endpoint, event, result, retry, status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET status = status RETURNING id",
    )?;
    let id = statement.query_row(values, |row| row.get(0))?;
    known.insert(facet.clone(), id);
    Ok(id)
}

/// Writes a row under the first free key from its own on; `None` when it is there already.
fn insert(connection: &Connection, row: &Row, facet: i64) -> rusqlite::Result<Option<Key>> {
    let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO outcomes VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut key = row.key;
    while statement.execute(params![key.0, facet, row.partition.0, row.offset.0, row.spent])? == 0 {
        let mut same = connection.prepare_cached("SELECT 1 FROM outcomes WHERE partition = ?1 AND position = ?2")?;
        if same.exists(params![row.partition.0, row.offset.0])? {
            return Ok(None);
        }
        key = key.next();
    }
    let mut statement = connection.prepare_cached("INSERT INTO documents VALUES (?1, ?2)")?;
    statement.execute(params![key.0, &*row.document])?;
    Ok(Some(key))
}

/// What is written once for many rows, in the order in which it lies in the file.
#[derive(Default)]
struct Tallies {
    rows: u64,
    hours: BTreeMap<(i64, i64), (u64, Vec<u64>)>,
    newest: BTreeMap<i64, Key>,
    terms: Vec<(i64, i64, i64, i64)>,
}

impl Tallies {
    fn count(&mut self, row: &Row, key: Key, facet: i64) {
        self.rows += 1;
        let (count, spent) = self.hours.entry((key.hour(), facet)).or_default();
        *count += 1;
        spent.extend(row.spent);
        let newest = self.newest.entry(facet).or_insert(key);
        *newest = key.max(*newest);
        let terms = row.terms.iter().map(|term| (key.bucket(), term.0, key.0, facet));
        self.terms.extend(terms);
    }

    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.terms.sort_unstable();
        let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO terms VALUES (?1, ?2, ?3, ?4)")?;
        for term in &self.terms {
            statement.execute(*term)?;
        }
        let mut statement = connection.prepare_cached("UPDATE facets SET last = max(last, ?2) WHERE id = ?1")?;
        for (facet, newest) in &self.newest {
            statement.execute([*facet, newest.0])?;
        }
        for ((hour, facet), (count, spent)) in &self.hours {
            add_to_hour(connection, (*hour, *facet), *count, spent)?;
        }
        Ok(())
    }
}

/// Counts the rows of an hour anew.
pub(crate) fn count_hour(connection: &Connection, hour: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM hours WHERE hour = ?1", [hour])?;
    let mut facets: BTreeMap<i64, (u64, Vec<u64>)> = BTreeMap::new();
    let mut statement = connection.prepare("SELECT facet, spent FROM outcomes WHERE id >= ?1 AND id < ?2")?;
    let mut rows = statement.query([Key::of_hour(hour).0, Key::of_hour(hour + 1).0])?;
    while let Some(row) = rows.next()? {
        let (count, spent) = facets.entry(row.get(0)?).or_default();
        *count += 1;
        spent.extend(row.get::<_, Option<u64>>(1)?);
    }
    for (facet, (count, spent)) in &facets {
        add_to_hour(connection, (hour, *facet), *count, spent)?;
    }
    Ok(())
}

fn add_to_hour(connection: &Connection, (hour, facet): (i64, i64), count: u64, spent: &[u64]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("SELECT count, spent FROM hours WHERE hour = ?1 AND facet = ?2")?;
    let kept: Option<(u64, Vec<u8>)> = statement
        .query_row([hour, facet], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (before, bytes) = kept.unwrap_or_default();
    let mut histogram = Histogram::default();
    histogram.add_bytes(&bytes);
    spent.iter().for_each(|spent| histogram.add(*spent));
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO hours VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute(params![hour, facet, before + count, histogram.bytes()])?;
    Ok(())
}
