//! Dropping what is too old or too much, oldest first, in steps that nobody has to wait for.

use std::time::Duration;

use postrider_types::Timestamp;
use rusqlite::{Connection, params};

use crate::key::Key;
use crate::writer::{Writer, count_hour, meta, set_meta};

/// Rows of a step, at least.
const STEP: u64 = 5_000;
/// Terms of a step.
const TERMS_STEP: u64 = 40_000;

/// What may be in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_age: Duration,
    pub(crate) max_rows: u64,
}

impl Bounds {
    /// As the index remembers them.
    fn numbers(self) -> [(&'static str, i64); 2] {
        let rows = i64::try_from(self.max_rows).unwrap_or(i64::MAX);
        [("max_age", self.age()), ("max_rows", rows)]
    }

    /// The age in milliseconds.
    fn age(self) -> i64 {
        i64::try_from(self.max_age.as_millis()).unwrap_or(i64::MAX)
    }

    /// The first key that is young enough.
    fn youngest_too_old(self, now: Timestamp) -> Key {
        Key::at(Timestamp::from_millis(now.as_millis().saturating_sub(self.age())))
    }
}

impl Writer {
    /// Notes what may be in the index from now on; says whether that is more than it was. Then the topic has to be
    /// read from its beginning, because what was dropped may be wanted again; what is there stays, and is there once.
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) -> rusqlite::Result<bool> {
        let mut is_wider = false;
        let transaction = self.connection.transaction()?;
        for (name, number) in bounds.numbers() {
            is_wider |= meta::<i64>(&transaction, name)?.is_some_and(|before| number > before);
            set_meta(&transaction, name, number)?;
        }
        if is_wider {
            forget_what_was_dropped(&transaction, self.floor)?;
        }
        transaction.commit()?;
        if is_wider {
            self.floor = Key(0);
            self.forget_facets();
        }
        Ok(is_wider)
    }

    /// Drops some of what is over the bounds; says whether there is more.
    pub(crate) fn prune(&mut self, bounds: Bounds, now: Timestamp) -> rusqlite::Result<bool> {
        let over = self.rows.saturating_sub(bounds.max_rows);
        let step = STEP.max(over.min(4 * STEP));
        let too_old = bounds.youngest_too_old(now);
        let floor = self.next_floor(over, step, too_old)?;
        let transaction = self.connection.transaction()?;
        let removed = transaction.execute("DELETE FROM outcomes WHERE id < ?1", [floor.0])?;
        transaction.execute("DELETE FROM documents WHERE id < ?1", [floor.0])?;
        let terms = prune_terms(&transaction, floor)?;
        let hours = transaction.execute("DELETE FROM hours WHERE hour < ?1", [floor.hour()])?;
        if hours > 0 {
            transaction.execute("DELETE FROM facets WHERE id NOT IN (SELECT facet FROM hours)", [])?;
        }
        let rows = self.rows.saturating_sub(removed as u64);
        set_meta(&transaction, "rows", rows)?;
        set_meta(&transaction, "floor", floor.0)?;
        transaction.commit()?;
        (self.rows, self.floor) = (rows, floor);
        if hours > 0 {
            self.forget_facets();
        }
        Ok(removed as u64 >= step || terms as u64 >= TERMS_STEP)
    }

    /// Below it everything goes in this step.
    fn next_floor(&self, over: u64, step: u64, too_old: Key) -> rusqlite::Result<Key> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id FROM outcomes ORDER BY id LIMIT ?1")?;
        let ids = statement.query_map([step], |row| row.get(0))?;
        let (mut floor, mut count) = (self.floor, 0);
        for id in ids {
            let key = Key(id?);
            count += 1;
            if count > over && key >= too_old {
                return Ok(floor.max(too_old));
            }
            floor = floor.max(key.next());
        }
        // Nothing older is left if this was all there is.
        Ok(if count < step { floor.max(too_old) } else { floor })
    }
}

/// Has nothing of what is below `floor` be there, not even in the hour and the bucket it lies in, and no partition be
/// read.
fn forget_what_was_dropped(connection: &Connection, floor: Key) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM terms WHERE bucket <= ?1 AND id < ?2",
        [floor.bucket(), floor.0],
    )?;
    count_hour(connection, floor.hour())?;
    connection.execute("DELETE FROM partitions", [])?;
    set_meta(connection, "floor", 0)
}

/// Drops terms of buckets that are over as a whole; what they lead to is gone already.
fn prune_terms(connection: &Connection, floor: Key) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM terms WHERE (bucket, term, id) IN
         (SELECT bucket, term, id FROM terms WHERE bucket < ?1 LIMIT ?2)",
    )?;
    statement.execute(params![floor.bucket(), TERMS_STEP])
}
