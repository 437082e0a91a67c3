use postrider_types::OutcomeResult::{self, Failed, Retrying, Skipped, Success};
use postrider_types::{AccountId, EventType, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::document::{Progress, Span, State};
use crate::request::Ended;
use crate::samples::{NOW, candidate, failed, outcome};

fn chosen(wanted: &Wanted, earlier: &[Arc<Replay>], outcomes: &[Outcome]) -> Vec<Candidate> {
    let mut selection = Selection::new(wanted, earlier, Partition(0), 1_000);
    for (at, outcome) in (0..).zip(outcomes) {
        selection.note(at, outcome).unwrap();
    }
    selection.list()
}

#[test]
fn the_last_outcome_decides_and_has_to_be_final() {
    let outcomes = [
        outcome(1, Failed, None),
        outcome(2, Retrying, None),
        outcome(3, Failed, None),
        outcome(3, Retrying, Some("rp_1")),
        outcome(4, Retrying, None),
        outcome(4, Failed, None),
        outcome(5, Failed, None),
        outcome(5, Success, Some("rp_1")),
        outcome(6, Skipped, None),
    ];
    let of = |result| {
        let wanted = Wanted { result, ..failed() };
        let numbers = chosen(&wanted, &[], &outcomes).into_iter().map(|one| one.offset.0);
        let mut numbers: Vec<i64> = numbers.collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(of(Ended::Failed), [1, 4]);
    assert_eq!(of(Ended::Skipped), [6]);
    assert_eq!(of(Ended::Any), [1, 4, 5, 6]);
}

#[test]
fn time_webhook_account_and_event_narrow_it_and_tests_are_left_out() {
    let mut test = outcome(3, Failed, None);
    test.source = None;
    let outcomes = [outcome(1, Failed, None), outcome(2, Failed, None), test];
    let count = |wanted: Wanted| chosen(&wanted, &[], &outcomes).len();
    assert_eq!(count(failed()), 2);
    let second = Timestamp::from_millis(NOW.as_millis() + 2_000);
    assert_eq!(
        count(Wanted {
            from: second,
            ..failed()
        }),
        1
    );
    assert_eq!(count(Wanted { to: second, ..failed() }), 1, "without its end");
    let webhook = |id| Wanted {
        webhook: Some(WebhookId::new(id).unwrap()),
        ..failed()
    };
    assert_eq!((count(webhook("wh")), count(webhook("other"))), (2, 0));
    let account = Some(AccountId::new("other").unwrap());
    assert_eq!(count(Wanted { account, ..failed() }), 0);
    let event = Some(EventType::OrderError);
    assert_eq!(count(Wanted { event, ..failed() }), 0);
}

#[test]
fn more_than_may_be_held_is_refused_with_what_to_do() {
    let wanted = failed();
    let mut selection = Selection::new(&wanted, &[], Partition(0), 2);
    selection.note(0, &outcome(1, Failed, None)).unwrap();
    selection.note(1, &outcome(2, Failed, None)).unwrap();
    let refused = selection.note(2, &outcome(3, Failed, None)).unwrap_err();
    assert!(refused.to_string().contains("narrow the time"), "{refused}");
}

fn begun(state: State, end: i64, replayed: usize, after: Option<Candidate>) -> Arc<Replay> {
    let span = Span {
        partition: Partition(0),
        start: 0,
        end,
    };
    let progress = Progress {
        number: 1,
        spans: vec![span],
        counted: 1,
        replayed,
        after,
    };
    Arc::new(Replay {
        state,
        progress: Some(progress),
        ..Replay::new(failed(), NOW)
    })
}

#[test]
fn what_an_earlier_replay_took_up_is_left_alone_until_it_has_an_outcome_again() {
    let outcomes = [outcome(1, Failed, None), outcome(2, Failed, None)];
    for state in [State::Counting, State::Running, State::Done] {
        let earlier = [begun(state, 2, 0, None)];
        assert_eq!(chosen(&failed(), &earlier, &outcomes), [], "{state:?}");
    }
    let earlier = [begun(State::Done, 2, 1, None)];
    let again = [
        outcome(1, Failed, None),
        outcome(2, Failed, None),
        outcome(1, Failed, Some("rp_1")),
        outcome(2, Retrying, Some("rp_1")),
    ];
    assert_eq!(chosen(&failed(), &earlier, &again), [candidate(1)]);
}

#[test]
fn of_a_replay_that_was_given_up_what_it_had_come_to_is_left_alone() {
    let outcomes = [outcome(3, Failed, None), outcome(6, Failed, None)];
    let earlier = [begun(State::Failed, 2, 0, Some(candidate(3)))];
    assert_eq!(chosen(&failed(), &earlier, &outcomes), [candidate(6)]);
    let earlier = [begun(State::Failed, 2, 0, None)];
    assert_eq!(chosen(&failed(), &earlier, &outcomes).len(), 2);
    let dry = Replay {
        wanted: Wanted {
            dry_run: true,
            ..failed()
        },
        ..Replay::clone(&begun(State::Done, 2, 1, None))
    };
    assert_eq!(chosen(&failed(), &[Arc::new(dry)], &outcomes).len(), 2);
}

proptest! {
    #[test]
    fn it_is_what_a_look_at_each_deliverys_last_outcome_gives(
        stream in prop::collection::vec((0..12_i64, 0..4_usize), 0..80), which in 0..4_usize,
    ) {
        const RESULTS: [OutcomeResult; 4] = [Success, Retrying, Failed, Skipped];
        let wanted = Wanted { result: Ended::ALL[which], ..failed() };
        let outcomes: Vec<Outcome> = stream.iter().map(|(number, at)| outcome(*number, RESULTS[*at], None)).collect();
        let last = |number: i64| stream.iter().rev().find(|(one, _)| *one == number).map(|(_, at)| RESULTS[*at]);
        let mut expected: Vec<Candidate> = (0..12)
            .filter(|number| last(*number).is_some_and(|result| wanted.result.fits(result)))
            .map(candidate)
            .collect();
        expected.sort();
        prop_assert_eq!(chosen(&wanted, &[], &outcomes), expected);
    }
}
