//! A batch: the settled records of one transaction. Its records and its offsets are both derived
//! from the same list, and the list does not change while the transaction is tried. What was encoded is not kept in its
//! first form as well: batches are most of what a busy instance holds.

use postrider_types::{DeadLetterReason, Held, Position, Settled};

use crate::encode::{Encoder, Outgoing};
use crate::pending::Touch;

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
    position: Position,
    records: Vec<Outgoing>,
    touches: Vec<Touch>,
    dead_letters: Vec<DeadLetterReason>,
    /// Counts the record as held until the batch is dropped.
    _held: Held,
}

impl Entry {
    fn new(settled: Settled, encoder: &Encoder) -> Self {
        let resolutions = &settled.resolutions;
        let mut records = Vec::with_capacity(resolutions.len());
        records.extend(resolutions.iter().flat_map(|one| encoder.resolution(one)));
        let dead_letters = resolutions.iter().filter_map(|one| one.dead_letter.as_ref());
        Self {
            records,
            touches: Touch::of(&settled).collect(),
            dead_letters: dead_letters.map(|letter| letter.reason).collect(),
            position: settled.position,
            _held: settled.held,
        }
    }
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
        let entry = Entry::new(settled, encoder);
        self.records += entry.records.len();
        self.bytes += entry.records.iter().map(Outgoing::size).sum::<usize>();
        self.entries.push(entry);
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

    /// What changes the counts of webhooks, in order.
    pub fn touches(&self) -> impl Iterator<Item = &Touch> {
        self.entries.iter().flat_map(|entry| &entry.touches)
    }

    /// The records to publish, in order.
    pub fn records(&self) -> impl Iterator<Item = &Outgoing> {
        self.entries.iter().flat_map(|entry| &entry.records)
    }

    /// The dead letters among them, by their reasons.
    pub fn dead_letters(&self) -> impl Iterator<Item = DeadLetterReason> {
        self.entries.iter().flat_map(|entry| &entry.dead_letters).copied()
    }

    /// The records to settle.
    #[must_use]
    pub fn positions(&self) -> Vec<&Position> {
        self.entries.iter().map(|entry| &entry.position).collect()
    }

    /// Drops the records that `alive` denies, and what they would have published; returns how many.
    pub fn retain(&mut self, alive: impl Fn(&Position) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| alive(&entry.position));
        self.records = self.records().count();
        self.bytes = self.records().map(Outgoing::size).sum();
        before - self.entries.len()
    }
}
