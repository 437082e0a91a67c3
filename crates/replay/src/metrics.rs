//! The series of replays.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Handles of the series.
#[derive(Debug, Clone)]
pub struct Metrics {
    deliveries: IntCounterVec,
    /// Replays that have not come to their end.
    pub unfinished: IntGauge,
    /// 1 while this instance runs them.
    pub leads: IntGauge,
}

impl Metrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When a series of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            deliveries: IntCounterVec::new(
                Opts::new(
                    "postrider_replay_deliveries_total",
                    "Deliveries that replays put on their way (parked), and those that are kept nowhere any more (lost)",
                ),
                &["result"],
            )?,
            unfinished: IntGauge::new(
                "postrider_replays_unfinished",
                "Replays that have not come to their end",
            )?,
            leads: IntGauge::new("postrider_replay_leader", "1 on the instance that runs the replays")?,
        };
        registry.register(Box::new(metrics.deliveries.clone()))?;
        registry.register(Box::new(metrics.unfinished.clone()))?;
        registry.register(Box::new(metrics.leads.clone()))?;
        metrics.went(0, 0);
        Ok(metrics)
    }

    /// Counts deliveries.
    pub fn went(&self, parked: u64, lost: u64) {
        self.deliveries.with_label_values(&["parked"]).inc_by(parked);
        self.deliveries.with_label_values(&["lost"]).inc_by(lost);
    }
}
