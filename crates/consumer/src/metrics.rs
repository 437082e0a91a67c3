//! The consumer's series.

use std::time::Duration;

use postrider_kafka::encode::retry_topic;
use postrider_types::EventType;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Handles of the consumer's series.
#[derive(Debug, Clone)]
pub struct Metrics {
    consumed: IntCounterVec,
    lost: IntCounterVec,
    lag: IntGaugeVec,
    parked_lag: GaugeVec,
    /// Records read and not settled.
    pub held_events: IntGauge,
    /// Their bytes.
    pub held_bytes: IntGauge,
    /// Partitions that are not read for now.
    pub paused: IntGauge,
    /// 1 while a broker can be reached.
    pub kafka_up: IntGauge,
}

impl Metrics {
    /// Registers the series; those of the `sources`' topics begin at zero, so that a rate sees the first event.
    ///
    /// # Errors
    /// When a series of the same name is registered already.
    pub fn register<'a>(registry: &Registry, sources: impl Iterator<Item = &'a str>) -> prometheus::Result<Self> {
        let metrics = Self {
            consumed: IntCounterVec::new(
                Opts::new("postrider_events_consumed_total", "Events read from source topics"),
                &["topic", "event"],
            )?,
            lost: IntCounterVec::new(
                Opts::new(
                    "postrider_source_events_lost_total",
                    "Offsets that Kafka's retention removed before they were read",
                ),
                &["topic"],
            )?,
            lag: IntGaugeVec::new(
                Opts::new(
                    "postrider_consumer_lag",
                    "Offsets from the watermark to the partition's end",
                ),
                &["topic", "partition"],
            )?,
            parked_lag: GaugeVec::new(
                Opts::new(
                    "postrider_parked_lag_seconds",
                    "How late the oldest due parked delivery is",
                ),
                &["delay"],
            )?,
            held_events: IntGauge::new("postrider_held_events", "Records read and not settled")?,
            held_bytes: IntGauge::new("postrider_held_bytes", "Bytes of records read and not settled")?,
            paused: IntGauge::new("postrider_partitions_paused", "Partitions that are not read for now")?,
            kafka_up: IntGauge::new("postrider_kafka_up", "1 while a broker can be reached")?,
        };
        metrics.register_all(registry)?;
        sources.for_each(|topic| metrics.begin_at_zero(topic));
        Ok(metrics)
    }

    fn begin_at_zero(&self, topic: &str) {
        self.lost.with_label_values(&[topic]);
        for event in EventType::ALL {
            self.consumed.with_label_values(&[topic, event.as_str()]);
        }
    }

    fn register_all(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.consumed.clone()))?;
        registry.register(Box::new(self.lost.clone()))?;
        registry.register(Box::new(self.lag.clone()))?;
        registry.register(Box::new(self.parked_lag.clone()))?;
        registry.register(Box::new(self.held_events.clone()))?;
        registry.register(Box::new(self.held_bytes.clone()))?;
        registry.register(Box::new(self.paused.clone()))?;
        registry.register(Box::new(self.kafka_up.clone()))
    }

    /// Counts an event of a configured source.
    pub fn consumed(&self, topic: &str, event: EventType) {
        self.consumed.with_label_values(&[topic, event.as_str()]).inc();
    }

    /// Counts offsets that retention removed.
    pub fn lost(&self, topic: &str, offsets: u64) {
        self.lost.with_label_values(&[topic]).inc_by(offsets);
    }

    /// Shows a partition's lag.
    pub fn lag(&self, topic: &str, partition: i32, offsets: i64) {
        self.lag
            .with_label_values(&[topic, &partition.to_string()])
            .set(offsets);
    }

    /// Forgets the lag of a partition that is not ours any more.
    pub fn forget_lag(&self, topic: &str, partition: i32) {
        // Absent when no end of it was told while it was ours.
        let _ = self.lag.remove_label_values(&[topic, &partition.to_string()]);
    }

    /// Shows how late the oldest due record of a delay is.
    pub fn parked_lag(&self, delay: Duration, late: Duration) {
        self.parked_lag
            .with_label_values(&[&retry_topic("", delay)])
            .set(late.as_secs_f64());
    }
}
