//! One webhook's lane: what waits for it and how much of it is in flight.
//!
//! Fresh events, due retries and replayed deliveries have a queue each, and a share of the places in flight. Of the
//! first two, which are live, neither takes more than half of the places while the other waits. Replayed ones take
//! half at most, so that a live one finds a place, and a quarter while one waits. A lane whose places are all taken
//! and from which nothing has come back for long hangs.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use tokio::time::Instant;

/// How many are started in a lane from which nothing comes back, when places are scarce.
const GUESSES: usize = 2;

/// What brings a delivery, and so which of a lane's queues it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A source record.
    Fresh,
    /// A retry record that came due.
    Retry,
    /// A retry record that a replay wrote, or a retry of one.
    Replay,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Retry, Self::Replay];
    /// Those that nobody has asked for again.
    pub const LIVE: [Self; 2] = [Self::Fresh, Self::Retry];

    /// The other live one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Fresh | Self::Replay => Self::Retry,
            Self::Retry => Self::Fresh,
        }
    }
}

/// One value for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Each<T>([T; 3]);

impl<T> Index<Kind> for Each<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        &self.0[kind as usize]
    }
}

impl<T> IndexMut<Kind> for Each<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind as usize]
    }
}

impl<T> Each<T> {
    /// For fresh events, for retries and for replays.
    pub const fn of(fresh: T, retry: T, replay: T) -> Self {
        Self([fresh, retry, replay])
    }

    /// What `make` makes for each.
    pub fn by(make: impl Fn(Kind) -> T) -> Self {
        Self(Kind::ALL.map(make))
    }
}

impl Each<usize> {
    /// Of all kinds together.
    #[must_use]
    pub const fn sum(&self) -> usize {
        self.live() + self.0[Kind::Replay as usize]
    }

    /// Of the live kinds together.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.0[Kind::Fresh as usize] + self.0[Kind::Retry as usize]
    }
}

/// The places that a kind may take, rounded up, while those kinds wait: of the live ones each gets all, or half while
/// the other waits; replays get half, or a quarter while a live one waits.
#[must_use]
pub fn share(kind: Kind, limit: usize, waits: Each<bool>) -> usize {
    let parts = match kind {
        Kind::Fresh | Kind::Retry if waits[kind.other()] => 2,
        Kind::Fresh | Kind::Retry => 1,
        Kind::Replay if waits[Kind::Fresh] || waits[Kind::Retry] => 4,
        Kind::Replay => 2,
    };
    limit.div_ceil(parts)
}

/// How busy a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// What waits.
    pub waiting: Each<usize>,
    /// How much is in flight.
    pub in_flight: usize,
    /// How much may be in flight.
    pub limit: usize,
    /// When something was last started or came back.
    pub moved: Option<Instant>,
    /// Whether nothing is started in it until something comes back: as if all its places were taken.
    pub is_set_aside: bool,
}

impl Load {
    /// Whether another item would have to wait.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.in_flight >= self.limit && self.in_flight > 0 || self.waiting.sum() > 0
    }

    /// How many are started before one that is put at the end of a queue: all of that queue, and as many of the
    /// other live one, for the live kinds take turns; before a replay all that is live.
    #[must_use]
    pub fn ahead(&self, kind: Kind) -> usize {
        let own = self.waiting[kind];
        match kind {
            Kind::Fresh | Kind::Retry => own + self.waiting[kind.other()].min(own + 1),
            Kind::Replay => self.waiting.sum(),
        }
    }

    /// Whether all places are taken and nothing has moved for `patience`.
    #[must_use]
    pub fn hangs(&self, now: Instant, patience: Duration) -> bool {
        let still = |moved: Instant| now.saturating_duration_since(moved) >= patience;
        let is_full = self.in_flight >= self.limit || self.is_set_aside;
        self.in_flight > 0 && is_full && self.moved.is_some_and(still)
    }

    /// How much of each queue can stay when `room` can stay of all. Replays stay where the live ones leave room.
    #[must_use]
    pub fn split(&self, room: usize) -> Each<usize> {
        let live = |kind: Kind| {
            let rest = room.saturating_sub(self.waiting[kind.other()]);
            self.waiting[kind].min(rest.max(room / 2))
        };
        let [fresh, retry] = Kind::LIVE.map(live);
        let replay = self.waiting[Kind::Replay].min(room.saturating_sub(fresh + retry));
        Each::of(fresh, retry, replay)
    }
}

/// An item and since when it has been waiting.
type Entry<T> = (Instant, T);

#[derive(Debug)]
pub(crate) struct Lane<T> {
    queues: Each<VecDeque<Entry<T>>>,
    flying: Each<usize>,
    pub(crate) limit: usize,
    moved: Instant,
    /// How many were started since something came back.
    silent: usize,
    /// Whether the lane stands in the row of a kind.
    pub(crate) listed: Each<bool>,
}

impl<T> Lane<T> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            queues: Each::default(),
            flying: Each::default(),
            limit: 1,
            moved: now,
            silent: 0,
            listed: Each::default(),
        }
    }

    pub(crate) fn push(&mut self, kind: Kind, now: Instant, item: T) {
        self.queues[kind].push_back((now, item));
    }

    pub(crate) fn waiting(&self, kind: Kind) -> usize {
        self.queues[kind].len()
    }

    /// Whether nothing is left that needs it.
    pub(crate) fn is_over(&self) -> bool {
        let idle = |kind: &Kind| self.queues[*kind].is_empty() && !self.listed[*kind];
        self.flying.sum() == 0 && Kind::ALL.iter().all(idle)
    }

    pub(crate) fn has_flying(&self) -> bool {
        self.flying.sum() > 0
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            waiting: Each::by(|kind| self.waiting(kind)),
            in_flight: self.flying.sum(),
            limit: self.limit,
            moved: Some(self.moved),
            is_set_aside: false,
        }
    }

    /// Whether an item of this kind can be started as far as this lane goes.
    pub(crate) fn is_ready(&self, kind: Kind) -> bool {
        let waits = Each::by(|kind| !self.queues[kind].is_empty());
        waits[kind] && self.flying.sum() < self.limit && self.flying[kind] < share(kind, self.limit, waits)
    }

    pub(crate) fn take(&mut self, kind: Kind, now: Instant) -> Option<T> {
        let (_, item) = self.queues[kind].pop_front()?;
        self.flying[kind] += 1;
        self.silent += 1;
        self.moved = now;
        Some(item)
    }

    pub(crate) fn finish(&mut self, kind: Kind, now: Instant) {
        self.flying[kind] -= 1;
        self.silent = 0;
        self.moved = now;
    }

    /// Whether more was started than a guess since something came back.
    pub(crate) const fn is_silent(&self) -> bool {
        self.silent >= GUESSES
    }

    /// Takes out of a queue what `pick` points at by place, time of arrival and item.
    pub(crate) fn remove(&mut self, kind: Kind, mut pick: impl FnMut(usize, Instant, &T) -> bool) -> Vec<T> {
        let (mut kept, mut removed) = (VecDeque::new(), Vec::new());
        for (place, (since, item)) in self.queues[kind].drain(..).enumerate() {
            if pick(place, since, &item) {
                removed.push(item);
            } else {
                kept.push_back((since, item));
            }
        }
        self.queues[kind] = kept;
        removed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self {
            flying: self.flying,
            limit: self.limit,
            silent: self.silent,
            ..Self::new(self.moved)
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(fresh: usize, retries: usize) -> Load {
        Load {
            waiting: Each::of(fresh, retries, 3),
            in_flight: 4,
            limit: 4,
            moved: None,
            is_set_aside: false,
        }
    }

    #[test]
    fn the_kinds_take_turns_so_only_as_many_of_the_other_go_first() {
        assert_eq!(load(10, 0).ahead(Kind::Fresh), 10);
        assert_eq!(load(10, 3).ahead(Kind::Fresh), 13);
        assert_eq!(load(10, 1_000).ahead(Kind::Fresh), 21);
        assert_eq!(load(1_000, 0).ahead(Kind::Retry), 1);
        assert_eq!(
            load(10, 5).ahead(Kind::Replay),
            18,
            "all that is live goes before a replay"
        );
    }

    #[test]
    fn replays_leave_half_of_the_places_free_and_more_while_a_live_one_waits() {
        let places = |kind, fresh, retry, limit| share(kind, limit, Each::of(fresh, retry, true));
        assert_eq!(places(Kind::Replay, false, false, 32), 16);
        assert_eq!(places(Kind::Replay, true, false, 32), 8);
        assert_eq!(places(Kind::Replay, false, true, 1), 1);
        assert_eq!(
            [
                places(Kind::Fresh, true, false, 32),
                places(Kind::Retry, true, true, 32)
            ],
            [32, 16]
        );
    }

    #[test]
    fn a_lane_hangs_when_it_is_full_and_nothing_moves() {
        let (start, patience) = (Instant::now(), Duration::from_secs(2));
        let mut lane = Lane::new(start);
        lane.push(Kind::Fresh, start, 'a');
        assert_eq!(lane.take(Kind::Fresh, start), Some('a'));
        let later = start + patience;
        assert!(!lane.load().hangs(start, patience));
        assert!(lane.load().hangs(later, patience));
        lane.limit = 2;
        assert!(!lane.load().hangs(later, patience));
        lane.finish(Kind::Fresh, later);
        assert!(!Load::default().hangs(later, patience) && !lane.load().is_busy());
    }

    proptest! {
        #[test]
        fn what_stays_fits_the_room_and_neither_kind_loses_its_half(
            fresh in 0..100_usize, retries in 0..100_usize, room in 0..120_usize,
        ) {
            let keep = load(fresh, retries).split(room);
            prop_assert!(keep.sum() <= room);
            prop_assert!(keep[Kind::Fresh] >= fresh.min(room / 2) && keep[Kind::Retry] >= retries.min(room / 2));
            prop_assert!(keep.sum() + 1 >= room.min(fresh + retries + 3));
        }
    }
}
