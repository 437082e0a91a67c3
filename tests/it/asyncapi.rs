//! `schemas/asyncapi.yaml` tells of every topic, and what a running postrider writes is what it says.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postrider_tests::contract::{sample, schemas};
use postrider_tests::{Answer, Receiver, Scene, Schema, Sent, Topic};
use serde_json::{Map, Value, json};

use crate::delivery::webhook;

fn document() -> Result<Value> {
    let text = std::fs::read_to_string(schemas().join("asyncapi.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

fn defaults() -> Result<Value> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postrider.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn texts(value: &Value) -> BTreeSet<&str> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// What a reference leads to: a place in the document, or a file beside it.
fn target(document: &Value, reference: &str) -> Result<Value> {
    if let Some(pointer) = reference.strip_prefix('#') {
        let found = document.pointer(pointer).cloned();
        return found.with_context(|| format!("{reference} leads nowhere"));
    }
    let text = std::fs::read_to_string(schemas().join(reference));
    Ok(serde_json::from_str(&text.with_context(|| reference.to_owned())?)?)
}

/// The same with everything that the document's references lead to in their place.
fn resolved(document: &Value, value: &Value) -> Result<Value> {
    match value {
        Value::Object(fields) => match fields.get("$ref").and_then(Value::as_str) {
            // A file's own references stay: its `$id` makes it a document of its own.
            Some(file) if !file.starts_with('#') => target(document, file),
            Some(place) => resolved(document, &target(document, place)?),
            None => {
                let fields = fields
                    .iter()
                    .map(|(name, field)| Ok((name.clone(), resolved(document, field)?)));
                fields.collect::<Result<Map<String, Value>>>().map(Value::Object)
            }
        },
        Value::Array(items) => items.iter().map(|item| resolved(document, item)).collect(),
        other => Ok(other.clone()),
    }
}

/// The steps of the schedule, in the words of the topics' names.
fn delays(retry: &Value) -> Result<BTreeSet<String>> {
    let seconds = |name: &str| -> Result<u64> {
        let text = retry[name].as_str().context("a duration")?;
        let hours = text.strip_suffix('h').map(|hours| hours.parse::<u64>());
        Ok(match hours {
            Some(hours) => hours? * 3_600,
            None => text.strip_suffix('s').context("seconds")?.parse()?,
        })
    };
    let (initial, most) = (seconds("initial")?, seconds("max_interval")?);
    let multiplier = retry["multiplier"].as_u64().context("a number")?;
    let retries = u32::try_from(retry["max_retries"].as_u64().context("a number")?)?;
    let steps = (0..retries).map(|step| (initial * multiplier.pow(step)).min(most));
    Ok(steps.map(|step| format!("{step}s")).collect())
}

/// Every topic of a configuration, as the channels write them.
fn topics(config: &Value) -> BTreeSet<String> {
    let sources = config["consumer"]["sources"].as_array().into_iter().flatten();
    let sources = sources.map(|source| &source["topic"]);
    let results = object(&config["results"]).filter(|(name, _)| *name != "retry_prefix");
    let named = sources
        .chain(results.map(|(_, name)| name))
        .chain([&config["routing"]["webhooks_topic"]]);
    let retry = config["results"]["retry_prefix"].as_str();
    named
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .chain(retry.map(|prefix| format!("{prefix}{{delay}}")))
        .collect()
}

#[test]
fn the_channels_are_the_topics_of_the_default_configuration_and_no_others() -> Result<()> {
    let (document, config) = (document()?, defaults()?);
    let addresses = object(&document["channels"]).map(|(_, channel)| channel["address"].as_str().unwrap_or_default());
    let addresses: Vec<String> = addresses.map(str::to_owned).collect();
    assert_eq!(addresses.iter().cloned().collect::<BTreeSet<_>>(), topics(&config));
    assert_eq!(addresses.len(), topics(&config).len(), "each once");
    let told = texts(&document["channels"]["retry"]["parameters"]["delay"]["enum"]);
    let made = delays(&config["delivery"]["retry"])?;
    assert_eq!(told, made.iter().map(String::as_str).collect());
    let partitions = |channel: &str| document["channels"][channel]["bindings"]["kafka"]["partitions"].clone();
    assert_eq!(partitions("results"), config["topics"]["results_partitions"]);
    assert_eq!(partitions("retry"), config["topics"]["retry_partitions"]);
    Ok(())
}

#[test]
fn every_reference_leads_somewhere_and_everything_is_referred_to() -> Result<()> {
    let document = document()?;
    resolved(&document, &document)?;
    let text = document.to_string();
    let parts = ["messages", "schemas"].map(|part| (part, &document["components"][part]));
    for (part, named) in parts {
        for (name, _) in object(named) {
            let place = format!("\"#/components/{part}/{name}\"");
            assert!(text.contains(&place), "nothing refers to {place}");
        }
    }
    for (name, _) in object(&document["channels"]) {
        assert!(
            text.contains(&format!("\"#/channels/{name}\"")),
            "{name} has no operation"
        );
    }
    for (name, operation) in object(&document["operations"]) {
        let channel = operation["channel"]["$ref"].as_str().unwrap_or_default();
        assert!(channel.starts_with("#/channels/"), "{name} is of {channel}");
    }
    Ok(())
}

#[test]
fn the_document_is_of_this_version() -> Result<()> {
    assert_eq!(document()?["info"]["version"], env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// The messages of a channel: the schemas of keys, headers and values.
fn messages(document: &Value, channel: &str) -> Result<Vec<[Option<Schema>; 3]>> {
    let messages = resolved(document, &document["channels"][channel]["messages"])?;
    let schema = |part: &Value| match part {
        Value::Null => Ok(None),
        part => Schema::of(part).map(Some),
    };
    object(&messages)
        .map(|(_, message)| {
            Ok([
                schema(&message["bindings"]["kafka"]["key"])?,
                schema(&message["headers"])?,
                schema(&message["payload"])?,
            ])
        })
        .collect()
}

fn text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into())
}

/// Every record of a topic fits a message of its channel; returns how many there are.
async fn fit(document: &Value, channel: &str, topic: &Topic) -> Result<usize> {
    let messages = messages(document, channel)?;
    let records = topic.read().await?;
    for record in &records {
        let value = record.value.as_deref();
        let document = value.map(serde_json::from_slice).transpose();
        let named = record.headers.iter();
        let headers = named.map(|(name, value)| (name.clone(), text(value.as_deref())));
        let key = Some(text(record.key.as_deref())).filter(|key| !key.is_null());
        let parts = [
            key,
            Some(headers.collect::<Map<String, Value>>().into()),
            // A dead letter's value can be anything.
            Some(document.unwrap_or(None).unwrap_or_else(|| text(value))),
        ];
        let faults = |schemas: &[Option<Schema>; 3]| -> Vec<String> {
            let told = schemas.iter().zip(&parts);
            told.filter_map(|(schema, part)| Some(schema.as_ref()?.faults(part.as_ref()?)))
                .flatten()
                .collect()
        };
        let faults: Vec<Vec<String>> = messages.iter().map(faults).collect();
        ensure!(faults.iter().any(Vec::is_empty), "{channel}: {faults:#?} of {parts:#?}");
    }
    Ok(records.len())
}

/// Something of every kind: a delivery that is retried, one that is given up, one that disables its webhook, a record
/// that is no event, a managed webhook with a secret, its changes and its end, and a replay.
async fn everything(scene: &mut Scene, receiver: &Receiver) -> Result<()> {
    receiver.answer("/mending", [Answer::status(503), Answer::ok()]);
    receiver.answer("/failing", [Answer::status(500)]);
    receiver.answer("/gone", [Answer::status(410)]);
    let hook = |id: &str| webhook(id, receiver.url(&format!("/{id}")), &["tracking_update"]);
    let mut failing = hook("failing");
    failing["retry"] = json!({ "max_retries": 1 });
    scene.webhooks([hook("mending"), hook("gone"), failing]);
    scene.config["routing"]["max_webhooks_per_account"] = json!(0);
    let keys = scene.folder().join("keys");
    std::fs::write(&keys, STANDARD.encode([7; 32]))?;
    scene.config["secrets"]["key_file"] = json!(keys);
    let mut daemon = scene.start().await?;
    let event = Sent::value(sample("tracking_update"))
        .key("24957298")
        .header("account-id", "default");
    scene
        .topic("tracking")
        .produce([event, Sent::value("no event")])
        .await?;
    scene
        .topic("shipments")
        .produce([Sent::value(sample("order_shipped"))])
        .await?;

    let mut managed = hook("managed");
    managed["events"] = json!(["order_error"]);
    managed["auth"] = json!({ "username": "u", "password": "hunter2" });
    managed.as_object_mut().context("an object")?.remove("id");
    let (status, added) = daemon.api("POST", "/webhooks", Some(&managed)).await?;
    ensure!(status == 201, "{added}");
    let path = format!("/webhooks/{}", added["id"].as_str().context("an id")?);
    for (method, path) in [
        ("POST", format!("{path}/disable")),
        ("POST", format!("{path}/enable")),
        ("DELETE", path.clone()),
        ("DELETE", format!("{path}?purge=true")),
    ] {
        let (status, answer) = daemon.api(method, &path, None).await?;
        ensure!((200..300).contains(&status), "{method} {path}: {answer}");
    }
    let asked = json!({ "from": "2020-01-01T00:00:00Z", "dry_run": true });
    let (status, answer) = daemon.api("POST", "/replays", Some(&asked)).await?;
    ensure!(status == 202, "{answer}");
    // Two attempts of two, one of one, and the first connection.
    scene.outcomes(6).await?;
    // The record that is none, and two deliveries.
    scene.dead_letters(3).await?;
    ensure!(daemon.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn what_a_running_postrider_writes_is_what_the_document_says() -> Result<()> {
    let document = document()?;
    let receiver = Receiver::start().await?;
    let mut scene = Scene::new("asyncapi").await?;
    everything(&mut scene, &receiver).await?;
    for (channel, name, least) in [
        ("tracking", "tracking", 0),
        ("shipments", "shipments", 1),
        ("results", "results", 6),
        ("deadLetters", "dead-letters", 3),
        ("notices", "notices", 3),
        ("webhooks", "webhooks", 5),
        ("replays", "replays", 1),
        ("retry", "retry.500ms", 2),
        ("pending", "pending", 2),
    ] {
        // What is no event is upstream's fault, not the document's.
        if least == 0 {
            continue;
        }
        let count = fit(&document, channel, &scene.topic(name)).await?;
        assert!(count >= least, "{channel}: {count} records");
    }
    Ok(())
}
