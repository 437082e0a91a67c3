//! When the next attempt is due. Pure: chance is an argument, and the attempt's number is all the
//! state there is.
//!
//! The `backoff` crate multiplies the intervals and is named in this file only. Its own jitter, its
//! own clock and its limit on elapsed time stay unused: they can neither be seeded nor survive a
//! restart.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use postrider_types::Fault;
use postrider_types::jitter::most_jitter;
use postrider_types::webhook::MAX_RETRIES;

use crate::config::RetryConfig;

/// A webhook has no more retries than this, so no interval beyond is ever used.
const MAX_INTERVALS: usize = MAX_RETRIES as usize;

/// The waits between the attempts of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Ascending; the last one repeats.
    intervals: Vec<Duration>,
    /// The distinct ones that the retries of a webhook with the default count run through.
    steps: Vec<Duration>,
    max_interval: Duration,
    jitter: f64,
}

impl Schedule {
    /// Computes the schedule.
    ///
    /// # Errors
    /// The section's faults.
    pub fn new(config: &RetryConfig) -> Result<Self, Vec<Fault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let intervals = intervals(config);
        let retries = usize::try_from(config.max_retries).unwrap_or(usize::MAX);
        // One step is always there: what is parked without an attempt needs a topic too.
        let mut steps = intervals[..retries.clamp(1, intervals.len())].to_vec();
        steps.dedup();
        Ok(Self {
            steps,
            intervals,
            max_interval: config.max_interval,
            jitter: config.jitter,
        })
    }

    /// The interval after failed attempt `attempt` (1, 2, …), without chance.
    #[must_use]
    pub fn step(&self, attempt: u32) -> Duration {
        let at = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        self.intervals[at.min(self.intervals.len() - 1)]
    }

    /// The distinct steps of `max_retries` retries, ascending: one retry topic each.
    #[must_use]
    pub fn steps(&self) -> Vec<Duration> {
        self.steps.clone()
    }

    /// The longest interval there is.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.max_interval
    }

    /// The most that chance adds to `interval`: how far a retry topic of that delay is read ahead.
    #[must_use]
    pub fn jitter_window(&self, interval: Duration) -> Duration {
        most_jitter(interval, self.jitter)
    }

    /// The wait after failed attempt `attempt`.
    ///
    /// `jitter` is uniform in `0.0..=1.0` and only ever adds. `asked` is the endpoint's
    /// `Retry-After`: it can postpone up to the longest interval but never hasten.
    #[must_use]
    pub fn next(&self, attempt: u32, jitter: f64, asked: Option<Duration>) -> Duration {
        let interval = self.step(attempt);
        // NaN would make the multiplication panic.
        let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
        let wait = interval + self.jitter_window(interval).mul_f64(jitter);
        wait.max(asked.unwrap_or_default().min(self.max_interval))
    }

    /// The delay of the retry topic that takes what is due in `remaining`: the longest step not
    /// longer than that, else the smallest.
    #[must_use]
    pub fn tier(&self, remaining: Duration) -> Duration {
        let fitting = self.steps.partition_point(|step| *step <= remaining);
        self.steps[fitting.saturating_sub(1)]
    }
}

/// The intervals after failed attempts 1, 2, … up to the longest, or to the last that any webhook can
/// ask for.
fn intervals(config: &RetryConfig) -> Vec<Duration> {
    let mut backoff = ExponentialBackoff {
        current_interval: config.initial,
        initial_interval: config.initial,
        randomization_factor: 0.0,
        multiplier: config.multiplier,
        max_interval: config.max_interval,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut intervals = Vec::new();
    loop {
        intervals.push(to_millis(backoff.current_interval));
        if intervals.len() == MAX_INTERVALS || backoff.current_interval == config.max_interval {
            return intervals;
        }
        // The field, not the answer: the answer carries up to a nanosecond of chance.
        let _ = backoff.next_backoff();
    }
}

/// To the nearest millisecond: retry topics are named after their delay.
fn to_millis(interval: Duration) -> Duration {
    let millis = (interval.as_nanos() + 500_000) / 1_000_000;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
