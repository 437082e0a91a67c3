//! By what facets tell: the rows of those that fit, merged by their keys, in whose order each facet's are already.

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::ops::Range;

use rusqlite::params;

use crate::key::Key;
use crate::reader::{Failed, Session};

/// The rows of some facets, merged. A facet is looked into when nothing newer can be elsewhere: most never are.
pub(super) struct ByFacet {
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

impl ByFacet {
    pub(super) fn new(facets: &HashMap<i64, Key>, keys: &Range<Key>) -> Self {
        let with_rows = facets.iter().filter(|(_, last)| **last >= keys.start);
        let (heads, streams) = with_rows
            .enumerate()
            .map(|(at, (facet, last))| ((keys.end.min(*last), at), Stream::new(*facet, keys.clone())))
            .unzip();
        Self { streams, heads }
    }

    pub(super) fn next(&mut self, session: &Session<'_>) -> Result<Option<Key>, Failed> {
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
