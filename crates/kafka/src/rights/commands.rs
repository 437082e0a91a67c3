//! Rights as commands of Kafka's own tool.

use super::{Grant, Operation, Resource};

/// The lines of a shell script that gives these rights.
#[must_use]
pub fn commands(grants: &[Grant], principal: &str, brokers: &str) -> Vec<String> {
    grants
        .iter()
        .flat_map(|grant| command(grant, principal, brokers))
        .collect()
}

fn command(grant: &Grant, principal: &str, brokers: &str) -> [String; 2] {
    let mut words = vec![
        "kafka-acls.sh --bootstrap-server".to_owned(),
        quoted(brokers),
        "--add --allow-principal".to_owned(),
        quoted(principal),
    ];
    for operation in &grant.operations {
        words.push(format!("--operation {}", operation.argument()));
    }
    for resource in &grant.resources {
        let (flag, name) = resource.arguments();
        words.push(format!("{flag} {}", quoted(name)));
    }
    [format!("# {}", grant.reason), words.join(" ")]
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:=@/".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

impl Operation {
    /// As `kafka-acls.sh` wants it.
    const fn argument(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Delete => "Delete",
            Self::Create => "Create",
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
        }
    }
}

impl Resource {
    fn arguments(&self) -> (&'static str, &str) {
        match self {
            Self::Topic(name) => ("--topic", name),
            Self::TopicsFrom(prefix) => ("--resource-pattern-type prefixed --topic", prefix),
            Self::Group(name) => ("--group", name),
            Self::TransactionalId(name) => ("--transactional-id", name),
            Self::TransactionalIdsFrom(prefix) => ("--resource-pattern-type prefixed --transactional-id", prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_the_principal_it_was_given() {
        assert_eq!(quoted("User:CN=postrider,OU=it"), "User:CN=postrider,OU=it");
        assert_eq!(quoted("User:CN=Post Rider"), "'User:CN=Post Rider'");
        assert_eq!(quoted("User:o'neill; rm -rf"), r"'User:o'\''neill; rm -rf'");
        assert_eq!(quoted(""), "''");
    }
}
