//! The `delivery` section of the configuration: every bound of the sending half in one place.

mod circuit;
mod retry;

use std::time::Duration;

use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::circuit::CircuitConfig;
pub use self::retry::RetryConfig;
use crate::client::Limits;

/// The longest time one attempt may take, and the longest a webhook may ask for.
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
/// The shortest time that anything can take.
const LEAST: Duration = Duration::from_millis(1);
/// The longest interval a schedule may have; interval arithmetic is exact up to it.
const MAX_INTERVAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The most requests at once, and the longest queue, that the memory bounds are made for.
const MAX_COUNT: usize = 1_000_000;

/// `delivery`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The deadline of one attempt, from the name's resolution to the response's last byte.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub timeout: Duration,
    /// How long connecting may take within it; where that is shorter, `timeout` counts here too.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub connect_timeout: Duration,
    /// Requests at once, of all webhooks together.
    pub max_in_flight: usize,
    /// Requests at once of one webhook that says nothing else; where that is lower, `max_in_flight` counts here too.
    pub max_in_flight_per_webhook: usize,
    /// Deliveries that may wait for one webhook.
    pub max_waiting_per_webhook: usize,
    /// A delivery that would wait longer for its webhook is parked.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub max_lane_wait: Duration,
    /// How long requests in flight may go on after the input has ended.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub drain: Duration,
    /// A webhook that fails this long without one success is disabled.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub disable_after: Duration,
    /// How long a rotated signing secret goes on signing beside the new one.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub secret_overlap: Duration,
    /// The retry schedule.
    pub retry: RetryConfig,
    /// When a failing webhook is left alone.
    pub circuit: CircuitConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            max_in_flight: 1024,
            max_in_flight_per_webhook: 32,
            max_waiting_per_webhook: 4096,
            max_lane_wait: Duration::from_secs(2),
            drain: Duration::from_secs(20),
            disable_after: Duration::from_secs(5 * 24 * 60 * 60),
            secret_overlap: Duration::from_secs(24 * 60 * 60),
            retry: RetryConfig::default(),
            circuit: CircuitConfig::default(),
        }
    }
}

impl Config {
    /// The same with each setting no higher than the one that bounds it, so that a bound can be lowered alone.
    #[must_use]
    pub fn bounded(self) -> Self {
        // A bound that is itself too low stays the only fault.
        Self {
            connect_timeout: self.connect_timeout.min(self.timeout.max(LEAST)),
            max_in_flight_per_webhook: self.max_in_flight_per_webhook.min(self.max_in_flight.max(1)),
            retry: self.retry.bounded(),
            circuit: self.circuit.bounded(),
            ..self
        }
    }

    /// What a webhook's client may hold: as many idle connections as it may have requests.
    #[must_use]
    pub fn client_limits(&self) -> Limits {
        Limits {
            connect_timeout: self.connect_timeout,
            max_idle: self.max_in_flight_per_webhook,
            ..Limits::default()
        }
    }

    /// What cannot work, each with its consequence.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut checks = Checks::default();
        self.check_times(&mut checks);
        self.check_counts(&mut checks);
        let nested = |faults: Vec<Fault>, section: &'static str| faults.into_iter().map(move |f| f.under(section));
        checks.faults.extend(nested(self.retry.faults(), "retry"));
        checks.faults.extend(nested(self.circuit.faults(), "circuit"));
        checks.faults
    }

    fn check_times(&self, checks: &mut Checks) {
        checks.require(
            (LEAST..=MAX_TIMEOUT).contains(&self.timeout),
            "timeout",
            "must be 1ms to 5m, or a hanging endpoint holds its requests too long or every attempt fails",
        );
        checks.require(
            (LEAST..=self.timeout.max(LEAST)).contains(&self.connect_timeout),
            "connect_timeout",
            "must be at least 1ms and not longer than timeout, which ends the attempt first",
        );
        checks.require(
            !self.max_lane_wait.is_zero(),
            "max_lane_wait",
            "must be longer than 0s, or every delivery that cannot be sent at once is parked",
        );
        checks.require(
            !self.disable_after.is_zero(),
            "disable_after",
            "must be longer than 0s, or the first failure disables a webhook",
        );
    }

    fn check_counts(&self, checks: &mut Checks) {
        for (count, path) in [
            (self.max_in_flight, "max_in_flight"),
            (self.max_in_flight_per_webhook, "max_in_flight_per_webhook"),
            (self.max_waiting_per_webhook, "max_waiting_per_webhook"),
        ] {
            checks.require(
                (1..=MAX_COUNT).contains(&count),
                path,
                "must be 1 to 1000000; with 0 nothing is ever sent",
            );
        }
        checks.require(
            self.max_in_flight_per_webhook <= self.max_in_flight.max(1),
            "max_in_flight_per_webhook",
            "must not be above max_in_flight, which would never let one webhook have so many",
        );
    }
}

/// What has to hold, one after the other.
#[derive(Default)]
struct Checks {
    faults: Vec<Fault>,
}

impl Checks {
    fn require(&mut self, holds: bool, path: &str, reason: &str) {
        if !holds {
            self.faults.push(Fault::new(path, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(config: &Config) -> Vec<String> {
        config.faults().into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn the_defaults_are_without_fault_and_read_back() {
        let config = Config::default();
        assert_eq!(config.faults(), []);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);
    }

    #[test]
    fn keys_are_those_of_the_documentation_and_a_typo_is_an_error() {
        let config: Config = serde_json::from_str(
            r#"{"timeout":"10s","disable_after":"5d","retry":{"initial":"500ms","multiplier":2,"jitter":0},
                "circuit":{"failures":3,"open":"1s","max_open":"2s"}}"#,
        )
        .unwrap();
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert_eq!(config.retry.initial, Duration::from_millis(500));
        assert_eq!(config.circuit.failures, 3);
        assert_eq!(config.faults(), []);
        assert!(serde_json::from_str::<Config>(r#"{"max_in_flite":1}"#).is_err());
    }

    #[test]
    fn every_fault_is_named_by_its_path() {
        let config = Config {
            timeout: Duration::ZERO,
            max_in_flight: 0,
            max_lane_wait: Duration::ZERO,
            disable_after: Duration::ZERO,
            retry: RetryConfig {
                multiplier: 0.5,
                jitter: f64::NAN,
                max_retries: 11,
                ..RetryConfig::default()
            },
            circuit: CircuitConfig {
                failures: 0,
                open: Duration::from_secs(10),
                max_open: Duration::from_secs(5),
            },
            ..Config::default()
        };
        assert_eq!(
            paths(&config),
            [
                "timeout",
                "connect_timeout",
                "max_lane_wait",
                "disable_after",
                "max_in_flight",
                "max_in_flight_per_webhook",
                "retry.multiplier",
                "retry.jitter",
                "retry.max_retries",
                "circuit.failures",
                "circuit.open",
            ]
        );
    }

    fn of_millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_bound_that_is_lowered_alone_lowers_what_it_bounds() {
        let config = Config {
            timeout: of_millis(3_000),
            max_in_flight: 8,
            retry: RetryConfig {
                max_interval: of_millis(1_000),
                ..RetryConfig::default()
            },
            circuit: CircuitConfig {
                max_open: of_millis(500),
                ..CircuitConfig::default()
            },
            ..Config::default()
        };
        let bounded = config.bounded();
        assert_eq!(bounded.faults(), []);
        assert_eq!(bounded.connect_timeout, of_millis(3_000));
        assert_eq!(bounded.max_in_flight_per_webhook, 8);
        assert_eq!(bounded.retry.initial, of_millis(1_000));
        assert_eq!(bounded.circuit.open, of_millis(500));
    }

    #[test]
    fn what_is_within_its_bounds_stays_as_it_is() {
        assert_eq!(Config::default().bounded(), Config::default());
    }

    #[test]
    fn a_bound_that_is_too_low_is_the_only_fault() {
        let mut config = Config {
            timeout: Duration::ZERO,
            max_in_flight: 0,
            ..Config::default()
        };
        config.retry.max_interval = Duration::ZERO;
        config.circuit.max_open = Duration::ZERO;
        assert_eq!(
            paths(&config.bounded()),
            ["timeout", "max_in_flight", "retry.max_interval", "circuit.max_open"]
        );
        let mut config = Config::default();
        config.retry.max_interval = Duration::from_micros(1_500);
        assert_eq!(paths(&config.bounded()), ["retry.max_interval"]);
    }
}
