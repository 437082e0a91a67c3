//! Who is sent next. Every webhook has a lane with its own limit and queue; lanes with work take turns,
//! so that none starves another. Pure: no clock, no task, no channel.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How many full lanes may keep as much again aside before reading stops.
const ASIDE: usize = 3;
/// How many full queues may wait in all before reading stops.
const WAITING: usize = 16;

/// The bounds of all lanes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Items at once, of all lanes.
    pub in_flight: usize,
    /// A lane's queue. What comes on top of it is kept aside, and counts for `aside`.
    pub queue: usize,
    /// Items kept aside for full queues, of all lanes.
    pub aside: usize,
    /// Items waiting, of all lanes.
    pub waiting: usize,
}

impl Limits {
    /// The bounds that follow from the two settings.
    #[must_use]
    pub const fn new(in_flight: usize, queue: usize) -> Self {
        Self {
            in_flight,
            queue,
            aside: queue.saturating_mul(ASIDE),
            waiting: queue.saturating_mul(WAITING),
        }
    }
}

/// Which of a lane's two queues an item joins. They take turns, so that a backlog of one kind does not
/// starve the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A first attempt.
    Fresh,
    /// A retry that is due.
    Retry,
}

/// All lanes: `K` names a lane, `T` is what waits in it.
#[derive(Debug)]
pub struct Lanes<K, T> {
    limits: Limits,
    lanes: HashMap<K, Lane<T>>,
    /// Every lane that has work and room, once each.
    turns: VecDeque<K>,
    in_flight: usize,
    waiting: usize,
    aside: usize,
}

impl<K: Clone + Eq + Hash, T> Lanes<K, T> {
    /// No lanes yet; one exists as long as something waits or is in flight in it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            in_flight: 0,
            waiting: 0,
            aside: 0,
        }
    }

    /// Whether another item may be offered. Full queues stop the reading only once what is kept aside
    /// for them has reached its bound; until then the other lanes get theirs.
    #[must_use]
    pub const fn accepts(&self) -> bool {
        self.waiting < self.limits.waiting && self.aside < self.limits.aside
    }

    /// Puts an item into its lane; `limit` is how many of that lane may be in flight from now on.
    pub fn offer(&mut self, key: K, kind: Kind, limit: usize, item: T) {
        let queue = self.limits.queue;
        let lane = self.lanes.entry(key.clone()).or_default();
        self.aside -= lane.aside(queue);
        lane.limit = limit.max(1);
        lane.queue(kind).push_back(item);
        self.aside += lane.aside(queue);
        self.waiting += 1;
        self.list(key);
    }

    /// The next item to start, unless everything is at its limit or nothing waits.
    pub fn start(&mut self) -> Option<(K, T)> {
        if self.in_flight >= self.limits.in_flight {
            return None;
        }
        let queue = self.limits.queue;
        // A lane's limit can shrink while it is listed, so a turn can be void.
        while let Some(key) = self.turns.pop_front() {
            let lane = self.lanes.get_mut(&key).expect("a listed lane has work");
            lane.listed = false;
            if !lane.is_ready() {
                continue;
            }
            self.aside -= lane.aside(queue);
            let item = lane.take().expect("a ready lane has work");
            self.aside += lane.aside(queue);
            self.waiting -= 1;
            self.in_flight += 1;
            self.list(key.clone());
            return Some((key, item));
        }
        None
    }

    /// Notes that an item of this lane is no longer in flight.
    pub fn finish(&mut self, key: &K) {
        let lane = self.lanes.get_mut(key).expect("a lane with something in flight exists");
        lane.in_flight -= 1;
        self.in_flight -= 1;
        if lane.in_flight == 0 && lane.waiting() == 0 {
            self.lanes.remove(key);
        } else {
            self.list(key.clone());
        }
    }

    /// Forgets what waits, and returns how much it was.
    pub fn clear(&mut self) -> usize {
        self.turns.clear();
        self.aside = 0;
        for lane in self.lanes.values_mut() {
            lane.queues = Default::default();
            lane.listed = false;
        }
        self.lanes.retain(|_, lane| lane.in_flight > 0);
        std::mem::take(&mut self.waiting)
    }

    /// Items in flight.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Items waiting.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    fn list(&mut self, key: K) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.is_ready() && !lane.listed {
            lane.listed = true;
            self.turns.push_back(key);
        }
    }
}

#[derive(Debug)]
struct Lane<T> {
    /// Fresh items, retries.
    queues: [VecDeque<T>; 2],
    /// Which of them is served next.
    turn: usize,
    in_flight: usize,
    limit: usize,
    listed: bool,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            queues: Default::default(),
            turn: 0,
            in_flight: 0,
            limit: 1,
            listed: false,
        }
    }
}

impl<T> Lane<T> {
    const fn queue(&mut self, kind: Kind) -> &mut VecDeque<T> {
        match kind {
            Kind::Fresh => &mut self.queues[0],
            Kind::Retry => &mut self.queues[1],
        }
    }

    fn waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    fn aside(&self, queue: usize) -> usize {
        self.waiting().saturating_sub(queue)
    }

    fn is_ready(&self) -> bool {
        self.in_flight < self.limit && self.waiting() > 0
    }

    fn take(&mut self) -> Option<T> {
        let turn = self.turn;
        self.turn = 1 - turn;
        let item = self.queues[turn]
            .pop_front()
            .or_else(|| self.queues[1 - turn].pop_front());
        self.in_flight += usize::from(item.is_some());
        item
    }
}

#[cfg(test)]
mod tests;
