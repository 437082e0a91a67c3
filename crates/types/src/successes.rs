//! When webhooks last took a delivery, from whichever instance: what one instance learns from the others, and
//! judges by before it disables a webhook that fails with itself.

use std::sync::Arc;

use foldhash::HashMap;
use parking_lot::RwLock;

use crate::clock::Timestamp;
use crate::webhook::WebhookId;

/// The last known success of each webhook. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Successes(Arc<RwLock<HashMap<WebhookId, Timestamp>>>);

impl Successes {
    /// Notes a success; an older one than is known changes nothing.
    pub fn note(&self, webhook: &WebhookId, at: Timestamp) {
        let mut known = self.0.write();
        let last = known.entry(webhook.clone()).or_insert(at);
        *last = at.max(*last);
    }

    /// The last one that is known.
    #[must_use]
    pub fn last(&self, webhook: &WebhookId) -> Option<Timestamp> {
        self.0.read().get(webhook).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_success_is_news() {
        let (known, webhook) = (Successes::default(), WebhookId::new("wh").unwrap());
        assert_eq!(known.last(&webhook), None);
        for millis in [5, 9, 7] {
            known.clone().note(&webhook, Timestamp::from_millis(millis));
        }
        assert_eq!(known.last(&webhook), Some(Timestamp::from_millis(9)));
    }
}
