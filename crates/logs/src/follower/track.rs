//! One partition, as it is followed: where reading begins, and by what it is told that the topic is another.

use postrider_kafka::feed::Record;
use postrider_types::{Offset, Partition, Timestamp};
use tracing::warn;

use super::Again;
use crate::progress::Standing;
use crate::writer::Reached;

/// One partition, as it is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    pub(super) start: Offset,
    pub(super) standing: Standing,
    /// When the record at `start` was published, if it was indexed before: by it the topic is known again.
    pub(super) known: Option<Timestamp>,
}

impl Track {
    pub(super) fn begin(
        partition: Partition,
        reached: Option<&Reached>,
        (first, end): (Offset, Offset),
    ) -> Result<Self, Again> {
        let Some(reached) = reached else {
            return Ok(Self::at(first, None, (first, end)));
        };
        let last = Offset(reached.next.0 - 1);
        if reached.next > end {
            return Err(Again::Anew("it ends before what was indexed"));
        }
        if last >= first {
            return Ok(Self::at(last, Some(reached.timestamp), (reached.next, end)));
        }
        let lost = first.0 - reached.next.0;
        if lost > 0 {
            warn!(%partition, lost, "Retention removed records of the results topic before they were indexed");
        }
        Ok(Self::at(first, None, (first, end)))
    }

    const fn at(start: Offset, known: Option<Timestamp>, (next, end): (Offset, Offset)) -> Self {
        Self {
            start,
            standing: Standing {
                next,
                end,
                timestamp: Timestamp::from_millis(0),
            },
            known,
        }
    }

    /// Whether a record is new. The first one tells whether this is the topic that was indexed.
    pub(super) fn take(&mut self, record: &Record) -> Result<bool, Again> {
        if let Some(known) = self.known.take() {
            let is_known = record.offset == self.start && record.timestamp == known;
            return if is_known {
                Ok(false)
            } else {
                Err(Again::Anew("its last record that was indexed is another now"))
            };
        }
        if record.offset < self.standing.next {
            return Err(Again::Anew("its offsets went back"));
        }
        let next = Offset(record.offset.0 + 1);
        self.standing = Standing {
            next,
            end: self.standing.end.max(next),
            timestamp: record.timestamp,
        };
        Ok(true)
    }
}
