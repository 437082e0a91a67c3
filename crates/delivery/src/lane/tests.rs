use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    in_flight: 8,
    queue: 4,
    aside: 6,
    waiting: 40,
};

fn lanes(limits: Limits) -> Lanes<&'static str, u32> {
    Lanes::new(limits)
}

fn fill(lanes: &mut Lanes<&'static str, u32>, key: &'static str, limit: usize, items: std::ops::Range<u32>) {
    for item in items {
        lanes.offer(key, Kind::Fresh, limit, item);
    }
}

fn started(lanes: &mut Lanes<&'static str, u32>) -> Vec<(&'static str, u32)> {
    std::iter::from_fn(|| lanes.start()).collect()
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
    lanes.finish(&"b");
    assert_eq!(started(&mut lanes), []);
    lanes.finish(&"a");
    assert_eq!(started(&mut lanes), [("a", 2)]);
}

#[test]
fn all_lanes_together_keep_to_the_global_limit() {
    let mut lanes = lanes(Limits { in_flight: 3, ..LIMITS });
    fill(&mut lanes, "a", 8, 0..4);
    fill(&mut lanes, "b", 8, 0..4);
    assert_eq!(started(&mut lanes), [("a", 0), ("b", 0), ("a", 1)]);
    lanes.finish(&"b");
    assert_eq!(started(&mut lanes), [("b", 1)]);
    assert_eq!((lanes.in_flight(), lanes.waiting()), (3, 4));
}

#[test]
fn fresh_items_and_retries_take_turns_within_a_lane() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 8, 0..3);
    for item in [10, 11] {
        lanes.offer("a", Kind::Retry, 8, item);
    }
    let items: Vec<u32> = started(&mut lanes).into_iter().map(|(_, item)| item).collect();
    assert_eq!(items, [0, 10, 1, 11, 2]);
}

#[test]
fn a_full_queue_stops_the_reading_only_when_too_much_is_kept_aside() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "stuck", 1, 0..9);
    assert!(lanes.accepts());
    fill(&mut lanes, "healthy", 1, 0..1);
    assert!(lanes.accepts());
    fill(&mut lanes, "stuck", 1, 9..10);
    assert!(!lanes.accepts());
    assert_eq!(lanes.start(), Some(("stuck", 0)));
    assert!(lanes.accepts());
}

#[test]
fn many_short_queues_stop_the_reading_at_the_total() {
    let mut lanes: Lanes<u32, u32> = Lanes::new(LIMITS);
    for key in 0..39 {
        lanes.offer(key, Kind::Fresh, 1, 0);
    }
    assert!(lanes.accepts());
    lanes.offer(99, Kind::Fresh, 1, 0);
    assert!(!lanes.accepts());
}

#[test]
fn a_new_limit_counts_at_once() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 1, 0..3);
    assert_eq!(started(&mut lanes), [("a", 0)]);
    fill(&mut lanes, "a", 3, 3..4);
    assert_eq!(started(&mut lanes), [("a", 1), ("a", 2)]);
    fill(&mut lanes, "a", 1, 4..5);
    lanes.finish(&"a");
    lanes.finish(&"a");
    assert_eq!(started(&mut lanes), []);
    lanes.finish(&"a");
    assert_eq!(started(&mut lanes), [("a", 3)]);
}

#[test]
fn what_is_cleared_is_counted_and_never_started() {
    let mut lanes = lanes(LIMITS);
    fill(&mut lanes, "a", 1, 0..3);
    fill(&mut lanes, "b", 1, 0..2);
    assert_eq!(lanes.start(), Some(("a", 0)));
    assert_eq!(lanes.clear(), 4);
    assert_eq!(lanes.start(), None);
    lanes.finish(&"a");
    assert_eq!((lanes.in_flight(), lanes.waiting(), lanes.lanes.len()), (0, 0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Offer { key: u8, retry: bool, limit: usize },
    Start,
    Finish { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..5_u8, any::<bool>(), 1..4_usize).prop_map(|(key, retry, limit)| Step::Offer { key, retry, limit }),
        3 => Just(Step::Start),
        2 => any::<usize>().prop_map(|which| Step::Finish { which }),
    ];
    prop::collection::vec(step, 0..300)
}

/// The same rules, counted naively.
#[derive(Default)]
struct Model {
    waiting: HashMap<u8, Vec<u32>>,
    flying: Vec<u8>,
    limits: HashMap<u8, usize>,
}

impl Model {
    fn flying_in(&self, key: u8) -> usize {
        self.flying.iter().filter(|other| **other == key).count()
    }

    fn aside(&self, queue: usize) -> usize {
        self.waiting
            .values()
            .map(|items| items.len().saturating_sub(queue))
            .sum()
    }

    fn total(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    fn someone_could_start(&self, limits: &Limits) -> bool {
        let ready = |(key, items): (&u8, &Vec<u32>)| !items.is_empty() && self.flying_in(*key) < self.limits[key];
        self.flying.len() < limits.in_flight && self.waiting.iter().any(ready)
    }

    fn start(&mut self, key: u8, item: u32) {
        let items = self.waiting.get_mut(&key).unwrap();
        let at = items.iter().position(|other| *other == item).unwrap();
        items.remove(at);
        self.flying.push(key);
    }
}

proptest! {
    #[test]
    fn no_bound_is_broken_nothing_is_lost_and_nothing_startable_waits(steps in steps()) {
        let mut lanes: Lanes<u8, u32> = Lanes::new(LIMITS);
        let mut model = Model::default();
        for (number, step) in (0_u32..).zip(steps) {
            match step {
                Step::Offer { key, retry, limit } => {
                    let kind = if retry { Kind::Retry } else { Kind::Fresh };
                    lanes.offer(key, kind, limit, number);
                    model.waiting.entry(key).or_default().push(number);
                    model.limits.insert(key, limit);
                }
                Step::Start => {
                    let could = model.someone_could_start(&LIMITS);
                    let got = lanes.start();
                    prop_assert_eq!(got.is_some(), could);
                    if let Some((key, item)) = got {
                        prop_assert!(model.flying_in(key) < model.limits[&key]);
                        model.start(key, item);
                    }
                }
                Step::Finish { which } if !model.flying.is_empty() => {
                    let key = model.flying.swap_remove(which % model.flying.len());
                    lanes.finish(&key);
                }
                Step::Finish { .. } => {}
            }
            prop_assert!(lanes.in_flight() <= LIMITS.in_flight);
            prop_assert_eq!((lanes.in_flight(), lanes.waiting()), (model.flying.len(), model.total()));
            prop_assert_eq!(lanes.aside, model.aside(LIMITS.queue));
            prop_assert_eq!(lanes.accepts(), model.total() < LIMITS.waiting && lanes.aside < LIMITS.aside);
            let busy = (0..5).filter(|key| model.flying_in(*key) > 0 || model.waiting.get(key).is_some_and(|w| !w.is_empty()));
            prop_assert_eq!(lanes.lanes.len(), busy.count());
        }
    }

    #[test]
    fn between_two_turns_of_a_lane_every_other_waiting_lane_has_one(counts in prop::collection::vec(1..20_usize, 2..6)) {
        let mut lanes: Lanes<usize, usize> = Lanes::new(Limits::new(1_000, 1_000));
        for (key, count) in counts.iter().enumerate() {
            for item in 0..*count {
                lanes.offer(key, Kind::Fresh, 1_000, item);
            }
        }
        let mut left = counts.clone();
        let order: Vec<usize> = std::iter::from_fn(|| lanes.start()).map(|(key, _)| key).collect();
        for round in 0.. {
            let expected: Vec<usize> = (0..counts.len()).filter(|key| counts[*key] > round).collect();
            if expected.is_empty() {
                break;
            }
            let from: usize = counts.iter().map(|count| (*count).min(round)).sum();
            prop_assert_eq!(&order[from..from + expected.len()], &expected[..]);
            expected.iter().for_each(|key| left[*key] -= 1);
        }
        prop_assert!(left.iter().all(|count| *count == 0));
    }

    #[test]
    fn within_a_lane_each_kind_keeps_its_order(kinds in prop::collection::vec(any::<bool>(), 1..40)) {
        let mut lanes: Lanes<u8, (bool, usize)> = Lanes::new(Limits::new(100, 100));
        for (number, retry) in kinds.iter().enumerate() {
            let kind = if *retry { Kind::Retry } else { Kind::Fresh };
            lanes.offer(0, kind, 100, (*retry, number));
        }
        let order: Vec<(bool, usize)> = std::iter::from_fn(|| lanes.start()).map(|(_, item)| item).collect();
        prop_assert_eq!(order.len(), kinds.len());
        for retry in [false, true] {
            prop_assert!(order.iter().filter(|(kind, _)| *kind == retry).is_sorted());
        }
    }
}
