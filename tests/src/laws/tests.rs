//! Histories made by hand: one that keeps every law, and for each law the ways to break it.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider_types::{OutcomeResult, Timestamp};

use super::*;
use crate::history::{Crash, RetryEnd, message_id};

const BOUNDS: Bounds = Bounds {
    per_crash: 2,
    horizon: Duration::from_millis(500),
};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn attempt(delivery: &str, number: u32, result: OutcomeResult, offset: i64) -> Attempt {
    let started = 1_000 * i64::from(number);
    Attempt {
        delivery: delivery.to_owned(),
        replay: None,
        message: format!("msg_{delivery}"),
        number,
        result,
        answered: result != OutcomeResult::Skipped,
        started: Some(at(started)),
        next: (result == OutcomeResult::Retrying).then(|| at(started + 900)),
        place: (0, offset),
    }
}

fn seen(delivery: &str, attempt: u32, millis: i64) -> Seen {
    Seen {
        message: format!("msg_{delivery}"),
        attempt,
        at: at(millis),
    }
}

fn sample(offset: i64) -> Sample {
    Sample::from([(("tracking".to_owned(), 0), offset)])
}

/// Four deliveries that end in every way, one of which is sent again after a crash.
fn good() -> History {
    History {
        owed: ["a", "b", "c", "d"].map(str::to_owned).into(),
        attempts: vec![
            attempt("a", 1, OutcomeResult::Retrying, 0),
            attempt("a", 2, OutcomeResult::Success, 4),
            attempt("c", 1, OutcomeResult::Success, 1),
            attempt("b", 1, OutcomeResult::Failed, 2),
            attempt("d", 1, OutcomeResult::Skipped, 3),
        ],
        dead_letters: vec!["b".to_owned()],
        requests: vec![
            seen("a", 1, 1_000),
            seen("c", 1, 1_000),
            seen("b", 1, 1_001),
            seen("b", 1, 1_301),
            seen("a", 2, 1_910),
        ],
        crashes: vec![Crash {
            at: at(1_200),
            committed: BTreeMap::from([(0, 2)]),
            seen: 3,
        }],
        samples: vec![sample(1), sample(1), sample(4)],
        retry_ends: vec![
            RetryEnd {
                partition: ("retry.1s".to_owned(), 0),
                last: Some(6),
                committed: Some(7),
            },
            RetryEnd {
                partition: ("retry.1s".to_owned(), 1),
                last: None,
                committed: None,
            },
        ],
    }
}

/// The laws that a history breaks when it is good but for one change.
fn broken(change: impl FnOnce(&mut History)) -> Vec<Law> {
    let mut history = good();
    change(&mut history);
    let breaches = judge(&history, BOUNDS).breaches;
    let laws: BTreeSet<Law> = breaches.iter().map(|breach| breach.law).collect();
    laws.into_iter().collect()
}

#[test]
fn a_good_history_breaks_no_law_and_is_told_in_numbers() {
    let verdict = judge(&good(), BOUNDS);
    assert_eq!(verdict.breaches, []);
    let numbers = &verdict.numbers;
    assert_eq!((numbers.owed, numbers.attempts, numbers.requests), (4, 5, 5));
    assert_eq!((numbers.ended, numbers.repeated, numbers.crashes), ([2, 1, 1], 1, 1));
    assert_eq!(numbers.lateness, [Duration::from_millis(100)]);
    let told = verdict.to_string();
    assert!(told.starts_with("4 owed: 2 success, 1 failed, 1 skipped; 5 attempts, 5 requests, 1 of them again;"));
}

#[test]
fn a_delivery_that_does_not_end_breaks_the_first_law() {
    assert_eq!(
        broken(|history| {
            history.owed.insert("e".to_owned());
        }),
        [Law::C1]
    );
    let lost = |history: &mut History| history.attempts.retain(|attempt| attempt.delivery != "d");
    assert_eq!(broken(lost), [Law::C1]);
    let unfinished = |history: &mut History| drop(history.attempts.remove(1));
    assert_eq!(broken(unfinished), [Law::C1, Law::C5]);
}

#[test]
fn a_delivery_that_ends_twice_breaks_the_first_law() {
    let twice = |history: &mut History| history.attempts.push(attempt("d", 2, OutcomeResult::Skipped, 9));
    assert_eq!(broken(twice), [Law::C1, Law::C3]);
}

#[test]
fn an_outcome_that_nothing_owed_breaks_the_first_law() {
    assert_eq!(
        broken(|history| {
            history.owed.remove("d");
        }),
        [Law::C1]
    );
}

#[test]
fn dead_letters_have_to_match_what_failed() {
    assert_eq!(broken(|history| history.dead_letters.clear()), [Law::C1]);
    assert_eq!(broken(|history| history.dead_letters.push("b".to_owned())), [Law::C1]);
    assert_eq!(broken(|history| history.dead_letters.push("c".to_owned())), [Law::C1]);
    assert_eq!(broken(|history| history.dead_letters.push("x".to_owned())), [Law::C1]);
}

#[test]
fn an_attempt_told_twice_breaks_the_second_law() {
    let twice = |history: &mut History| history.attempts.push(attempt("a", 1, OutcomeResult::Retrying, 5));
    assert_eq!(broken(twice), [Law::C2, Law::C3]);
    let replayed = |history: &mut History| {
        history.attempts[3].replay = Some("r1".to_owned());
        history.attempts.push(attempt("b", 1, OutcomeResult::Failed, 5));
        history.dead_letters.push("b".to_owned());
    };
    assert!(
        !broken(replayed).contains(&Law::C2),
        "a replay counts its attempts anew"
    );
}

#[test]
fn attempts_out_of_order_break_the_third_law() {
    assert_eq!(broken(|history| history.attempts[0].place.1 = 9), [Law::C3]);
    assert_eq!(broken(|history| history.attempts[1].place.0 = 1), [Law::C3]);
    let gap = |history: &mut History| {
        history.attempts[1].number = 3;
        history.requests[4].attempt = 3;
    };
    assert_eq!(broken(gap), [Law::C3]);
    let went_on = |history: &mut History| history.attempts[0].result = OutcomeResult::Skipped;
    assert_eq!(broken(went_on), [Law::C1, Law::C3]);
}

#[test]
fn an_answer_that_no_endpoint_gave_breaks_the_fourth_law() {
    assert_eq!(broken(|history| drop(history.requests.remove(4))), [Law::C4]);
    let unanswered = |history: &mut History| {
        history.attempts[1].answered = false;
        history.requests.remove(4);
    };
    assert_eq!(broken(unanswered), []);
}

#[test]
fn a_request_without_an_outcome_breaks_the_fifth_law() {
    assert_eq!(broken(|history| history.requests.push(seen("c", 2, 3_000))), [Law::C5]);
    assert_eq!(broken(|history| history.requests.push(seen("x", 1, 3_000))), [Law::C5]);
}

#[test]
fn a_request_again_without_a_crash_to_explain_it_breaks_the_fifth_law() {
    assert_eq!(broken(|history| history.crashes.clear()), [Law::C5]);
    // Both before the crash.
    assert_eq!(broken(|history| history.requests[3].at = at(1_100)), [Law::C5]);
    // Both after it, by more than what a dead process may have left in its socket.
    assert_eq!(broken(|history| history.crashes[0].at = at(0)), [Law::C5]);
    // Sent so long before it that its outcome had the time to commit.
    assert_eq!(broken(|history| history.requests[2].at = at(600)), [Law::C5]);
}

#[test]
fn more_requests_again_than_a_crash_may_cost_break_the_fifth_law() {
    let more = |history: &mut History| {
        history.requests.push(seen("b", 1, 1_302));
        history.requests.push(seen("a", 1, 1_303));
    };
    assert_eq!(broken(more), [Law::C5]);
    assert!(!judge(&good(), Bounds { per_crash: 0, ..BOUNDS }).breaches.is_empty());
}

#[test]
fn a_request_again_after_its_outcome_committed_breaks_the_fifth_law() {
    let again = |history: &mut History| {
        history.requests[2] = seen("c", 1, 1_001);
        history.requests[3] = seen("b", 1, 1_301);
        history.requests.push(seen("c", 1, 1_400));
        history.requests.remove(1);
        history.crashes[0].seen = 2;
    };
    assert_eq!(broken(again), [Law::C5]);
}

#[test]
fn an_offset_that_goes_back_breaks_the_sixth_law() {
    assert_eq!(broken(|history| history.samples.push(sample(3))), [Law::C6]);
    let elsewhere = |history: &mut History| history.samples.push(Sample::from([(("tracking".to_owned(), 1), 0)]));
    assert_eq!(broken(elsewhere), []);
}

#[test]
fn what_is_parked_in_the_end_breaks_the_seventh_law() {
    assert_eq!(broken(|history| history.retry_ends[0].committed = Some(6)), [Law::C7]);
    assert_eq!(broken(|history| history.retry_ends[0].committed = None), [Law::C7]);
}

#[test]
fn a_retry_before_its_time_breaks_the_eighth_law() {
    assert_eq!(broken(|history| history.requests[4].at = at(1_890)), [Law::C8]);
    assert_eq!(broken(|history| history.requests[4].at = at(1_895)), []);
}

#[test]
fn lateness_is_told_by_rank() {
    let numbers = Numbers {
        lateness: (1..=200).map(Duration::from_millis).collect(),
        ..Numbers::default()
    };
    assert_eq!(
        [50, 99, 100].map(|percent| numbers.late(percent).as_millis()),
        [100, 198, 200]
    );
    assert_eq!(Numbers::default().late(99), Duration::ZERO);
}

#[test]
fn a_message_is_named_as_the_request_names_it() {
    // SHA-256 of "evt-1", a zero byte and "wh_1".
    assert_eq!(message_id("evt-1", "wh_1"), "msg_538261eac12c08aa734ad81a6713d7bb");
}
