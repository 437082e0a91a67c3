//! What each command needs, and what for.

use super::{Operation, Resource, Right};
use crate::publisher::Partitions;
use crate::topics::Layout;

/// Operations that are given together, and why they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// On what.
    pub resources: Vec<Resource>,
    /// What.
    pub operations: Vec<Operation>,
    /// What for.
    pub reason: &'static str,
}

/// Everything that decides which rights are needed.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The topics.
    pub layout: Layout,
    /// `consumer.group_id`
    pub group: String,
    /// Whether outcomes commit in transactions.
    pub transactions: bool,
    /// Whether the results are read back, for `admin.logs`.
    pub reads_results: bool,
}

impl Needs {
    /// What the daemon needs.
    #[must_use]
    pub fn to_run(&self) -> Vec<Grant> {
        use Operation::{Delete, DescribeConfigs, Read, Write};
        let names = &self.layout.results;
        let topics = |names: &[&String]| names.iter().map(|name| Resource::Topic((*name).clone())).collect();
        let grant = |resources, operations: &[Operation], reason| Grant {
            resources,
            operations: operations.to_vec(),
            reason,
        };
        let sources: Vec<&String> = self.layout.sources.iter().collect();
        let retry = vec![Resource::TopicsFrom(names.retry_prefix.clone())];
        let results: &[Operation] = if self.reads_results {
            &[Read, Write, DescribeConfigs]
        } else {
            &[Write, DescribeConfigs]
        };
        let ids = Resource::TransactionalIdsFrom(format!("{}.", self.group));
        let mut grants = vec![
            grant(topics(&sources), &[Read], "events are read"),
            grant(
                retry,
                &[Read, Write, Delete, DescribeConfigs],
                "deliveries wait here; what is settled is deleted",
            ),
            grant(
                topics(&[&names.topic]),
                results,
                "outcomes are written, as large as the topic takes them",
            ),
            grant(
                topics(&[&names.dead_letters]),
                &[Write, DescribeConfigs],
                "dead letters are written, as large as the topic takes them",
            ),
            grant(topics(&[&names.notices]), &[Write], "notices are written"),
            grant(
                topics(&[&self.layout.webhooks, &names.pending]),
                &[Read, Write],
                "tables that every instance reads, and writes its changes to",
            ),
            grant(
                vec![Resource::Group(self.group.clone())],
                &[Read],
                "instances share the work, and commit offsets",
            ),
        ];
        let transactions = grant(
            vec![ids],
            &[Write],
            "each instance's transactions, and those that change webhooks",
        );
        grants.extend(self.transactions.then_some(transactions));
        grants
    }

    /// What replays and explanations need on top of [`to_run`](Self::to_run): they look back at what was published.
    #[must_use]
    pub fn to_replay(&self) -> Vec<Grant> {
        let names = &self.layout.results;
        let grant = |resources, operations: &[Operation], reason| Grant {
            resources,
            operations: operations.to_vec(),
            reason,
        };
        let looked_at = [&names.topic, &names.dead_letters].map(|name| Resource::Topic(name.clone()));
        vec![
            grant(
                looked_at.to_vec(),
                &[Operation::Read],
                "what became of deliveries is looked at again",
            ),
            grant(
                vec![Resource::Topic(names.replays.clone())],
                &[Operation::Read, Operation::Write],
                "replays and how far they have come",
            ),
            grant(
                vec![Resource::Group(format!("{}.replays", self.group))],
                &[Operation::Read],
                "one instance at a time runs the replays",
            ),
        ]
    }

    /// What `postrider topics create` needs.
    #[must_use]
    pub fn to_create(&self) -> Vec<Grant> {
        let mut grants = self.own_topics(&[Operation::Create], "the topics are made");
        grants.push(self.seen_sources("how large an event may be decides how large a dead letter may be"));
        grants
    }

    /// What `postrider topics check` needs.
    #[must_use]
    pub fn to_check(&self) -> Vec<Grant> {
        let seen = &[Operation::Describe, Operation::DescribeConfigs];
        let mut grants = self.own_topics(seen, "the topics are compared with what is needed");
        grants.push(self.seen_sources("how large an event may be decides how large a dead letter may be"));
        grants
    }

    fn own_topics(&self, operations: &[Operation], reason: &'static str) -> Vec<Grant> {
        let names = &self.layout.results;
        let named = [
            &self.layout.webhooks,
            &names.topic,
            &names.pending,
            &names.replays,
            &names.dead_letters,
            &names.notices,
        ];
        let topics = named.map(|name| Resource::Topic(name.clone()));
        let retry = vec![Resource::TopicsFrom(names.retry_prefix.clone())];
        [topics.to_vec(), retry]
            .map(|resources| Grant {
                resources,
                operations: operations.to_vec(),
                reason,
            })
            .to_vec()
    }

    fn seen_sources(&self, reason: &'static str) -> Grant {
        Grant {
            resources: self.layout.sources.iter().cloned().map(Resource::Topic).collect(),
            operations: vec![Operation::Describe, Operation::DescribeConfigs],
            reason,
        }
    }

    /// The topics on which the daemon needs an operation, among those that `exist`.
    #[must_use]
    pub fn topics(&self, operation: Operation, exist: &Partitions) -> Vec<String> {
        let retired = self.layout.retired(exist.keys());
        let retry: Vec<String> = self
            .layout
            .retry_topics()
            .into_iter()
            .chain(retired)
            .map(|(name, _)| name)
            .collect();
        let mut topics = Vec::new();
        for grant in self
            .to_run()
            .iter()
            .filter(|grant| grant.operations.contains(&operation))
        {
            for resource in &grant.resources {
                match resource {
                    Resource::Topic(name) => topics.push(name.clone()),
                    Resource::TopicsFrom(_) => topics.extend(retry.iter().cloned()),
                    _ => {}
                }
            }
        }
        topics.retain(|topic| exist.contains_key(topic));
        topics
    }

    /// What the daemon needs on one topic.
    #[must_use]
    pub fn on(&self, topic: &str) -> Vec<Right> {
        let about = |resource: &Resource| match resource {
            Resource::Topic(name) => name == topic,
            Resource::TopicsFrom(prefix) => topic.starts_with(&**prefix),
            _ => false,
        };
        let grants = self.to_run();
        let its = grants.iter().filter(|grant| grant.resources.iter().any(about));
        its.flat_map(|grant| &grant.operations)
            .map(|operation| Right::on_topic(*operation, topic))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{ResultsConfig, TopicsConfig};
    use crate::rights::commands;

    fn needs() -> Needs {
        Needs {
            layout: Layout {
                results: ResultsConfig::default(),
                topics: TopicsConfig::default(),
                webhooks: "postrider.webhooks".to_owned(),
                sources: vec!["shipments".to_owned(), "tracking".to_owned()],
                delays: vec![Duration::from_secs(5), Duration::from_secs(20)],
            },
            group: "postrider".to_owned(),
            transactions: true,
            reads_results: false,
        }
    }

    fn shown(grants: &[Grant]) -> Vec<String> {
        let lines = commands(grants, "User:p", "k:9092").into_iter();
        let start = "kafka-acls.sh --bootstrap-server k:9092 --add --allow-principal User:p ";
        lines
            .filter_map(|line| Some(line.strip_prefix(start)?.to_owned()))
            .collect()
    }

    #[test]
    fn the_daemon_is_given_what_it_does_and_nothing_else() {
        assert_eq!(
            shown(&needs().to_run()),
            [
                "--operation Read --topic shipments --topic tracking",
                "--operation Read --operation Write --operation Delete --operation DescribeConfigs \
                 --resource-pattern-type prefixed --topic postrider.retry.",
                "--operation Write --operation DescribeConfigs --topic postrider.results",
                "--operation Write --operation DescribeConfigs --topic postrider.dead-letters",
                "--operation Write --topic postrider.notices",
                "--operation Read --operation Write --topic postrider.webhooks --topic postrider.pending",
                "--operation Read --group postrider",
                "--operation Write --resource-pattern-type prefixed --transactional-id postrider.",
            ]
        );
    }

    #[test]
    fn the_results_are_read_for_the_logs_alone_and_ids_are_needed_for_transactions_alone() {
        let logs = Needs {
            reads_results: true,
            ..needs()
        };
        let with_logs = shown(&logs.to_run());
        assert!(with_logs.contains(
            &"--operation Read --operation Write --operation DescribeConfigs --topic postrider.results".to_owned()
        ));
        let plain = Needs {
            transactions: false,
            ..needs()
        };
        assert!(!shown(&plain.to_run()).join(" ").contains("--transactional-id"));
    }

    #[test]
    fn no_right_of_the_daemon_changes_a_source() {
        let needs = needs();
        for source in &needs.layout.sources {
            let rights = needs.on(source);
            assert_eq!(rights, [Right::on_topic(Operation::Read, source.as_str())]);
        }
    }

    #[test]
    fn making_and_checking_topics_are_rights_of_their_own() {
        let create = shown(&needs().to_create());
        assert_eq!(
            create[1],
            "--operation Create --resource-pattern-type prefixed --topic postrider.retry."
        );
        assert_eq!(
            create[2],
            "--operation Describe --operation DescribeConfigs --topic shipments --topic tracking"
        );
        assert!(create[0].contains("--topic postrider.replays"), "{create:?}");
        let check = shown(&needs().to_check());
        assert!(check[0].starts_with("--operation Describe --operation DescribeConfigs --topic postrider.webhooks"));
        assert!(!check.join(" ").contains("Create"), "{check:?}");
    }

    #[test]
    fn a_topic_whose_delay_left_the_schedule_is_needed_too_and_one_that_is_not_there_is_not() {
        let exist = [
            "postrider.retry.5s",
            "postrider.retry.80s",
            "postrider.retry.x",
            "tracking",
            "other",
        ];
        let exist = exist.into_iter().map(|name| (name.to_owned(), 1)).collect();
        let mut read = needs().topics(Operation::Read, &exist);
        read.sort();
        assert_eq!(read, ["postrider.retry.5s", "postrider.retry.80s", "tracking"]);
    }
}
