//! The series that carry a webhook's id: only so many webhooks get their own, whoever comes first; the
//! rest are counted together as `other`.

use std::sync::Arc;

use foldhash::HashSet;
use parking_lot::Mutex;
use postrider_types::WebhookId;
use prometheus::{IntCounterVec, Registry};

use super::counters;

/// The label of all webhooks without series of their own.
pub(super) const OTHER: &str = "other";

/// Attempts by webhook.
#[derive(Debug, Clone)]
pub(super) struct WebhookSeries {
    attempts: IntCounterVec,
    names: Names,
}

/// The webhooks that have series of their own.
#[derive(Debug, Clone)]
pub(super) struct Names {
    named: Arc<Mutex<HashSet<WebhookId>>>,
    most: usize,
}

impl Names {
    pub(super) fn new(most: usize) -> Self {
        let named = Arc::default();
        Self { named, most }
    }

    /// Those that have been named so far.
    pub(super) fn named(&self) -> Vec<WebhookId> {
        self.named.lock().iter().cloned().collect()
    }

    /// The label's value for a webhook.
    pub(super) fn label<'a>(&self, webhook: &'a WebhookId) -> &'a str {
        let mut named = self.named.lock();
        let is_named = named.contains(webhook) || (named.len() < self.most && named.insert(webhook.clone()));
        if is_named { webhook.as_str() } else { OTHER }
    }
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
            names: Names::new(most),
        })
    }

    pub(super) fn attempted(&self, webhook: &WebhookId, outcome: &str) {
        let label = self.names.label(webhook);
        self.attempts.with_label_values(&[label, outcome]).inc();
    }

    /// For other series by webhook: one that is named here is named there.
    pub(super) fn names(&self) -> Names {
        self.names.clone()
    }
}
