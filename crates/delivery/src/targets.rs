//! Prepared targets, kept while they are used, so that a webhook keeps its connections from one
//! delivery to the next. Two generations bound them: what is not asked for while the young one fills
//! up is dropped with the old one.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};
use postrider_types::{Webhook, WebhookId};

use crate::client::Clients;
use crate::egress::Policy;
use crate::target::{BadTarget, Target};

/// How many targets one generation holds.
const GENERATION: usize = 8192;

/// A webhook's requests, prepared, or why they cannot be.
pub(crate) type Prepared = Arc<Result<Target, BadTarget>>;

#[derive(Debug)]
struct Entry {
    webhook: Arc<Webhook>,
    prepared: Prepared,
}

/// The targets in use.
#[derive(Debug)]
pub(crate) struct Targets {
    policy: Arc<Policy>,
    clients: Clients,
    generation: usize,
    young: HashMap<WebhookId, Entry>,
    old: HashMap<WebhookId, Entry>,
}

impl Targets {
    pub(crate) fn new(policy: Arc<Policy>, clients: Clients) -> Self {
        Self {
            policy,
            clients,
            generation: GENERATION,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// The target of this very document; made anew when what requests depend on has changed.
    pub(crate) fn of(&mut self, webhook: &Arc<Webhook>) -> Prepared {
        if let Some(entry) = self.young.get(&webhook.id)
            && is_same_target(&entry.webhook, webhook)
        {
            return Arc::clone(&entry.prepared);
        }
        let entry = match self.old.remove(&webhook.id) {
            Some(entry) if is_same_target(&entry.webhook, webhook) => entry,
            _ => self.prepare(webhook),
        };
        let prepared = Arc::clone(&entry.prepared);
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(webhook.id.clone(), entry);
        prepared
    }

    fn prepare(&self, webhook: &Arc<Webhook>) -> Entry {
        Entry {
            prepared: Arc::new(Target::prepare(webhook, &self.policy, &self.clients)),
            webhook: Arc::clone(webhook),
        }
    }
}

/// Whether two documents make the same requests. An edited description keeps the connections.
fn is_same_target(a: &Arc<Webhook>, b: &Arc<Webhook>) -> bool {
    let same = |a: &Webhook, b: &Webhook| {
        a.url == b.url
            && a.auth == b.auth
            && a.header == b.header
            && a.signing == b.signing
            && a.tls == b.tls
            && a.timeout_ms == b.timeout_ms
    };
    Arc::ptr_eq(a, b) || same(a, b)
}

#[cfg(test)]
mod tests {
    use postrider_types::Secret;
    use postrider_types::webhook::{ClientCertificate, CustomHeader};
    use prometheus::Registry;

    use super::*;
    use crate::metrics::Metrics;
    use crate::samples;

    fn targets(generation: usize) -> Targets {
        let metrics = Metrics::register(&Registry::new(), 200).unwrap();
        let policy = samples::policy();
        let clients = samples::clients(&policy, &metrics);
        Targets {
            generation,
            ..Targets::new(policy, clients)
        }
    }

    fn hook(n: usize) -> Arc<Webhook> {
        Arc::new(samples::webhook(&format!("wh_{n}"), "https://merchant.example/"))
    }

    #[tokio::test]
    async fn a_target_is_kept_until_what_requests_depend_on_changes() {
        let mut targets = targets(8);
        let mut webhook = samples::webhook("wh_1", "https://merchant.example/");
        let first = targets.of(&Arc::new(webhook.clone()));
        webhook.description = "edited".into();
        webhook.version = 2;
        assert!(Arc::ptr_eq(&first, &targets.of(&Arc::new(webhook.clone()))));
        webhook.header = Some(CustomHeader {
            name: "x-api-key".into(),
            value: Secret::new("new"),
        });
        let second = targets.of(&Arc::new(webhook.clone()));
        assert!(!Arc::ptr_eq(&first, &second));
        webhook.tls = Some(ClientCertificate {
            certificate: "renewed".into(),
            key: Secret::new("new"),
        });
        assert!(!Arc::ptr_eq(&second, &targets.of(&Arc::new(webhook.clone()))));
        assert_eq!(targets.young.len(), 1);
    }

    #[tokio::test]
    async fn what_is_used_stays_and_what_is_not_goes() {
        let mut targets = targets(4);
        let (used, unused) = (targets.of(&hook(0)), targets.of(&hook(1)));
        for n in 2..100 {
            targets.of(&hook(n));
            assert!(Arc::ptr_eq(&used, &targets.of(&hook(0))), "{n}");
            assert!(targets.young.len() + targets.old.len() <= 8);
        }
        assert!(!Arc::ptr_eq(&unused, &targets.of(&hook(1))));
        assert_eq!(Arc::strong_count(&unused), 1);
    }
}
