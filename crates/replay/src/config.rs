//! The section `replay` of the configuration.

use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The fastest that a replay may be asked to go.
pub const FASTEST: u32 = 10_000;
/// The most that may be held in memory of one partition.
const MOST: usize = 10_000_000;

/// How deliveries are made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Deliveries a second of a replay that says nothing else.
    pub rate_per_second: u32,
    /// Deliveries of one partition of the results topic that a replay may hold in memory; a replay of more is refused.
    pub max_deliveries: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rate_per_second: 50,
            max_deliveries: 500_000,
        }
    }
}

impl Config {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let rate = (1..=FASTEST).contains(&self.rate_per_second);
        let most = (1..=MOST).contains(&self.max_deliveries);
        let rate = (!rate).then(|| Fault::new("rate_per_second", format!("must be 1 to {FASTEST}")));
        let most = (!most).then(|| Fault::new("max_deliveries", format!("must be 1 to {MOST}")));
        [rate, most].into_iter().flatten().collect()
    }
}
