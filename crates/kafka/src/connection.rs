//! From settings to librdkafka's configuration: one place, so that every client connects alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, info, warn};

use crate::config::Config;

/// Makes librdkafka configurations for one instance of postrider.
#[derive(Debug, Clone)]
pub struct Connection {
    config: Config,
    instance: String,
}

impl Connection {
    /// For the brokers of `config`, on behalf of `instance`.
    pub fn new(config: Config, instance: impl Into<String>) -> Self {
        Self {
            config,
            instance: instance.into(),
        }
    }

    /// The configured brokers, for messages.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.config.brokers
    }

    /// For looking at the cluster and making topics.
    #[must_use]
    pub fn admin(&self) -> ClientConfig {
        self.with(&[])
    }

    /// For reading in a group: classic protocol, cooperative-sticky, a static member.
    #[must_use]
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let owned = [
            ("group.id", group),
            ("group.instance.id", &self.instance),
            ("group.protocol", "classic"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "error"),
        ];
        let tuned = [
            ("session.timeout.ms", "20000"),
            ("heartbeat.interval.ms", "3000"),
            ("max.poll.interval.ms", "300000"),
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.message.max.bytes", "1048576"),
            ("fetch.max.bytes", "8388608"),
            ("receive.message.max.bytes", "100000000"),
            ("fetch.wait.max.ms", "100"),
            ("fetch.queue.backoff.ms", "10"),
            ("check.crcs", "true"),
            ("topic.metadata.refresh.interval.ms", "60000"),
            ("statistics.interval.ms", "5000"),
        ];
        self.tuned(&tuned, &owned)
    }

    /// For reading a table: every partition, no group, told where the end is.
    #[must_use]
    pub fn table(&self) -> ClientConfig {
        let owned = [
            // Required by the client, never joined.
            ("group.id", &*self.instance),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("enable.partition.eof", "true"),
        ];
        let tuned = [("fetch.wait.max.ms", "100"), ("queued.max.messages.kbytes", "4096")];
        self.tuned(&tuned, &owned)
    }

    /// For reading partitions by hand: as a table is read, and faster.
    #[must_use]
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.table();
        for (name, value) in [
            ("queued.max.messages.kbytes", "16384"),
            // A queue that is full is looked at again after a second otherwise.
            ("fetch.queue.backoff.ms", "10"),
        ] {
            config.set(name, value);
        }
        config
    }

    /// For having a seat of `group`. Not a static member: who leaves or dies is followed soon.
    #[must_use]
    pub fn seat(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        config.remove("group.instance.id");
        for (name, value) in [
            ("session.timeout.ms", "10000"),
            ("auto.offset.reset", "latest"),
            ("statistics.interval.ms", "0"),
        ] {
            config.set(name, value);
        }
        config
    }

    /// For publishing; with a transactional id, in transactions.
    #[must_use]
    pub fn producer(&self, transactional_id: Option<&str>, largest_record: usize) -> ClientConfig {
        let largest_record = largest_record.to_string();
        let mut owned = vec![("enable.idempotence", "true"), ("message.max.bytes", &*largest_record)];
        owned.extend(transactional_id.map(|id| ("transactional.id", id)));
        let tuned = [
            ("transaction.timeout.ms", "30000"),
            ("message.timeout.ms", "20000"),
            ("socket.timeout.ms", "10000"),
            // The next transaction meets CONCURRENT_TRANSACTIONS and would wait the default 100 ms.
            ("retry.backoff.ms", "10"),
            ("linger.ms", "2"),
            ("compression.codec", "lz4"),
            ("queue.buffering.max.kbytes", "65536"),
            // Java's partitioner, so that consumers in other languages can co-partition.
            ("partitioner", "murmur2_random"),
        ];
        self.tuned(&tuned, &owned)
    }

    /// The transactional id of this instance in a group.
    #[must_use]
    pub fn transactional_id(&self, group: &str) -> String {
        format!("{group}.{}", self.instance)
    }

    /// Tuned settings give way to the configured properties, owned ones do not.
    fn tuned(&self, tuned: &[(&str, &str)], owned: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in tuned {
            config.set(*name, *value);
        }
        self.apply(&mut config, owned);
        config
    }

    fn with(&self, owned: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.apply(&mut config, owned);
        config
    }

    fn apply(&self, config: &mut ClientConfig, owned: &[(&str, &str)]) {
        for (name, value) in &self.config.properties {
            config.set(name, &value.0);
        }
        config.set("bootstrap.servers", &self.config.brokers);
        config.set("client.id", format!("postrider-{}", self.instance));
        config.set("allow.auto.create.topics", "false");
        for (name, value) in owned {
            config.set(*name, *value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
    }
}

/// Whether any broker can be reached, as librdkafka's callbacks tell it.
#[derive(Debug, Clone, Default)]
pub struct Reachability(Arc<AtomicBool>);

impl Reachability {
    /// Notes what a callback told.
    pub fn note(&self, up: bool) {
        let was = self.0.swap(up, Ordering::Relaxed);
        match (was, up) {
            (false, true) => info!("Connected to Kafka"),
            (true, false) => warn!("No Kafka broker can be reached; trying again until one can"),
            _ => {}
        }
    }

    /// Whether a broker could be reached lately.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Writes librdkafka's own log lines to ours, one level lower than it thinks: its errors are mostly
/// connections that it will make again.
pub fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            error!(facility, message, "librdkafka reports a failure");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => debug!(facility, message, "librdkafka warns"),
        _ => tracing::trace!(facility, message, "librdkafka"),
    }
}

/// Logs an error from librdkafka's callback, and notes when no broker is left.
pub fn log_error(reachability: &Reachability, error: &KafkaError, reason: &str) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AllBrokersDown) => reachability.note(false),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
            debug!(%error, reason, "A Kafka connection failed");
        }
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => {
            warn!(%error, reason, "Kafka refuses the connection; check kafka.properties");
        }
        _ => warn!(%error, reason, "Kafka reports an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Property;

    fn connection(name: &str, value: &str) -> Connection {
        let properties = [(name.to_owned(), Property(value.to_owned()))].into();
        Connection::new(
            Config {
                brokers: "b:1".to_owned(),
                properties,
            },
            "i-0",
        )
    }

    #[test]
    fn configured_properties_win_over_tuning_but_not_over_what_the_promises_rest_on() {
        let tuned = connection("session.timeout.ms", "6000").consumer("g");
        assert_eq!(tuned.get("session.timeout.ms"), Some("6000"));
        let owned = connection("isolation.level", "read_uncommitted").consumer("g");
        assert_eq!(owned.get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn a_seat_is_sought_by_a_member_that_is_followed_soon() {
        let seat = connection("session.timeout.ms", "45000").seat("g.replays");
        assert_eq!(seat.get("group.instance.id"), None);
        assert_eq!(seat.get("session.timeout.ms"), Some("10000"));
        assert_eq!(seat.get("group.id"), Some("g.replays"));
    }

    #[test]
    fn the_transactional_id_is_made_of_group_and_instance() {
        let connection = connection("client.rack", "r");
        assert_eq!(connection.transactional_id("g"), "g.i-0");
        assert_eq!(connection.producer(None, 1).get("transactional.id"), None);
    }
}
