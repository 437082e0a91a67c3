//! A batch: the settled records of one transaction. Its records and its offsets are both derived
//! from the same list, and the list does not change while the transaction is tried.

use postrider_types::{DeadLetter, Position, Settled};

use crate::encode::{Encoder, Outgoing};

/// When a batch is full, whatever the interval says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records to publish.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            records: 5_000,
            bytes: 4 << 20,
        }
    }
}

#[derive(Debug)]
struct Entry {
    settled: Settled,
    records: Vec<Outgoing>,
}

/// Settled records with what they publish.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    records: usize,
    bytes: usize,
}

impl Batch {
    /// Adds a record, whole.
    pub fn push(&mut self, settled: Settled, encoder: &Encoder) {
        let mut records = Vec::with_capacity(settled.resolutions.len());
        records.extend(settled.resolutions.iter().flat_map(|one| encoder.resolution(one)));
        self.records += records.len();
        self.bytes += records.iter().map(Outgoing::size).sum::<usize>();
        self.entries.push(Entry { settled, records });
    }

    /// Whether it should be committed at once. A record that publishes nothing counts as one.
    #[must_use]
    pub fn is_full(&self, limits: BatchLimits) -> bool {
        self.records.max(self.entries.len()) >= limits.records || self.bytes >= limits.bytes
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What settled, in order.
    pub fn settled(&self) -> impl Iterator<Item = &Settled> {
        self.entries.iter().map(|entry| &entry.settled)
    }

    /// The records to publish, in order.
    pub fn records(&self) -> impl Iterator<Item = &Outgoing> {
        self.entries.iter().flat_map(|entry| &entry.records)
    }

    /// The dead letters among them.
    pub fn dead_letters(&self) -> impl Iterator<Item = &DeadLetter> {
        let resolutions = self.entries.iter().flat_map(|entry| &entry.settled.resolutions);
        resolutions.filter_map(|resolution| resolution.dead_letter.as_ref())
    }

    /// The records to settle.
    #[must_use]
    pub fn positions(&self) -> Vec<&Position> {
        self.entries.iter().map(|entry| &entry.settled.position).collect()
    }

    /// Drops the records that `alive` denies, and what they would have published; returns how many.
    pub fn retain(&mut self, alive: impl Fn(&Position) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| alive(&entry.settled.position));
        self.records = self.records().count();
        self.bytes = self.records().map(Outgoing::size).sum();
        before - self.entries.len()
    }
}
