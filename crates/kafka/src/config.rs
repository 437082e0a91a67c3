//! The `kafka`, `topics` and `results` sections of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use postrider_types::Fault;
use postrider_types::secret::MASK;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// How long a transaction may take, in milliseconds, unless it is configured.
pub(crate) const TRANSACTION_TIMEOUT: u64 = 30_000;
/// How long a record may take to be published, in milliseconds, unless it is configured.
pub(crate) const MESSAGE_TIMEOUT: u64 = 20_000;
/// How long a broker may take to answer, in milliseconds, unless it is configured.
pub(crate) const SOCKET_TIMEOUT: u64 = 10_000;

/// How to reach the brokers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Further settings under librdkafka's own names: TLS, SASL, timeouts.
    #[serde(serialize_with = "masked")]
    pub properties: BTreeMap<String, Property>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("Config")
            .field("brokers", &self.brokers)
            .field("properties", &names)
            .finish()
    }
}

/// A librdkafka setting's value. Numbers and switches may be written bare.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Scalar")]
pub struct Property(pub String);

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Switch(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

impl From<Scalar> for Property {
    fn from(scalar: Scalar) -> Self {
        Self(match scalar {
            Scalar::Switch(on) => on.to_string(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::Number(number) => number.to_string(),
            Scalar::Text(text) => text,
        })
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl JsonSchema for Property {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Property".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Whether a property's value must not be shown.
#[must_use]
pub fn is_secret_property(name: &str) -> bool {
    ["password", "secret", "jaas", "token", "key.pem", "oauthbearer.config"]
        .iter()
        .any(|word| name.contains(word))
}

fn masked<S: Serializer>(properties: &BTreeMap<String, Property>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = |(name, value): (&'_ String, &'_ Property)| {
        (
            name.clone(),
            if is_secret_property(name) {
                MASK.to_owned()
            } else {
                value.0.clone()
            },
        )
    };
    serializer.collect_map(properties.iter().map(shown))
}

/// Settings that the promises rest on, with what they are called in postrider's own configuration.
const OWNED: [(&str, &str); 13] = [
    ("bootstrap.servers", "set kafka.brokers instead"),
    ("metadata.broker.list", "set kafka.brokers instead"),
    ("group.id", "set consumer.group_id instead"),
    ("group.instance.id", "set instance_id instead"),
    ("transactional.id", "it is made of consumer.group_id and instance_id"),
    ("group.protocol", "postrider needs the classic protocol"),
    ("partition.assignment.strategy", "postrider needs cooperative-sticky"),
    ("enable.auto.commit", "offsets are committed with the outcomes"),
    ("enable.auto.offset.store", "offsets are committed with the outcomes"),
    ("auto.offset.reset", "set consumer.start instead"),
    ("isolation.level", "postrider needs read_committed"),
    ("enable.idempotence", "postrider needs it on"),
    (
        "allow.auto.create.topics",
        "postrider never creates topics by itself; run `postrider topics create`",
    ),
];

impl Config {
    /// What is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.brokers.split(',').filter_map(broker_fault).collect();
        faults.extend(self.properties.iter().filter_map(property_fault));
        for (name, instead) in OWNED {
            if self.properties.contains_key(name) {
                faults.push(Fault::new(
                    format!("properties.{name}"),
                    format!("is postrider's own to set; {instead}"),
                ));
            }
        }
        faults.extend(self.transaction_fault());
        faults
    }

    /// A transaction that would end before what is published in it: librdkafka refuses it, but only once a client is
    /// made.
    fn transaction_fault(&self) -> Option<Fault> {
        let millis = |name: &str, default: u64| match self.properties.get(name) {
            Some(said) => said.0.parse().ok(),
            None => Some(default),
        };
        let transaction = millis("transaction.timeout.ms", TRANSACTION_TIMEOUT)?;
        let message = millis("message.timeout.ms", MESSAGE_TIMEOUT)?;
        let socket = millis("socket.timeout.ms", SOCKET_TIMEOUT)?;
        let longer = if message > transaction {
            format!("message.timeout.ms is {message}")
        } else if socket > transaction + 100 {
            format!("socket.timeout.ms is {socket}")
        } else {
            return None;
        };
        let reason = format!("is {transaction}, too short for what is published in it: {longer}; set both");
        Some(Fault::new("properties.transaction.timeout.ms", reason))
    }

    /// Whether anybody on the way to the brokers can read along.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let protocol = self
            .properties
            .get("security.protocol")
            .map(|protocol| protocol.0.to_ascii_lowercase());
        let encrypted = protocol.is_some_and(|protocol| protocol.ends_with("ssl"));
        !encrypted && !self.brokers.split(',').all(is_loopback)
    }
}

fn is_loopback(broker: &str) -> bool {
    let broker = broker.trim();
    let address = broker.split_once("://").map_or(broker, |(_, address)| address);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// What librdkafka has against a setting, in its own words unless those would show a secret.
fn property_fault((name, value): (&String, &Property)) -> Option<Fault> {
    let refused = ClientConfig::new().set(name, &value.0).create_native_config().err()?;
    let reason = match refused {
        KafkaError::ClientConfig(_, reason, ..) if !is_secret_property(name) || !reason.contains(&value.0) => {
            format!("is not taken by librdkafka: {reason}")
        }
        _ => "is not taken by librdkafka".to_owned(),
    };
    Some(Fault::new(format!("properties.{name}"), reason))
}

fn broker_fault(broker: &str) -> Option<Fault> {
    let broker = broker.trim();
    let (host, port) = broker.rsplit_once(':').unwrap_or((broker, "9092"));
    let reason = if host.is_empty() {
        "is not host:port".to_owned()
    } else if host.ends_with('.') {
        format!("`{host}` ends in a dot, which breaks certificate checks; leave the dot out")
    } else if port.parse::<u16>().map_or(true, |port| port == 0) {
        format!("`{port}` is not a port from 1 to 65535")
    } else {
        return None;
    };
    Some(Fault::new("brokers", reason))
}

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
    use rdkafka::producer::BaseProducer;

    use super::*;
    use crate::Connection;
    use crate::encode::Limits;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    fn shown(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn properties_may_be_bare_numbers_and_switches() {
        let config = config(r#"{"properties":{"socket.timeout.ms":1000,"check.crcs":true,"x":"y"}}"#);
        let values: Vec<&str> = config.properties.values().map(|value| &*value.0).collect();
        assert_eq!(values, ["true", "1000", "y"]);
    }

    #[test]
    fn secrets_among_the_properties_are_never_shown() {
        let config = config(r#"{"properties":{"sasl.password":"hunter2","sasl.username":"u"}}"#);
        let written = serde_json::to_string(&config).unwrap();
        assert!(!written.contains("hunter2") && written.contains("\"u\""), "{written}");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_the_promises_rest_on_is_refused() {
        let config = config(r#"{"brokers":"a:1,b:0,c.:9092","properties":{"isolation.level":"read_uncommitted"}}"#);
        let faults = shown(&config.faults());
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].starts_with("brokers: `0` is not a port"));
        assert!(faults[1].contains("ends in a dot"));
        assert!(faults[2].starts_with("properties.isolation.level: is postrider's own"));
    }

    #[test]
    fn a_transaction_is_not_shorter_than_what_is_published_in_it() {
        let refused = [
            r#"{"transaction.timeout.ms":10000}"#,
            r#"{"message.timeout.ms":30001}"#,
            r#"{"transaction.timeout.ms":5000,"message.timeout.ms":5000}"#,
        ];
        for properties in refused {
            let config = config(&format!(r#"{{"properties":{properties}}}"#));
            let faults = shown(&config.faults());
            assert_eq!(faults.len(), 1, "{properties}: {faults:?}");
            assert!(
                faults[0].starts_with("properties.transaction.timeout.ms: is "),
                "{faults:?}"
            );
            assert!(makes_a_producer(config).is_err(), "{properties}");
        }
        let taken = [
            "{}",
            r#"{"transaction.timeout.ms":20000}"#,
            r#"{"transaction.timeout.ms":9900,"message.timeout.ms":9900}"#,
            r#"{"transaction.timeout.ms":5000,"message.timeout.ms":5000,"socket.timeout.ms":5000}"#,
        ];
        for properties in taken {
            let config = config(&format!(r#"{{"properties":{properties}}}"#));
            assert_eq!(shown(&config.faults()), [""; 0], "{properties}");
            makes_a_producer(config).unwrap();
        }
    }

    /// Whether librdkafka makes a client of it, which connects to nothing before it is used.
    fn makes_a_producer(mut config: Config) -> Result<(), KafkaError> {
        "127.0.0.1:1".clone_into(&mut config.brokers);
        let connection = Connection::new(config, "a");
        connection
            .producer(Some("t"), &Limits::DEFAULT)
            .create::<BaseProducer>()
            .map(drop)
    }

    #[test]
    fn what_librdkafka_does_not_take_is_named_without_secrets() {
        let config = config(
            r#"{"properties":{"sasl.pasword":"hunter2","security.protocol":"tls","sasl.mechanism":"SCRAM-SHA-512"}}"#,
        );
        let faults = shown(&config.faults()).join("\n");
        assert!(
            faults.contains("properties.sasl.pasword: is not taken by librdkafka: No such"),
            "{faults}"
        );
        assert!(
            faults.contains("properties.security.protocol: is not taken by librdkafka: Invalid"),
            "{faults}"
        );
        assert!(!faults.contains("hunter2") && !faults.contains("mechanism"), "{faults}");
    }

    #[test]
    fn what_leaves_the_machine_unencrypted_is_open() {
        for (brokers, protocol, open) in [
            ("127.0.0.1:9092,localhost:9093,[::1]:9092", "plaintext", false),
            ("PLAINTEXT://127.8.0.1:9092", "plaintext", false),
            ("127.0.0.1:9092,kafka:9092", "plaintext", true),
            ("10.0.0.1:9092", "SASL_PLAINTEXT", true),
            ("10.0.0.1:9092", "SASL_SSL", false),
            ("10.0.0.1:9092", "ssl", false),
        ] {
            let properties = [("security.protocol".to_owned(), Property(protocol.to_owned()))].into();
            let brokers = brokers.to_owned();
            assert_eq!(
                Config {
                    brokers: brokers.clone(),
                    properties
                }
                .is_open(),
                open,
                "{brokers} {protocol}"
            );
        }
        assert!(
            Config {
                brokers: "kafka:9092".to_owned(),
                ..Config::default()
            }
            .is_open()
        );
    }

    #[test]
    fn one_topic_cannot_serve_two_purposes() {
        let results = ResultsConfig {
            notices: "postrider.results".to_owned(),
            pending: "a b".to_owned(),
            ..ResultsConfig::default()
        };
        assert_eq!(
            shown(&results.faults()),
            [
                "notices: is the same topic as topic",
                "pending: is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"
            ]
        );
    }
}
