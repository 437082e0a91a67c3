//! The topics postrider needs: a pure plan, and the cluster held against it.

mod cluster;
mod error;
mod plan;
mod survey;

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::BaseProducer;

use self::cluster::{Told, is_denied, options, partition_counts};
pub use self::error::TopicsError;
use self::plan::Settings;
pub use self::plan::{DEFAULT_MAX_RECORD, Layout, TopicPlan};
pub use self::survey::Survey;
use crate::connection::Reachability;
use crate::rights::{Operation, Right};

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    Created(String),
    /// It was there.
    Existed(String),
}

/// Looks at a cluster, and makes topics in it.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
    /// Asks for what is there: an admin client does not tell why it cannot connect.
    scout: BaseProducer<Told>,
    brokers: String,
    patience: Duration,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics")
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

impl Topics {
    /// Makes the client; connects when first asked, and waits at most `patience` for a broker.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(config: &ClientConfig, brokers: &str, patience: Duration) -> Result<Self, TopicsError> {
        let scout = config.create_with_context(Told(Reachability::default()));
        Ok(Self {
            admin: config.create().map_err(TopicsError::Client)?,
            scout: scout.map_err(TopicsError::Client)?,
            brokers: brokers.to_owned(),
            patience,
        })
    }

    /// Makes the topics that are missing, and waits until they are seen. `sources` are made too when `with_sources` is set, with one
    /// partition, for trying out.
    ///
    /// # Errors
    /// [`TopicsError`] when Kafka is away or refuses.
    pub async fn create(&self, layout: &Layout, with_sources: bool) -> Result<Vec<Made>, TopicsError> {
        let cluster = self.cluster()?;
        let replication = replication(layout, &cluster);
        let source_max = self.source_max(layout, &cluster).await?;
        let mut wanted: Vec<(String, i32, Settings)> = Vec::new();
        if with_sources {
            wanted.extend(layout.sources.iter().map(|name| (name.clone(), 1, Vec::new())));
        }
        let plans = layout.plans(source_max);
        wanted.extend(
            plans
                .into_iter()
                .map(|plan| (plan.name.clone(), plan.partitions, plan.settings(replication))),
        );
        let mut made = Vec::new();
        for (name, partitions, settings) in wanted {
            let created = self.create_one(&name, partitions, replication, &settings).await?;
            made.push(if created {
                Made::Created(name)
            } else {
                Made::Existed(name)
            });
        }
        self.await_seen(&made).await?;
        Ok(made)
    }

    async fn create_one(
        &self,
        name: &str,
        partitions: i32,
        replication: i32,
        settings: &[(&'static str, String)],
    ) -> Result<bool, TopicsError> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let refused = |source| TopicsError::Refused {
            what: format!("create topic {name}"),
            source,
        };
        let answers = self.admin.create_topics([&topic], &options()).await.map_err(refused)?;
        match answers.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) if is_denied(code) => {
                Err(TopicsError::Denied(vec![Right::on_topic(Operation::Create, name)]))
            }
            Some(Err((_, code))) => Err(refused(KafkaError::AdminOp(code))),
            _ => Ok(true),
        }
    }

    /// The retry topics in the cluster whose delay the schedule no longer has, with that delay: they are
    /// read until they are empty.
    ///
    /// # Errors
    /// [`TopicsError`] when Kafka is away.
    pub fn retired(&self, layout: &Layout) -> Result<Vec<(String, Duration)>, TopicsError> {
        Ok(layout.retired(partition_counts(&self.cluster()?).keys()))
    }

    /// Every way in which the cluster differs from what is needed; empty when it fits.
    ///
    /// # Errors
    /// [`TopicsError`] when Kafka is away or refuses.
    pub async fn check(&self, layout: &Layout) -> Result<Vec<String>, TopicsError> {
        let cluster = self.cluster()?;
        let partitions = partition_counts(&cluster);
        let plans = layout.plans(self.source_max(layout, &cluster).await?);
        let missing = |name: &&String| !partitions.contains_key(*name);
        let absent = layout
            .sources
            .iter()
            .chain(plans.iter().map(|plan| &plan.name))
            .filter(missing);
        let hidden = self.hidden(absent)?;
        if !hidden.is_empty() {
            let rights = hidden
                .into_iter()
                .map(|name| Right::on_topic(Operation::Describe, name));
            return Err(TopicsError::Denied(rights.collect()));
        }
        let sources = layout.sources.iter().filter(missing);
        let mut differences: Vec<String> = sources
            .map(|name| format!("topic {name} does not exist; it is a source, for upstream to create"))
            .collect();
        let replication = replication(layout, &cluster);
        let present: Vec<&str> = plans
            .iter()
            .map(|plan| &*plan.name)
            .filter(|name| partitions.contains_key(*name))
            .collect();
        let configs = self.describe(&present).await?;
        for plan in &plans {
            match (partitions.get(&plan.name), configs.get(&plan.name)) {
                (Some(count), Some(found)) => differences.extend(plan.differences(*count, replication, found)),
                _ => differences.push(format!(
                    "topic {} does not exist; run `postrider topics create`",
                    plan.name
                )),
            }
        }
        Ok(differences)
    }
}

fn replication(layout: &Layout, cluster: &Metadata) -> i32 {
    let brokers = i32::try_from(cluster.brokers().len()).unwrap_or(i32::MAX);
    layout.topics.replication.unwrap_or_else(|| brokers.clamp(1, 3))
}
