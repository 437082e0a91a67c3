//! The series that carry a webhook's id.

use postrider_types::{Named, WebhookId};
use prometheus::{IntCounterVec, Registry};

use super::counters;

/// Attempts by webhook.
#[derive(Debug, Clone)]
pub(super) struct WebhookSeries {
    attempts: IntCounterVec,
    named: Named,
}

impl WebhookSeries {
    pub(super) fn register(registry: &Registry, most: usize) -> prometheus::Result<Self> {
        let attempts = counters(
            "postrider_webhook_attempts_total",
            "Requests made, by webhook and what they met",
            &["webhook", "outcome"],
        )?;
        registry.register(Box::new(attempts.clone()))?;
        Ok(Self {
            attempts,
            named: Named::new(most),
        })
    }

    pub(super) fn attempted(&self, webhook: &WebhookId, outcome: &str) {
        let label = self.named.label(webhook);
        self.attempts.with_label_values(&[label, outcome]).inc();
    }

    /// For other series by webhook: one that is named here is named there.
    pub(super) fn named(&self) -> Named {
        self.named.clone()
    }
}
