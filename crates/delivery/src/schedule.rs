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

use crate::config::{RetryConfig, has_topic_name};

/// The most that chance may add to an interval.
pub const MAX_JITTER: Duration = Duration::from_secs(30);

/// The waits between the attempts of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Ascending and without doubles; the last one repeats.
    intervals: Vec<Duration>,
    /// How many of them the retries of a webhook with the default count run through.
    in_use: usize,
    max_interval: Duration,
    jitter: f64,
}

impl Schedule {
    /// Computes the schedule.
    ///
    /// # Errors
    /// The section's faults, and `initial` when a step's delay could not name a retry topic.
    pub fn new(config: &RetryConfig) -> Result<Self, Vec<Fault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let intervals = intervals(config);
        if !intervals.iter().all(|interval| has_topic_name(*interval)) {
            let reason =
                "gives a step above 1s that is no whole number of seconds, and retry topics are named after theirs";
            return Err(vec![Fault::new("initial", reason)]);
        }
        let retries = usize::try_from(config.max_retries).unwrap_or(usize::MAX);
        Ok(Self {
            // One step is always there: what is parked without an attempt needs a topic too.
            in_use: retries.clamp(1, intervals.len()),
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
        self.intervals[..self.in_use].to_vec()
    }

    /// The most that chance adds to `interval`: how far a retry topic of that delay is read ahead.
    #[must_use]
    pub fn jitter_window(&self, interval: Duration) -> Duration {
        interval.mul_f64(self.jitter).min(MAX_JITTER)
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
        let steps = &self.intervals[..self.in_use];
        let fitting = steps.partition_point(|step| *step <= remaining);
        steps[fitting.saturating_sub(1)]
    }
}

/// Every distinct interval. At most 32 with a multiplier of 2 from 1 ms to 30 days.
fn intervals(config: &RetryConfig) -> Vec<Duration> {
    let mut backoff = ExponentialBackoff {
        current_interval: config.initial,
        initial_interval: config.initial,
        randomization_factor: 0.0,
        multiplier: f64::from(config.multiplier),
        max_interval: config.max_interval,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut intervals = vec![config.initial];
    loop {
        // The field, not the answer: the answer carries up to a nanosecond of chance.
        let _ = backoff.next_backoff();
        if intervals.last() == Some(&backoff.current_interval) {
            return intervals;
        }
        intervals.push(backoff.current_interval);
    }
}

#[cfg(test)]
mod tests;
