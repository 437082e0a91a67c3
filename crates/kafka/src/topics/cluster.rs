//! What the cluster is asked: which topics there are, how they are configured, and what of that may not be seen.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext};
use tokio::time::Instant;

use super::plan::{DEFAULT_MAX_RECORD, Layout};
use super::{Made, Topics, TopicsError};
use crate::connection::{Reachability, is_refusal, log_line};
use crate::publisher::Partitions;
use crate::rights::{Operation, Right};

const CALL: Duration = Duration::from_secs(10);
/// How long it may take until every broker knows of a topic that was just made.
const SPREAD: Duration = Duration::from_secs(2);
/// How long topics that were just made are waited for.
const SEEN: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// More events than a client has when it could not connect.
const EVENTS: usize = 100;

/// The configuration of topics, by their names.
type Described = HashMap<String, BTreeMap<String, String>>;

/// Keeps why a broker does not let us in.
pub(super) struct Told(pub(super) Reachability);

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

impl Topics {
    pub(super) fn cluster(&self) -> Result<Metadata, TopicsError> {
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

    /// Waits until a broker tells of the topics that were made; at most for a moment, because who may make a topic need
    /// not be allowed to see it.
    pub(super) async fn await_seen(&self, made: &[Made]) -> Result<(), TopicsError> {
        let created = made.iter().filter_map(|made| match made {
            Made::Created(name) => Some(name),
            Made::Existed(_) => None,
        });
        let mut unseen: Vec<&String> = created.collect();
        let deadline = Instant::now() + SEEN;
        while !unseen.is_empty() && Instant::now() < deadline {
            let seen = partition_counts(&self.cluster()?);
            unseen.retain(|name| !seen.contains_key(*name));
            if !unseen.is_empty() {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// The topics of these that are not to be seen, whether they are there or not.
    pub(super) fn hidden<'a>(&self, absent: impl Iterator<Item = &'a String>) -> Result<Vec<String>, TopicsError> {
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

    pub(super) async fn source_max(&self, layout: &Layout, cluster: &Metadata) -> Result<u64, TopicsError> {
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

    pub(super) async fn describe(&self, names: &[&str]) -> Result<Described, TopicsError> {
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
    pub(super) async fn describe_allowed(&self, names: &[&str]) -> Result<(Described, Vec<Right>), TopicsError> {
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

pub(super) fn is_denied(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed
    )
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL))
        .operation_timeout(Some(CALL))
}

pub(super) fn partition_counts(cluster: &Metadata) -> Partitions {
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

pub(super) fn max_record(found: &BTreeMap<String, String>) -> u64 {
    found
        .get("max.message.bytes")
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_MAX_RECORD)
}
