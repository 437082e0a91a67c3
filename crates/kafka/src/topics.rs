//! The topics postrider needs: a pure plan, and the cluster held against it.

mod plan;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use tokio::time::Instant;

use crate::connection::{Reachability, is_refusal, log_line};
use crate::encode::Limits;
use crate::publisher::Partitions;
use crate::rights::{Operation, Right, list};

use plan::Settings;
pub use plan::{DEFAULT_MAX_RECORD, Layout, TopicPlan};

const CALL: Duration = Duration::from_secs(10);
/// How long it may take until every broker knows of a topic that was just made.
const SPREAD: Duration = Duration::from_secs(2);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// More events than a client has when it could not connect.
const EVENTS: usize = 100;

/// Looking at the cluster, or making topics, failed.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No broker answered.
    #[error(
        "Kafka cannot be reached at {brokers}; check kafka.brokers, security.protocol, and that a broker is running"
    )]
    Unreachable {
        /// `kafka.brokers`
        brokers: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// The settings are no client's.
    #[error("kafka.properties are refused by librdkafka; check the files that they name")]
    Client(#[source] KafkaError),
    /// A broker answered, and did not let us in.
    #[error("Kafka at {brokers} does not let postrider in: {reason}; check kafka.properties")]
    Unwelcome {
        /// `kafka.brokers`
        brokers: String,
        /// What librdkafka says.
        reason: String,
    },
    /// Rights are missing.
    #[error(
        "Kafka does not allow {}; `postrider topics acls --for create` (or check) prints all that has to be allowed",
        list(.0)
    )]
    Denied(Vec<Right>),
    /// A broker refused.
    #[error("Kafka refuses to {what}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its answer.
        #[source]
        source: KafkaError,
    },
}

impl TopicsError {
    /// What happened and why, once: librdkafka's errors repeat themselves as their own cause.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Unreachable { source, .. } | Self::Refused { source, .. } | Self::Client(source) => {
                format!("{self}: {source}")
            }
            Self::Unwelcome { .. } | Self::Denied(_) => self.to_string(),
        }
    }
}

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    Created(String),
    /// It was there.
    Existed(String),
}

/// Keeps why a broker does not let us in.
struct Told(Reachability);

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Which side speaks TLS, and which does not, is told in a line of the log alone.
        if facility == "FAIL" && message.contains("SSL") {
            self.0.refused(message);
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if is_refusal(&error, reason) {
            self.0.refused(reason);
        }
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
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

    /// Makes the topics that are missing. `sources` are made too when `with_sources` is set, with one
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

    /// What the daemon has to know before it publishes: the topics' limits and partitions.
    ///
    /// # Errors
    /// [`TopicsError`] when Kafka is away, refuses, or a topic that is written to does not exist.
    pub async fn survey(&self, layout: &Layout) -> Result<Survey, TopicsError> {
        let cluster = self.cluster()?;
        let partitions = partition_counts(&cluster);
        let retry: Vec<String> = layout.retry_topics().into_iter().map(|(name, _)| name).collect();
        let names = &layout.results;
        let mut written = vec![
            names.topic.clone(),
            names.dead_letters.clone(),
            names.pending.clone(),
            names.notices.clone(),
        ];
        written.push(layout.webhooks.clone());
        written.extend(retry.iter().cloned());
        let absent = |names: &[String]| -> Vec<String> {
            let absent = names.iter().filter(|name| !partitions.contains_key(*name));
            absent.cloned().collect()
        };
        let (mut missing, mut sources) = (absent(&written), absent(&layout.sources));
        let hidden = self.hidden(missing.iter().chain(&sources))?;
        missing.retain(|name| !hidden.contains(name));
        sources.retain(|name| !hidden.contains(name));
        let limited = [&names.topic, &names.dead_letters].into_iter().chain(&retry);
        let limited: Vec<&str> = limited
            .filter(|name| partitions.contains_key(*name))
            .map(|name| &**name)
            .collect();
        let (configs, closed) = self.describe_allowed(&limited).await?;
        let limit = |name: &str| configs.get(name).map_or(DEFAULT_MAX_RECORD, max_record);
        let limits = Limits {
            results: usize::try_from(limit(&layout.results.topic)).unwrap_or(usize::MAX),
            dead_letters: usize::try_from(limit(&layout.results.dead_letters)).unwrap_or(usize::MAX),
            retry: retry
                .iter()
                .map(|name| limit(name))
                .min()
                .map_or(usize::MAX, |min| usize::try_from(min).unwrap_or(usize::MAX)),
        };
        Ok(Survey {
            limits,
            partitions,
            missing,
            missing_sources: sources,
            hidden,
            closed,
        })
    }

    fn cluster(&self) -> Result<Metadata, TopicsError> {
        self.metadata(None)
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, TopicsError> {
        let asked = self.scout.client().fetch_metadata(topic, self.patience);
        asked.map_err(|source| self.unconnected(source))
    }

    fn unconnected(&self, source: KafkaError) -> TopicsError {
        for _ in 0..EVENTS {
            self.scout.poll(Duration::ZERO);
        }
        let brokers = self.brokers.clone();
        match self.scout.context().0.refusal() {
            Some(reason) => TopicsError::Unwelcome { brokers, reason },
            None => TopicsError::Unreachable { brokers, source },
        }
    }

    /// The topics of these that are not to be seen, whether they are there or not.
    fn hidden<'a>(&self, absent: impl Iterator<Item = &'a String>) -> Result<Vec<String>, TopicsError> {
        let mut hidden = Vec::new();
        for name in absent {
            let metadata = self.metadata(Some(name))?;
            let errors = metadata.topics().iter().filter_map(|topic| topic.error());
            if errors.map(RDKafkaErrorCode::from).any(is_denied) {
                hidden.push(name.clone());
            }
        }
        Ok(hidden)
    }

    async fn source_max(&self, layout: &Layout, cluster: &Metadata) -> Result<u64, TopicsError> {
        let partitions = partition_counts(cluster);
        let present: Vec<&str> = layout
            .sources
            .iter()
            .filter(|name| partitions.contains_key(*name))
            .map(|name| &**name)
            .collect();
        let configs = self.describe(&present).await?;
        Ok(configs.values().map(max_record).max().unwrap_or(DEFAULT_MAX_RECORD))
    }

    async fn describe(&self, names: &[&str]) -> Result<Described, TopicsError> {
        let (described, closed) = self.describe_allowed(names).await?;
        if closed.is_empty() {
            return Ok(described);
        }
        Err(TopicsError::Denied(closed))
    }

    /// What may be seen, and the rights that are missing for the rest.
    ///
    /// The client drops a topic's own error and tells of no settings instead. Either they may not be seen, or the broker
    /// that was asked does not know yet of a topic that was just made: so that is asked again for a moment.
    async fn describe_allowed(&self, names: &[&str]) -> Result<(Described, Vec<Right>), TopicsError> {
        let (mut described, mut blank) = (Described::new(), names.to_vec());
        let deadline = Instant::now() + SPREAD;
        while !blank.is_empty() {
            let answered = self.describe_once(&blank).await?;
            blank.retain(|name| !answered.contains_key(*name));
            described.extend(answered);
            if blank.is_empty() || Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        let closed = blank
            .iter()
            .map(|name| Right::on_topic(Operation::DescribeConfigs, *name));
        Ok((described, closed.collect()))
    }

    /// The topics' settings, where there are any in the answer.
    async fn describe_once(&self, names: &[&str]) -> Result<Described, TopicsError> {
        let refused = |source| TopicsError::Refused {
            what: "describe topics".to_owned(),
            source,
        };
        let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let asked = self.admin.describe_configs(&resources, &options()).await;
        let mut described = Described::new();
        for (name, answer) in names.iter().zip(asked.map_err(refused)?) {
            let resource = answer.map_err(|code| refused(KafkaError::AdminOp(code)))?;
            if !resource.entries.is_empty() {
                described.insert((*name).to_owned(), entries(resource));
            }
        }
        Ok(described)
    }
}

/// The configuration of topics, by their names.
type Described = HashMap<String, BTreeMap<String, String>>;

fn is_denied(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed
    )
}

/// What the daemon learned of the cluster before it began.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What each topic takes.
    pub limits: Limits,
    /// Partitions of every topic of the cluster.
    pub partitions: Partitions,
    /// Topics postrider writes to that do not exist.
    pub missing: Vec<String>,
    /// Source topics that do not exist.
    pub missing_sources: Vec<String>,
    /// Topics that may not be seen.
    pub hidden: Vec<String>,
    /// Rights that are missing to see how topics are configured.
    pub closed: Vec<Right>,
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL))
        .operation_timeout(Some(CALL))
}

fn replication(layout: &Layout, cluster: &Metadata) -> i32 {
    let brokers = i32::try_from(cluster.brokers().len()).unwrap_or(i32::MAX);
    layout.topics.replication.unwrap_or_else(|| brokers.clamp(1, 3))
}

fn partition_counts(cluster: &Metadata) -> Partitions {
    let count = |partitions: usize| i32::try_from(partitions).unwrap_or(i32::MAX);
    let existing = cluster
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none() && !topic.partitions().is_empty());
    existing
        .map(|topic| (topic.name().to_owned(), count(topic.partitions().len())))
        .collect()
}

fn entries(resource: ConfigResource) -> BTreeMap<String, String> {
    resource
        .entries
        .into_iter()
        .filter_map(|entry| Some((entry.name, entry.value?)))
        .collect()
}

fn max_record(found: &BTreeMap<String, String>) -> u64 {
    found
        .get("max.message.bytes")
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_MAX_RECORD)
}
