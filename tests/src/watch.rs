//! Watching while a run goes on: outcomes as they commit, and the group's offsets as they move.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use postrider_types::{Outcome, OutcomeResult};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::history::Sample;
use crate::topic::{Topic, partitions};

/// How long nothing comes at the end of what has committed.
const LULL: Duration = Duration::from_millis(100);
/// How long one reading of the results topic may take while it grows.
const ONE_READING: Duration = Duration::from_secs(2);
/// How often offsets are asked for.
const EVERY: Duration = Duration::from_millis(100);
/// How long one question may take: a coordinator that is away is asked again.
const ASK: Duration = Duration::from_secs(2);
/// How many questions pass until new partitions are looked for.
const LOOK: usize = 20;

/// The results topic, read along.
pub struct Ends {
    consumer: Option<BaseConsumer>,
    ended: HashSet<String>,
    read_to: BTreeMap<i32, i64>,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends")
            .field("ended", &self.ended.len())
            .finish_non_exhaustive()
    }
}

impl Ends {
    /// Begins at the topic's beginning.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub async fn of(results: &Topic) -> anyhow::Result<Self> {
        let results = results.clone();
        let consumer = tokio::task::spawn_blocking(move || reader(&results)).await??;
        Ok(Self {
            consumer: Some(consumer),
            ended: HashSet::new(),
            read_to: BTreeMap::new(),
        })
    }

    /// Reads what has committed since, and tells how many deliveries have come to their end.
    ///
    /// # Errors
    /// When a record is no outcome.
    pub async fn count(&mut self) -> anyhow::Result<usize> {
        let consumer = self.consumer.take().context("the last reading came back")?;
        let (consumer, read) = tokio::task::spawn_blocking(move || {
            let read = read_since(&consumer);
            (consumer, read)
        })
        .await?;
        self.consumer = Some(consumer);
        for (outcome, partition, offset) in read? {
            self.read_to.insert(partition, offset + 1);
            if OutcomeResult::FINAL.contains(&outcome.result) {
                self.ended.insert(outcome.delivery_id.to_string());
            }
        }
        Ok(self.ended.len())
    }

    /// Each partition that has outcomes, with the offset below which they were read.
    #[must_use]
    pub const fn read_to(&self) -> &BTreeMap<i32, i64> {
        &self.read_to
    }
}

fn reader(results: &Topic) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", results.bootstrap())
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "50")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, results.name())? {
        list.add_partition_offset(results.name(), partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

/// Reads until nothing comes for a moment, or the time for one reading is over. A broker that is away is no
/// error here.
fn read_since(consumer: &BaseConsumer) -> anyhow::Result<Vec<(Outcome, i32, i64)>> {
    let deadline = Instant::now() + ONE_READING;
    let mut read = Vec::new();
    // What was polled is never dropped: it does not come again.
    while Instant::now() < deadline
        && let Some(polled) = consumer.poll(LULL)
    {
        let Ok(message) = polled else { continue };
        let outcome = serde_json::from_slice(message.payload().context("an outcome has a value")?)?;
        read.push((outcome, message.partition(), message.offset()));
    }
    Ok(read)
}

/// Committed offsets of a group, asked for again and again until dropped.
#[derive(Debug)]
pub struct Offsets {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
}

impl Offsets {
    /// Begins to ask.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn of(group: &str, topics: Vec<Topic>) -> anyhow::Result<Self> {
        let bootstrap = topics.first().context("some topics")?.bootstrap();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", group)
            // An open transaction is not waited for: the old offset is the committed one.
            .set("isolation.level", "read_uncommitted")
            .create()?;
        let (samples, stop) = (Arc::<Mutex<Vec<Sample>>>::default(), Arc::<AtomicBool>::default());
        let mut asking = Asking {
            consumer,
            topics,
            asked: TopicPartitionList::new(),
            latest: Sample::new(),
        };
        let (kept, stopped) = (Arc::clone(&samples), Arc::clone(&stop));
        std::thread::spawn(move || {
            for round in 0_usize.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if round.is_multiple_of(LOOK) {
                    asking.look();
                }
                kept.lock().extend(asking.ask());
                std::thread::park_timeout(EVERY);
            }
        });
        Ok(Self { samples, stop })
    }

    /// What was committed, in the order it was asked for.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().clone()
    }
}

impl Drop for Offsets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Asking {
    consumer: BaseConsumer,
    topics: Vec<Topic>,
    asked: TopicPartitionList,
    latest: Sample,
}

impl Asking {
    /// Looks for partitions, as long as the brokers answer.
    fn look(&mut self) {
        let mut found = TopicPartitionList::new();
        for topic in &self.topics {
            let Ok(partitions) = partitions(&self.consumer, topic.name()) else {
                return;
            };
            for partition in partitions {
                found.add_partition(topic.name(), partition);
            }
        }
        self.asked = found;
    }

    /// What is committed now. A coordinator that was frozen may answer once from the past before it notices,
    /// so an offset that went back is asked for again at once.
    fn ask(&mut self) -> Option<Sample> {
        let first = self.ask_once()?;
        let back = |sample: &Sample| {
            let before = |partition| self.latest.get(partition).copied().unwrap_or(0);
            sample.iter().any(|(partition, offset)| *offset < before(partition))
        };
        let sample = if back(&first) { self.ask_once()? } else { first };
        self.latest.clone_from(&sample);
        Some(sample)
    }

    fn ask_once(&self) -> Option<Sample> {
        let committed = self.consumer.committed_offsets(self.asked.clone(), ASK).ok()?;
        let elements = committed.elements();
        let known = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
            _ => None,
        });
        Some(known.collect())
    }
}
