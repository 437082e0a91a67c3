//! Upstream at work: tracking updates at a steady rate, in turn over the partitions of a topic, until stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::patience::PATIENCE;
use crate::topic::Topic;

/// How often events are handed to the client.
const TICK: Duration = Duration::from_millis(10);

/// Events on their way into a topic. Dropping it stops them.
pub struct Load {
    producing: JoinHandle<anyhow::Result<()>>,
    producer: Arc<ThreadedProducer<DefaultProducerContext>>,
    partitions: Arc<AtomicI32>,
    sent: Arc<AtomicU64>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load")
            .field("sent", &self.sent())
            .finish_non_exhaustive()
    }
}

impl Load {
    /// Begins: `rate` events a second, `most` in all.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn begin(topic: &Topic, partitions: i32, rate: u64, most: u64) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", topic.bootstrap())
            .set("enable.idempotence", "true")
            // New partitions are soon known.
            .set("topic.metadata.refresh.interval.ms", "500")
            .set("linger.ms", "2");
        let producer: Arc<ThreadedProducer<DefaultProducerContext>> = Arc::new(config.create()?);
        let partitions = Arc::new(AtomicI32::new(partitions));
        let sent = Arc::<AtomicU64>::default();
        let writer = Writer {
            topic: topic.name().to_owned(),
            producer: Arc::clone(&producer),
            partitions: Arc::clone(&partitions),
            sent: Arc::clone(&sent),
        };
        Ok(Self {
            producing: tokio::spawn(writer.write(rate, most)),
            producer,
            partitions,
            sent,
        })
    }

    /// How many events there were so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// From now on as many partitions get their turn.
    pub fn widen(&self, partitions: i32) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// Waits until there were `most`, and the broker has them all.
    ///
    /// # Errors
    /// When the client refused one, or the broker does not take them in time.
    pub async fn end(mut self) -> anyhow::Result<u64> {
        (&mut self.producing).await??;
        self.flushed().await
    }

    /// Stops, and waits until the broker has what was produced. Returns how many events there were.
    ///
    /// # Errors
    /// When the client refused one, or the broker does not take them in time.
    pub async fn stop(mut self) -> anyhow::Result<u64> {
        self.producing.abort();
        if let Ok(ended) = (&mut self.producing).await {
            ended?;
        }
        self.flushed().await
    }

    async fn flushed(&self) -> anyhow::Result<u64> {
        let producer = Arc::clone(&self.producer);
        tokio::task::spawn_blocking(move || producer.flush(PATIENCE)).await??;
        ensure!(self.producer.in_flight_count() == 0, "events were left behind");
        Ok(self.sent())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.producing.abort();
    }
}

struct Writer {
    topic: String,
    producer: Arc<ThreadedProducer<DefaultProducerContext>>,
    partitions: Arc<AtomicI32>,
    sent: Arc<AtomicU64>,
}

impl Writer {
    async fn write(self, rate: u64, most: u64) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let ticks_per_second = u64::try_from(1_000 / TICK.as_millis())?;
        for tick in 1_u64.. {
            ticks.tick().await;
            let target = (tick * rate / ticks_per_second).min(most);
            while self.sent.load(Ordering::Relaxed) < target {
                self.write_one().await?;
            }
            if target == most {
                break;
            }
        }
        Ok(())
    }

    async fn write_one(&self) -> anyhow::Result<()> {
        let number = self.sent.load(Ordering::Relaxed);
        let value = format!(
            "{{\"OrderID\":{number},\"tracking\":\"T{number}\",\"code\":{}}}",
            number % 10
        );
        let partitions = u64::try_from(self.partitions.load(Ordering::Relaxed))?;
        let partition = i32::try_from(number % partitions)?;
        loop {
            let record = BaseRecord::<(), String>::to(&self.topic)
                .payload(&value)
                .partition(partition);
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(error), _)) if passes(error) => tokio::time::sleep(TICK).await,
                Err((error, _)) => return Err(error).with_context(|| format!("producing to {}", self.topic)),
            }
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What is over in a moment: a full queue, and a new partition that the client does not know yet.
const fn passes(error: RDKafkaErrorCode) -> bool {
    matches!(error, RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::UnknownPartition)
}
