//! `delivery.circuit`: when a webhook that fails is left alone.

use std::time::Duration;

use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, LEAST, MAX_INTERVAL};

/// `delivery.circuit`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitConfig {
    /// Failures in a row that open a webhook's circuit.
    pub failures: u32,
    /// How long it stays open before the first probe; where that is shorter, `max_open` counts here too.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub open: Duration,
    /// The longest it stays open between probes; each failed probe doubles the time.
    #[serde(with = "postrider_types::units::duration")]
    #[schemars(schema_with = "postrider_types::units::duration::schema")]
    pub max_open: Duration,
}

impl Default for CircuitConfig {
    fn default() -> Self {
        Self {
            failures: 20,
            open: Duration::from_secs(30),
            max_open: Duration::from_secs(300),
        }
    }
}

impl CircuitConfig {
    pub(super) fn bounded(self) -> Self {
        Self {
            open: self.open.min(self.max_open.max(LEAST)),
            ..self
        }
    }

    /// What cannot work, each with its consequence.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut checks = Checks::default();
        checks.require(
            self.failures >= 1,
            "failures",
            "must be at least 1, or a circuit is open before anything failed",
        );
        checks.require(
            (LEAST..=self.max_open.max(LEAST)).contains(&self.open),
            "open",
            "must be at least 1ms and not longer than max_open",
        );
        checks.require(
            (LEAST..=MAX_INTERVAL).contains(&self.max_open),
            "max_open",
            "must be 1ms to 30d",
        );
        checks.faults
    }
}
