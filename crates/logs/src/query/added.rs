//! What was added after a mark: the partitions' rows from there on, merged by their keys.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use postrider_types::{Offset, Partition};
use rusqlite::params;

use super::facets::Facets;
use super::{entry, mark};
use crate::cursor::Mark;
use crate::entry::Entry;
use crate::filter::Filter;
use crate::key::Key;
use crate::progress::Progress;
use crate::reader::{Failed, Session};

/// Rows after a mark that are looked at for one answer.
const MOST_LOOKED_AT: usize = 10_000;

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
