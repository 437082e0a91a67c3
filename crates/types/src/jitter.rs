//! How much chance adds to the intervals between attempts: delivery adds it, and the consumer reads ahead by it.

use std::time::Duration;

/// The most that chance may add to an interval.
pub const MAX_JITTER: Duration = Duration::from_secs(30);

/// The most that chance adds to `interval`, being at most this part of it.
///
/// # Panics
/// When the part is negative or no number, which no configuration holds.
#[must_use]
pub fn most_jitter(interval: Duration, part: f64) -> Duration {
    interval.mul_f64(part).min(MAX_JITTER)
}
