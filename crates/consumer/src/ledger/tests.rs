//! The laws of the ledger and of its metadata.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What Kafka takes as a commit's metadata.
const MAX_CHARACTERS: usize = 4_096;

fn ledger_at(base: i64, settled: &[i64]) -> Ledger {
    Ledger::new(base, settled)
}

fn above(ledger: &Ledger) -> Vec<i64> {
    ledger.settled_above().collect()
}

#[test]
fn waits_for_the_oldest_record() {
    let mut ledger = ledger_at(10, &[]);
    for offset in 10..14 {
        assert_eq!(ledger.deliver(offset), Delivered::New);
    }
    ledger.apply([11, 13]);
    assert_eq!((ledger.base(), above(&ledger)), (10, vec![11, 13]));
    ledger.apply([10]);
    assert_eq!((ledger.base(), above(&ledger)), (12, vec![13]));
    ledger.apply([12]);
    assert_eq!(
        (ledger.base(), above(&ledger), ledger.has_unsettled()),
        (14, vec![], false)
    );
}

#[test]
fn offsets_that_kafka_never_delivers_count_as_settled() {
    let mut ledger = ledger_at(0, &[]);
    assert_eq!(ledger.deliver(0), Delivered::New);
    assert_eq!(ledger.deliver(6), Delivered::New);
    ledger.apply([0]);
    assert_eq!(ledger.base(), 6);
    ledger.apply([6]);
    assert_eq!(ledger.base(), 7);
}

#[test]
fn markers_at_the_end_are_passed_over_only_when_nothing_is_unsettled() {
    let mut ledger = ledger_at(0, &[]);
    ledger.deliver(0);
    ledger.pass_over(2);
    assert_eq!(ledger.base(), 0);
    ledger.apply([0]);
    ledger.pass_over(2);
    assert_eq!(ledger.base(), 2);
    ledger.pass_over(1);
    assert_eq!((ledger.base(), ledger.deliver(2)), (2, Delivered::New));
    let mut restored = ledger_at(0, &[3]);
    restored.pass_over(2);
    assert_eq!(restored.base(), 0);
}

#[test]
fn a_gap_at_the_start_moves_the_watermark_however_wide() {
    let mut ledger = ledger_at(0, &[]);
    assert_eq!(ledger.deliver(1_000_000), Delivered::New);
    assert_eq!((ledger.base(), ledger.span()), (1_000_000, 1));
}

#[test]
fn what_was_settled_before_a_restart_is_not_worked_on_again() {
    let mut ledger = ledger_at(10, &[12, 13]);
    let answers: Vec<Delivered> = (10..15).map(|offset| ledger.deliver(offset)).collect();
    use Delivered::{New, Settled};
    assert_eq!(answers, [New, New, Settled, Settled, New]);
    ledger.apply([10, 11]);
    assert_eq!(ledger.base(), 14);
    assert_eq!(ledger.deliver(13), Settled);
}

#[test]
fn a_partition_that_runs_too_far_ahead_has_to_wait() {
    let mut ledger = ledger_at(0, &[]);
    for offset in 0..MAX_SPAN {
        assert_eq!(ledger.deliver(offset), Delivered::New);
    }
    assert_eq!(ledger.deliver(MAX_SPAN), Delivered::TooFar);
    ledger.apply([0]);
    assert_eq!(ledger.deliver(MAX_SPAN), Delivered::New);
}

#[test]
fn a_record_that_is_read_again_while_it_is_on_its_way_is_not_worked_on_twice() {
    let mut ledger = ledger_at(5, &[]);
    use Delivered::{New, Settled, UnderWay};
    assert_eq!(
        [5, 6, 6, 7].map(|offset| ledger.deliver(offset)),
        [New, New, UnderWay, New]
    );
    ledger.apply([6]);
    assert_eq!(
        [5, 6, 7].map(|offset| ledger.deliver(offset)),
        [UnderWay, Settled, UnderWay]
    );
    assert_eq!((ledger.base(), above(&ledger)), (5, vec![6]));
}

#[test]
fn a_preview_changes_nothing() {
    let mut ledger = ledger_at(0, &[]);
    ledger.deliver(0);
    let before = ledger.clone();
    assert_eq!(ledger.preview([0]).base(), 1);
    assert_eq!(ledger, before);
}

#[test]
fn the_worst_metadata_fits_what_kafka_takes() {
    let alternating: Vec<i64> = (1..MAX_SPAN).step_by(2).collect();
    let text = encode(&ledger_at(0, &alternating), u32::MAX);
    assert!(text.len() <= MAX_CHARACTERS, "{}", text.len());
    assert_eq!(decode(0, &text), Ok(alternating));
}

#[test]
fn long_runs_are_written_shorter_than_a_bitmap() {
    let run: Vec<i64> = (1..15_000).collect();
    let text = encode(&ledger_at(0, &run), 1);
    assert!(text.starts_with("W1R") && text.len() < 40, "{text}");
    assert_eq!(decode(0, &text), Ok(run));
}

#[test]
fn nothing_settled_above_is_written_and_read() {
    let text = encode(&ledger_at(7, &[]), 1);
    assert!(text.starts_with("W1E"));
    assert_eq!(decode(7, &text), Ok(vec![]));
    assert_eq!(decode(7, ""), Ok(vec![]));
}

#[test]
fn foreign_and_damaged_metadata_are_told_apart() {
    assert_eq!(decode(0, "AgAC"), Err(BadMetadata::Foreign));
    assert_eq!(decode(0, "W1X"), Err(BadMetadata::Foreign));
    assert!(matches!(decode(0, "W1B!!"), Err(BadMetadata::Damaged(_))));
    let good = encode(&ledger_at(0, &[3]), 1);
    let swapped = good.replace("W1B", "W1R");
    assert!(matches!(decode(0, &swapped), Err(BadMetadata::Damaged(_))));
    assert!(matches!(
        decode(0, &good[..good.len() - 2]),
        Err(BadMetadata::Damaged(_))
    ));
}

#[test]
fn metadata_beside_an_offset_it_cannot_be_of_is_damaged() {
    let text = encode(&ledger_at(0, &[2]), 1);
    assert_eq!(decode(i64::MAX - 2, &text), Ok(vec![i64::MAX]));
    assert!(matches!(decode(i64::MAX - 1, &text), Err(BadMetadata::Damaged(_))));
}

#[test]
fn commits_of_one_process_differ_by_their_sequence() {
    let ledger = ledger_at(0, &[3]);
    assert_ne!(encode(&ledger, 1), encode(&ledger, 2));
}

/// A partition's log with gaps, and an order in which its records are settled.
fn log_and_order() -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
    prop::collection::btree_set(0..2_000_i64, 1..200).prop_flat_map(|offsets| {
        let log: Vec<i64> = offsets.into_iter().collect();
        (Just(log.clone()), Just(log).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn everything_below_the_watermark_is_settled((log, order) in log_and_order(), start in 0..50_i64) {
        let mut ledger = ledger_at(start, &[]);
        let mut unsettled: BTreeSet<i64> = BTreeSet::new();
        for offset in &log {
            if ledger.deliver(*offset) == Delivered::New {
                unsettled.insert(*offset);
            }
        }
        for offset in order {
            ledger.apply([offset]);
            unsettled.remove(&offset);
            let lowest = unsettled.first().copied().unwrap_or(log[log.len() - 1] + 1).max(start);
            prop_assert_eq!(ledger.base(), lowest);
        }
    }

    #[test]
    fn each_record_is_worked_on_once_however_often_reading_steps_back(
        (log, order) in log_and_order(),
        steps in prop::collection::vec((0..200_usize, 0..5_usize), 0..40),
    ) {
        let mut ledger = ledger_at(0, &[]);
        let (mut worked_on, mut order) = (Vec::<i64>::new(), order.into_iter());
        let mut read = |ledger: &mut Ledger, offsets: &[i64]| {
            worked_on.extend(offsets.iter().filter(|offset| ledger.deliver(**offset) == Delivered::New));
        };
        let mut at = 0;
        for (forward, back) in steps {
            let to = (at + forward).min(log.len());
            read(&mut ledger, &log[at..to]);
            let settled = order.next().filter(|offset| log[..to].contains(offset));
            ledger.apply(settled);
            at = to.saturating_sub(back);
        }
        read(&mut ledger, &log[at..]);
        prop_assert_eq!(worked_on, log);
    }

    #[test]
    fn a_restart_at_any_moment_works_on_exactly_the_unsettled((log, order) in log_and_order(), cut in 0..200_usize) {
        let mut ledger = ledger_at(0, &[]);
        for offset in &log {
            ledger.deliver(*offset);
        }
        let settled: BTreeSet<i64> = order.iter().take(cut).copied().collect();
        ledger.apply(settled.iter().copied());
        let restored = decode(ledger.base(), &encode(&ledger, 1)).unwrap();
        let mut again = ledger_at(ledger.base(), &restored);
        let seen = log.iter().filter(|offset| **offset >= ledger.base());
        let worked_on: Vec<i64> = seen.filter(|offset| again.deliver(**offset) == Delivered::New).copied().collect();
        let expected: Vec<i64> = log.iter().filter(|offset| !settled.contains(offset)).copied().collect();
        prop_assert_eq!(worked_on, expected);
    }

    #[test]
    fn metadata_says_what_was_written(settled in prop::collection::btree_set(1..MAX_SPAN, 0..3_000), base in 0..1_i64 << 50) {
        let offsets: Vec<i64> = settled.iter().map(|at| base + at).collect();
        let text = encode(&ledger_at(base, &offsets), 7);
        prop_assert!(text.is_ascii() && text.len() <= MAX_CHARACTERS);
        prop_assert_eq!(decode(base, &text).unwrap(), offsets);
    }

    #[test]
    fn no_metadata_makes_the_reader_fall_over(text in "W1[EBR][A-Za-z0-9_-]{0,64}", base in any::<i64>()) {
        let _ = decode(base, &text);
    }
}
