//! The series that carry a webhook's id: only so many webhooks get their own, whoever comes first; the
//! rest are counted together as `other`.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_types::WebhookId;
use prometheus::{IntCounterVec, Registry};

use super::counters;

/// The label of all webhooks without series of their own.
const OTHER: &str = "other";

/// Attempts by webhook.
#[derive(Debug, Clone)]
pub(super) struct WebhookSeries {
    attempts: IntCounterVec,
    named: Arc<Mutex<HashSet<WebhookId>>>,
    most: usize,
}

impl WebhookSeries {
    pub(super) fn register(registry: &Registry, most: usize) -> prometheus::Result<Self> {
        let attempts = counters(
            "webhook_attempts_total",
            "Requests made, by webhook and what they met",
            &["webhook", "outcome"],
        )?;
        registry.register(Box::new(attempts.clone()))?;
        Ok(Self {
            attempts,
            named: Arc::default(),
            most,
        })
    }

    pub(super) fn attempted(&self, webhook: &WebhookId, outcome: &str) {
        let label = if self.names(webhook) { webhook.as_str() } else { OTHER };
        self.attempts.with_label_values(&[label, outcome]).inc();
    }

    fn names(&self, webhook: &WebhookId) -> bool {
        let mut named = self.named.lock();
        named.contains(webhook) || (named.len() < self.most && named.insert(webhook.clone()))
    }
}
