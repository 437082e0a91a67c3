//! The committer's series.

use std::collections::HashSet;

use postrider_types::{DeadLetterReason, WebhookId};
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
    most: usize,
    named: HashSet<WebhookId>,
    others: HashSet<WebhookId>,
}

impl PendingGauges {
    /// Registers the series, with at most `most` webhooks named.
    ///
    /// # Errors
    /// When a series of the same name is registered already.
    pub fn register(registry: &Registry, most: usize) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "postrider_webhook_pending",
            "Deliveries parked in retry topics, by webhook",
        );
        let gauges = IntGaugeVec::new(opts, &["webhook"])?;
        registry.register(Box::new(gauges.clone()))?;
        Ok(Self {
            gauges,
            most,
            named: HashSet::new(),
            others: HashSet::new(),
        })
    }

    /// Shows every webhook of the table.
    pub fn show_all(&mut self, table: &PendingTable) {
        for webhook in table.webhooks() {
            self.show(table, webhook);
        }
    }

    /// Shows one webhook.
    pub fn show(&mut self, table: &PendingTable, webhook: &WebhookId) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        if self.named.contains(webhook) || self.named.len() < self.most {
            self.named.insert(webhook.clone());
            self.gauges
                .with_label_values(&[webhook.as_str()])
                .set(gauge(table.pending(webhook)));
        } else {
            self.others.insert(webhook.clone());
            let together = self.others.iter().map(|other| table.pending(other)).sum();
            self.gauges.with_label_values(&["other"]).set(gauge(together));
        }
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
