//! The committer's series.

use postrider_types::DeadLetterReason;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

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
