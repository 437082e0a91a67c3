//! librdkafka's own settings, of which some are secrets.

use std::collections::BTreeMap;
use std::fmt;

use postrider_types::Fault;
use postrider_types::secret::MASK;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use schemars::JsonSchema;
use serde::{Deserialize, Serializer};

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

/// Writes properties with their secrets masked.
pub(super) fn masked<S: Serializer>(properties: &BTreeMap<String, Property>, serializer: S) -> Result<S::Ok, S::Error> {
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

/// What librdkafka has against a setting, in its own words unless those would show a secret.
pub(super) fn property_fault((name, value): (&String, &Property)) -> Option<Fault> {
    let refused = ClientConfig::new().set(name, &value.0).create_native_config().err()?;
    let reason = match refused {
        KafkaError::ClientConfig(_, reason, ..) if !is_secret_property(name) || !reason.contains(&value.0) => {
            format!("is not taken by librdkafka: {reason}")
        }
        _ => "is not taken by librdkafka".to_owned(),
    };
    Some(Fault::new(format!("properties.{name}"), reason))
}
