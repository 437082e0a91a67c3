//! By date alone: all rows as they lie.

use std::collections::VecDeque;
use std::ops::Range;

use rusqlite::params;

use crate::key::Key;
use crate::query::facets::Facets;
use crate::reader::{Failed, Session};

/// Rows as they lie, a few more at a time.
pub(super) struct ByDate {
    facets: Facets,
    start: Key,
    /// What was not looked at yet ends here.
    pub(super) rest: Key,
    left: usize,
    chunk: usize,
    found: VecDeque<Key>,
}

impl ByDate {
    pub(super) fn new(facets: Facets, keys: Range<Key>, most: usize) -> Self {
        Self {
            facets,
            start: keys.start,
            rest: keys.end,
            left: most,
            chunk: 256,
            found: VecDeque::new(),
        }
    }

    pub(super) fn next(&mut self, session: &Session<'_>) -> Result<Option<Key>, Failed> {
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
