//! Which topics postrider needs, and how each has to be. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_types::retry_record;

use crate::config::{ResultsConfig, TopicsConfig};
use crate::encode::retry_topic;

/// What Kafka takes in one record unless a topic says otherwise.
pub const DEFAULT_MAX_RECORD: u64 = 1_048_588;
/// How much more than a source's record its dead letter may take.
const DEAD_LETTER_ROOM: u64 = 64 * 1024;
const DAY: Duration = Duration::from_secs(86_400);

/// What a topic's retention has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    AtLeast(Duration),
    Forever,
    Compacted,
}

/// A topic's configuration, by Kafka's names.
pub(super) type Settings = Vec<(&'static str, String)>;

/// One topic as postrider needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    pub(super) partitions: i32,
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
        let replays = TopicPlan {
            exactly: true,
            ..plan(&names.replays, 1, Keep::Compacted)
        };
        let dead_letters = TopicPlan {
            max_record: source_max + DEAD_LETTER_ROOM,
            ..plan(&names.dead_letters, 1, Keep::AtLeast(30 * DAY))
        };
        let mut plans = vec![
            webhooks,
            plan(&names.topic, self.topics.results_partitions, Keep::AtLeast(7 * DAY)),
            plan(&names.pending, 1, Keep::Compacted),
            replays,
            dead_letters,
            plan(&names.notices, 1, Keep::AtLeast(30 * DAY)),
        ];
        plans.extend(self.retry_topics().into_iter().map(|(name, _)| TopicPlan {
            max_record: source_max + retry_record::ROOM as u64,
            append_time: true,
            ..plan(&name, self.topics.retry_partitions, Keep::Forever)
        }));
        plans
    }
}

impl TopicPlan {
    pub(super) fn settings(&self, replication: i32) -> Settings {
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
    pub(super) fn differences(
        &self,
        partitions: i32,
        replication: i32,
        found: &BTreeMap<String, String>,
    ) -> Vec<String> {
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
