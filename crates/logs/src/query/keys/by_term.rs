//! By an identifier: it leads to its rows, bucket by bucket.

use std::collections::VecDeque;
use std::ops::Range;

use rusqlite::params;
use rusqlite::types::ToSql;

use crate::key::Key;
use crate::query::facets::Facets;
use crate::reader::{Failed, Session};
use crate::terms::Term;

/// The rows of an identifier, bucket by bucket.
pub(in crate::query) struct ByTerm {
    terms: Vec<Term>,
    facets: Facets,
    range: Range<Key>,
    bucket: i64,
    found: VecDeque<Key>,
}

impl ByTerm {
    pub(in crate::query) const fn new(terms: Vec<Term>, facets: Facets, range: Range<Key>) -> Self {
        Self {
            terms,
            facets,
            bucket: range.end.bucket(),
            range,
            found: VecDeque::new(),
        }
    }

    pub(in crate::query) fn next(&mut self, session: &Session<'_>) -> Result<Option<Key>, Failed> {
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
