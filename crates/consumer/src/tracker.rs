//! The ledgers of all partitions this process owns, shared by the poll thread, which delivers, and
//! the committer's thread, which settles.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use parking_lot::{Condvar, Mutex};
use postrider_kafka::offsets::OffsetCommit;
use postrider_types::{AssignmentNumber, Offset, Partition, Position};

use crate::ledger::{Delivered, Ledger, encode};

/// A partition of a topic.
pub type TopicPartition = (Arc<str>, Partition);

#[derive(Debug)]
struct Owned {
    number: AssignmentNumber,
    ledger: Ledger,
    /// The watermark that Kafka has; the ledger's own runs ahead over offsets that hold no records.
    committed: i64,
    /// Records on their way through routing and delivery, or waiting for their commit.
    dispatched: usize,
    /// Being revoked: nothing more is dispatched.
    closing: bool,
}

#[derive(Debug, Default)]
struct State {
    owned: HashMap<TopicPartition, Owned>,
    assignments: u64,
    /// Whose assignments have ended since they were last taken.
    gone: Vec<TopicPartition>,
}

/// The ledgers.
#[derive(Debug, Default)]
pub struct Tracker {
    state: Mutex<State>,
    changed: Condvar,
}

impl Tracker {
    /// Begins a partition's new assignment.
    pub fn assign(&self, topic: Arc<str>, partition: Partition, ledger: Ledger) -> AssignmentNumber {
        let mut state = self.state.lock();
        state.assignments += 1;
        let number = AssignmentNumber(state.assignments);
        state.owned.insert(
            (topic, partition),
            Owned {
                number,
                committed: ledger.base(),
                ledger,
                dispatched: 0,
                closing: false,
            },
        );
        number
    }

    /// Ends partitions' assignments: nothing of them is settled any more.
    pub fn revoke(&self, partitions: &[TopicPartition]) {
        let mut state = self.state.lock();
        for partition in partitions {
            if state.owned.remove(partition).is_some() {
                state.gone.push(partition.clone());
            }
        }
        self.changed.notify_all();
    }

    /// The partitions whose assignments have ended since this was asked last; some may have come back since.
    #[must_use]
    pub fn take_gone(&self) -> Vec<TopicPartition> {
        std::mem::take(&mut self.state.lock().gone)
    }

    /// Stops dispatching what belongs to these partitions, and waits until what was dispatched is
    /// committed, at most `patience`. Calls `nudge` before each look. Returns how many records are left.
    pub fn drain(&self, partitions: &[TopicPartition], patience: Duration, nudge: impl Fn()) -> usize {
        const LOOK: Duration = Duration::from_millis(20);
        let mut state = self.state.lock();
        for partition in partitions {
            if let Some(owned) = state.owned.get_mut(partition) {
                owned.closing = true;
            }
        }
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let of = |partition| state.owned.get(partition).map_or(0, |owned: &Owned| owned.dispatched);
            let left: usize = partitions.iter().map(of).sum();
            if left == 0 || tokio::time::Instant::now() >= deadline {
                return left;
            }
            nudge();
            self.changed.wait_for(&mut state, LOOK);
        }
    }

    /// Notes that a record was read; `None` when its partition is not ours.
    pub fn deliver(
        &self,
        topic: &Arc<str>,
        partition: Partition,
        offset: i64,
    ) -> Option<(AssignmentNumber, Delivered)> {
        let mut state = self.state.lock();
        let owned = state.owned.get_mut(&(Arc::clone(topic), partition))?;
        Some((owned.number, owned.ledger.deliver(offset)))
    }

    /// Notes that a partition holds no records before `position`, if all that were read of it are settled.
    pub fn pass_over(&self, partition: &TopicPartition, position: i64) {
        if let Some(owned) = self.state.lock().owned.get_mut(partition) {
            owned.ledger.pass_over(position);
        }
    }

    /// Notes that a record goes on its way; `false` when its partition is going or gone, and it must not.
    pub fn dispatch(&self, position: &Position) -> bool {
        let mut state = self.state.lock();
        let owned = state.of(position).filter(|owned| !owned.closing);
        owned.map(|owned| owned.dispatched += 1).is_some()
    }

    /// Takes back that a record goes on its way: there was no room for it.
    pub fn take_back(&self, position: &Position) {
        let mut state = self.state.lock();
        if let Some(owned) = state.of(position) {
            owned.dispatched = owned.dispatched.saturating_sub(1);
        }
        self.changed.notify_all();
    }

    /// Whether the assignment under which a record was read is still in force.
    #[must_use]
    pub fn owns(&self, position: &Position) -> bool {
        self.state.lock().of(position).is_some()
    }

    /// What to commit if these records were settled.
    #[must_use]
    pub fn preview(&self, settled: &[&Position], sequence: u32) -> Vec<OffsetCommit> {
        let state = self.state.lock();
        let commit = |(key, offsets): (TopicPartition, Vec<i64>)| {
            let then = state.owned.get(&key)?.ledger.preview(offsets);
            let (offset, metadata) = (Offset(then.base()), encode(&then, sequence));
            Some(OffsetCommit {
                topic: key.0,
                partition: key.1,
                offset,
                metadata,
            })
        };
        by_partition(settled).into_iter().filter_map(commit).collect()
    }

    /// These records are settled and committed.
    pub fn apply(&self, settled: &[&Position]) {
        let mut state = self.state.lock();
        for position in settled {
            if let Some(owned) = state.of(position) {
                owned.ledger.apply([position.offset.0]);
                owned.dispatched = owned.dispatched.saturating_sub(1);
                owned.committed = owned.ledger.base();
            }
        }
        self.changed.notify_all();
    }

    /// How far each partition's reading is ahead of its watermark.
    #[must_use]
    pub fn spans(&self) -> Vec<(TopicPartition, i64)> {
        let state = self.state.lock();
        state
            .owned
            .iter()
            .map(|(key, owned)| (key.clone(), owned.ledger.span()))
            .collect()
    }

    /// The watermark that Kafka has of each partition.
    #[must_use]
    pub fn committed(&self) -> Vec<(TopicPartition, i64)> {
        let state = self.state.lock();
        state
            .owned
            .iter()
            .map(|(key, owned)| (key.clone(), owned.committed))
            .collect()
    }

    /// The offset after the last one read of a partition.
    #[must_use]
    pub fn next_expected(&self, partition: &TopicPartition) -> Option<i64> {
        self.state
            .lock()
            .owned
            .get(partition)
            .map(|owned| owned.ledger.base() + owned.ledger.span())
    }

    /// A partition's watermark.
    #[must_use]
    pub fn watermark(&self, topic: &Arc<str>, partition: Partition) -> Option<i64> {
        let state = self.state.lock();
        state
            .owned
            .get(&(Arc::clone(topic), partition))
            .map(|owned| owned.ledger.base())
    }
}

impl State {
    fn of(&mut self, position: &Position) -> Option<&mut Owned> {
        let key = (Arc::clone(&position.topic), position.partition);
        self.owned
            .get_mut(&key)
            .filter(|owned| owned.number == position.assignment)
    }
}

fn by_partition(positions: &[&Position]) -> HashMap<TopicPartition, Vec<i64>> {
    let mut grouped: HashMap<TopicPartition, Vec<i64>> = HashMap::new();
    for position in positions {
        grouped
            .entry((Arc::clone(&position.topic), position.partition))
            .or_default()
            .push(position.offset.0);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Arc<str> {
        "shipments".into()
    }

    fn read(tracker: &Tracker, offset: i64) -> Position {
        let (assignment, delivered) = tracker.deliver(&topic(), Partition(0), offset).unwrap();
        assert_eq!(delivered, Delivered::New);
        Position {
            topic: topic(),
            partition: Partition(0),
            offset: Offset(offset),
            assignment,
        }
    }

    fn key() -> [TopicPartition; 1] {
        [(topic(), Partition(0))]
    }

    #[test]
    fn a_late_answer_of_an_earlier_assignment_settles_nothing() {
        let tracker = Tracker::default();
        tracker.assign(topic(), Partition(0), Ledger::new(5, &[]));
        let late = read(&tracker, 5);
        tracker.revoke(&key());
        assert!(!tracker.owns(&late));
        tracker.assign(topic(), Partition(0), Ledger::new(5, &[]));
        let again = read(&tracker, 5);
        tracker.apply(&[&late]);
        assert_eq!((tracker.owns(&late), tracker.owns(&again)), (false, true));
        assert_eq!(tracker.watermark(&topic(), Partition(0)), Some(5));
        tracker.apply(&[&again]);
        assert_eq!(tracker.watermark(&topic(), Partition(0)), Some(6));
    }

    #[test]
    fn a_partition_that_went_is_told_of_once_though_it_has_come_back() {
        let tracker = Tracker::default();
        tracker.revoke(&key());
        assert!(tracker.take_gone().is_empty(), "it was not ours");
        tracker.assign(topic(), Partition(0), Ledger::new(0, &[]));
        tracker.revoke(&key());
        tracker.assign(topic(), Partition(0), Ledger::new(0, &[]));
        assert_eq!(tracker.take_gone(), key());
        assert!(tracker.take_gone().is_empty());
    }

    #[test]
    fn draining_waits_for_what_was_dispatched_and_lets_nothing_follow() {
        let tracker = Arc::new(Tracker::default());
        tracker.assign(topic(), Partition(0), Ledger::new(0, &[]));
        let (first, second) = (read(&tracker, 0), read(&tracker, 1));
        assert!(tracker.dispatch(&first));
        let committer = Arc::clone(&tracker);
        let nudged = std::sync::atomic::AtomicU32::new(0);
        let committed = first.clone();
        let nudge = || {
            if nudged.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                let (tracker, position) = (Arc::clone(&committer), committed.clone());
                std::thread::spawn(move || tracker.apply(&[&position]));
            }
        };
        assert_eq!(tracker.drain(&key(), Duration::from_secs(30), nudge), 0);
        assert!(!tracker.dispatch(&second));
    }

    #[test]
    fn draining_gives_up_after_its_time() {
        let tracker = Tracker::default();
        tracker.assign(topic(), Partition(0), Ledger::new(0, &[]));
        assert!(tracker.dispatch(&read(&tracker, 0)));
        assert_eq!(tracker.drain(&key(), Duration::ZERO, || ()), 1);
    }

    #[test]
    fn a_commit_covers_every_partition_it_touches() {
        let tracker = Tracker::default();
        tracker.assign(topic(), Partition(0), Ledger::new(0, &[]));
        let (first, second) = (read(&tracker, 0), read(&tracker, 1));
        let commits = tracker.preview(&[&second], 1);
        assert_eq!((commits.len(), commits[0].offset), (1, Offset(0)));
        let commits = tracker.preview(&[&second, &first], 1);
        assert_eq!(commits[0].offset, Offset(2));
        assert_eq!(tracker.watermark(&topic(), Partition(0)), Some(0));
    }
}
