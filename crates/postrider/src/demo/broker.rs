//! The embedded broker: librdkafka's mock cluster, in this process and in memory. It has no
//! transactions and keeps little; it is for showing, never for keeping promises.

use std::time::Duration;

use anyhow::Context;
use postrider_kafka::config::Property;
use postrider_kafka::encode::Limits;
use postrider_kafka::topics::Survey;
use postrider_types::Outcome;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::Sample;
use crate::config::Config;
use crate::pipeline::thread;

const POLL: Duration = Duration::from_millis(20);
const FLUSH: Duration = Duration::from_secs(5);

/// The broker, and upstream's producer.
pub(crate) struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Broker {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let cluster = MockCluster::new(1)?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "0")
            .create()?;
        Ok(Self { cluster, producer })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// How the daemon connects. A mock broker holds a group's first member back for 3 s, and a later one
    /// for about its session's timeout, which has to be longer than that.
    pub(crate) fn connection(&self) -> postrider_kafka::Config {
        let tuned = [
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "300"),
            ("fetch.wait.max.ms", "10"),
            ("statistics.interval.ms", "1000"),
        ];
        let property = |(name, value): (&str, &str)| (name.to_owned(), Property(value.to_owned()));
        postrider_kafka::Config {
            brokers: self.address(),
            properties: tuned.into_iter().map(property).collect(),
        }
    }

    pub(crate) fn create_topics(&self, config: &Config) -> anyhow::Result<()> {
        for topic in topics(config) {
            self.cluster
                .create_topic(&topic, 1, 1)
                .with_context(|| format!("topic {topic}"))?;
        }
        Ok(())
    }

    /// What asking the cluster would have told; a mock broker does not answer such questions.
    pub(crate) fn survey(&self, config: &Config) -> Survey {
        let partitions = topics(config).into_iter().map(|topic| (topic, 1)).collect();
        Survey {
            limits: Limits::DEFAULT,
            partitions,
            missing: Vec::new(),
            missing_sources: Vec::new(),
            hidden: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Writes an event as upstream would.
    pub(crate) fn produce(&self, sample: &Sample) -> anyhow::Result<()> {
        let event_type = Header {
            key: "event-type",
            value: Some(sample.event_type.as_str()),
        };
        let record = BaseRecord::to(sample.topic)
            .key(&sample.order)
            .payload(&sample.body)
            .headers(OwnedHeaders::new().insert(event_type));
        self.producer.send(record).map_err(|(error, _)| error)?;
        Ok(self.producer.flush(FLUSH)?)
    }

    /// Reads the results topic as an analyst would, until stopped. The future ends when reading has.
    pub(crate) fn read_outcomes(
        &self,
        topic: &str,
        outcomes: mpsc::Sender<Outcome>,
        stop: CancellationToken,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("group.id", "demo-analyst")
            .set("fetch.wait.max.ms", "10")
            .create()?;
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(topic, 0, Offset::Beginning)?;
        consumer.assign(&all)?;
        thread::run("demo-analyst", move || {
            while !stop.is_cancelled() {
                let Some(Ok(message)) = consumer.poll(POLL) else {
                    continue;
                };
                let parsed = message.payload().map(serde_json::from_slice);
                if let Some(Ok(outcome)) = parsed
                    && outcomes.blocking_send(outcome).is_err()
                {
                    return;
                }
            }
        })
    }
}

fn topics(config: &Config) -> Vec<String> {
    let layout = config.layout();
    let results = &config.results;
    let mut topics = layout.sources.clone();
    let written = [
        &results.topic,
        &results.dead_letters,
        &results.notices,
        &results.replays,
        &results.pending,
        &config.routing.webhooks_topic,
    ];
    topics.extend(written.map(Clone::clone));
    topics.extend(layout.retry_topics().into_iter().map(|(name, _)| name));
    topics
}
