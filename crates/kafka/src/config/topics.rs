//! The `topics` and `results` sections: how the topics are made, and their names.

use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How topics are created and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicsConfig {
    /// Null means the smaller of 3 and the number of brokers.
    pub replication: Option<i32>,
    /// Partitions of the results topic.
    pub results_partitions: i32,
    /// Partitions of each retry topic.
    pub retry_partitions: i32,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        Self {
            replication: None,
            results_partitions: 12,
            retry_partitions: 6,
        }
    }
}

impl TopicsConfig {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let within = |value: i32, path: &str, most: i32| {
            let fits = (1..=most).contains(&value);
            (!fits).then(|| Fault::new(path, format!("must be 1 to {most}")))
        };
        let replication = self.replication.and_then(|factor| within(factor, "replication", 100));
        let results = within(self.results_partitions, "results_partitions", 1_000);
        let retry = within(self.retry_partitions, "retry_partitions", 1_000);
        [replication, results, retry].into_iter().flatten().collect()
    }
}

/// The names of the topics postrider writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResultsConfig {
    /// Outcomes.
    pub topic: String,
    /// Dead letters.
    pub dead_letters: String,
    /// Operational events.
    pub notices: String,
    /// What the names of the retry topics begin with; the delay follows.
    pub retry_prefix: String,
    /// Parked deliveries per webhook.
    pub pending: String,
    /// Replays and their progress.
    pub replays: String,
}

impl Default for ResultsConfig {
    fn default() -> Self {
        Self {
            topic: "postrider.results".to_owned(),
            dead_letters: "postrider.dead-letters".to_owned(),
            notices: "postrider.notices".to_owned(),
            retry_prefix: "postrider.retry.".to_owned(),
            pending: "postrider.pending".to_owned(),
            replays: "postrider.replays".to_owned(),
        }
    }
}

/// Whether Kafka takes a text as a topic's name.
#[must_use]
pub fn is_topic_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(allowed)
}

impl ResultsConfig {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let named = [
            ("topic", &self.topic),
            ("dead_letters", &self.dead_letters),
            ("notices", &self.notices),
            ("retry_prefix", &self.retry_prefix),
            ("pending", &self.pending),
            ("replays", &self.replays),
        ];
        let mut faults = Vec::new();
        for (at, (path, name)) in named.iter().enumerate() {
            if !is_topic_name(name) {
                faults.push(Fault::new(*path, "is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"));
            } else if let Some((other, _)) = named[..at].iter().find(|(_, earlier)| earlier == name) {
                faults.push(Fault::new(*path, format!("is the same topic as {other}")));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_topic_cannot_serve_two_purposes() {
        let results = ResultsConfig {
            notices: "postrider.results".to_owned(),
            pending: "a b".to_owned(),
            ..ResultsConfig::default()
        };
        assert_eq!(
            results.faults().iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "notices: is the same topic as topic",
                "pending: is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"
            ]
        );
    }
}
