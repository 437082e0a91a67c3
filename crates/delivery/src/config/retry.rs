//! `delivery.retry`: the schedule, and what is final.

use std::time::Duration;

use postrider_types::Fault;
use postrider_types::webhook::MAX_RETRIES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, LEAST, MAX_INTERVAL};

/// The steepest schedule; interval arithmetic is exact up to it.
const MAX_MULTIPLIER: f64 = 100.0;
/// Statuses that say "later" and are therefore always tried again.
const ALWAYS_RETRIED: [u16; 4] = [408, 409, 425, 429];

/// `delivery.retry`: intervals grow from `initial` by `multiplier` up to `max_interval`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// The interval after the first failed attempt; where that is shorter, `max_interval` counts here too.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub initial: Duration,
    /// What each interval is multiplied with to give the next.
    pub multiplier: f64,
    /// The longest interval, and the longest that `Retry-After` can ask for.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub max_interval: Duration,
    /// The part of an interval that chance may add; never more than 30 s.
    pub jitter: f64,
    /// Retries of a webhook that says nothing else, 0–10.
    pub max_retries: u32,
    /// Statuses that are final at once.
    pub permanent_statuses: Vec<u16>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(5),
            multiplier: 4.0,
            max_interval: Duration::from_secs(5 * 60 * 60),
            jitter: 0.1,
            max_retries: MAX_RETRIES,
            permanent_statuses: Vec::new(),
        }
    }
}

impl RetryConfig {
    pub(super) fn bounded(self) -> Self {
        Self {
            initial: self.initial.min(self.max_interval.max(LEAST)),
            ..self
        }
    }

    /// What cannot work, each with its consequence.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut checks = Checks::default();
        self.check_intervals(&mut checks);
        checks.require(
            (0.0..=1.0).contains(&self.jitter),
            "jitter",
            "must be 0 to 1, the part of an interval that chance may add",
        );
        checks.require(
            self.max_retries <= MAX_RETRIES,
            "max_retries",
            "must be 0 to 10, the most a webhook may ask for",
        );
        for (at, status) in self.permanent_statuses.iter().enumerate() {
            let path = format!("permanent_statuses[{at}]");
            checks.require(
                (300..=499).contains(status),
                &path,
                "must be 300 to 499: 2xx is a success, and a server that fails with 5xx is tried again",
            );
            checks.require(
                !ALWAYS_RETRIED.contains(status),
                &path,
                "asks for another try later; 408, 409, 425 and 429 cannot be final",
            );
        }
        checks.faults
    }

    fn check_intervals(&self, checks: &mut Checks) {
        checks.require(
            (1.0..=MAX_MULTIPLIER).contains(&self.multiplier),
            "multiplier",
            "must be 1 to 100; below 1 retries would come ever faster",
        );
        checks.require(
            (LEAST..=self.max_interval.max(LEAST)).contains(&self.initial),
            "initial",
            "must be at least 1ms and not longer than max_interval",
        );
        checks.require(
            (LEAST..=MAX_INTERVAL).contains(&self.max_interval),
            "max_interval",
            "must be 1ms to 30d",
        );
        // An interval that is its own bound is named there.
        let initial = Some((self.initial, "initial")).filter(|(initial, _)| *initial != self.max_interval);
        for (interval, path) in initial.into_iter().chain([(self.max_interval, "max_interval")]) {
            checks.require(
                has_topic_name(interval),
                path,
                "must be whole milliseconds: retry topics are named after their delay",
            );
        }
    }
}

/// Whether a retry topic can be named after a delay: `<n>s`, or `<n>ms` where it is no whole second.
const fn has_topic_name(delay: Duration) -> bool {
    delay.subsec_nanos().is_multiple_of(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_that_ask_for_another_try_cannot_be_permanent() {
        for status in [0, 200, 299, 408, 409, 425, 429, 500, 503, 599, 600] {
            let retry = RetryConfig {
                permanent_statuses: vec![404, status],
                ..RetryConfig::default()
            };
            let faults = retry.faults();
            assert_eq!(faults.len(), 1, "{status}");
            assert_eq!(faults[0].path, "permanent_statuses[1]");
        }
        let retry = RetryConfig {
            permanent_statuses: vec![301, 400, 401, 404, 410, 422],
            ..RetryConfig::default()
        };
        assert_eq!(retry.faults(), []);
    }

    #[test]
    fn an_interval_without_a_topic_name_is_refused() {
        assert!(
            [1, 500, 1_000, 1_500]
                .iter()
                .all(|millis| has_topic_name(Duration::from_millis(*millis)))
        );
        assert!(!has_topic_name(Duration::from_micros(500)));
    }
}
