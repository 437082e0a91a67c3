//! When parked deliveries of one webhook come back: one after the other at the pace of its lane. Came they back as
//! they were parked, a backlog that was read in seconds would return in seconds, find the lane too slow again, and
//! wait a longer step, most of which the lane would stand idle. Pure: moments are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// The times that are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bookings {
    /// The next one that is free.
    next: Option<Instant>,
}

impl Bookings {
    /// Books the next free time of a lane that moves `pace` deliveries a second. None is free sooner than
    /// `shortest`, and none is booked later than `longest`. `None` when that is sooner than `step` asks for: then
    /// the queue is short, and the delivery waits its step.
    pub fn book(
        &mut self,
        step: Duration,
        pace: f64,
        (shortest, longest): (Duration, Duration),
        now: Instant,
    ) -> Option<Duration> {
        let next = self
            .next
            .map_or(now, |next| next.min(now + longest))
            .max(now + shortest);
        if now + step > next {
            return None;
        }
        let apart = Duration::try_from_secs_f64(pace.recip()).map_or(longest, |apart| apart.min(longest));
        self.next = Some(next + apart);
        Some(next - now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const BOUNDS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(18_000));

    #[test]
    fn what_is_parked_at_once_comes_back_at_the_pace_of_the_lane() {
        let (mut bookings, now) = (Bookings::default(), Instant::now());
        let mut waits = (0..4).map(|_| bookings.book(MS * 5_000, 10.0, BOUNDS, now).unwrap());
        assert!(waits.by_ref().eq([5_000, 5_100, 5_200, 5_300].map(|ms| MS * ms)));
    }

    #[test]
    fn a_short_queue_does_not_shorten_a_step() {
        let (mut bookings, now) = (Bookings::default(), Instant::now());
        assert!(bookings.book(MS * 5_000, 10.0, BOUNDS, now).is_some());
        assert_eq!(bookings.book(MS * 20_000, 10.0, BOUNDS, now), None);
        assert_eq!(bookings.book(MS * 5_000, 10.0, BOUNDS, now), Some(MS * 5_100));
    }

    #[test]
    fn times_that_passed_unused_are_not_made_up_for() {
        let (mut bookings, now) = (Bookings::default(), Instant::now());
        bookings.book(MS * 5_000, 10.0, BOUNDS, now);
        assert_eq!(
            bookings.book(MS * 5_000, 10.0, BOUNDS, now + MS * 60_000),
            Some(MS * 5_000)
        );
    }

    #[test]
    fn a_lane_that_stands_still_books_nothing_beyond_the_longest_wait() {
        let (mut bookings, now) = (Bookings::default(), Instant::now());
        for pace in [0.0, f64::NAN, f64::INFINITY] {
            bookings.book(MS * 5_000, pace, BOUNDS, now);
            let wait = bookings.book(MS * 5_000, pace, BOUNDS, now).unwrap();
            assert!(wait <= BOUNDS.1, "{wait:?}");
        }
    }

    proptest! {
        #[test]
        fn within_any_second_no_more_come_back_than_the_lane_moves(
            pauses in prop::collection::vec(0..300_u64, 1..300), pace in 1.0..500.0_f64,
        ) {
            let (mut bookings, begun) = (Bookings::default(), Instant::now());
            let (mut now, mut back) = (begun, Vec::new());
            for pause in pauses {
                now += MS * u32::try_from(pause).unwrap() / 10;
                let wait = bookings.book(BOUNDS.0, pace, BOUNDS, now).unwrap();
                prop_assert!(wait >= BOUNDS.0);
                back.push(now + wait);
            }
            prop_assert!(back.is_sorted());
            for (at, first) in back.iter().enumerate() {
                let within = back[at..].iter().take_while(|one| **one - *first < MS * 1_000).count();
                prop_assert!(within as f64 <= pace + 1.0 + 1e-6);
            }
        }
    }
}
