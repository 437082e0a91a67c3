//! The index's series.

use prometheus::{IntCounter, IntGauge, Registry};

/// How large the index is, how far behind, and what it passed over.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) rows: IntGauge,
    pub(crate) lag: IntGauge,
    pub(crate) skipped: IntCounter,
}

impl Metrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When a series of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            rows: IntGauge::new("postrider_logs_rows", "Outcomes in the index of the logs")?,
            lag: IntGauge::new(
                "postrider_logs_lag",
                "Records of the results topic that are not in the index of the logs yet, about",
            )?,
            skipped: IntCounter::new(
                "postrider_logs_skipped_total",
                "Records of the results topic that are no outcomes, passed over by the index of the logs",
            )?,
        };
        registry.register(Box::new(metrics.rows.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.skipped.clone()))?;
        Ok(metrics)
    }
}
