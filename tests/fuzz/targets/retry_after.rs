//! A `Retry-After`, seen from several moments: it only ever postpones, and no longer than the schedule allows.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use postrider_delivery::Schedule;
use postrider_delivery::config::RetryConfig;
use postrider_delivery::retry_after::parse;
use postrider_types::Timestamp;

/// Before every date, the epoch, around the date of RFC 9110's examples, in 2025, and after every date.
const MOMENTS: [i64; 6] = [
    i64::MIN,
    0,
    784_111_687_000,
    784_111_777_001,
    1_763_805_600_000,
    i64::MAX,
];

fuzz_target!(|text: &str| {
    let schedule = Schedule::new(&RetryConfig::default()).expect("the defaults are valid");
    let waits = MOMENTS.map(|millis| {
        let now = Timestamp::from_millis(millis);
        let asked = parse(text, now);
        check(&schedule, now, asked);
        asked
    });
    let mut waits = waits.windows(2);
    assert!(
        waits.all(|pair| pair[1] <= pair[0]),
        "a later moment never makes the wait longer"
    );
});

fn check(schedule: &Schedule, now: Timestamp, asked: Option<Duration>) {
    assert!(
        asked.is_none_or(|wait| now.after(wait) >= now),
        "it never lies in the past"
    );
    for attempt in [1, 2, 11] {
        let plain = schedule.next(attempt, 0.0, None);
        let wait = schedule.next(attempt, 0.0, asked);
        assert!(
            plain <= wait && wait <= schedule.longest(),
            "{asked:?} came to {wait:?}"
        );
    }
}
