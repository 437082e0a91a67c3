//! What changes of webhooks are judged by.

use std::fmt;
use std::time::Duration;

use postrider_routing::Table;
use postrider_types::{Clock, Fault, Webhook};

/// Judges what this crate cannot: the URL's policy, the signing secret and the client certificate.
pub type Judge = Box<dyn Fn(&Webhook) -> Vec<Fault> + Send + Sync>;

/// What an editor goes by.
pub struct Rules {
    /// `routing.max_webhooks_per_account`; 0 is no limit.
    pub limit: u32,
    /// `delivery.secret_overlap`
    pub secret_overlap: Duration,
    /// This instance's name, for notices.
    pub instance: String,
    /// Judges URLs, signing secrets and client certificates.
    pub judge: Judge,
    /// The time.
    pub clock: Clock,
}

impl Rules {
    /// What is wrong with a webhook whose fields can all be read.
    pub(crate) fn faults(&self, webhook: &Webhook) -> Vec<Fault> {
        let mut faults = webhook.faults();
        let filter = Table::build(vec![webhook.clone()]).err().unwrap_or_default();
        faults.extend(filter.into_iter().map(|fault| Fault {
            path: fault.path.trim_start_matches("[0].").to_owned(),
            ..fault
        }));
        faults.extend((self.judge)(webhook));
        faults
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("limit", &self.limit)
            .field("secret_overlap", &self.secret_overlap)
            .finish_non_exhaustive()
    }
}
