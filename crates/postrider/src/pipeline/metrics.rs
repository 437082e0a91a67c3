//! The series of everything that runs for as long as the daemon does.

use postrider_types::Undelivered;
use prometheus::{IntCounter, Registry};

use crate::config::Config;
use crate::telemetry;

#[cfg(test)]
mod table;

/// Handles of the series, to be passed down.
pub(super) struct Metrics {
    pub(super) consumer: postrider_consumer::Metrics,
    pub(super) routing: postrider_routing::Metrics,
    pub(super) delivery: postrider_delivery::Metrics,
    pub(super) kafka: postrider_kafka::Metrics,
    /// `None` where there is no index of the logs.
    pub(super) logs: Option<postrider_logs::Metrics>,
    pub(super) replay: postrider_replay::Metrics,
    /// Spans of traces that were not sent.
    pub(super) spans_lost: IntCounter,
}

impl Metrics {
    pub(super) fn register(
        registry: &Registry,
        config: &Config,
        undelivered: &Undelivered,
    ) -> prometheus::Result<Self> {
        telemetry::register(registry)?;
        let delivery = postrider_delivery::Metrics::register(registry, config.telemetry.max_webhook_series)?;
        delivery.register_oldest(registry, undelivered.clone())?;
        let has_logs = config.admin.logs.path.is_some();
        let sources = config.consumer.sources.iter().map(|source| &*source.topic);
        Ok(Self {
            logs: has_logs
                .then(|| postrider_logs::Metrics::register(registry))
                .transpose()?,
            consumer: postrider_consumer::Metrics::register(registry, sources)?,
            routing: postrider_routing::Metrics::register(registry, delivery.deliveries())?,
            kafka: postrider_kafka::Metrics::register(registry)?,
            replay: postrider_replay::Metrics::register(registry)?,
            spans_lost: telemetry::register_spans_lost(registry)?,
            delivery,
        })
    }
}
