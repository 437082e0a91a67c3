//! How far the index is, as the follower tells and readers answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use postrider_types::{Offset, Partition, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

/// How far the index is behind the topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Indexed {
    /// Everything that was published before this is in the index; null until the topic was looked at.
    pub until: Option<Timestamp>,
    /// Records of the topic that are not in the index yet, about; null until the topic was looked at.
    pub lag: Option<u64>,
}

/// One partition's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The next offset to be indexed.
    pub(crate) next: Offset,
    /// The offset after the last of the topic, as it was last heard of.
    pub(crate) end: Offset,
    /// When the last record that was indexed was published.
    pub(crate) timestamp: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    trouble: Option<String>,
    partitions: BTreeMap<Partition, Standing>,
    looked_at: Timestamp,
}

/// Shared by the follower, which writes, and the readers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<RwLock<State>>);

impl Progress {
    /// Why the index cannot be read or written now.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.0.read().trouble.clone()
    }

    /// Notes what keeps the index from working, or that nothing does.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        self.0.write().trouble = trouble;
    }

    /// Notes how far all partitions are.
    pub(crate) fn set(&self, partitions: BTreeMap<Partition, Standing>, now: Timestamp) {
        let mut state = self.0.write();
        state.partitions = partitions;
        state.looked_at = now;
    }

    /// The end of a partition, as it was last heard of.
    pub(crate) fn end(&self, partition: Partition) -> Option<Offset> {
        self.0.read().partitions.get(&partition).map(|standing| standing.end)
    }

    pub(crate) fn indexed(&self) -> Indexed {
        let state = self.0.read();
        let lag = |standing: &Standing| u64::try_from(standing.end.0 - standing.next.0).unwrap_or(0);
        let behind = state.partitions.values().filter(|standing| lag(standing) > 0);
        let oldest = behind.map(|standing| standing.timestamp).min();
        let known = !state.partitions.is_empty();
        Indexed {
            until: known.then(|| oldest.unwrap_or(state.looked_at)),
            lag: known.then(|| state.partitions.values().map(lag).sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(next: i64, end: i64, millis: i64) -> Standing {
        Standing {
            next: Offset(next),
            end: Offset(end),
            timestamp: Timestamp::from_millis(millis),
        }
    }

    #[test]
    fn the_partition_that_is_furthest_behind_says_until_when() {
        let progress = Progress::default();
        assert_eq!(progress.indexed(), Indexed::default());
        let now = Timestamp::from_millis(9_000);
        let partitions = [
            (0, standing(5, 5, 1_000)),
            (1, standing(2, 10, 3_000)),
            (2, standing(1, 2, 4_000)),
        ];
        let partitions = partitions.map(|(number, standing)| (Partition(number), standing));
        progress.set(partitions.into(), now);
        let behind = Indexed {
            until: Some(Timestamp::from_millis(3_000)),
            lag: Some(9),
        };
        assert_eq!(progress.indexed(), behind);
        progress.set([(Partition(0), standing(5, 5, 1_000))].into(), now);
        let current = Indexed {
            until: Some(now),
            lag: Some(0),
        };
        assert_eq!(progress.indexed(), current);
    }
}
