//! Why the cluster could not be looked at, or a topic not be made.

use rdkafka::error::KafkaError;

use crate::rights::{Right, list};

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
