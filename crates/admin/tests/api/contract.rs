//! Holds answers against the OpenAPI document that the server itself gives.

use serde_json::{Value, json};

use crate::wire::{Answer, Ask};

#[derive(Debug)]
pub(crate) struct Contract {
    pub(crate) document: Value,
}

impl Contract {
    pub(crate) fn new(document: Value) -> Self {
        Self { document }
    }

    /// Every operation: its method, its path and itself.
    pub(crate) fn operations(&self) -> Vec<(String, String, Value)> {
        let mut operations = Vec::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                operations.push((method.to_uppercase(), path.clone(), operation.clone()));
            }
        }
        operations
    }

    fn operation(&self, ask: &Ask) -> Option<Value> {
        let path = ask.path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (given, known): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
            given.len() == known.len()
                && given
                    .iter()
                    .zip(&known)
                    .all(|(given, known)| given == known || *known == "{id}")
        };
        let found = self
            .operations()
            .into_iter()
            .find(|(method, template, _)| *method == ask.method && fits(template));
        found.map(|(_, _, operation)| operation)
    }

    /// An answer to an operation of the document is one that the document knows, and has its shape.
    pub(crate) fn judge(&self, ask: &Ask, answer: &Answer) {
        let Some(operation) = self.operation(ask) else {
            return;
        };
        if answer.status < 300 && !ask.body.is_empty() && operation["requestBody"].is_object() {
            self.takes(&operation, &ask.body);
        }
        let known = &operation["responses"][answer.status.to_string()];
        let known = known["$ref"]
            .as_str()
            .map_or(known, |path| self.document.pointer(&path[1..]).unwrap());
        assert!(
            known.is_object(),
            "{} {} may not answer {answer:?}",
            ask.method,
            ask.path
        );
        let Some(content) = known["content"].as_object() else {
            assert_eq!(answer.body, "");
            return;
        };
        let kind = answer.header("content-type").split(';').next().unwrap();
        let schema = &content.get(kind).unwrap_or_else(|| panic!("{kind} of {answer:?}"))["schema"];
        if kind.ends_with("json") {
            self.fits(schema, &answer.json());
        }
    }

    /// What the server took is what the document says it takes.
    fn takes(&self, operation: &Value, body: &str) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        self.fits(schema, &serde_json::from_str(body).unwrap());
    }

    fn fits(&self, schema: &Value, value: &Value) {
        let whole = json!({ "allOf": [schema], "components": self.document["components"] });
        let validator = jsonschema::validator_for(&whole).unwrap();
        let faults: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert_eq!(faults, [""; 0], "{value}");
    }
}
