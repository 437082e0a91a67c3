//! The committer's series.

use std::collections::{BTreeSet, HashMap};

use postrider_types::named::OTHER;
use postrider_types::{DeadLetterReason, Named, WebhookId};
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::pending::PendingTable;

/// How a transaction ended. Closed, so it can be a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionResult {
    /// Committed.
    Committed,
    /// Aborted, to be tried again.
    Aborted,
}

impl TransactionResult {
    const ALL: [Self; 2] = [Self::Committed, Self::Aborted];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
        }
    }
}

/// Shows how many deliveries wait for each webhook: each of the first so many under its own id, the rest
/// together as `other`.
#[derive(Debug)]
pub struct PendingGauges {
    gauges: IntGaugeVec,
    named: Named,
    /// What each of the rest was shown with.
    others: HashMap<WebhookId, u64>,
    together: u64,
}

impl PendingGauges {
    /// Registers the series; the webhooks that are named have their own.
    ///
    /// # Errors
    /// When a series of the same name is registered already.
    pub fn register(registry: &Registry, named: Named) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "postrider_webhook_pending",
            "Deliveries parked in retry topics, by webhook",
        );
        let gauges = IntGaugeVec::new(opts, &["webhook"])?;
        registry.register(Box::new(gauges.clone()))?;
        Ok(Self {
            gauges,
            named,
            others: HashMap::new(),
            together: 0,
        })
    }

    /// Shows every webhook of the table for which something waits, those that are named in the order of their ids.
    pub fn show_all(&mut self, table: &PendingTable) {
        let waits = table.webhooks().filter(|webhook| table.pending(webhook) > 0);
        for webhook in waits.collect::<BTreeSet<_>>() {
            self.show(table, webhook);
        }
    }

    /// Shows one webhook.
    pub fn show(&mut self, table: &PendingTable, webhook: &WebhookId) {
        let pending = table.pending(webhook);
        let label = self.named.label(webhook);
        if label == OTHER {
            let before = self.others.insert(webhook.clone(), pending).unwrap_or_default();
            self.together = (self.together + pending).saturating_sub(before);
            self.set(label, self.together);
        } else {
            self.set(label, pending);
        }
    }

    /// Shows a webhook no more that is gone, unless something waits for it still.
    pub fn forget(&mut self, table: &PendingTable, webhook: &WebhookId) {
        if table.pending(webhook) > 0 {
            return;
        }
        if let Some(before) = self.others.remove(webhook) {
            self.together = self.together.saturating_sub(before);
            self.set(OTHER, self.together);
        } else if self.named.holds(webhook) {
            // It has one if something ever waited for it.
            let _ = self.gauges.remove_label_values(&[webhook.as_str()]);
        }
    }

    fn set(&self, webhook: &str, pending: u64) {
        let pending = i64::try_from(pending).unwrap_or(i64::MAX);
        self.gauges.with_label_values(&[webhook]).set(pending);
    }
}

/// Handles of the committer's series.
#[derive(Debug, Clone)]
pub struct Metrics {
    transactions: IntCounterVec,
    dead_letters: IntCounterVec,
    /// From the transaction's begin to its end.
    pub transaction_seconds: Histogram,
}

impl Metrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When a series of the same name is registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let transactions = IntCounterVec::new(
            Opts::new("postrider_transactions_total", "Transactions by how they ended"),
            &["result"],
        )?;
        let dead_letters = IntCounterVec::new(
            Opts::new("postrider_dead_letters_total", "Dead letters committed, by reason"),
            &["reason"],
        )?;
        let seconds = HistogramOpts::new(
            "postrider_transaction_duration_seconds",
            "Time from begin to end of a transaction",
        )
        .buckets(vec![
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
        ]);
        let metrics = Self {
            transactions,
            dead_letters,
            transaction_seconds: Histogram::with_opts(seconds)?,
        };
        registry.register(Box::new(metrics.transactions.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        registry.register(Box::new(metrics.transaction_seconds.clone()))?;
        metrics.begin_at_zero();
        Ok(metrics)
    }

    fn begin_at_zero(&self) {
        for result in TransactionResult::ALL {
            self.transactions.with_label_values(&[result.as_str()]);
        }
        for reason in DeadLetterReason::ALL {
            self.dead_letters.with_label_values(&[reason.as_str()]);
        }
    }

    /// Counts a transaction.
    pub fn ended(&self, result: TransactionResult) {
        self.transactions.with_label_values(&[result.as_str()]).inc();
    }

    /// Counts a committed dead letter.
    pub fn dead_letter(&self, reason: DeadLetterReason) {
        self.dead_letters.with_label_values(&[reason.as_str()]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pending::{Counts, key};

    fn told(table: &mut PendingTable, webhook: &str, appended: u64, completed: u64) -> WebhookId {
        let webhook = WebhookId::new(webhook).unwrap();
        let counts = Counts {
            appended,
            completed,
            ..Counts::default()
        };
        let value = serde_json::to_vec(&counts).unwrap();
        table.take_in(key("i-0", &webhook).as_bytes(), Some(&value)).unwrap()
    }

    fn shown(registry: &Registry) -> Vec<(String, i64)> {
        let family = registry.gather().pop().unwrap();
        let one = |metric: &prometheus::proto::Metric| {
            let label = metric.get_label()[0].value().to_owned();
            (label, metric.get_gauge().get_value() as i64)
        };
        family.get_metric().iter().map(one).collect()
    }

    #[test]
    fn the_first_for_which_something_waits_are_named_and_the_rest_is_summed() {
        let (registry, mut table) = (Registry::new(), PendingTable::default());
        let mut gauges = PendingGauges::register(&registry, Named::new(2)).unwrap();
        for (webhook, appended, completed) in [("a", 9, 9), ("d", 4, 0), ("b", 2, 1), ("e", 5, 0), ("c", 3, 0)] {
            told(&mut table, webhook, appended, completed);
        }
        gauges.show_all(&table);
        let expected =
            |b, c, other| [("b", b), ("c", c), ("other", other)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(shown(&registry), expected(1, 3, 9));
        for (webhook, appended, completed) in [("d", 4, 4), ("e", 7, 0), ("a", 10, 9), ("c", 3, 3)] {
            let webhook = told(&mut table, webhook, appended, completed);
            gauges.show(&table, &webhook);
        }
        assert_eq!(shown(&registry), expected(1, 0, 8));
    }

    #[test]
    fn a_webhook_that_is_gone_is_shown_no_more_once_nothing_waits_for_it() {
        let (registry, mut table) = (Registry::new(), PendingTable::default());
        let mut gauges = PendingGauges::register(&registry, Named::new(1)).unwrap();
        let gone = told(&mut table, "a", 2, 0);
        told(&mut table, "b", 3, 0);
        let third = told(&mut table, "c", 4, 0);
        gauges.show_all(&table);
        gauges.forget(&table, &gone);
        let expected =
            |all: &[(&str, i64)]| -> Vec<_> { all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect() };
        assert_eq!(shown(&registry), expected(&[("a", 2), ("other", 7)]));
        told(&mut table, "a", 2, 2);
        gauges.show(&table, &gone);
        gauges.forget(&table, &gone);
        assert_eq!(shown(&registry), expected(&[("other", 7)]));
        told(&mut table, "c", 4, 4);
        gauges.forget(&table, &third);
        assert_eq!(shown(&registry), expected(&[("other", 3)]));
    }
}
