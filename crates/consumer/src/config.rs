//! The `consumer` section of the configuration.

use std::time::Duration;

use postrider_kafka::config::is_topic_name;
use postrider_types::units::{ByteSize, duration};
use postrider_types::{EventType, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One source topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The topic.
    pub topic: String,
    /// The type of records that name none.
    pub event: EventType,
}

/// Where a group without commits starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest record Kafka still has.
    #[default]
    Earliest,
    /// With the records that come after the first start.
    Latest,
}

/// What results promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Outcomes and offsets commit in one transaction.
    #[default]
    ExactlyOnce,
    /// For brokers without transactions: an outcome may be published twice after a crash.
    AtLeastOnce,
}

/// How source topics are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The consumer group; also the first part of the transactional id.
    pub group_id: String,
    /// The source topics.
    pub sources: Vec<Source>,
    /// Where a group without commits starts.
    pub start: Start,
    /// What results promise.
    pub guarantee: Guarantee,
    /// How often outcomes and offsets commit; sooner when a batch is full, later when commits are slow.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    pub commit_interval: Duration,
    /// Bytes of unsettled records above which partitions pause; below 4 times `max_event_bytes` a few large events
    /// reach that.
    pub max_held_bytes: ByteSize,
    /// The largest value that is taken as an event.
    pub max_event_bytes: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        let source = |topic: &str, event| Source {
            topic: topic.to_owned(),
            event,
        };
        Self {
            group_id: "postrider".to_owned(),
            sources: vec![
                source("shipments", EventType::OrderShipped),
                source("tracking", EventType::TrackingUpdate),
            ],
            start: Start::Earliest,
            guarantee: Guarantee::ExactlyOnce,
            commit_interval: Duration::from_millis(100),
            max_held_bytes: ByteSize(256 << 20),
            max_event_bytes: ByteSize(256 << 10),
        }
    }
}

impl Config {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = self.source_faults();
        let mut require = |holds: bool, path: &str, reason: &str| {
            if !holds {
                faults.push(Fault::new(path, reason));
            }
        };
        let interval = Duration::from_millis(1)..=Duration::from_secs(10);
        require(
            !self.group_id.trim().is_empty() && self.group_id.len() <= 200,
            "group_id",
            "must be 1 to 200 characters",
        );
        require(
            !self.sources.is_empty(),
            "sources",
            "is empty; name at least one topic to read",
        );
        require(
            interval.contains(&self.commit_interval),
            "commit_interval",
            "must be 1ms to 10s",
        );
        require(
            (1..=8 << 20).contains(&self.max_event_bytes.0),
            "max_event_bytes",
            "must be 1B to 8MiB",
        );
        require(
            self.max_held_bytes.0 >= self.max_event_bytes.0.max(1),
            "max_held_bytes",
            "must not be below max_event_bytes, or there is no room for the largest event; lower that too, and what is \
             larger is a dead letter",
        );
        faults
    }

    fn source_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (at, source) in self.sources.iter().enumerate() {
            let path = format!("sources[{at}].topic");
            if !is_topic_name(&source.topic) {
                faults.push(Fault::new(path, "is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"));
            } else if self.sources[..at].iter().any(|earlier| earlier.topic == source.topic) {
                faults.push(Fault::new(path, "is named twice"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_without_fault() {
        assert_eq!(Config::default().faults(), []);
    }

    #[test]
    fn the_room_for_records_can_be_lowered_to_one_event() {
        let holding = |bytes| Config {
            max_held_bytes: ByteSize(bytes),
            ..Config::default()
        };
        assert_eq!(holding(256 << 10).faults(), []);
        assert_eq!(holding((256 << 10) - 1).faults().len(), 1);
    }

    #[test]
    fn every_fault_is_named() {
        let source = |topic: &str| Source {
            topic: topic.to_owned(),
            event: EventType::OrderError,
        };
        let config = Config {
            group_id: String::new(),
            sources: vec![source("a"), source("a"), source("a/b")],
            commit_interval: Duration::ZERO,
            max_held_bytes: ByteSize(1),
            ..Config::default()
        };
        let paths: Vec<String> = config.faults().into_iter().map(|fault| fault.path).collect();
        assert_eq!(
            paths,
            [
                "sources[1].topic",
                "sources[2].topic",
                "group_id",
                "commit_interval",
                "max_held_bytes"
            ]
        );
    }
}
