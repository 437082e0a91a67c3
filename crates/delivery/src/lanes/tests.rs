use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    in_flight: 8,
    queue: 4,
    aside: 6,
    waiting: 40,
    reserved: 0,
};

fn lanes(limits: Limits) -> Lanes<&'static str, u32> {
    Lanes::new(limits)
}

fn at(millis: u64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_millis(millis)
}

/// Starts whatever may be started next, with no rate limit.
fn next<K: Clone + Eq + Hash + Ord, T>(lanes: &mut Lanes<K, T>) -> Option<Started<K, T>> {
    lanes.start(at(0), |_| None)
}

const FRESH: Kind = Kind::Fresh;
const RETRY: Kind = Kind::Retry;
const REPLAY: Kind = Kind::Replay;

fn fill(lanes: &mut Lanes<&'static str, u32>, key: &'static str, limit: usize, items: std::ops::Range<u32>) {
    for item in items {
        lanes.offer(key, FRESH, limit, item, at(0));
    }
}

fn started(lanes: &mut Lanes<&'static str, u32>) -> Vec<(&'static str, u32)> {
    let next = std::iter::from_fn(|| next(lanes));
    next.map(|started| (started.key, started.item)).collect()
}

#[test]
fn lanes_take_turns() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "busy", 8, 0..4);
    fill(&mut lanes, "quiet", 8, 10..12);
    assert_eq!(
        started(&mut lanes),
        [
            ("busy", 0),
            ("quiet", 10),
            ("busy", 1),
            ("quiet", 11),
            ("busy", 2),
            ("busy", 3)
        ]
    );
}

#[test]
fn a_lane_at_its_limit_waits_for_one_of_its_own_to_finish() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 2, 0..4);
    fill(&mut lanes, "b", 1, 0..1);
    assert_eq!(started(&mut lanes), [("a", 0), ("b", 0), ("a", 1)]);
    lanes.finish(&"b", FRESH, at(0));
    assert_eq!(started(&mut lanes), []);
    lanes.finish(&"a", FRESH, at(0));
    assert_eq!(started(&mut lanes), [("a", 2)]);
}

#[test]
fn the_last_places_are_for_lanes_from_which_something_comes_back() {
    let mut lanes = lanes(Limits {
        in_flight: 16,
        reserved: 4,
        ..LIMITS
    });
    for key in ["a", "b", "c", "d"] {
        fill(&mut lanes, key, 4, 0..4);
    }
    let first = started(&mut lanes);
    assert_eq!(first.len(), 12, "three each; then the last places are left");
    assert!(lanes.load(&"a").is_set_aside);
    fill(&mut lanes, "late", 4, 0..4);
    assert_eq!(started(&mut lanes), [("late", 0), ("late", 1)], "its guess");
    lanes.finish(&"late", FRESH, at(0));
    assert_eq!(started(&mut lanes), [("late", 2), ("late", 3)], "it answers");
    for _ in 0..3 {
        lanes.finish(&"late", FRESH, at(0));
    }
    lanes.finish(&"b", FRESH, at(0));
    assert!(started(&mut lanes).contains(&("b", 3)), "something came back");
}

#[test]
fn a_lane_that_is_set_aside_hangs_as_if_it_were_full() {
    let mut lanes = lanes(Limits {
        in_flight: 8,
        reserved: 4,
        ..LIMITS
    });
    fill(&mut lanes, "a", 8, 0..8);
    assert_eq!(started(&mut lanes).len(), 4);
    let (patience, later) = (Duration::from_secs(2), at(2_000));
    assert!(lanes.load(&"a").hangs(later, patience));
    lanes.finish(&"a", FRESH, later);
    assert!(!lanes.load(&"a").is_set_aside);
}

#[test]
fn all_lanes_together_keep_to_the_global_limit() {
    let mut lanes = lanes(Limits { in_flight: 3, ..LIMITS });
    fill(&mut lanes, "a", 8, 0..4);
    fill(&mut lanes, "b", 8, 0..4);
    assert_eq!(started(&mut lanes), [("a", 0), ("b", 0), ("a", 1)]);
    lanes.finish(&"b", FRESH, at(0));
    assert_eq!(started(&mut lanes), [("b", 1)]);
    assert_eq!((lanes.in_flight(), lanes.waiting()), (3, 4));
}

#[test]
fn fresh_items_and_retries_take_turns_within_a_lane() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 8, 0..3);
    for item in [10, 11] {
        lanes.offer("a", RETRY, 8, item, at(0));
    }
    let items: Vec<u32> = started(&mut lanes).into_iter().map(|(_, item)| item).collect();
    assert_eq!(items, [0, 10, 1, 11, 2]);
}

#[test]
fn a_full_queue_stops_the_reading_only_when_too_much_is_kept_aside() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "stuck", 1, 0..9);
    assert!(lanes.accepts(FRESH));
    fill(&mut lanes, "healthy", 1, 0..1);
    assert!(lanes.accepts(FRESH));
    fill(&mut lanes, "stuck", 1, 9..10);
    assert!(!lanes.accepts(FRESH) && lanes.accepts(RETRY));
    assert_eq!(next(&mut lanes).map(|one| one.item), Some(0));
    assert!(lanes.accepts(FRESH));
}

#[test]
fn many_short_queues_stop_the_reading_at_the_total() {
    let mut lanes: Lanes<u32, u32> = Lanes::new(LIMITS);
    for key in 0..39 {
        lanes.offer(key, FRESH, 1, 0, at(0));
    }
    assert!(lanes.accepts(FRESH));
    lanes.offer(99, FRESH, 1, 0, at(0));
    assert!(!lanes.accepts(FRESH) && lanes.accepts(RETRY));
}

#[test]
fn a_new_limit_counts_at_once() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 1, 0..3);
    assert_eq!(started(&mut lanes), [("a", 0)]);
    fill(&mut lanes, "a", 3, 3..4);
    assert_eq!(started(&mut lanes), [("a", 1), ("a", 2)]);
    fill(&mut lanes, "a", 1, 4..5);
    lanes.finish(&"a", FRESH, at(0));
    lanes.finish(&"a", FRESH, at(0));
    assert_eq!(started(&mut lanes), []);
    lanes.finish(&"a", FRESH, at(0));
    assert_eq!(started(&mut lanes), [("a", 3)]);
}

#[test]
fn what_is_cleared_is_counted_and_never_started() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 1, 0..3);
    fill(&mut lanes, "b", 1, 0..2);
    assert_eq!(next(&mut lanes).map(|one| one.item), Some(0));
    assert_eq!(lanes.clear(), 4);
    assert_eq!(next(&mut lanes), None);
    lanes.finish(&"a", FRESH, at(0));
    assert_eq!((lanes.in_flight(), lanes.waiting(), lanes.lanes.len()), (0, 0, 0));
}

#[test]
fn while_both_kinds_wait_each_gets_half_of_a_lane() {
    let mut lanes = lanes(LIMITS);
    for item in 0..8 {
        lanes.offer("a", RETRY, 4, item, at(0));
    }
    assert_eq!(started(&mut lanes).len(), 4, "alone it gets all");
    fill(&mut lanes, "a", 4, 100..108);
    for expected in [100, 101] {
        lanes.finish(&"a", RETRY, at(0));
        assert_eq!(started(&mut lanes), [("a", expected)]);
    }
    // Half and half now: what ends makes room for its own kind.
    lanes.finish(&"a", FRESH, at(0));
    assert_eq!(started(&mut lanes), [("a", 102)]);
    lanes.finish(&"a", RETRY, at(0));
    assert_eq!(started(&mut lanes), [("a", 4)]);
}

#[test]
fn while_both_kinds_could_start_each_gets_half_of_all_places() {
    let mut lanes = lanes(LIMITS);
    for key in ["a", "b", "c", "d"] {
        for item in 0..4 {
            lanes.offer(key, RETRY, 4, item, at(0));
        }
    }
    fill(&mut lanes, "e", 8, 100..120);
    assert_eq!(started(&mut lanes).len(), 8);
    assert_eq!(lanes.in_flight, Each::of(4, 4, 0));
    lanes.finish(&"e", FRESH, at(0));
    assert_eq!(started(&mut lanes), [("e", 104)]);
}

#[test]
fn replays_go_when_nothing_live_can_and_every_so_often_before_it() {
    let mut lanes = lanes(Limits {
        in_flight: 1,
        waiting: 100,
        ..LIMITS
    });
    for item in 0..3 {
        lanes.offer("a", REPLAY, 1, item, at(0));
    }
    fill(&mut lanes, "a", 1, 100..110);
    let mut order = Vec::new();
    while let Some(one) = next(&mut lanes) {
        order.push(one.item);
        lanes.finish(&"a", one.kind, at(0));
    }
    assert_eq!(order, [100, 101, 102, 103, 104, 105, 106, 107, 0, 108, 109, 1, 2]);
}

#[test]
fn replays_take_half_of_a_lane_and_give_way_to_what_is_live() {
    let mut lanes = lanes(LIMITS);
    for item in 0..10 {
        lanes.offer("a", REPLAY, 4, item, at(0));
    }
    assert_eq!(started(&mut lanes), [("a", 0), ("a", 1)], "half of the places");
    fill(&mut lanes, "a", 4, 100..104);
    assert_eq!(
        started(&mut lanes),
        [("a", 100), ("a", 101)],
        "a live one finds the rest"
    );
    for expected in [102, 103] {
        lanes.finish(&"a", REPLAY, at(0));
        assert_eq!(started(&mut lanes), [("a", expected)]);
    }
    lanes.finish(&"a", FRESH, at(0));
    assert_eq!(started(&mut lanes), [("a", 2)]);
}

#[test]
fn a_kind_whose_bounds_are_reached_does_not_stop_the_reading_of_the_other() {
    let mut lanes = lanes(LIMITS);
    for item in 0..10 {
        lanes.offer("stuck", RETRY, 1, item, at(0));
    }
    assert!(!lanes.accepts(RETRY) && lanes.accepts(FRESH));
}

#[test]
fn a_lane_that_is_held_back_lets_the_others_go_and_rejoins_at_its_moment() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "limited", 8, 0..2);
    fill(&mut lanes, "free", 8, 10..12);
    let hold_back = |key: &&str| (*key == "limited").then(|| at(50));
    let items: Vec<u32> = std::iter::from_fn(|| lanes.start(at(0), hold_back))
        .map(|one| one.item)
        .collect();
    assert_eq!((items, lanes.next_rejoin()), (vec![10, 11], Some(at(50))));
    assert_eq!(lanes.start(at(49), |_| None), None);
    assert_eq!(lanes.start(at(50), |_| None).map(|one| one.item), Some(0));
    assert_eq!(lanes.next_rejoin(), None);
}

#[test]
fn what_is_removed_is_never_started_and_makes_room() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 1, 0..10);
    assert!(!lanes.accepts(FRESH));
    let removed = lanes.remove(&"a", FRESH, |place, since, item| {
        place >= 2 && since == at(0) && *item != 7
    });
    assert_eq!(removed, [2, 3, 4, 5, 6, 8, 9]);
    assert!(lanes.accepts(FRESH) && lanes.remove(&"none", FRESH, |_, _, _| true).is_empty());
    let mut left = Vec::new();
    while let Some(one) = next(&mut lanes) {
        left.push(one.item);
        lanes.finish(&"a", FRESH, at(0));
    }
    assert_eq!((left, lanes.waiting(), lanes.lanes.len()), (vec![0, 1, 7], 0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Offer { key: u8, kind: Kind, limit: usize },
    Start { held: u8 },
    Finish { which: usize },
    Remove { key: u8, kind: Kind, from: usize },
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = || prop::sample::select(Kind::ALL.to_vec());
    let step = prop_oneof![
        8 => (0..5_u8, kind(), 1..4_usize).prop_map(|(key, kind, limit)| Step::Offer { key, kind, limit }),
        6 => (0..12_u8).prop_map(|held| Step::Start { held }),
        4 => any::<usize>().prop_map(|which| Step::Finish { which }),
        1 => (0..5_u8, kind(), 0..4_usize).prop_map(|(key, kind, from)| Step::Remove { key, kind, from }),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

/// The same rules, counted naively.
#[derive(Default)]
struct Model {
    waiting: HashMap<(u8, Kind), Vec<u32>>,
    flying: Vec<(u8, Kind)>,
    limits: HashMap<u8, usize>,
    held: HashMap<(u8, Kind), Instant>,
    /// Started since something came back.
    silent: HashMap<u8, usize>,
}

impl Model {
    fn flying_in(&self, key: u8) -> usize {
        self.flying.iter().filter(|(other, _)| *other == key).count()
    }

    fn flying_of(&self, kind: Kind) -> usize {
        self.flying.iter().filter(|(_, other)| *other == kind).count()
    }

    fn waits(&self, key: u8, kind: Kind) -> usize {
        self.waiting.get(&(key, kind)).map_or(0, Vec::len)
    }

    fn sum(&self, kind: Kind, of: impl Fn(usize) -> usize) -> usize {
        (0..5).map(|key| of(self.waits(key, kind))).sum()
    }

    fn ready(&self, key: u8, kind: Kind, now: Instant) -> bool {
        let limit = self.limits.get(&key).copied().unwrap_or(0);
        let own = self.flying.iter().filter(|one| **one == (key, kind)).count();
        self.waits(key, kind) > 0
            && self.flying_in(key) < limit
            && own < share(kind, limit, Each::by(|kind| self.waits(key, kind) > 0))
            && self.held.get(&(key, kind)).is_none_or(|until| *until <= now)
    }

    fn startable(&self, limits: &Limits, now: Instant) -> Vec<(u8, Kind)> {
        let scarce = self.flying.len() + limits.reserved >= limits.in_flight;
        let guessed = |key: u8| scarce && self.silent.get(&key).is_some_and(|silent| *silent >= 2);
        let ready = |key: u8, kind: Kind| self.ready(key, kind, now) && !guessed(key);
        let any = |kind: Kind| (0..5).any(|key| ready(key, kind));
        let may = |kind: Kind| self.flying_of(kind) < share(kind, limits.in_flight, Each::by(any));
        let all = Kind::ALL
            .into_iter()
            .flat_map(|kind| (0..5).map(move |key| (key, kind)));
        all.filter(|(key, kind)| self.flying.len() < limits.in_flight && may(*kind) && ready(*key, *kind))
            .collect()
    }
}

/// Whether each lane stands at most once in a row, or out of it until a moment.
fn stand_once(lanes: &Lanes<u8, u32>, kind: Kind) -> bool {
    let held_back = lanes.held_back.iter().filter(|Reverse((_, _, of))| *of == kind);
    let mut row: Vec<&u8> = lanes.rows[kind].iter().collect();
    row.extend(held_back.map(|Reverse((_, key, _))| key));
    let length = row.len();
    row.sort_unstable();
    row.dedup();
    row.len() == length
}

proptest! {
    #[test]
    fn no_bound_is_broken_nothing_is_lost_or_doubled_and_nothing_startable_waits(
        steps in steps(), reserved in 0..5_usize,
    ) {
        let limits = Limits { reserved, ..LIMITS };
        let mut lanes: Lanes<u8, u32> = Lanes::new(limits);
        let (mut model, mut now) = (Model::default(), at(0));
        for (number, step) in (0_u32..).zip(steps) {
            match step {
                Step::Offer { key, kind, limit } => {
                    lanes.offer(key, kind, limit, number, now);
                    model.waiting.entry((key, kind)).or_default().push(number);
                    model.limits.insert(key, limit);
                }
                Step::Start { held } => {
                    let until = now + Duration::from_millis(10);
                    let mut asked = Vec::new();
                    let got = lanes.start(now, |key| {
                        asked.push(*key);
                        (*key == held).then_some(until)
                    });
                    let holds = asked.contains(&held);
                    if !holds {
                        prop_assert_eq!(got.is_some(), !model.startable(&limits, now).is_empty());
                    }
                    if let Some(Started { key, kind, item }) = got {
                        prop_assert!(model.flying_in(key) < model.limits[&key] && key != held);
                        prop_assert!(holds || model.startable(&limits, now).contains(&(key, kind)));
                        prop_assert_eq!(model.waiting.get_mut(&(key, kind)).unwrap().remove(0), item);
                        model.flying.push((key, kind));
                        *model.silent.entry(key).or_default() += 1;
                    }
                    for Reverse((until, key, kind)) in &lanes.held_back {
                        model.held.insert((*key, *kind), *until);
                    }
                }
                Step::Finish { which } if !model.flying.is_empty() => {
                    let (key, kind) = model.flying.swap_remove(which % model.flying.len());
                    lanes.finish(&key, kind, now);
                    model.silent.remove(&key);
                }
                Step::Remove { key, kind, from } => {
                    let removed = lanes.remove(&key, kind, |place, _, _| place >= from);
                    let waiting = model.waiting.entry((key, kind)).or_default();
                    prop_assert_eq!(removed, waiting.split_off(from.min(waiting.len())));
                }
                Step::Wait => now += Duration::from_millis(7),
                Step::Finish { .. } => {}
            }
            prop_assert!(lanes.in_flight() <= LIMITS.in_flight);
            for kind in Kind::ALL {
                let (waiting, aside) = (model.sum(kind, |n| n), model.sum(kind, |n| n.saturating_sub(LIMITS.queue)));
                prop_assert_eq!((lanes.in_flight[kind], lanes.waiting[kind]), (model.flying_of(kind), waiting));
                prop_assert_eq!(lanes.aside[kind], aside);
                prop_assert_eq!(lanes.accepts(kind), waiting < LIMITS.waiting && aside < LIMITS.aside);
                prop_assert!(stand_once(&lanes, kind), "a lane stands in a row once");
            }
        }
    }

    #[test]
    fn between_two_turns_of_a_lane_every_other_waiting_lane_has_one(counts in prop::collection::vec(1..20_usize, 2..6)) {
        let mut lanes: Lanes<usize, usize> = Lanes::new(Limits::new(1_000, 1_000));
        for (key, count) in counts.iter().enumerate() {
            for item in 0..*count {
                lanes.offer(key, FRESH, 1_000, item, at(0));
            }
        }
        let order: Vec<usize> = std::iter::from_fn(|| next(&mut lanes)).map(|started| started.key).collect();
        let mut from = 0;
        for round in 0..20 {
            let expected: Vec<usize> = (0..counts.len()).filter(|key| counts[*key] > round).collect();
            prop_assert_eq!(&order[from..from + expected.len()], &expected[..]);
            from += expected.len();
        }
        prop_assert_eq!(from, order.len());
    }

    #[test]
    fn within_a_lane_each_kind_keeps_its_order(
        kinds in prop::collection::vec(prop::sample::select(Kind::ALL.to_vec()), 1..40),
    ) {
        let mut lanes: Lanes<u8, usize> = Lanes::new(Limits::new(200, 200));
        for (number, kind) in kinds.iter().enumerate() {
            lanes.offer(0, *kind, 100, number, at(0));
        }
        let order: Vec<Started<u8, usize>> = std::iter::from_fn(|| next(&mut lanes)).collect();
        prop_assert_eq!(order.len(), kinds.len());
        for kind in Kind::ALL {
            prop_assert!(order.iter().filter(|one| one.kind == kind).map(|one| one.item).is_sorted());
        }
    }
}
