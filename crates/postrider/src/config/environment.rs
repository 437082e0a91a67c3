//! Settings from the environment: `POSTRIDER_DELIVERY__TIMEOUT=10s` is `delivery.timeout`.
//!
//! Only names with `__` are settings, and `POSTRIDER_INSTANCE_ID`. Kubernetes puts variables such as
//! `POSTRIDER_SERVICE_HOST` into every container; those are none of ours.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::{Path, Step};
use super::shape::Shape;

const PREFIX: &str = "POSTRIDER_";
/// The one setting at the document's top that is no section.
const INSTANCE_ID: &str = "POSTRIDER_INSTANCE_ID";

/// What the environment sets, and which variable set it.
pub(crate) fn settings(variables: &BTreeMap<String, String>, shape: &Shape) -> (Value, BTreeMap<Path, String>) {
    let mut document = Value::Object(Map::new());
    let mut names = BTreeMap::new();
    for (name, text) in variables {
        if let Some(path) = setting(name) {
            put(&mut document, &path, shape.at(&path).read(text));
            names.insert(path, name.clone());
        }
    }
    (document, names)
}

fn setting(name: &str) -> Option<Path> {
    let rest = name.strip_prefix(PREFIX)?;
    if name != INSTANCE_ID && !rest.contains("__") {
        return None;
    }
    let keys: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
    let keys = match &keys[..] {
        // librdkafka's names hold dots, which a variable's name cannot.
        [kafka, properties, name @ ..] if kafka == "kafka" && properties == "properties" && !name.is_empty() => {
            vec![kafka.clone(), properties.clone(), name.join("_").replace('_', ".")]
        }
        _ => keys,
    };
    Some(Path(keys.into_iter().map(Step::Key).collect()))
}

/// Puts a value at a path of keys, making the mappings on the way.
pub(crate) fn put(document: &mut Value, path: &Path, value: Value) {
    let Some((last, holders)) = path.0.split_last() else {
        return;
    };
    let mut at = document;
    for step in holders {
        at = slot(at, step);
    }
    *slot(at, last) = value;
}

fn slot<'a>(holder: &'a mut Value, step: &Step) -> &'a mut Value {
    let key = match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    };
    if !holder.is_object() {
        *holder = Value::Object(Map::new());
    }
    let mapping = holder.as_object_mut().expect("it was made a mapping above");
    mapping.entry(key).or_insert(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(variables: &[(&str, &str)]) -> Value {
        let shape = Shape {
            root: json!({"type": "object", "properties": {
                "instance_id": {"type": "string"},
                "kafka": {"type": "object", "properties": {
                    "brokers": {"type": "string"},
                    "properties": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
                }},
                "delivery": {"type": "object", "properties": {
                    "retry": {"type": "object", "properties": {"max_retries": {"type": "integer"}}},
                }},
                "egress": {"type": "object", "properties": {"allow": {"type": "array", "items": {"type": "string"}}}},
            }}),
        };
        let variables = variables
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        settings(&variables, &shape).0
    }

    #[test]
    fn names_lead_to_fields() {
        let document = read(&[
            ("POSTRIDER_INSTANCE_ID", "7"),
            ("POSTRIDER_KAFKA__BROKERS", "9092"),
            ("POSTRIDER_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_SSL"),
            ("POSTRIDER_KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "45000"),
            ("POSTRIDER_DELIVERY__RETRY__MAX_RETRIES", "3"),
            ("POSTRIDER_EGRESS__ALLOW", r#"["10.0.0.0/8"]"#),
        ]);
        assert_eq!(
            document,
            json!({
                "instance_id": "7",
                "kafka": {"brokers": "9092", "properties": {"security.protocol": "SASL_SSL", "session.timeout.ms": "45000"}},
                "delivery": {"retry": {"max_retries": 3}},
                "egress": {"allow": ["10.0.0.0/8"]},
            })
        );
    }

    #[test]
    fn names_that_are_no_settings_are_ignored() {
        let document = read(&[
            ("POSTRIDER_CONFIG", "/etc/x"),
            ("POSTRIDER_TOKEN", "t"),
            ("POSTRIDER_SECRETS_KEY", "k"),
            ("POSTRIDER_SERVICE_HOST", "10.0.0.1"),
            ("POSTRIDER_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("PATH", "/bin"),
            ("OTHER__THING", "1"),
        ]);
        assert_eq!(document, json!({}));
    }

    #[test]
    fn a_section_and_a_field_of_it_both_count() {
        let document = read(&[
            ("POSTRIDER_DELIVERY__RETRY", r#"{"max_retries": 1, "other": 2}"#),
            ("POSTRIDER_DELIVERY__RETRY__MAX_RETRIES", "5"),
        ]);
        assert_eq!(document, json!({"delivery": {"retry": {"max_retries": 5, "other": 2}}}));
    }
}
