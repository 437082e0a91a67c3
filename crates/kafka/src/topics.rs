//! The topics postrider needs: a pure plan, and the cluster held against it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use crate::config::{ResultsConfig, TopicsConfig};
use crate::encode::{Limits, retry_topic};

const CALL: Duration = Duration::from_secs(10);

/// What Kafka takes in one record unless a topic says otherwise.
pub const DEFAULT_MAX_RECORD: u64 = 1_048_588;
/// How much more than a source's record its dead letter may take.
const DEAD_LETTER_ROOM: u64 = 64 * 1024;
/// How much more than a source's record its parked delivery may take.
const RETRY_ROOM: u64 = 16 * 1024;
const DAY: Duration = Duration::from_secs(86_400);

/// What a topic's retention has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    AtLeast(Duration),
    Forever,
    Compacted,
}

/// A topic's configuration, by Kafka's names.
type Settings = Vec<(&'static str, String)>;

/// One topic as postrider needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    partitions: i32,
    exactly: bool,
    keep: Keep,
    max_record: u64,
    append_time: bool,
}

/// Everything that decides which topics are needed.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Names.
    pub results: ResultsConfig,
    /// Partitions and replication.
    pub topics: TopicsConfig,
    /// `routing.webhooks_topic`
    pub webhooks: String,
    /// The source topics.
    pub sources: Vec<String>,
    /// The distinct delays of the retry schedule.
    pub delays: Vec<Duration>,
}

impl Layout {
    /// The retry topics' names with their delays.
    #[must_use]
    pub fn retry_topics(&self) -> Vec<(String, Duration)> {
        self.delays
            .iter()
            .map(|delay| (retry_topic(&self.results.retry_prefix, *delay), *delay))
            .collect()
    }

    /// The retry topics among `existing` whose delay the schedule no longer has, with that delay.
    #[must_use]
    pub fn retired<'a>(&self, existing: impl Iterator<Item = &'a String>) -> Vec<(String, Duration)> {
        let parked = |name: &String| {
            let delay = parse_delay(name.strip_prefix(&self.results.retry_prefix)?)?;
            (!self.delays.contains(&delay)).then(|| (name.clone(), delay))
        };
        let mut retired: Vec<(String, Duration)> = existing.filter_map(parked).collect();
        retired.sort();
        retired
    }

    /// The topics postrider owns, given the largest record of its sources.
    #[must_use]
    pub fn plans(&self, source_max: u64) -> Vec<TopicPlan> {
        let plan = |name: &str, partitions, keep| TopicPlan {
            name: name.to_owned(),
            partitions,
            exactly: false,
            keep,
            max_record: DEFAULT_MAX_RECORD,
            append_time: false,
        };
        let names = &self.results;
        let webhooks = TopicPlan {
            exactly: true,
            ..plan(&self.webhooks, 1, Keep::Compacted)
        };
        let dead_letters = TopicPlan {
            max_record: source_max + DEAD_LETTER_ROOM,
            ..plan(&names.dead_letters, 1, Keep::AtLeast(30 * DAY))
        };
        let mut plans = vec![
            webhooks,
            plan(&names.topic, self.topics.results_partitions, Keep::AtLeast(7 * DAY)),
            plan(&names.pending, 1, Keep::Compacted),
            plan(&names.replays, 1, Keep::Compacted),
            dead_letters,
            plan(&names.notices, 1, Keep::AtLeast(30 * DAY)),
        ];
        plans.extend(self.retry_topics().into_iter().map(|(name, _)| TopicPlan {
            max_record: source_max + RETRY_ROOM,
            append_time: true,
            ..plan(&name, self.topics.retry_partitions, Keep::Forever)
        }));
        plans
    }
}

impl TopicPlan {
    fn settings(&self, replication: i32) -> Settings {
        let min_insync = if replication >= 3 { 2 } else { 1 };
        let mut settings = vec![
            ("max.message.bytes", self.max_record.to_string()),
            ("min.insync.replicas", min_insync.to_string()),
        ];
        match self.keep {
            Keep::Compacted => settings.push(("cleanup.policy", "compact".to_owned())),
            Keep::AtLeast(time) => settings.extend(deleted_after(time.as_millis().to_string())),
            Keep::Forever => settings.extend(deleted_after("-1".to_owned())),
        }
        if self.append_time {
            settings.push(("message.timestamp.type", "LogAppendTime".to_owned()));
        }
        settings
    }

    /// Where a topic differs from what is needed.
    fn differences(&self, partitions: i32, replication: i32, found: &BTreeMap<String, String>) -> Vec<String> {
        let mut differences = Vec::new();
        let too_few = partitions < self.partitions;
        if too_few || (self.exactly && partitions != self.partitions) {
            let bound = if self.exactly { "" } else { "at least " };
            differences.push(format!("has {partitions} partitions, needs {bound}{}", self.partitions));
        }
        for (name, needed) in self.settings(replication) {
            let found = found.get(name).map_or("unset", String::as_str);
            if !suffices(name, found, &needed) {
                differences.push(format!("has {name}={found}, needs {needed}"));
            }
        }
        differences
            .into_iter()
            .map(|difference| format!("topic {} {difference}", self.name))
            .collect()
    }
}

/// The delay in a retry topic's name: `<n>s` or `<n>ms`.
fn parse_delay(text: &str) -> Option<Duration> {
    let number = |digits: &str| digits.parse::<u64>().ok();
    match text.strip_suffix("ms") {
        Some(digits) => number(digits).map(Duration::from_millis),
        None => number(text.strip_suffix('s')?).map(Duration::from_secs),
    }
}

fn deleted_after(millis: String) -> [(&'static str, String); 3] {
    [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", millis),
        ("retention.bytes", "-1".to_owned()),
    ]
}

/// More is enough for sizes, times and replicas; everything else has to be equal.
fn suffices(name: &str, found: &str, needed: &str) -> bool {
    let as_limit = |text: &str| text.parse::<i64>().ok().map(|n| if n < 0 { i64::MAX } else { n });
    match name {
        "max.message.bytes" | "min.insync.replicas" | "retention.ms" => as_limit(found) >= as_limit(needed),
        _ => found == needed,
    }
}

impl TopicsError {
    /// What happened and why, once: librdkafka's errors repeat themselves as their own cause.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (Self::Unreachable { source, .. } | Self::Refused { source, .. }) = self;
        format!("{self}: {source}")
    }
}

/// Looking at the cluster, or making topics, failed.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No broker answered.
    #[error("Kafka cannot be reached at {brokers}; check kafka.brokers and that a broker is running")]
    Unreachable {
        /// `kafka.brokers`
        brokers: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
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
        let refused = |source| TopicsError::Refused {
            what: "take kafka.properties".to_owned(),
            source,
        };
        Ok(Self {
            admin: config.create().map_err(refused)?,
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
        let missing = |name: &String| !partitions.contains_key(name);
        let sources = layout.sources.iter().filter(|name| missing(name));
        let mut differences: Vec<String> = sources
            .map(|name| format!("topic {name} does not exist; it is a source, for upstream to create"))
            .collect();
        let plans = layout.plans(self.source_max(layout, &cluster).await?);
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
        let missing: Vec<String> = written
            .iter()
            .filter(|name| !partitions.contains_key(*name))
            .cloned()
            .collect();
        let present: Vec<&str> = written
            .iter()
            .filter(|name| partitions.contains_key(*name))
            .map(|name| &**name)
            .collect();
        let configs = self.describe(&present).await?;
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
        let sources: Vec<String> = layout
            .sources
            .iter()
            .filter(|name| !partitions.contains_key(*name))
            .cloned()
            .collect();
        Ok(Survey {
            limits,
            partitions,
            missing,
            missing_sources: sources,
        })
    }

    fn cluster(&self) -> Result<Metadata, TopicsError> {
        let unreachable = |source| TopicsError::Unreachable {
            brokers: self.brokers.clone(),
            source,
        };
        self.admin
            .inner()
            .fetch_metadata(None, self.patience)
            .map_err(unreachable)
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

    async fn describe(&self, names: &[&str]) -> Result<HashMap<String, BTreeMap<String, String>>, TopicsError> {
        let refused = |source| TopicsError::Refused {
            what: "describe topics".to_owned(),
            source,
        };
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let answers = self
            .admin
            .describe_configs(&resources, &options())
            .await
            .map_err(refused)?;
        let mut described = HashMap::new();
        for (name, answer) in names.iter().zip(answers) {
            let resource = answer.map_err(|code| refused(KafkaError::AdminOp(code)))?;
            described.insert((*name).to_owned(), entries(resource));
        }
        Ok(described)
    }
}

/// What the daemon learned of the cluster before it began.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What each topic takes.
    pub limits: Limits,
    /// Partitions of every topic of the cluster.
    pub partitions: HashMap<String, i32>,
    /// Topics postrider writes to that do not exist.
    pub missing: Vec<String>,
    /// Source topics that do not exist.
    pub missing_sources: Vec<String>,
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

fn partition_counts(cluster: &Metadata) -> HashMap<String, i32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout {
            results: ResultsConfig::default(),
            topics: TopicsConfig::default(),
            webhooks: "postrider.webhooks".to_owned(),
            sources: vec!["shipments".to_owned()],
            delays: vec![Duration::from_millis(500), Duration::from_secs(5)],
        }
    }

    fn plan(name: &str) -> TopicPlan {
        layout()
            .plans(2_000_000)
            .into_iter()
            .find(|plan| plan.name == name)
            .unwrap()
    }

    #[test]
    fn each_delay_has_its_topic_that_time_does_not_clean() {
        let plan = plan("postrider.retry.500ms");
        let settings: BTreeMap<&str, String> = plan.settings(3).into_iter().collect();
        assert_eq!(settings["retention.ms"], "-1");
        assert_eq!(settings["message.timestamp.type"], "LogAppendTime");
        assert_eq!(settings["min.insync.replicas"], "2");
        assert_eq!(plan.partitions, 6);
        assert_eq!(plan.max_record, 2_000_000 + 16_384);
    }

    #[test]
    fn a_topic_whose_delay_left_the_schedule_is_recognised() {
        let existing = [
            "postrider.retry.5s",
            "postrider.retry.80s",
            "postrider.retry.1500ms",
            "postrider.retry.x",
            "other",
        ];
        let retired = layout().retired(existing.map(str::to_owned).iter());
        let named: Vec<&str> = retired.iter().map(|(name, _)| &**name).collect();
        assert_eq!(named, ["postrider.retry.1500ms", "postrider.retry.80s"]);
        assert_eq!(retired[0].1, Duration::from_millis(1_500));
    }

    #[test]
    fn every_difference_is_named_and_more_is_enough() {
        let plan = plan("postrider.results");
        let mut found: BTreeMap<String, String> = plan
            .settings(1)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        found.insert("retention.ms".to_owned(), "-1".to_owned());
        assert_eq!(plan.differences(24, 1, &found), [""; 0]);
        found.insert("cleanup.policy".to_owned(), "compact".to_owned());
        found.insert("retention.ms".to_owned(), "1000".to_owned());
        assert_eq!(
            plan.differences(1, 1, &found),
            [
                "topic postrider.results has 1 partitions, needs at least 12",
                "topic postrider.results has cleanup.policy=compact, needs delete",
                "topic postrider.results has retention.ms=1000, needs 604800000",
            ]
        );
    }

    #[test]
    fn dead_letters_take_more_than_their_sources() {
        assert_eq!(plan("postrider.dead-letters").max_record, 2_000_000 + 65_536);
    }
}
