//! What postrider has to be allowed in a Kafka with an authorizer: the least of it, and how it is given. Pure.
//!
//! In Kafka READ, WRITE and DELETE each include DESCRIBE, and WRITE on a topic is enough for an idempotent producer,
//! so neither is asked for.

mod commands;
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use self::commands::commands;
pub use self::needs::{Grant, Needs};

/// What an ACL allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Reading records; being a member of a group.
    Read,
    /// Appending records; publishing in transactions.
    Write,
    /// Deleting records.
    Delete,
    /// Making topics.
    Create,
    /// Seeing that it is there.
    Describe,
    /// Seeing how a topic is configured.
    DescribeConfigs,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Delete => "DELETE",
            Self::Create => "CREATE",
            Self::Describe => "DESCRIBE",
            Self::DescribeConfigs => "DESCRIBE_CONFIGS",
        })
    }
}

/// What an ACL is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// One topic.
    Topic(String),
    /// Every topic whose name begins so.
    TopicsFrom(String),
    /// The consumer group.
    Group(String),
    /// One transactional id.
    TransactionalId(String),
    /// Every transactional id that begins so.
    TransactionalIdsFrom(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::TopicsFrom(prefix) => write!(f, "topics {prefix}*"),
            Self::Group(name) => write!(f, "consumer group {name}"),
            Self::TransactionalId(name) => write!(f, "transactional id {name}"),
            Self::TransactionalIdsFrom(prefix) => write!(f, "transactional ids {prefix}*"),
        }
    }
}

/// One thing that is allowed, or is not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// What.
    pub operation: Operation,
    /// On what.
    pub resource: Resource,
}

impl Right {
    /// An operation on one topic.
    pub fn on_topic(operation: Operation, topic: impl Into<String>) -> Self {
        let resource = Resource::Topic(topic.into());
        Self { operation, resource }
    }

    /// Publishing in transactions with an id.
    #[must_use]
    pub const fn on_id(id: String) -> Self {
        Self {
            operation: Operation::Write,
            resource: Resource::TransactionalId(id),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.operation, self.resource)
    }
}

/// The sentence for rights that are missing.
#[must_use]
pub fn denial(rights: &[Right]) -> String {
    format!(
        "Kafka does not allow {}; `postrider topics acls` prints all that has to be allowed",
        list(rights)
    )
}

/// Rights in words, those on the same resource together, and those resources that lack the same.
pub(crate) fn list(rights: &[Right]) -> String {
    let mut by_resource: BTreeMap<&Resource, BTreeSet<Operation>> = BTreeMap::new();
    for right in rights {
        by_resource.entry(&right.resource).or_default().insert(right.operation);
    }
    let mut by_operations: Vec<(BTreeSet<Operation>, Vec<String>)> = Vec::new();
    for (resource, operations) in by_resource {
        let resource = resource.to_string();
        match by_operations.iter_mut().find(|(known, _)| *known == operations) {
            Some((_, resources)) => resources.push(resource),
            None => by_operations.push((operations, vec![resource])),
        }
    }
    let said = by_operations.iter().map(|(operations, resources)| {
        let operations: Vec<String> = operations.iter().map(ToString::to_string).collect();
        format!("{} on {}", operations.join(", "), resources.join(", "))
    });
    said.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let group = Resource::Group("g".to_owned());
        let operation = Operation::Read;
        let missing = [
            Right::on_topic(Operation::DescribeConfigs, "t"),
            Right::on_topic(Operation::Write, "t"),
            Right::on_topic(Operation::Write, "u"),
            Right {
                operation,
                resource: group,
            },
            Right::on_topic(Operation::Write, "v"),
        ];
        assert_eq!(
            denial(&missing),
            "Kafka does not allow WRITE, DESCRIBE_CONFIGS on topic t; WRITE on topic u, topic v; \
             READ on consumer group g; \
             `postrider topics acls` prints all that has to be allowed"
        );
    }
}
