//! Why reading ends before it was asked to.

use rdkafka::error::KafkaError;

/// A fault that only a restart, or a person, can mend.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The client cannot be made.
    #[error("the Kafka consumer cannot be made from kafka.properties")]
    Client(#[source] KafkaError),
    /// The topics cannot be subscribed to.
    #[error("the topics cannot be subscribed to")]
    Subscribe(#[source] KafkaError),
    /// The system gives no thread.
    #[error("the system gives the consumer no thread; raise its limit of threads")]
    NoThread(#[source] std::io::Error),
    /// Another process has this instance's place.
    #[error("another process runs with the same instance_id and has taken over; give each its own")]
    Replaced(#[source] KafkaError),
    /// The group has two requests of this member for its place and keeps to the other one: that happens to a member
    /// that joins, or that was put out, while Kafka does not answer. A new member takes the place.
    #[error(
        "Kafka took this instance, which it had not heard of for too long, for two; a restart joins the group anew"
    )]
    Displaced(#[source] KafkaError),
    /// The client failed for good.
    #[error("the Kafka consumer failed for good")]
    Fatal(#[source] KafkaError),
    /// A delivery vanished without an outcome.
    #[error("{0} records were dropped unsettled by a fault in postrider; a restart reads them again")]
    Lost(u64),
    /// A later stage ended first.
    #[error("a later stage ended while records were still being read")]
    Abandoned,
}
