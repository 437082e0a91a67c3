//! The retry topics' records between being read and being due. Pure: times come in as arguments.
//!
//! A record of the topic with delay `d`, appended at `t`, is due between `t + d` and `t + d` plus the
//! jitter's bound. So a partition is read up to the records with `t + d <= now + lead`; then it rests
//! until the next one comes that near. What was read waits in a heap for its exact time. A record
//! whose due time lies beyond that (a long `Retry-After`) comes out at `t + d` to hop to another topic,
//! if there is one whose delay is not longer than the rest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use postrider_types::Timestamp;
use postrider_types::jitter::most_jitter;

use crate::tracker::TopicPartition;

/// How much earlier than needed a record is read.
const LEAD: Duration = Duration::from_secs(2);
/// A rest shorter than this is not worth a pause, which throws prefetched records away.
const SHORT_REST: Duration = Duration::from_secs(5);

/// How much of one partition waits in memory at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierLimits {
    /// Records.
    pub records: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Default for TierLimits {
    fn default() -> Self {
        Self {
            records: 4096,
            bytes: 2 << 20,
        }
    }
}

/// What the retry schedule tells of its topics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// The part of a delay that chance adds at most.
    pub jitter: f64,
    /// The shortest delay.
    pub shortest: Duration,
}

impl Steps {
    /// How long before a delay is over its records are read: all that can be due by then are in memory.
    fn window(&self, delay: Duration) -> Duration {
        most_jitter(delay, self.jitter) + LEAD
    }

    /// What becomes of a record that is due so long after its delay is over.
    fn wake(&self, rest: Duration, delay: Duration) -> Wake {
        let reached = rest <= self.window(delay) || rest < self.shortest;
        if reached { Wake::Due } else { Wake::Hop }
    }
}

/// Why a record comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// It is due.
    Due,
    /// Its due time is further than this topic reaches; it goes to another.
    Hop,
}

#[derive(Debug)]
struct Entry<T> {
    at: Timestamp,
    offset: i64,
    wake: Wake,
    bytes: u64,
    item: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.offset) == (other.at, other.offset)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.offset).cmp(&(other.at, other.offset))
    }
}

#[derive(Debug)]
struct Tier<T> {
    delay: Duration,
    heap: BinaryHeap<Reverse<Entry<T>>>,
    bytes: u64,
    /// When reading goes on, as far as the last record's age tells.
    rests_until: Option<Timestamp>,
}

/// A record read from a retry topic.
#[derive(Debug)]
pub struct Read<T> {
    /// Its offset.
    pub offset: i64,
    /// When the broker appended it.
    pub appended: Timestamp,
    /// When its delivery is due.
    pub due: Timestamp,
    /// What it holds in memory.
    pub bytes: u64,
    /// What comes out again.
    pub item: T,
}

/// All owned partitions of the retry topics.
#[derive(Debug)]
pub struct RetryTiers<T> {
    limits: TierLimits,
    steps: Steps,
    tiers: HashMap<TopicPartition, Tier<T>>,
}

impl<T> RetryTiers<T> {
    /// Empty.
    #[must_use]
    pub fn new(limits: TierLimits, steps: Steps) -> Self {
        Self {
            limits,
            steps,
            tiers: HashMap::new(),
        }
    }

    /// Takes a record in.
    pub fn take_in(&mut self, partition: TopicPartition, delay: Duration, read: Read<T>) {
        let tier = self.tiers.entry(partition).or_insert_with(|| Tier {
            delay,
            heap: BinaryHeap::new(),
            bytes: 0,
            rests_until: None,
        });
        let out = read.appended.after(delay);
        let wake = self.steps.wake(read.due.since(out), delay);
        let at = match wake {
            Wake::Due => read.due,
            Wake::Hop => out,
        };
        let window = self.steps.window(delay).as_millis();
        tier.rests_until = Some(Timestamp::from_millis(
            out.as_millis() - i64::try_from(window).unwrap_or(i64::MAX),
        ));
        tier.bytes += read.bytes;
        tier.heap.push(Reverse(Entry {
            at,
            offset: read.offset,
            wake,
            bytes: read.bytes,
            item: read.item,
        }));
    }

    /// Why the next record comes out whose time has come.
    #[must_use]
    pub fn ready(&self, now: Timestamp) -> Option<Wake> {
        let heads = self.tiers.values().filter_map(|tier| tier.heap.peek());
        let due = heads.filter(|Reverse(entry)| entry.at <= now);
        due.min_by_key(|Reverse(entry)| entry.at)
            .map(|Reverse(entry)| entry.wake)
    }

    /// The next record whose time has come: the one that [`ready`](Self::ready) tells of.
    pub fn pop(&mut self, now: Timestamp) -> Option<(Wake, T)> {
        let ready = |tier: &Tier<T>| tier.heap.peek().map(|Reverse(entry)| entry.at).filter(|at| *at <= now);
        let tier = self
            .tiers
            .values_mut()
            .filter(|tier| ready(tier).is_some())
            .min_by_key(|tier| ready(tier))?;
        let Reverse(entry) = tier.heap.pop()?;
        tier.bytes -= entry.bytes;
        Some((entry.wake, entry.item))
    }

    /// When the next record comes out.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.tiers
            .values()
            .filter_map(|tier| tier.heap.peek().map(|Reverse(entry)| entry.at))
            .min()
    }

    /// Whether a partition should not be read now.
    #[must_use]
    pub fn rests(&self, partition: &TopicPartition, now: Timestamp, resting: bool) -> bool {
        self.tiers
            .get(partition)
            .is_some_and(|tier| tier.is_full(self.limits, resting) || tier.is_early(now, resting))
    }

    /// How late the oldest record that is due is, per delay.
    pub fn lags(&self, now: Timestamp) -> HashMap<Duration, Duration> {
        let mut lags: HashMap<Duration, Duration> = HashMap::new();
        for tier in self.tiers.values() {
            let late = tier
                .heap
                .peek()
                .map_or(Duration::ZERO, |Reverse(entry)| now.since(entry.at));
            let lag = lags.entry(tier.delay).or_default();
            *lag = late.max(*lag);
        }
        lags
    }

    /// Drops the partitions that `keep` denies and returns what waited in them.
    pub fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) -> Vec<T> {
        let gone: Vec<TopicPartition> = self.tiers.keys().filter(|key| !keep(key)).cloned().collect();
        let tiers = gone.iter().filter_map(|key| self.tiers.remove(key));
        tiers
            .flat_map(|tier| tier.heap.into_iter().map(|Reverse(entry)| entry.item))
            .collect()
    }
}

impl<T> Tier<T> {
    /// With hysteresis: a partition that rests reads on when a quarter is free.
    fn is_full(&self, limits: TierLimits, resting: bool) -> bool {
        let reached = |held: u64, most: u64| held >= if resting { most - most / 4 } else { most };
        reached(self.heap.len() as u64, limits.records as u64) || reached(self.bytes, limits.bytes)
    }

    /// Whether the last record read is too young for reading on.
    fn is_early(&self, now: Timestamp, resting: bool) -> bool {
        let Some(until) = self.rests_until else { return false };
        let rest = until.since(now);
        if resting { !rest.is_zero() } else { rest > SHORT_REST }
    }
}

/// The topic a delivery with so much time left goes to: the longest delay not longer, else the shortest.
#[must_use]
pub fn tier_for(delays: &[Duration], remaining: Duration) -> Option<Duration> {
    let longest = delays.iter().filter(|delay| **delay <= remaining).max();
    longest.or_else(|| delays.iter().min()).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postrider_types::Partition;
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn key() -> TopicPartition {
        (Arc::from("r"), Partition(0))
    }

    fn read(offset: i64, appended: i64, due: i64) -> Read<i64> {
        Read {
            offset,
            appended: at(appended),
            due: at(due),
            bytes: 100,
            item: offset,
        }
    }

    fn tiers(records: usize) -> RetryTiers<i64> {
        let steps = Steps {
            jitter: 0.1,
            shortest: Duration::from_secs(5),
        };
        let bytes = 1 << 20;
        RetryTiers::new(TierLimits { records, bytes }, steps)
    }

    #[test]
    fn comes_out_at_its_time_and_never_early() {
        let mut tiers = tiers(10);
        tiers.take_in(key(), Duration::from_secs(5), read(0, 0, 5_300));
        tiers.take_in(key(), Duration::from_secs(5), read(1, 100, 5_100));
        assert_eq!(tiers.pop(at(5_099)), None);
        assert_eq!(tiers.next(), Some(at(5_100)));
        assert_eq!(tiers.pop(at(5_100)), Some((Wake::Due, 1)));
        assert_eq!(tiers.pop(at(5_299)), None);
        assert_eq!(tiers.pop(at(5_300)), Some((Wake::Due, 0)));
        assert_eq!(tiers.next(), None);
    }

    #[test]
    fn a_due_time_beyond_the_topics_reach_hops_when_the_delay_is_over() {
        let mut tiers = tiers(10);
        tiers.take_in(key(), Duration::from_secs(5), read(0, 0, 60_000));
        assert_eq!(tiers.pop(at(4_999)), None);
        assert_eq!(tiers.pop(at(5_000)), Some((Wake::Hop, 0)));
    }

    #[test]
    fn a_rest_below_the_shortest_delay_or_within_the_jitter_waits_here() {
        let mut tiers = tiers(10);
        tiers.take_in(key(), Duration::from_secs(20), read(0, 0, 24_999));
        assert_eq!(tiers.pop(at(24_998)), None);
        assert_eq!(tiers.pop(at(24_999)), Some((Wake::Due, 0)));
        tiers.take_in(key(), Duration::from_secs(20), read(1, 0, 25_001));
        assert_eq!(tiers.pop(at(20_000)), Some((Wake::Hop, 1)));
        tiers.steps.jitter = 0.5;
        tiers.take_in(key(), Duration::from_secs(20), read(2, 0, 31_999));
        assert_eq!(tiers.pop(at(31_998)), None);
        assert_eq!(tiers.pop(at(31_999)), Some((Wake::Due, 2)));
    }

    #[test]
    fn a_partition_whose_records_are_young_rests_until_they_come_near() {
        let mut tiers = tiers(10);
        tiers.take_in(key(), Duration::from_secs(100), read(0, 0, 100_000));
        assert!(tiers.rests(&key(), at(0), false));
        assert!(tiers.rests(&key(), at(87_999), true));
        assert!(!tiers.rests(&key(), at(88_000), true));
    }

    #[test]
    fn a_full_partition_rests_until_more_than_a_quarter_is_free() {
        let mut tiers = tiers(4);
        for offset in 0..4 {
            assert!(!tiers.rests(&key(), at(10), false));
            tiers.take_in(key(), Duration::from_millis(500), read(offset, 0, 500 + offset));
        }
        assert!(tiers.rests(&key(), at(10), false));
        tiers.pop(at(1_000));
        assert!(tiers.rests(&key(), at(1_000), true));
        tiers.pop(at(1_000));
        assert!(!tiers.rests(&key(), at(1_000), true));
    }

    #[test]
    fn what_waits_in_a_partition_that_goes_is_given_back() {
        let mut tiers = tiers(4);
        tiers.take_in(key(), Duration::from_secs(5), read(7, 0, 5_000));
        assert_eq!(tiers.retain(|_| false), [7]);
        assert_eq!(tiers.next(), None);
    }

    #[test]
    fn the_longest_delay_that_fits_is_taken() {
        let delays = [5, 20, 80].map(Duration::from_secs);
        let tier = |secs| tier_for(&delays, Duration::from_secs(secs)).unwrap().as_secs();
        assert_eq!([tier(1), tier(5), tier(19), tier(20), tier(1_000)], [5, 5, 5, 20, 80]);
        assert_eq!(tier_for(&[], Duration::ZERO), None);
    }

    proptest! {
        #[test]
        fn everything_comes_out_once_in_order_and_not_early(dues in prop::collection::vec(0..10_000_i64, 1..50)) {
            let mut tiers = tiers(1_000);
            for (offset, extra) in (0..).zip(&dues) {
                tiers.take_in(key(), Duration::from_secs(100), read(offset, 0, 100_000 + extra));
            }
            let mut seen = Vec::new();
            for now in (99_000..111_000).step_by(7) {
                while let Some((_, offset)) = tiers.pop(at(now)) {
                    let due = 100_000 + dues[usize::try_from(offset).unwrap()];
                    prop_assert!(due <= now && now - due < 7);
                    seen.push((due, offset));
                }
            }
            prop_assert_eq!(seen.len(), dues.len());
            prop_assert!(seen.is_sorted());
        }
    }
}
