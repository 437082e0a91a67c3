//! Events into the source topic: all at once before a drain, or one by one at their times.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use parking_lot::Mutex;
use postrider_benches::sample::{stamped, tracking_update};
use postrider_tests::{Sent, Topic};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::stage::{PATIENCE, account_id};
use crate::usage::now_nanos;

const CHUNK: usize = 50_000;

/// Writes events in turn to the partitions, and in turn to the accounts when there are many.
pub(crate) async fn fill(topic: &Topic, events: u64, partitions: i32, accounts: u64) -> Result<()> {
    for first in (0..events).step_by(CHUNK) {
        let numbers = first..(first + CHUNK as u64).min(events);
        topic
            .produce(numbers.map(|number| event(number, partitions, accounts)))
            .await?;
    }
    Ok(())
}

fn event(number: u64, partitions: i32, accounts: u64) -> Sent {
    let sent = Sent::value(tracking_update(number))
        .key((24_000_000 + number).to_string())
        .partition(partition(number, partitions));
    match accounts {
        0 | 1 => sent,
        _ => sent.header("account-id", account_id(number % accounts)),
    }
}

fn partition(number: u64, partitions: i32) -> i32 {
    i32::try_from(number % u64::from(partitions.unsigned_abs())).unwrap_or(0)
}

/// A producer that waits for nothing, and knows how long the broker took for each record.
pub(crate) struct Producing {
    producer: ThreadedProducer<Acks>,
    topic: String,
    partitions: i32,
}

/// Microseconds from a record's stamp to the broker's word that it has it.
#[derive(Clone, Default)]
struct Acks(Arc<Mutex<Vec<u64>>>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, sent: Box<u64>) {
        if delivered.is_ok() {
            self.0.lock().push(now_nanos().saturating_sub(*sent) / 1_000);
        }
    }
}

impl Producing {
    pub(crate) fn new(topic: &Topic, partitions: i32) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", topic.bootstrap())
            .set("enable.idempotence", "true")
            .set("linger.ms", "0");
        Ok(Self {
            producer: config.create_with_context(Acks::default())?,
            topic: topic.name().to_owned(),
            partitions,
        })
    }

    /// Sends an event after each gap, stamped when it is sent; tells how long the broker took for each, sorted.
    /// Blocks its thread.
    pub(crate) fn send(&self, events: u64, mut gap: impl FnMut() -> Duration) -> Result<Vec<u64>> {
        self.producer.context().0.lock().clear();
        let mut due = now_nanos();
        for number in 0..events {
            due += u64::try_from(gap().as_nanos())?;
            wait_for(due);
            self.send_one(number)?;
        }
        self.producer.flush(PATIENCE)?;
        let mut acks = std::mem::take(&mut *self.producer.context().0.lock());
        acks.sort_unstable();
        anyhow::ensure!(acks.len() as u64 == events, "the broker has {} of {events}", acks.len());
        Ok(acks)
    }

    fn send_one(&self, number: u64) -> Result<()> {
        let now = now_nanos();
        let (key, value) = (number.to_string(), stamped(number, now));
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(now))
            .key(&key)
            .payload(&value)
            .partition(partition(number, self.partitions));
        let sent = self.producer.send(record);
        sent.map_err(|(error, _)| anyhow!(error))
            .with_context(|| format!("producing to {}", self.topic))
    }
}

fn wait_for(due: u64) {
    loop {
        let now = now_nanos();
        if now >= due {
            return;
        }
        std::thread::park_timeout(Duration::from_nanos(due - now));
    }
}
