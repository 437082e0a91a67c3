//! Topics of the real broker: records go in, and come out as a `read_committed` reader sees them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::patience::{PATIENCE, until};

/// The largest record a topic takes: more than postrider takes as an event.
const MAX_RECORD: &str = "4194304";

/// A record to be produced.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
    partition: Option<i32>,
}

impl Sent {
    /// A record without a value.
    #[must_use]
    pub fn null() -> Self {
        Self::default()
    }

    /// A record with a value.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// The same with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// The same with one more header that has no value.
    #[must_use]
    pub fn null_header(mut self, name: &str) -> Self {
        self.headers.push((name.to_owned(), None));
        self
    }

    /// The same for a partition of the test's choice.
    #[must_use]
    pub const fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    fn record<'a>(&'a self, topic: &'a str) -> BaseRecord<'a, [u8], [u8]> {
        let mut record = BaseRecord::to(topic);
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        record.partition = self.partition;
        let headers = self.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header {
                key: name,
                value: value.as_deref(),
            })
        });
        record.headers(headers)
    }
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Received {
    fn new(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(Bytes::copy_from_slice)))
                .collect(),
        }
    }

    /// The last header of a name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rfind(|(known, _)| known == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// One topic of one broker.
#[derive(Debug, Clone)]
pub struct Topic {
    bootstrap: String,
    name: String,
}

impl Topic {
    /// Names a topic; nothing is created.
    pub fn new(bootstrap: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            name: name.into(),
        }
    }

    /// Where its broker listens.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// Creates it, with as many replicas as the broker gives by itself and room for large records.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer in time.
    pub async fn create(&self, partitions: i32) -> anyhow::Result<()> {
        self.create_for(partitions, MAX_RECORD).await
    }

    /// Creates it for records, and batches, of so many bytes at most.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer in time.
    pub async fn create_for(&self, partitions: i32, max_record: &str) -> anyhow::Result<()> {
        let topic = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(-1));
        self.make(topic.set("max.message.bytes", max_record)).await
    }

    /// Creates it with one partition for each of these nodes, which alone has it.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer in time.
    pub async fn create_on(&self, nodes: &[i32]) -> anyhow::Result<()> {
        let replicas: Vec<&[i32]> = nodes.iter().map(std::slice::from_ref).collect();
        let partitions = i32::try_from(nodes.len())?;
        let topic = NewTopic::new(&self.name, partitions, TopicReplication::Variable(&replicas));
        self.make(topic.set("min.insync.replicas", "1")).await
    }

    async fn make(&self, topic: NewTopic<'_>) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for created in admin.create_topics([&topic], &options).await? {
            created.map_err(|(name, code)| anyhow::anyhow!("creating topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// Deletes it, and waits until the broker does not know it any more.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer in time.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for deleted in admin.delete_topics(&[&self.name], &options).await? {
            deleted.map_err(|(name, code)| anyhow::anyhow!("deleting topic {name}: {code}"))?;
        }
        let gone = || async { Ok(self.partitions().await.is_err().then_some(())) };
        until(&format!("{} to be gone", self.name), PATIENCE, gone).await
    }

    /// Deletes every record that it has, as its retention would.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer in time.
    pub async fn trim(&self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let everything = at(&self.name, &self.partitions().await?, Offset::End)?;
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for element in admin.delete_records(&everything, &options).await?.elements() {
            element.error()?;
        }
        Ok(())
    }

    /// Adds partitions until there are `partitions`.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer in time.
    pub async fn widen(&self, partitions: usize) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let wanted = NewPartitions::new(&self.name, partitions);
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for widened in admin.create_partitions([&wanted], &options).await? {
            widened.map_err(|(name, code)| anyhow::anyhow!("adding partitions to {name}: {code}"))?;
        }
        Ok(())
    }

    /// Produces records and waits until the broker has them all.
    ///
    /// # Errors
    /// When the broker does not take them in time.
    pub async fn produce(&self, records: impl IntoIterator<Item = Sent>) -> anyhow::Result<()> {
        self.upstream()?.produce(records).await
    }

    /// A producer that stays, for who produces again and again.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn upstream(&self) -> anyhow::Result<Upstream> {
        let mut config = self.client();
        config.set("enable.idempotence", "true").set("linger.ms", "2");
        // Records larger than the topic takes are the topic's to refuse, not this client's.
        config.set("message.max.bytes", "16777216");
        Ok(Upstream {
            topic: self.name.clone(),
            producer: Arc::new(config.create()?),
        })
    }

    /// Everything that is in it now and committed, ordered by partition and offset.
    ///
    /// # Errors
    /// When the topic does not exist, or cannot be read to its end in time.
    pub async fn read(&self) -> anyhow::Result<Vec<Received>> {
        self.read_as("read_committed").await
    }

    /// Everything that was ever appended to it, aborted or not.
    ///
    /// # Errors
    /// When the topic does not exist, or cannot be read to its end in time.
    pub async fn read_uncommitted(&self) -> anyhow::Result<Vec<Received>> {
        self.read_as("read_uncommitted").await
    }

    async fn read_as(&self, isolation: &'static str) -> anyhow::Result<Vec<Received>> {
        let topic = self.clone();
        tokio::task::spawn_blocking(move || topic.read_blocking(isolation)).await?
    }

    fn read_blocking(&self, isolation: &str) -> anyhow::Result<Vec<Received>> {
        let mut config = self.client();
        config
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "20");
        let began = Instant::now();
        let consumer: BaseConsumer = config.create()?;
        let partitions = partitions(&consumer, &self.name)?;
        consumer.assign(&at(&self.name, &partitions, Offset::Beginning)?)?;
        let mut open: HashSet<i32> = partitions.into_iter().collect();
        let mut records = Vec::new();
        while !open.is_empty() {
            match consumer.poll(PATIENCE) {
                Some(Ok(message)) => records.push(Received::new(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                // One node is away; another has what it had.
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)))
                    if began.elapsed() < PATIENCE => {}
                Some(Err(error)) => return Err(error).with_context(|| format!("reading {}", self.name)),
                None => bail!("{} was not read to its end in {PATIENCE:?}", self.name),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// Reads it until what is in it is `enough`.
    ///
    /// # Errors
    /// When that does not happen in time; the error says how many records there were.
    pub async fn read_until(&self, enough: impl Fn(&[Received]) -> bool) -> anyhow::Result<Vec<Received>> {
        self.read_within(PATIENCE, enough).await
    }

    /// [`read_until`](Self::read_until) with another limit.
    ///
    /// # Errors
    /// When `limit` passes.
    pub async fn read_within(
        &self,
        limit: Duration,
        enough: impl Fn(&[Received]) -> bool,
    ) -> anyhow::Result<Vec<Received>> {
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let ask = || async {
            let records = self.read().await?;
            seen.store(records.len(), std::sync::atomic::Ordering::Relaxed);
            Ok(enough(&records).then_some(records))
        };
        let read = until(&format!("enough records in {}", self.name), limit, ask).await;
        read.with_context(|| format!("{} records were there", seen.into_inner()))
    }

    /// Its partitions.
    ///
    /// # Errors
    /// When the topic does not exist.
    pub async fn partitions(&self) -> anyhow::Result<Vec<i32>> {
        let topic = self.clone();
        let asked = move || partitions(&topic.client().create::<BaseConsumer>()?, &topic.name);
        tokio::task::spawn_blocking(asked).await?
    }

    /// Whether each of its partitions has a leader.
    ///
    /// # Errors
    /// When no node tells in time.
    pub async fn is_led(&self) -> anyhow::Result<bool> {
        let topic = self.clone();
        tokio::task::spawn_blocking(move || topic.is_led_blocking()).await?
    }

    fn is_led_blocking(&self) -> anyhow::Result<bool> {
        let consumer: BaseConsumer = self.client().create()?;
        let metadata = consumer.fetch_metadata(Some(&self.name), PATIENCE)?;
        let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        Ok(partitions.all(|partition| partition.leader() >= 0))
    }

    /// How many offsets it has: of a topic without transactions and compaction, how many records.
    ///
    /// # Errors
    /// When it does not exist, or its leaders do not answer in time.
    pub async fn count(&self) -> anyhow::Result<i64> {
        let topic = self.clone();
        tokio::task::spawn_blocking(move || topic.count_blocking()).await?
    }

    fn count_blocking(&self) -> anyhow::Result<i64> {
        let consumer: BaseConsumer = self.client().create()?;
        let ends = |partition| consumer.fetch_watermarks(&self.name, partition, PATIENCE);
        let mut count = 0;
        for partition in partitions(&consumer, &self.name)? {
            let (low, high) = ends(partition)?;
            count += high - low;
        }
        Ok(count)
    }

    /// What a group committed for it: partition → offset and metadata. Partitions without a commit are left out.
    ///
    /// # Errors
    /// When the group's coordinator does not answer in time.
    pub async fn committed(&self, group: &str) -> anyhow::Result<BTreeMap<i32, (i64, String)>> {
        let (topic, group) = (self.clone(), group.to_owned());
        tokio::task::spawn_blocking(move || topic.committed_blocking(&group)).await?
    }

    fn committed_blocking(&self, group: &str) -> anyhow::Result<BTreeMap<i32, (i64, String)>> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create()?;
        let partitions = partitions(&consumer, &self.name)?;
        let asked = at(&self.name, &partitions, Offset::Invalid)?;
        let committed = consumer.committed_offsets(asked, PATIENCE)?;
        let elements = committed.elements();
        let known = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), (offset, element.metadata().to_owned()))),
            _ => None,
        });
        Ok(known.collect())
    }
}

pub(crate) fn partitions(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let known = metadata.topics().first().context("the broker lists the topic")?;
    ensure!(known.error().is_none(), "topic {topic}: {:?}", known.error());
    Ok(known.partitions().iter().map(|partition| partition.id()).collect())
}

/// A producer to one topic.
#[derive(Clone)]
pub struct Upstream {
    topic: String,
    producer: Arc<ThreadedProducer<DefaultProducerContext>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// Appends records and waits until the broker has them.
    ///
    /// # Errors
    /// When the broker does not take them in time.
    pub async fn produce(&self, records: impl IntoIterator<Item = Sent>) -> anyhow::Result<()> {
        let (upstream, records) = (self.clone(), records.into_iter().collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || upstream.append(&records)).await?
    }

    /// Hands records to the client, which sends them by itself.
    ///
    /// # Errors
    /// When the client does not take them.
    pub fn send(&self, records: impl IntoIterator<Item = Sent>) -> anyhow::Result<()> {
        records.into_iter().try_for_each(|record| self.hand_over(&record))
    }

    fn append(&self, records: &[Sent]) -> anyhow::Result<()> {
        records.iter().try_for_each(|record| self.hand_over(record))?;
        self.producer.flush(PATIENCE)?;
        Ok(())
    }

    fn hand_over(&self, record: &Sent) -> anyhow::Result<()> {
        let sent = self.producer.send(record.record(&self.topic));
        sent.map_err(|(error, _)| error)
            .with_context(|| format!("producing to {}", self.topic))
    }
}

fn at(topic: &str, partitions: &[i32], offset: Offset) -> anyhow::Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}
