//! From settings to librdkafka's configuration: one place, so that every client connects alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, info, warn};

use crate::config::{Config, MESSAGE_TIMEOUT, SOCKET_TIMEOUT, TRANSACTION_TIMEOUT};
use crate::encode::Limits;

/// What follows the instance's name in that of its second member of a group.
pub const SECOND: &str = ".retries";
/// How long a client that hears of no broker waits before it asks those of `kafka.brokers` again; librdkafka's own default
/// is five minutes.
const BEGIN_AGAIN_MS: &str = "10000";
/// What librdkafka puts into one batch, unless it is told otherwise.
const BATCH_BYTES: usize = 1_000_000;

/// Makes librdkafka configurations for one instance of postrider.
#[derive(Debug, Clone)]
pub struct Connection {
    config: Config,
    instance: String,
    group: String,
}

impl Connection {
    /// For the brokers of `config`, on behalf of `instance`.
    pub fn new(config: Config, instance: impl Into<String>) -> Self {
        let instance = instance.into();
        Self {
            config,
            group: instance.clone(),
            instance,
        }
    }

    /// The same, for an instance that may use a group.
    #[must_use]
    pub fn in_group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
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
            ("heartbeat.interval.ms", "1000"),
            ("max.poll.interval.ms", "300000"),
            ("queued.min.messages", "1000"),
            // Read ahead for a tenth of a second at full speed; more is memory only.
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.message.max.bytes", "1048576"),
            ("fetch.max.bytes", "2097152"),
            ("receive.message.max.bytes", "100000000"),
            ("fetch.wait.max.ms", "100"),
            ("fetch.queue.backoff.ms", "10"),
            ("check.crcs", "true"),
            // How soon a topic that was made later, or anew, and partitions that were added are read.
            ("topic.metadata.refresh.interval.ms", "10000"),
            ("statistics.interval.ms", "5000"),
        ];
        self.tuned(&tuned, &owned)
    }

    /// For reading in the same group as a second member of this instance, the one for the retry topics.
    #[must_use]
    pub fn second_consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.consumer(group);
        config.set("group.instance.id", format!("{}{SECOND}", self.instance));
        config
    }

    /// For reading a table: every partition, told where the end is. The group is never joined; the client wants one,
    /// and looks for its coordinator, so it has to be one that this instance may use.
    #[must_use]
    pub fn table(&self) -> ClientConfig {
        let owned = [
            ("group.id", &*self.group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("enable.partition.eof", "true"),
        ];
        let tuned = [("fetch.wait.max.ms", "100"), ("queued.max.messages.kbytes", "4096")];
        self.tuned(&tuned, &owned)
    }

    /// For reading single records: as a table is read, with as little ahead as can be.
    #[must_use]
    pub fn lookup(&self) -> ClientConfig {
        let mut config = self.table();
        config.set("queued.min.messages", "1");
        config.set("fetch.wait.max.ms", "10");
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

    /// For reading partitions by hand, and a long topic fast: as a table is read, with more ahead.
    #[must_use]
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.table();
        config.set("queued.max.messages.kbytes", "16384");
        // A queue that is full is looked at again after a second otherwise.
        config.set("fetch.queue.backoff.ms", "10");
        config
    }

    /// For publishing to topics with these limits; with a transactional id, in transactions.
    #[must_use]
    pub fn producer(&self, transactional_id: Option<&str>, limits: &Limits) -> ClientConfig {
        let largest_record = limits.largest().to_string();
        // A topic's limit is held against whole batches, as they come.
        let batch = self.batch_bytes().min(limits.smallest()).to_string();
        let mut owned = vec![
            ("enable.idempotence", "true"),
            ("message.max.bytes", &*largest_record),
            ("batch.size", &*batch),
        ];
        owned.extend(transactional_id.map(|id| ("transactional.id", id)));
        let [transaction, message, socket] =
            [TRANSACTION_TIMEOUT, MESSAGE_TIMEOUT, SOCKET_TIMEOUT].map(|millis| millis.to_string());
        let tuned = [
            ("transaction.timeout.ms", &*transaction),
            ("message.timeout.ms", &*message),
            ("socket.timeout.ms", &*socket),
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

    /// What a batch may take, if its topic takes as much.
    fn batch_bytes(&self) -> usize {
        let said = self.config.properties.get("batch.size");
        said.and_then(|bytes| bytes.0.parse().ok()).unwrap_or(BATCH_BYTES)
    }

    /// The transactional id of this instance in a group.
    #[must_use]
    pub fn transactional_id(&self, group: &str) -> String {
        format!("{group}.{}", self.instance)
    }

    /// The transactional id that writers of webhooks share in a group.
    #[must_use]
    pub fn webhooks_id(&self, group: &str) -> String {
        format!("{group}.webhooks")
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
        // A cluster whose brokers all stood still answers for a moment that it has none, and the client lets go of them.
        config.set("metadata.recovery.rebootstrap.trigger.ms", BEGIN_AGAIN_MS);
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
pub struct Reachability(Arc<State>);

#[derive(Debug, Default)]
struct State {
    up: AtomicBool,
    /// Why a broker that answered did not let us in.
    refusal: Mutex<Option<String>>,
}

impl Reachability {
    /// Notes what a callback told.
    pub fn note(&self, up: bool) {
        if up {
            *self.0.refusal.lock() = None;
        }
        let was = self.0.up.swap(up, Ordering::Relaxed);
        match (was, up) {
            (false, true) => info!("Connected to Kafka"),
            (true, false) => warn!("No Kafka broker can be reached; trying again until one can"),
            _ => {}
        }
    }

    /// Whether a broker could be reached lately.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.up.load(Ordering::Relaxed)
    }

    /// Notes why a broker did not let us in; tells whether that is news.
    pub fn refused(&self, reason: &str) -> bool {
        let told = essence(reason);
        let before = self.0.refusal.lock().replace(told.to_owned());
        before.as_deref() != Some(told)
    }

    /// Why brokers that answer do not let us in, if that is the trouble.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.0.refusal.lock().clone()
    }
}

/// Whether a broker answered and there will be no connection all the same: by TLS, by the credentials, or because
/// one side speaks TLS and the other does not.
#[must_use]
pub fn is_refusal(error: &KafkaError, reason: &str) -> bool {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL) => {
            true
        }
        Some(RDKafkaErrorCode::BrokerTransportFailure) => reason.contains("security.protocol"),
        _ => false,
    }
}

/// What librdkafka says, without the broker it says it of and how long that took: the same for each try.
fn essence(reason: &str) -> &str {
    let mut said = reason;
    while let Some((_, rest)) = said.split_once("://").and_then(|(_, rest)| rest.split_once(": ")) {
        said = rest;
    }
    said.split(" (after ").next().unwrap_or(said)
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
    if is_refusal(error, reason) {
        if reachability.refused(reason) {
            let reason = essence(reason);
            warn!(
                reason,
                "Kafka does not let postrider in; check kafka.properties; trying again"
            );
        }
        return;
    }
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AllBrokersDown) => reachability.note(false),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
            debug!(%error, reason, "A Kafka connection failed");
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
    fn a_refusal_is_news_once_and_forgotten_when_a_broker_lets_us_in() {
        let reachability = Reachability::default();
        let reason = |node: &str, took: u32| {
            format!(
                "sasl_ssl://{node}: SASL authentication error: Authentication failed (after {took}ms in state AUTH_REQ)"
            )
        };
        assert!(reachability.refused(&reason("k:9092/bootstrap", 310)));
        assert!(!reachability.refused(&reason("k:9092/1", 4)));
        let told = "SASL authentication error: Authentication failed";
        assert_eq!(reachability.refusal().as_deref(), Some(told));
        assert!(reachability.refused("no address in this one"));
        assert!(
            reachability.refused("[thrd:ssl://k:1/bootstrap]: ssl://k:1/bootstrap: SSL handshake failed: Disconnected")
        );
        assert_eq!(
            reachability.refusal().as_deref(),
            Some("SSL handshake failed: Disconnected")
        );
        reachability.note(true);
        assert_eq!(reachability.refusal(), None);
    }

    #[test]
    fn the_second_member_of_an_instance_has_a_name_of_its_own_in_the_same_group() {
        let connection = connection("client.rack", "r");
        let (first, second) = (connection.consumer("g"), connection.second_consumer("g"));
        assert_eq!(first.get("group.instance.id"), Some("i-0"));
        assert_eq!(second.get("group.instance.id"), Some("i-0.retries"));
        assert_eq!(first.get("group.id"), second.get("group.id"));
    }

    #[test]
    fn a_seat_is_sought_by_a_member_that_is_followed_soon() {
        let seat = connection("session.timeout.ms", "45000").seat("g.replays");
        assert_eq!(seat.get("group.instance.id"), None);
        assert_eq!(seat.get("session.timeout.ms"), Some("10000"));
        assert_eq!(seat.get("group.id"), Some("g.replays"));
    }

    #[test]
    fn a_broker_that_is_away_is_no_refusal() {
        let transport = KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure);
        assert!(!is_refusal(
            &transport,
            "Connect to ipv4#127.0.0.1:1 failed: Connection refused"
        ));
        let wrong = "might be caused by incorrect security.protocol configuration";
        assert!(is_refusal(&transport, wrong));
        assert!(is_refusal(
            &KafkaError::Global(RDKafkaErrorCode::SSL),
            "certificate verify failed"
        ));
    }

    #[test]
    fn the_transactional_id_is_made_of_group_and_instance() {
        let connection = connection("client.rack", "r");
        assert_eq!(connection.transactional_id("g"), "g.i-0");
        assert_eq!(
            connection.producer(None, &Limits::DEFAULT).get("transactional.id"),
            None
        );
    }

    #[test]
    fn a_batch_fits_the_topic_that_takes_least_and_a_record_the_one_that_takes_most() {
        let limits = Limits {
            retry: 81_920,
            dead_letters: 2_000_000,
            ..Limits::DEFAULT
        };
        let batch = |said: (&str, &str), limits: &Limits| {
            let config = connection(said.0, said.1).producer(None, limits);
            ["batch.size", "message.max.bytes"].map(|name| config.get(name).unwrap().to_owned())
        };
        assert_eq!(batch(("client.rack", "r"), &limits), ["81920", "2000000"]);
        assert_eq!(batch(("batch.size", "100000"), &limits), ["81920", "2000000"]);
        assert_eq!(batch(("batch.size", "50000"), &limits), ["50000", "2000000"]);
        assert_eq!(batch(("client.rack", "r"), &Limits::DEFAULT), ["1000000", "1048588"]);
    }
}
