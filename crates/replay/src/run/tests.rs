use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use postrider_kafka::publisher::PublishError;
use postrider_types::OutcomeResult::{self, Failed, Retrying, Skipped, Success};
use postrider_types::{Outcome, Partition};
use proptest::prelude::*;

use super::*;
use crate::ports::Letters;
use crate::request::Wanted;
use crate::samples::{NOW, event, failed, outcome};

const RESULTS: [OutcomeResult; 4] = [Success, Retrying, Failed, Skipped];
const RULES: Rules = Rules {
    most: 100,
    tier: Duration::from_secs(5),
};

/// When the process ends: before the commit of this number takes effect, or after it.
type Kill = (usize, bool);

/// Kafka, as far as a replay goes.
#[derive(Default)]
struct World {
    partitions: Vec<Vec<Outcome>>,
    /// Events that are kept nowhere any more.
    lost: BTreeSet<i64>,
    documents: BTreeMap<String, Replay>,
    parked: Vec<(String, i64)>,
    dues: Vec<Timestamp>,
    commits: usize,
    kills: Vec<Kill>,
}

impl World {
    fn of(stream: &[(i64, usize)], partitions: usize) -> Self {
        let mut world = Self {
            partitions: vec![Vec::new(); partitions],
            ..Self::default()
        };
        for (number, result) in stream {
            let at = usize::try_from(*number).unwrap() % partitions;
            world.partitions[at].push(outcome(*number, RESULTS[*result], None));
        }
        world
    }

    fn ask(&mut self, wanted: Wanted) -> String {
        let replay = Replay::new(wanted, NOW);
        let id = replay.id.clone();
        self.documents.insert(id.clone(), replay);
        id
    }

    fn others(&self) -> Vec<Arc<Replay>> {
        self.documents.values().cloned().map(Arc::new).collect()
    }

    fn parked_by(&self, id: &str) -> Vec<i64> {
        let mut numbers: Vec<i64> = self
            .parked
            .iter()
            .filter(|(by, _)| by == id)
            .map(|(_, one)| *one)
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

#[derive(Clone)]
struct Shared(Rc<RefCell<World>>);

impl Archive for Shared {
    fn letters(&mut self, span: Span, _: &Wanted, _: usize) -> Result<Letters, Trouble> {
        let world = self.0.borrow();
        let partition = &world.partitions[usize::try_from(span.partition.0).unwrap()];
        let numbers = partition
            .iter()
            .map(|outcome| outcome.source.as_ref().unwrap().offset.0);
        Ok(Letters {
            owed: numbers.map(crate::samples::candidate).collect(),
            unreadable: 1,
        })
    }

    fn spans(&mut self, _: &Wanted) -> Result<Vec<Span>, Trouble> {
        let world = self.0.borrow();
        let spans = (0..).zip(&world.partitions).map(|(partition, outcomes)| Span {
            partition: Partition(partition),
            start: 0,
            end: i64::try_from(outcomes.len()).unwrap(),
        });
        Ok(spans.collect())
    }

    fn outcomes(&mut self, span: Span, each: &mut dyn FnMut(i64, &Outcome) -> ControlFlow<()>) -> Result<(), Trouble> {
        let outcomes = self.0.borrow().partitions[usize::try_from(span.partition.0).unwrap()].clone();
        for (at, outcome) in (0..span.end).zip(&outcomes) {
            if each(at, outcome).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn events(&mut self, rest: &[Candidate], most: usize) -> Result<Vec<Option<Event>>, Trouble> {
        let world = self.0.borrow();
        // Fewer than asked for, as when they are large.
        let found = rest.iter().take(most.min(3)).map(|candidate| {
            let number = candidate.offset.0;
            (!world.lost.contains(&number)).then(|| event(number))
        });
        Ok(found.collect())
    }
}

impl Ledger for Shared {
    fn commit(&mut self, replay: &Replay, parked: Vec<Parked>) -> Result<(), Trouble> {
        let mut world = self.0.borrow_mut();
        world.commits += 1;
        let commit = world.commits;
        let killed = || Trouble::Write(PublishError::Stuck);
        if world.kills.contains(&(commit, false)) {
            return Err(killed());
        }
        for one in parked {
            let by = one.waiting.progress.replay.clone().unwrap();
            assert_eq!(
                (one.waiting.progress.attempts, one.waiting.progress.trigger),
                (0, Trigger::Replay)
            );
            world.parked.push((by, one.event.origin.offset.0));
            world.dues.push(one.waiting.due);
        }
        world.documents.insert(replay.id.clone(), replay.clone());
        if world.kills.contains(&(commit, true)) {
            return Err(killed());
        }
        Ok(())
    }
}

fn now(begun: Instant, steps: u32) -> Now {
    let passed = Duration::from_millis(100) * steps;
    Now {
        time: NOW.after(passed),
        moment: begun + passed,
    }
}

/// Runs the replays in turn to their ends, each taken up anew after a kill.
fn run_all(world: &Shared, ids: &[String]) {
    let begun = Instant::now();
    let take_up = |id: &String| {
        let replay = world.0.borrow().documents[id].clone();
        Run::new(replay, world.clone(), RULES)
    };
    let mut runs: Vec<Run<Shared>> = ids.iter().map(take_up).collect();
    for step in 0..10_000 {
        for run in &mut runs {
            let others = world.0.borrow().others();
            let mut ledger = world.clone();
            if run.step(&others, &mut ledger, now(begun, step)).is_err() {
                // The process is gone, and with it all it knew.
                *run = take_up(&run.replay().id.clone());
            }
        }
        if runs.iter().all(|run| run.replay().state.is_final()) {
            return;
        }
    }
    panic!("the replays have no end");
}

fn expected(stream: &[(i64, usize)], wanted: &Wanted) -> Vec<i64> {
    let last = |number: i64| {
        stream
            .iter()
            .rev()
            .find(|(one, _)| *one == number)
            .map(|(_, at)| RESULTS[*at])
    };
    let fits = |number: &i64| last(*number).is_some_and(|result| wanted.result.fits(result));
    (0..30).filter(fits).collect()
}

fn stream() -> impl Strategy<Value = Vec<(i64, usize)>> {
    prop::collection::vec((0..30_i64, 0..4_usize), 0..120)
}

proptest! {
    #[test]
    fn wherever_it_is_killed_each_delivery_is_parked_exactly_once(
        stream in stream(),
        lost in prop::collection::btree_set(0..30_i64, 0..8),
        kills in prop::collection::vec((1..60_usize, any::<bool>()), 0..12),
        rate in 1..40_u32,
        partitions in 1..4_usize,
    ) {
        let wanted = Wanted { rate_per_second: rate, ..failed() };
        let mut world = World::of(&stream, partitions);
        let id = world.ask(wanted.clone());
        (world.lost, world.kills) = (lost.clone(), kills);
        let world = Shared(Rc::new(RefCell::new(world)));
        run_all(&world, std::slice::from_ref(&id));
        let world = world.0.borrow();
        let expected = expected(&stream, &wanted);
        let (gone, kept): (Vec<i64>, Vec<i64>) = expected.iter().partition(|number| lost.contains(*number));
        prop_assert_eq!(world.parked_by(&id), kept.clone());
        let done = &world.documents[&id];
        prop_assert_eq!(done.state, State::Done);
        prop_assert_eq!((done.matched, done.parked, done.lost_source),
            (expected.len() as u64, kept.len() as u64, gone.len() as u64));
    }

    #[test]
    fn two_replays_in_turn_never_take_up_the_same_delivery(
        stream in stream(), kills in prop::collection::vec((1..80_usize, any::<bool>()), 0..12),
    ) {
        let mut world = World::of(&stream, 2);
        let any = Wanted { result: crate::request::Ended::Any, rate_per_second: 20, ..failed() };
        let ids = [world.ask(failed()), world.ask(any.clone())];
        world.kills = kills;
        let world = Shared(Rc::new(RefCell::new(world)));
        run_all(&world, &ids);
        let world = world.0.borrow();
        let mut both = [world.parked_by(&ids[0]), world.parked_by(&ids[1])].concat();
        both.sort_unstable();
        prop_assert_eq!(both, expected(&stream, &any));
    }
}

fn of_failed(count: i64, wanted: Wanted) -> (Shared, String) {
    let stream: Vec<(i64, usize)> = (0..count).map(|number| (number, 2)).collect();
    let mut world = World::of(&stream, 1);
    let id = world.ask(wanted);
    (Shared(Rc::new(RefCell::new(world))), id)
}

#[test]
fn a_dry_run_counts_and_parks_nothing() {
    let (world, id) = of_failed(
        7,
        Wanted {
            dry_run: true,
            ..failed()
        },
    );
    run_all(&world, std::slice::from_ref(&id));
    let world = world.0.borrow();
    let done = &world.documents[&id];
    assert_eq!((done.state, done.matched, done.parked), (State::Done, 7, 0));
    assert!(world.parked.is_empty() && done.finished_at.is_some());
}

#[test]
fn dead_letters_that_can_be_read_now_are_parked_and_the_others_counted() {
    let (world, id) = of_failed(
        7,
        Wanted {
            result: Ended::DeadLetter,
            ..failed()
        },
    );
    world.0.borrow_mut().kills = vec![(2, true), (4, false), (5, true)];
    run_all(&world, std::slice::from_ref(&id));
    let world = world.0.borrow();
    let done = &world.documents[&id];
    assert_eq!(
        (done.state, done.matched, done.parked, done.unreadable),
        (State::Done, 7, 7, 1)
    );
    assert_eq!(world.parked_by(&id), (0..7).collect::<Vec<i64>>());
}

#[test]
fn what_is_parked_together_is_due_one_after_the_other() {
    let (world, id) = of_failed(
        3,
        Wanted {
            rate_per_second: 100,
            ..failed()
        },
    );
    run_all(&world, std::slice::from_ref(&id));
    let dues = &world.0.borrow().dues;
    assert!(dues.is_sorted() && dues[0] < dues[2], "{dues:?}");
}

#[test]
fn too_many_deliveries_end_it_with_the_reason() {
    let (world, id) = of_failed(101, failed());
    run_all(&world, std::slice::from_ref(&id));
    let world = world.0.borrow();
    let failed = &world.documents[&id];
    assert_eq!((failed.state, failed.parked), (State::Failed, 0));
    assert!(failed.reason.as_ref().unwrap().contains("more than 100 deliveries"));
}
