//! Who is sent next. Every webhook has a lane with its own limit and queues; lanes with work take turns,
//! so that none starves another. Pure: no task, no channel, and moments are arguments.
//!
//! Fresh events, due retries and replays have separate budgets. Each kind has a queue of its own in every lane, bounds
//! of its own for all that waits, and its own row of lanes. The rows of the live kinds take turns; that of the replays
//! is served when no live one can be started, and every so often before them, so that it does not stand still. How
//! many places each kind gets of all in flight, [`share`] tells; the same holds within each lane.
//!
//! The last places are for lanes from which something comes back: dozens of endpoints that hang, each within its limit,
//! would have all of them otherwise. A lane that had its guess, and nothing since, is set aside until something comes
//! back or places are free again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use tokio::time::Instant;

use crate::lane::{Each, Kind, Lane, Load, share};

/// How many full queues may keep as much again aside before reading stops.
const ASIDE: usize = 3;
/// How many live ones are started before a replay has its turn, though live ones wait.
const BEFORE_A_REPLAY: u32 = 8;
/// How many full queues may wait in all before reading stops.
const WAITING: usize = 16;

/// The bounds of all lanes together. All but the first hold for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Items in flight, of all lanes and kinds.
    pub in_flight: usize,
    /// One queue of one lane. What comes on top of it is kept aside, and counts for `aside`.
    pub queue: usize,
    /// Items kept aside for full queues, of all lanes.
    pub aside: usize,
    /// Items waiting, of all lanes.
    pub waiting: usize,
    /// Those places in flight that are for lanes from which something comes back.
    pub reserved: usize,
}

impl Limits {
    /// The bounds that follow from the two settings. Each live kind has half of a webhook's waiting places; replays
    /// have as many.
    #[must_use]
    pub const fn new(in_flight: usize, waiting_per_webhook: usize) -> Self {
        let queue = waiting_per_webhook.div_ceil(2);
        Self {
            in_flight,
            queue,
            aside: queue.saturating_mul(ASIDE),
            waiting: queue.saturating_mul(WAITING),
            reserved: 0,
        }
    }
}

/// An item that is to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub struct Started<K, T> {
    /// Its lane.
    pub key: K,
    /// Its kind.
    pub kind: Kind,
    /// The item.
    pub item: T,
}

/// All lanes: `K` names a lane, `T` is what waits in it.
#[derive(Debug)]
pub struct Lanes<K, T> {
    limits: Limits,
    lanes: HashMap<K, Lane<T>>,
    /// Every lane that has work of a kind and room for it, once each.
    rows: Each<VecDeque<K>>,
    /// Which live row is served next.
    turn: Kind,
    /// How many live ones were started since the last replay.
    since_replay: u32,
    /// Lanes out of their row until a moment.
    held_back: BinaryHeap<Reverse<(Instant, K, Kind)>>,
    /// Lanes out of their row until something comes back from them, or places are free.
    set_aside: HashSet<K>,
    in_flight: Each<usize>,
    waiting: Each<usize>,
    aside: Each<usize>,
}

impl<K: Clone + Eq + Hash + Ord, T> Lanes<K, T> {
    /// No lanes yet; one exists as long as something waits or is in flight in it, or it stands in a row.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            rows: Each::default(),
            turn: Kind::Fresh,
            since_replay: 0,
            held_back: BinaryHeap::new(),
            set_aside: HashSet::new(),
            in_flight: Each::default(),
            waiting: Each::default(),
            aside: Each::default(),
        }
    }

    /// Whether another item of this kind may be offered. Full queues stop the reading only once what is
    /// kept aside for them has reached its bound; until then the other lanes get theirs.
    #[must_use]
    pub fn accepts(&self, kind: Kind) -> bool {
        self.waiting[kind] < self.limits.waiting && self.aside[kind] < self.limits.aside
    }

    /// How busy a lane is.
    #[must_use]
    pub fn load(&self, key: &K) -> Load {
        let load = self.lanes.get(key).map_or_else(Load::default, Lane::load);
        Load {
            is_set_aside: self.set_aside.contains(key),
            ..load
        }
    }

    /// The lanes in which something waits.
    #[must_use]
    pub fn backlog(&self) -> Vec<(K, Load)> {
        let loads = self.lanes.keys().map(|key| (key.clone(), self.load(key)));
        loads.filter(|(_, load)| load.waiting.sum() > 0).collect()
    }

    /// Puts an item into its lane; `limit` is how many of that lane may be in flight from now on.
    pub fn offer(&mut self, key: K, kind: Kind, limit: usize, item: T, now: Instant) {
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane::new(now));
        lane.limit = limit.max(1);
        lane.push(kind, now, item);
        self.aside[kind] += usize::from(lane.waiting(kind) > self.limits.queue);
        self.waiting[kind] += 1;
        self.list(&key);
    }

    /// The next item to start, unless everything is at its limit or nothing waits. `hold_back` is asked
    /// last of all, and may name a moment before which this lane must not start anything.
    pub fn start(&mut self, now: Instant, mut hold_back: impl FnMut(&K) -> Option<Instant>) -> Option<Started<K, T>> {
        self.rejoin(now);
        self.let_in();
        while self.in_flight.sum() < self.limits.in_flight {
            let kind = self.next_row()?;
            let key = self.rows[kind].pop_front().expect("a row that is chosen has a lane");
            if let Some(until) = hold_back(&key) {
                self.held_back.push(Reverse((until, key, kind)));
                continue;
            }
            self.took_its_turn(kind);
            return Some(self.launch(key, kind, now));
        }
        None
    }

    /// When a lane that was held back may go on.
    #[must_use]
    pub fn next_rejoin(&self) -> Option<Instant> {
        self.held_back.peek().map(|Reverse((until, ..))| *until)
    }

    /// Notes that an item of this lane is no longer in flight.
    pub fn finish(&mut self, key: &K, kind: Kind, now: Instant) {
        let lane = self.lanes.get_mut(key).expect("a lane with something in flight exists");
        lane.finish(kind, now);
        // Nearly always empty, and removing hashes the key even so.
        if !self.set_aside.is_empty() {
            self.set_aside.remove(key);
        }
        self.in_flight[kind] -= 1;
        self.tidy(key);
    }

    /// Takes out of a lane's queue what `pick` points at by place, time of arrival and item.
    pub fn remove(&mut self, key: &K, kind: Kind, pick: impl FnMut(usize, Instant, &T) -> bool) -> Vec<T> {
        let Some(lane) = self.lanes.get_mut(key) else {
            return Vec::new();
        };
        let queue = self.limits.queue;
        self.aside[kind] -= lane.waiting(kind).saturating_sub(queue);
        let removed = lane.remove(kind, pick);
        self.aside[kind] += lane.waiting(kind).saturating_sub(queue);
        self.waiting[kind] -= removed.len();
        self.tidy(key);
        removed
    }

    /// Forgets what waits, and returns how much it was.
    pub fn clear(&mut self) -> usize {
        self.rows = Each::default();
        self.held_back.clear();
        self.set_aside.clear();
        self.aside = Each::default();
        self.lanes.values_mut().for_each(Lane::clear);
        self.lanes.retain(|_, lane| lane.has_flying());
        std::mem::take(&mut self.waiting).sum()
    }

    /// Items in flight.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight.sum()
    }

    /// Items waiting.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting.sum()
    }

    /// The row whose turn it is, of those that have a lane and a place for it.
    fn next_row(&mut self) -> Option<Kind> {
        Kind::ALL.into_iter().for_each(|kind| self.drop_void_turns(kind));
        let waits = Each::by(|kind| !self.rows[kind].is_empty());
        let may = |kind: &Kind| waits[*kind] && self.in_flight[*kind] < share(*kind, self.limits.in_flight, waits);
        let (first, second) = (self.turn, self.turn.other());
        let order = if self.since_replay >= BEFORE_A_REPLAY {
            [Kind::Replay, first, second]
        } else {
            [first, second, Kind::Replay]
        };
        order.into_iter().find(may)
    }

    const fn took_its_turn(&mut self, kind: Kind) {
        match kind {
            Kind::Fresh | Kind::Retry => {
                self.turn = kind.other();
                self.since_replay = self.since_replay.saturating_add(1);
            }
            Kind::Replay => self.since_replay = 0,
        }
    }

    /// A lane's limit can shrink and its queue can be emptied while it stands in a row, and places can become scarce.
    fn drop_void_turns(&mut self, kind: Kind) {
        let scarce = self.is_scarce();
        while let Some(key) = self.rows[kind].front() {
            let lane = self.lanes.get_mut(key).expect("a lane in a row exists");
            let ready = lane.is_ready(kind);
            if ready && !(scarce && lane.is_silent()) {
                return;
            }
            lane.listed[kind] = false;
            if lane.is_over() {
                self.lanes.remove(key);
            }
            let key = self.rows[kind].pop_front();
            self.set_aside.extend(key.filter(|_| ready));
        }
    }

    /// Whether only those places are left that are reserved.
    const fn is_scarce(&self) -> bool {
        self.in_flight.sum() + self.limits.reserved >= self.limits.in_flight
    }

    /// Puts the lanes that were set aside back into their rows when places are free.
    fn let_in(&mut self) {
        if self.is_scarce() {
            return;
        }
        for key in std::mem::take(&mut self.set_aside) {
            self.list(&key);
        }
    }

    fn launch(&mut self, key: K, kind: Kind, now: Instant) -> Started<K, T> {
        let lane = self.lanes.get_mut(&key).expect("void turns were dropped");
        lane.listed[kind] = false;
        self.aside[kind] -= usize::from(lane.waiting(kind) > self.limits.queue);
        let item = lane.take(kind, now).expect("a ready lane has work");
        self.waiting[kind] -= 1;
        self.in_flight[kind] += 1;
        self.list(&key);
        Started { key, kind, item }
    }

    /// Puts back into their rows the lanes that were held back until now.
    fn rejoin(&mut self, now: Instant) {
        while self.next_rejoin().is_some_and(|until| until <= now)
            && let Some(Reverse((_, key, kind))) = self.held_back.pop()
        {
            self.rows[kind].push_back(key);
        }
    }

    fn tidy(&mut self, key: &K) {
        if self.lanes.get(key).is_some_and(Lane::is_over) {
            self.lanes.remove(key);
        } else {
            self.list(key);
        }
    }

    fn list(&mut self, key: &K) {
        if self.set_aside.contains(key) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(key) else { return };
        for kind in Kind::ALL {
            if lane.is_ready(kind) && !lane.listed[kind] {
                lane.listed[kind] = true;
                self.rows[kind].push_back(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
