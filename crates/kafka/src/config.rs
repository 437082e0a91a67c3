//! The `kafka`, `topics` and `results` sections of the configuration.

mod property;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use postrider_types::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::property::{Property, is_secret_property};
use self::property::{masked, property_fault};
pub use self::topics::{ResultsConfig, TopicsConfig, is_topic_name};

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

#[cfg(test)]
mod tests {
    use rdkafka::error::KafkaError;
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
}
