//! `rate_limit_per_second` as a token bucket. Pure: moments are arguments.
//!
//! It holds the tokens of 10 ms, at least one: enough for timers that tick in milliseconds, too little for
//! a burst that a merchant who asked for so many requests a second would notice.

use std::time::Duration;

use tokio::time::Instant;

/// A rate up to this one is spaced evenly; above it as many go at once as belong to 10 ms.
const EVEN: u32 = 100;
/// Added to a moment, so that the token has really come by then.
const ROUNDING: Duration = Duration::from_nanos(2);

/// One webhook's tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    rate: u32,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket of `rate` tokens a second, at least one.
    #[must_use]
    pub fn new(rate: u32, now: Instant) -> Self {
        let rate = rate.max(1);
        Self {
            rate,
            tokens: burst(rate),
            at: now,
        }
    }

    /// Tokens a second.
    #[must_use]
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there is none: the moment at which there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / f64::from(self.rate)) + ROUNDING;
        Err(self.at + wait)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.tokens = (self.tokens + passed.as_secs_f64() * f64::from(self.rate)).min(burst(self.rate));
        self.at = self.at.max(now);
    }
}

fn burst(rate: u32) -> f64 {
    f64::from(rate.div_ceil(EVEN))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_a_second_go_one_by_one() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        assert_eq!(bucket.take(start), Ok(()));
        let next = bucket.take(start).unwrap_err();
        let wait = next - start;
        assert!((100_000..=100_002).contains(&wait.as_micros()), "{wait:?}");
        assert_eq!(bucket.take(next), Ok(()));
    }

    #[test]
    fn what_is_not_used_is_not_saved_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1_000, start);
        let later = start + Duration::from_secs(3_600);
        let taken = (0..100).filter(|_| bucket.take(later).is_ok()).count();
        assert_eq!(taken, 10);
    }

    proptest! {
        #[test]
        fn never_more_than_rate_times_time_and_one_burst(
            rate in 1..=100_000_u32,
            waits in prop::collection::vec(0..50_000_u64, 1..300),
        ) {
            let start = Instant::now();
            let (mut bucket, mut now, mut taken) = (Bucket::new(rate, start), start, 0_u32);
            for micros in waits {
                now += Duration::from_micros(micros);
                for _ in 0..20 {
                    taken += u32::from(bucket.take(now).is_ok());
                }
                let most = (now - start).as_secs_f64() * f64::from(rate) + burst(rate);
                prop_assert!(f64::from(taken) <= most + 1e-6, "{taken} > {most}");
            }
        }

        #[test]
        fn the_moment_it_names_is_kept_and_is_the_first(rate in 1..=100_000_u32) {
            let start = Instant::now();
            let mut bucket = Bucket::new(rate, start);
            while bucket.take(start).is_ok() {}
            let next = bucket.take(start).unwrap_err();
            prop_assert!(bucket.clone().take(start + (next - start).mul_f64(0.99)).is_err());
            prop_assert!(bucket.take(next).is_ok());
        }
    }
}
