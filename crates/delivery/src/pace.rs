//! How fast a lane moves, learned from the requests that ended. Pure: times are arguments.
//!
//! A lane with `limit` requests at once and a mean time `t` for each moves `limit / t` a second. The mean
//! is taken over windows of one round of requests, and the better of the last two windows counts: the
//! first round after a pause pays for connections, which says nothing of the next. A lane that has not
//! been through two windows has no estimate. Where few are under way a window is several rounds, unless they are slow:
//! two answers of a second each say enough.

use std::time::Duration;

use tokio::time::Instant;

/// How many times a request waits for its turn on this machine, about: the attempt's task, which drives the connection
/// too, at the start and at the answer, and the system's part of it, which is as much again.
const TURNS: u32 = 4;
/// Bounds of a window, in requests.
const WINDOW: std::ops::RangeInclusive<usize> = 4..=1024;
/// A round that took so long is a window, however few requests it was.
const SLOW: Duration = Duration::from_secs(1);

/// Estimates how much of a request's time is spent waiting on this machine, from how long its task has waited for its
/// turn since it was `ready`. Without this a busy instance would take every endpoint for slow.
pub(crate) fn own_share(ready: Instant) -> Duration {
    ready.elapsed() * TURNS
}

/// What is known of one lane's pace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pace {
    count: usize,
    sum: Duration,
    last: Option<Duration>,
    before: Option<Duration>,
}

impl Pace {
    /// Notes how long a request took of a lane that has so many under way. A window is one round of them, so that
    /// a moment in which this machine stood still, which all of them saw, is in one window or two and not in each.
    pub fn observe(&mut self, spent: Duration, under_way: usize) {
        self.count += 1;
        self.sum += spent;
        let round = under_way.clamp(1, *WINDOW.end());
        let is_slow = self.sum >= SLOW * u32::try_from(round).unwrap_or(u32::MAX);
        let window = if is_slow { round } else { round.max(*WINDOW.start()) };
        if self.count >= window {
            let mean = self.sum / u32::try_from(self.count).unwrap_or(u32::MAX);
            *self = Self {
                before: self.last,
                last: Some(mean),
                ..Self::default()
            };
        }
    }

    /// How many requests the lane gets through within `wait`; `None` without an estimate.
    #[must_use]
    pub fn capacity(&self, limit: usize, wait: Duration) -> Option<f64> {
        let each = self.last?.min(self.before?);
        let limit = limit as f64;
        // Without a wait of its own an endpoint is as fast as anyone can ask.
        Some(limit * wait.as_secs_f64() / each.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAIT: Duration = Duration::from_secs(2);

    fn observed(times: &[(u64, usize)], limit: usize) -> Pace {
        let mut pace = Pace::default();
        for (millis, count) in times {
            for _ in 0..*count {
                pace.observe(Duration::from_millis(*millis), limit);
            }
        }
        pace
    }

    #[test]
    fn fifty_milliseconds_with_thirty_two_at_once_are_1280_in_two_seconds() {
        let capacity = observed(&[(50, 64)], 32).capacity(32, WAIT).unwrap();
        assert!((capacity - 1_280.0).abs() < 1e-6, "{capacity}");
    }

    #[test]
    fn without_two_windows_there_is_no_estimate() {
        assert_eq!(observed(&[(50, 63)], 32).capacity(32, WAIT), None);
        assert_eq!(observed(&[(50, 7)], 1).capacity(1, WAIT), None);
        assert!(observed(&[(50, 8)], 1).capacity(1, WAIT).is_some());
    }

    #[test]
    fn two_slow_rounds_of_few_are_enough_and_one_is_not() {
        assert_eq!(observed(&[(1_000, 1)], 1).capacity(1, WAIT), None);
        assert_eq!(observed(&[(1_000, 2)], 1).capacity(1, WAIT), Some(2.0));
        assert_eq!(observed(&[(1_000, 5)], 3).capacity(3, WAIT), None);
        assert_eq!(observed(&[(1_000, 6)], 3).capacity(3, WAIT), Some(6.0));
        let swift = observed(&[(20, 8)], 1).capacity(1, WAIT);
        for times in [
            &[(3_000, 1), (20, 4)][..],
            &[(20, 4), (3_000, 1)],
            &[(20, 4), (3_000, 1), (20, 4)],
        ] {
            assert_eq!(observed(times, 1).capacity(1, WAIT), swift, "{times:?}");
        }
    }

    #[test]
    fn a_round_that_had_to_connect_does_not_make_a_lane_slow() {
        let swift = observed(&[(20, 64)], 32).capacity(32, WAIT);
        for times in [[(400, 32), (20, 32)], [(20, 32), (400, 32)]] {
            assert_eq!(observed(&times, 32).capacity(32, WAIT), swift);
        }
        let slow = observed(&[(20, 64), (400, 64)], 32).capacity(32, WAIT).unwrap();
        assert!((slow - 160.0).abs() < 1e-6, "{slow}");
    }

    #[test]
    fn a_moment_in_which_the_machine_stood_still_does_not_make_a_lane_slow() {
        let mut pace = observed(&[(5, 612)], 256);
        for millis in [[300; 256], [5; 256]].concat() {
            pace.observe(Duration::from_millis(millis), 256);
            let capacity = pace.capacity(256, WAIT).unwrap();
            assert!(capacity > 4_000.0, "{capacity}");
        }
    }

    #[test]
    fn what_took_no_time_of_the_endpoints_has_room_for_everything() {
        assert_eq!(observed(&[(0, 64)], 32).capacity(32, WAIT), Some(f64::INFINITY));
    }

    #[tokio::test]
    async fn a_busy_machine_takes_the_blame_for_its_share() {
        const EACH: Duration = Duration::from_millis(2);
        for _ in 0..10 {
            tokio::spawn(async {
                let until = Instant::now() + EACH;
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            });
        }
        let ready = Instant::now();
        let share = tokio::spawn(async move { own_share(ready) }).await.unwrap();
        assert!(share >= EACH * 10 * TURNS);
    }

    proptest! {
        #[test]
        fn the_estimate_lies_between_what_the_slowest_and_the_fastest_would_give(
            millis in prop::collection::vec(1..5_000_u64, 64..300),
            limit in 1..100_usize,
        ) {
            let mut pace = Pace::default();
            for one in &millis {
                pace.observe(Duration::from_millis(*one), limit);
            }
            let alone = |each: u64| observed(&[(each, 2 * limit.max(4))], limit).capacity(limit, WAIT).unwrap();
            if let Some(capacity) = pace.capacity(limit, WAIT) {
                let (fastest, slowest) = (millis.iter().min().unwrap(), millis.iter().max().unwrap());
                prop_assert!(capacity <= alone(*fastest) * 1.000_001 && capacity >= alone(*slowest) * 0.999_999);
            }
        }
    }
}
