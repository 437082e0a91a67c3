//! Which offsets of one partition are settled. Pure: no clock, no Kafka client.
//!
//! The watermark (`base`) is the lowest offset that is not settled; above it a bitmap tells which
//! ones are. Offsets that Kafka never delivers (transaction markers, compacted records) count as
//! settled. A commit is computed by [`Ledger::preview`] and takes effect by [`Ledger::apply`] only
//! after Kafka has it, so there is nothing to take back when a transaction is aborted.

mod bits;
mod metadata;

pub use bits::Bits;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use metadata::framed;
pub use metadata::{BadMetadata, decode, encode};

/// The most offsets a partition runs ahead of its watermark: the worst bitmap of so many still fits
/// the 4,096 characters that Kafka takes as a commit's metadata.
pub const MAX_SPAN: i64 = 22_000;

/// What a ledger says to a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// It has to be worked on.
    New,
    /// It was read before under this assignment, and is on its way. The client reads a record twice when it was just being
    /// handed over while a rebalance had all partitions pause: it reads on where it had been a moment before.
    UnderWay,
    /// It was settled before a restart or a rebalance.
    Settled,
    /// It is too far ahead; the partition has to wait.
    TooFar,
}

/// The offsets of one partition, under one assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    base: i64,
    next: i64,
    settled: Bits,
}

impl Ledger {
    /// A ledger whose watermark is `base`, with what is settled above it.
    #[must_use]
    pub fn new(base: i64, settled: &[i64]) -> Self {
        let mut ledger = Self {
            base,
            next: base,
            settled: Bits::default(),
        };
        ledger.settle(settled.iter().copied());
        ledger
    }

    /// The lowest offset that is not settled: what is committed.
    #[must_use]
    pub const fn base(&self) -> i64 {
        self.base
    }

    /// How far reading is ahead of the watermark.
    #[must_use]
    pub fn span(&self) -> i64 {
        (self.next - self.base).max(0)
    }

    /// Whether a delivered offset is still unsettled.
    #[must_use]
    pub fn has_unsettled(&self) -> bool {
        self.base < self.next
    }

    /// Notes that `offset` was read. What lies between it and the one read before does not exist.
    pub fn deliver(&mut self, offset: i64) -> Delivered {
        if offset < self.base || self.settled.contains(offset) {
            self.skip_to(offset);
            self.next = self.next.max(offset + 1);
            self.advance();
            return Delivered::Settled;
        }
        if offset < self.next {
            return Delivered::UnderWay;
        }
        let gap_settles_everything = self.base == self.next;
        if !gap_settles_everything && offset - self.base >= MAX_SPAN {
            return Delivered::TooFar;
        }
        self.skip_to(offset);
        self.next = self.next.max(offset + 1);
        Delivered::New
    }

    /// Notes that no record lies between the last one read and `position`, if that one and all before it
    /// are settled; otherwise the next record tells.
    pub fn pass_over(&mut self, position: i64) {
        if !self.has_unsettled() && self.settled.is_empty() && position > self.next.max(self.base) {
            self.base = position;
            self.next = position;
        }
    }

    fn skip_to(&mut self, offset: i64) {
        if self.base == self.next && self.settled.is_empty() {
            self.base = self.base.max(offset);
        } else {
            self.settled.extend(self.next.max(self.base)..offset);
        }
        self.next = self.next.max(offset);
        self.advance();
    }

    /// What would be committed if `offsets` were settled.
    #[must_use]
    pub fn preview(&self, offsets: impl IntoIterator<Item = i64>) -> Self {
        let mut then = self.clone();
        then.settle(offsets);
        then
    }

    /// Notes that `offsets` are settled and committed.
    pub fn apply(&mut self, offsets: impl IntoIterator<Item = i64>) {
        self.settle(offsets);
    }

    /// The settled offsets above the watermark, ascending.
    pub fn settled_above(&self) -> impl Iterator<Item = i64> + '_ {
        self.settled.iter()
    }

    fn settle(&mut self, offsets: impl IntoIterator<Item = i64>) {
        for offset in offsets {
            if offset >= self.base {
                self.settled.insert(offset);
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.base = self.settled.advance(self.base);
    }
}

#[cfg(test)]
mod tests;
