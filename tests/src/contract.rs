//! The files of `schemas/` as they bind the tests: nothing is looked at before it fits its schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bytes::Bytes;
use postrider_types::Outcome;
use serde_json::Value;

use crate::topic::Received;

/// The folder of the schemas, samples and examples.
#[must_use]
pub fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

/// A sample payload, byte for byte: `order_shipped`, `order_error`, `tracking_update` or `return`.
///
/// # Panics
/// When there is no such sample.
#[must_use]
pub fn sample(name: &str) -> Bytes {
    let path = schemas().join("samples").join(format!("{name}.json"));
    std::fs::read(path).expect("the sample exists").into()
}

/// A compiled JSON Schema.
#[derive(Debug)]
pub struct Schema(jsonschema::Validator);

impl Schema {
    /// Compiles `schemas/<name>.json`.
    ///
    /// # Errors
    /// When the file is no JSON, or no JSON Schema of draft 2020-12.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(schemas().join(format!("{name}.json")))?;
        Self::of(&serde_json::from_str(&text)?).with_context(|| name.to_owned())
    }

    /// Compiles a schema.
    ///
    /// # Errors
    /// When the document is no JSON Schema of draft 2020-12.
    pub fn of(document: &Value) -> anyhow::Result<Self> {
        jsonschema::draft202012::meta::validate(document).map_err(|error| anyhow::anyhow!("{error}"))?;
        let compiled = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(document);
        Ok(Self(compiled.map_err(|error| anyhow::anyhow!("{error}"))?))
    }

    /// Everything that does not fit, each with where.
    #[must_use]
    pub fn faults(&self, document: &Value) -> Vec<String> {
        let errors = self.0.iter_errors(document);
        errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    fn demand(&self, document: &Value) {
        let faults = self.faults(document);
        assert!(faults.is_empty(), "{faults:#?} in {document:#}");
    }
}

/// Reads records of the results topic.
///
/// # Errors
/// When a record is no JSON.
///
/// # Panics
/// When one does not fit `schemas/outcome.v1.json`, holds a field the types do not know, or has another key
/// than its delivery's id.
pub fn outcomes(records: &[Received]) -> anyhow::Result<Vec<Outcome>> {
    let schema = Schema::named("outcome.v1")?;
    records.iter().map(|record| outcome(&schema, record)).collect()
}

fn outcome(schema: &Schema, record: &Received) -> anyhow::Result<Outcome> {
    let value = record.value.as_deref().context("an outcome has a value")?;
    let document: Value = serde_json::from_slice(value)?;
    schema.demand(&document);
    let outcome: Outcome = serde_json::from_value(document.clone())?;
    assert_eq!(
        serde_json::to_value(&outcome)?,
        document,
        "fields that the types do not know"
    );
    assert_eq!(
        record.key.as_deref(),
        Some(outcome.delivery_id.as_str().as_bytes()),
        "the key is the delivery's id"
    );
    Ok(outcome)
}

/// A record of the dead-letter topic: postrider's own headers apart from the record's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// `pr-…` headers.
    pub own: BTreeMap<String, String>,
    /// The original record's headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// The original key.
    pub key: Option<Bytes>,
    /// The original value.
    pub value: Option<Bytes>,
}

impl DeadLetter {
    /// `pr-dl-reason`
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.own["pr-dl-reason"]
    }
}

/// Reads records of the dead-letter topic.
///
/// # Errors
/// When a header of postrider's own is no UTF-8.
///
/// # Panics
/// When the headers do not fit `schemas/dead-letter-headers.v1.json`, or one of postrider's own comes twice.
pub fn dead_letters(records: &[Received]) -> anyhow::Result<Vec<DeadLetter>> {
    let schema = Schema::named("dead-letter-headers.v1")?;
    records.iter().map(|record| dead_letter(&schema, record)).collect()
}

fn dead_letter(schema: &Schema, record: &Received) -> anyhow::Result<DeadLetter> {
    let (ours, theirs): (Vec<_>, Vec<_>) = record.headers.iter().partition(|(name, _)| name.starts_with("pr-"));
    let mut own = BTreeMap::new();
    for (name, value) in ours {
        let text = std::str::from_utf8(value.as_deref().context("a header of ours has a value")?)?;
        ensure!(
            own.insert(name.clone(), text.to_owned()).is_none(),
            "{name} comes twice"
        );
    }
    schema.demand(&serde_json::to_value(&own)?);
    Ok(DeadLetter {
        own,
        headers: theirs.into_iter().cloned().collect(),
        key: record.key.clone(),
        value: record.value.clone(),
    })
}
