//! What the guard refused, counted.

use prometheus::{IntCounterVec, Opts, Registry};

use crate::address::Blocked;

/// The guard's series.
#[derive(Debug, Clone)]
pub struct Metrics {
    blocked: IntCounterVec,
}

impl Metrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When a series of that name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new(
            "postrider_blocked_total",
            "Addresses and names that the egress guard refused",
        );
        let blocked = IntCounterVec::new(options, &["reason"])?;
        registry.register(Box::new(blocked.clone()))?;
        // Every reason is there from the start, so that a rate over the first refusal is right.
        for why in Blocked::ALL {
            blocked.with_label_values(&[why.as_str()]);
        }
        Ok(Self { blocked })
    }

    /// Counts one refusal.
    pub fn blocked(&self, why: Blocked) {
        self.blocked.with_label_values(&[why.as_str()]).inc();
    }
}
