//! Where an outcome stands in the index: by its date, newest last, and within a millisecond by where it came from.
//! A key is made of the outcome alone, so an index that is built again puts every row where it was.

use postrider_types::{Offset, Partition, Timestamp};

/// 2020-01-01T00:00:00Z: nothing is older, and 41 bits of milliseconds last from here until 2089.
const EPOCH: i64 = 1_577_836_800_000;
const MILLIS_BITS: u32 = 41;
const TIE_BITS: u32 = 22;
/// One less than there could be: every key has a next one.
const LAST_MILLI: i64 = (1 << MILLIS_BITS) - 2;
const OFFSET_BITS: u32 = 16;
const PARTITION_BITS: u32 = TIE_BITS - OFFSET_BITS;
/// Milliseconds of an hour.
pub(crate) const HOUR: i64 = 3_600_000;
/// Milliseconds of one bucket of terms: about 70 minutes.
const BUCKET_BITS: u32 = 22;

/// A row's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(pub(crate) i64);

impl Key {
    /// Above all keys.
    pub(crate) const END: Self = Self(i64::MAX);

    /// Of an outcome of this date that stands there in the topic.
    pub(crate) fn new(date: Timestamp, partition: Partition, offset: Offset) -> Self {
        let partition = i64::from(partition.0) & ((1 << PARTITION_BITS) - 1);
        let offset = offset.0 & ((1 << OFFSET_BITS) - 1);
        Self(Self::at(date).0 | (partition << OFFSET_BITS) | offset)
    }

    /// The lowest of this date.
    pub(crate) fn at(date: Timestamp) -> Self {
        let millis = date.as_millis().saturating_sub(EPOCH).clamp(0, LAST_MILLI);
        Self(millis << TIE_BITS)
    }

    /// The date, to the millisecond.
    pub(crate) fn date(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> TIE_BITS) + EPOCH)
    }

    /// The next one, for a place that is taken.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The hour of its date, counted from the epoch.
    pub(crate) fn hour(self) -> i64 {
        self.date().as_millis().div_euclid(HOUR)
    }

    /// The lowest of an hour.
    pub(crate) fn of_hour(hour: i64) -> Self {
        Self::at(Timestamp::from_millis(hour.saturating_mul(HOUR)))
    }

    /// The bucket in which its terms are.
    pub(crate) const fn bucket(self) -> i64 {
        self.0 >> (TIE_BITS + BUCKET_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(millis: i64, partition: i32, offset: i64) -> Key {
        Key::new(Timestamp::from_millis(millis), Partition(partition), Offset(offset))
    }

    #[test]
    fn a_later_date_has_a_larger_key_whatever_the_position() {
        let now = 1_763_805_600_137;
        assert!(key(now, 63, 65_535) < key(now + 1, 0, 0));
        assert!(key(now, 0, 1) < key(now, 0, 2));
        assert!(key(now, 64, i64::MAX) < key(now + 1, 0, 0));
    }

    #[test]
    fn the_date_comes_back_within_its_bounds() {
        assert_eq!(key(1_763_805_600_137, 11, 77).date().as_millis(), 1_763_805_600_137);
        assert_eq!(key(i64::MIN, 0, 0).date().as_millis(), EPOCH);
        assert!(key(i64::MAX, 63, 65_535) < Key::END);
    }
}
