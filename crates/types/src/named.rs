//! The webhooks that have series of their own: only so many, whoever comes first; the rest are counted together as
//! `other`.

use std::sync::Arc;

use foldhash::HashSet;
use parking_lot::Mutex;

use crate::webhook::WebhookId;

/// The label of all webhooks without series of their own.
pub const OTHER: &str = "other";

/// The webhooks that have series of their own. Clones share it, so that one that is named in one family of series is
/// named in all.
#[derive(Debug, Clone)]
pub struct Named {
    webhooks: Arc<Mutex<HashSet<WebhookId>>>,
    most: usize,
}

impl Named {
    /// None yet, and never more than `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let webhooks = Arc::default();
        Self { webhooks, most }
    }

    /// Those that have been named so far.
    #[must_use]
    pub fn all(&self) -> Vec<WebhookId> {
        self.webhooks.lock().iter().cloned().collect()
    }

    /// The label's value for a webhook: once its own, always its own.
    #[must_use]
    pub fn label<'a>(&self, webhook: &'a WebhookId) -> &'a str {
        let mut named = self.webhooks.lock();
        let is_named = named.contains(webhook) || (named.len() < self.most && named.insert(webhook.clone()));
        if is_named { webhook.as_str() } else { OTHER }
    }

    /// Whether a webhook has been named.
    #[must_use]
    pub fn holds(&self, webhook: &WebhookId) -> bool {
        self.webhooks.lock().contains(webhook)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_come_are_named_and_stay_so_in_every_clone() {
        let named = Named::new(2);
        let [a, b, c] = ["a", "b", "c"].map(|id| WebhookId::new(id).unwrap());
        assert_eq!(
            [named.label(&a), named.clone().label(&b), named.label(&c)],
            ["a", "b", OTHER]
        );
        assert_eq!([named.label(&c), named.label(&a)], [OTHER, "a"]);
        assert!(named.holds(&b) && !named.holds(&c));
    }
}
