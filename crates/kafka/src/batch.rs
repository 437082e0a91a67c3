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

/// A settled record, and how many of the batch's parts are its own.
#[derive(Debug)]
struct Entry {
    position: Position,
    records: usize,
    touches: usize,
    dead_letters: usize,
    /// Counts the record as held until it leaves the batch.
    _held: Held,
}

/// Settled records with what they publish, in order.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<Entry>,
    records: Vec<Outgoing>,
    touches: Vec<Touch>,
    dead_letters: Vec<DeadLetterReason>,
    bytes: usize,
}

impl Batch {
    /// Adds a record, whole.
    pub fn push(&mut self, settled: Settled, encoder: &Encoder) {
        let resolutions = &settled.resolutions;
        let letters = resolutions.iter().filter_map(|one| one.dead_letter.as_ref());
        let dead_letters = extend(&mut self.dead_letters, letters.map(|letter| letter.reason)).len();
        let touches = extend(&mut self.touches, Touch::of(&settled)).len();
        let encoded = settled.resolutions.into_iter().flat_map(|one| encoder.resolution(one));
        let records = extend(&mut self.records, encoded);
        self.bytes += records.iter().map(Outgoing::size).sum::<usize>();
        self.entries.push(Entry {
            position: settled.position,
            records: records.len(),
            touches,
            dead_letters,
            _held: settled.held,
        });
    }

    /// Whether it should be committed at once. A record that publishes nothing counts as one.
    #[must_use]
    pub fn is_full(&self, limits: BatchLimits) -> bool {
        self.records.len().max(self.entries.len()) >= limits.records || self.bytes >= limits.bytes
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What changes the counts of webhooks, in order.
    pub fn touches(&self) -> impl Iterator<Item = &Touch> {
        self.touches.iter()
    }

    /// The records to publish, in order.
    pub fn records(&self) -> impl Iterator<Item = &Outgoing> + Clone {
        self.records.iter()
    }

    /// The dead letters among them, by their reasons.
    pub fn dead_letters(&self) -> impl Iterator<Item = DeadLetterReason> {
        self.dead_letters.iter().copied()
    }

    /// The records to settle.
    #[must_use]
    pub fn positions(&self) -> Vec<&Position> {
        self.entries.iter().map(|entry| &entry.position).collect()
    }

    /// Drops the records that `alive` denies, and what they would have published; returns how many.
    pub fn retain(&mut self, alive: impl Fn(&Position) -> bool) -> usize {
        let before = self.entries.len();
        if !self.entries.iter().all(|entry| alive(&entry.position)) {
            *self = std::mem::take(self).only(alive);
        }
        before - self.entries.len()
    }

    fn only(self, alive: impl Fn(&Position) -> bool) -> Self {
        let mut kept = Self::default();
        let mut records = self.records.into_iter();
        let mut touches = self.touches.into_iter();
        let mut dead_letters = self.dead_letters.into_iter();
        for entry in self.entries {
            let (records, touches) = (
                records.by_ref().take(entry.records),
                touches.by_ref().take(entry.touches),
            );
            let dead_letters = dead_letters.by_ref().take(entry.dead_letters);
            if alive(&entry.position) {
                kept.records.extend(records);
                kept.touches.extend(touches);
                kept.dead_letters.extend(dead_letters);
                kept.entries.push(entry);
            } else {
                records.for_each(drop);
                touches.for_each(drop);
                dead_letters.for_each(drop);
            }
        }
        kept.bytes = kept.records().map(Outgoing::size).sum();
        kept
    }

    /// Empties it, and keeps its room for the next records.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.records.clear();
        self.touches.clear();
        self.dead_letters.clear();
        self.bytes = 0;
    }
}

/// Adds to a list; returns what was added.
fn extend<T>(list: &mut Vec<T>, more: impl Iterator<Item = T>) -> &[T] {
    let before = list.len();
    list.extend(more);
    &list[before..]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postrider_types::settlement::HeldTotals;
    use postrider_types::{
        AssignmentNumber, DeadLetter, Losses, Offset, Origin, Partition, Record, Resolution, Timestamp, WebhookId,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::config::ResultsConfig;
    use crate::encode::Limits;

    fn encoder() -> Encoder {
        Encoder::new("i-0", ResultsConfig::default(), "postrider.webhooks", Limits::DEFAULT)
    }

    fn letter(origin: &Origin) -> Resolution {
        let letter = DeadLetter {
            origin: origin.clone(),
            key: None,
            headers: Vec::new(),
            value: Some("{".into()),
            reason: DeadLetterReason::ALL[usize::try_from(origin.offset.0).unwrap() % DeadLetterReason::ALL.len()],
            message: String::new(),
            delivery: None,
        };
        Resolution {
            dead_letter: Some(Box::new(letter)),
            ..Resolution::default()
        }
    }

    /// The record at `offset`, with so many dead letters.
    fn settled(offset: i64, letters: usize, totals: &Arc<HeldTotals>) -> Settled {
        let origin = Origin {
            topic: "shipments".into(),
            partition: Partition(0),
            offset: Offset(offset),
            timestamp: Timestamp::from_millis(5),
        };
        let position = Position {
            topic: "shipments".into(),
            partition: Partition(0),
            offset: Offset(offset),
            assignment: AssignmentNumber(1),
        };
        let mut record = Record::new(position, Held::take(totals, 1), &Losses::default());
        if letters != 1 {
            record = record.releasing(WebhookId::new("wh_1").unwrap());
        }
        record.settle((0..letters).map(|_| letter(&origin)).collect())
    }

    /// All that a batch holds, in words.
    fn told(batch: &Batch) -> String {
        let parts = (&batch.records, &batch.touches, &batch.dead_letters);
        format!("{:?} {parts:?} {}", batch.positions(), batch.bytes)
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_a_batch_of_the_rest_alone_would_hold(
            letters in prop::collection::vec((0..4_usize, any::<bool>()), 0..12),
        ) {
            let (totals, encoder) = (Arc::default(), encoder());
            let (mut batch, mut rest) = (Batch::default(), Batch::default());
            for (offset, (letters, is_alive)) in (0..).zip(&letters) {
                batch.push(settled(offset, *letters, &totals), &encoder);
                if *is_alive {
                    rest.push(settled(offset, *letters, &totals), &encoder);
                }
            }
            let alive = |position: &Position| letters[usize::try_from(position.offset.0).unwrap()].1;
            prop_assert_eq!(batch.retain(alive), letters.iter().filter(|(_, is_alive)| !is_alive).count());
            prop_assert_eq!(told(&batch), told(&rest));
            batch.clear();
            rest.clear();
            prop_assert_eq!(told(&batch), told(&Batch::default()));
            prop_assert_eq!(totals.events(), 0);
        }
    }
}
