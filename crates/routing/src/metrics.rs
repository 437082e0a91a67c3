//! The series that routing exports. Their labels come from closed enums only.

use std::collections::HashMap;

use postrider_types::webhook::WebhookStatus;
use postrider_types::{EventType, OutcomeResult};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::table::Table;

/// Handles of every series, made once and passed down.
#[derive(Debug, Clone)]
pub struct Metrics {
    unmatched: [IntCounter; EventType::ALL.len()],
    skipped: [IntCounter; EventType::ALL.len()],
    webhooks: [IntGauge; WebhookStatus::ALL.len()],
}

impl Metrics {
    /// Registers the series that are routing's own. `deliveries` is `postrider_deliveries_total{event,result}`,
    /// which delivery registers; routing adds its skipped ones to it.
    ///
    /// # Errors
    /// When a name is taken, or `deliveries` has other labels.
    pub fn register(registry: &Registry, deliveries: IntCounterVec) -> prometheus::Result<Self> {
        let unmatched = IntCounterVec::new(
            Opts::new(
                "postrider_events_unmatched_total",
                "Events that no webhook got and that left no outcome",
            ),
            &["event"],
        )?;
        let webhooks = IntGaugeVec::new(Opts::new("postrider_webhooks", "Webhooks by status"), &["status"])?;
        registry.register(Box::new(unmatched.clone()))?;
        registry.register(Box::new(webhooks.clone()))?;
        let skipped = |event: EventType| {
            deliveries.get_metric_with(&HashMap::from([
                ("event", event.as_str()),
                ("result", OutcomeResult::Skipped.as_str()),
            ]))
        };
        Ok(Self {
            unmatched: each(EventType::ALL, |event| {
                unmatched.get_metric_with_label_values(&[event.as_str()])
            })?,
            skipped: each(EventType::ALL, skipped)?,
            webhooks: each(WebhookStatus::ALL, |status| {
                webhooks.get_metric_with_label_values(&[status.as_str()])
            })?,
        })
    }

    /// An event came to nothing.
    pub(crate) fn unmatched(&self, event: EventType) {
        self.unmatched[event as usize].inc();
    }

    /// A delivery ended as a skipped outcome.
    pub(crate) fn skipped(&self, event: EventType) {
        self.skipped[event as usize].inc();
    }

    /// The table was replaced.
    pub(crate) fn table_changed(&self, table: &Table) {
        for status in WebhookStatus::ALL {
            let count = i64::try_from(table.count(status)).unwrap_or(i64::MAX);
            self.webhooks[status as usize].set(count);
        }
    }
}

/// One series for each word of a closed enum, at the word's place.
fn each<E: Copy, M: Clone, const N: usize>(
    words: [E; N],
    series: impl Fn(E) -> prometheus::Result<M>,
) -> prometheus::Result<[M; N]> {
    let made = words.into_iter().map(series).collect::<prometheus::Result<Vec<M>>>()?;
    Ok(std::array::from_fn(|i| made[i].clone()))
}
