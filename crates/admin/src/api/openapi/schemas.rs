//! The schemas: what is answered comes from the types that are written out, what is taken from the contract in
//! `schemas/webhook.v1.json`, which the configuration file shares.

use postrider_logs::Stats;
use postrider_replay::request::FIELDS;
use postrider_routing::Explanation;
use postrider_types::webhook::WebhookStatus;
use postrider_types::{EventType, FirstConnection, Outcome, OutcomeResult, Transmission, Webhook};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};

use crate::explained::Explained;

const CONTRACT: &str = include_str!("../../../../../schemas/webhook.v1.json");
/// What a webhook's id is.
pub(super) const WEBHOOK_ID: &str = "^[A-Za-z0-9_-]{1,64}$";
/// What a replay's id is.
pub(super) const REPLAY_ID: &str = "^rp_[0-9A-Z]{26}$";
const REPLAY: &str = include_str!("../../../../../schemas/replay.v1.json");
const ACCOUNT: &str = "^[A-Za-z0-9._-]{1,128}$";
/// What a person sets of a webhook that has no other default than none.
const NEEDED: [&str; 2] = ["url", "events"];
/// What postrider sets of a webhook.
const KEPT: [&str; 5] = ["status", "disabled_reason", "created_at", "updated_at", "version"];

/// The schema of a parameter that names an event type.
pub(in crate::api) fn events() -> Object {
    words("An event type.", EventType::ALL.map(EventType::as_str))
}

/// The schema of a parameter that names a result.
pub(in crate::api) fn results() -> Object {
    words(
        "What became of the delivery.",
        OutcomeResult::ALL.map(OutcomeResult::as_str),
    )
}

/// The schema of a parameter that names a status.
pub(in crate::api) fn statuses() -> Object {
    words(
        "What a webhook's owner and postrider made of it.",
        WebhookStatus::ALL.map(WebhookStatus::as_str),
    )
}

/// The schema of a parameter that is a moment.
pub(in crate::api) fn moment() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    text.format(Some(format)).build()
}

fn words<const N: usize>(description: &str, words: [&'static str; N]) -> Object {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description));
    text.enum_values(Some(words)).build()
}

/// `components.schemas`
pub(super) fn all() -> Value {
    let mut all = answered();
    all.extend(taken());
    for (name, items) in [
        ("WebhookList", reference("Webhook")),
        ("ExplanationList", reference("Explanation")),
        ("EventTypeList", event_type_entry()),
        ("StatusList", status_entry()),
        ("ReplayList", reference("Replay")),
    ] {
        all.insert(name.to_owned(), list(&items));
    }
    all.insert("Logs".to_owned(), logs());
    all.insert("Delivery".to_owned(), delivery());
    Value::Object(all)
}

/// The types of answers, and what they are made of.
fn answered() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = SchemaGenerator::new(settings);
    generator.subschema_for::<Webhook>();
    generator.subschema_for::<FirstConnection>();
    generator.subschema_for::<Transmission>();
    generator.subschema_for::<Explanation>();
    generator.subschema_for::<Explained>();
    generator.subschema_for::<Outcome>();
    generator.subschema_for::<Stats>();
    let use_slashes_only = true;
    let mut all = generator.take_definitions(use_slashes_only);
    let webhook = &mut all["Webhook"];
    webhook["properties"]["origin"] = json!({
        "description": "Who changes it: the configuration file, or the API.",
        "enum": ["file", "managed"]
    });
    webhook["properties"]["first_connection"] = json!({
        "description": "In the answer to adding it or to changing its URL: what its first connection came to.",
        "$ref": "#/components/schemas/FirstConnection"
    });
    webhook["required"]
        .as_array_mut()
        .into_iter()
        .for_each(|names| names.push(json!("origin")));
    all.insert("Problem".to_owned(), problem());
    all.insert(
        "Resealed".to_owned(),
        object(&json!({ "resealed": { "type": "integer", "minimum": 0 } })),
    );
    all
}

fn problem() -> Value {
    let mut problem = object(&json!({
        "type": { "const": "about:blank" },
        "title": { "description": "The status in words.", "type": "string" },
        "status": { "type": "integer", "minimum": 400, "maximum": 599 },
        "detail": { "description": "What is wrong, and what would be right.", "type": "string" }
    }));
    let fault = object(&json!({
        "path": { "description": "The field's dotted path; empty for the whole document.", "type": "string" },
        "reason": { "type": "string" }
    }));
    problem["properties"]["errors"] =
        json!({ "description": "The fields that cannot be taken.", "type": "array", "items": fault });
    problem
}

/// The documents that requests carry.
fn taken() -> Map<String, Value> {
    let contract = CONTRACT.replace("#/$defs/", "#/components/schemas/");
    let mut contract: Value = serde_json::from_str(&contract).expect("what the repository holds is JSON");
    let mut all = contract["$defs"].take().as_object().cloned().unwrap_or_default();
    let fields = contract["properties"].take().as_object().cloned().unwrap_or_default();
    all.insert("NewWebhook".to_owned(), new_webhook(&fields));
    all.insert("WebhookPatch".to_owned(), webhook_patch(&fields));
    all.insert(
        "TestRequest".to_owned(),
        request(&[], &json!({ "event": nullable(json!(events())) })),
    );
    all.insert("RouteRequest".to_owned(), route_request());
    all.extend(replays());
    all
}

fn new_webhook(fields: &Map<String, Value>) -> Value {
    let settable = fields.iter().filter(|(name, _)| !KEPT.contains(&&***name));
    let fields: Map<String, Value> = settable
        .map(|(name, field)| (name.clone(), optional(name, field)))
        .collect();
    request(&NEEDED, &Value::Object(fields))
}

/// What postrider sets is taken back as it was read, and has no effect.
fn webhook_patch(fields: &Map<String, Value>) -> Value {
    let read = KEPT.into_iter().chain(["id", "origin", "first_connection"]);
    let read = read.map(|name| (name.to_owned(), kept()));
    let settable = fields
        .iter()
        .filter(|(name, _)| !KEPT.contains(&&***name) && *name != "id");
    let settable = settable.map(|(name, field)| (name.clone(), partial(optional(name, field))));
    request(&[], &Value::Object(settable.chain(read).collect()))
}

/// A replay as it is shown and as it is asked for: what the contract has, without what only postrider needs.
fn replays() -> [(String, Value); 2] {
    let mut contract: Value = serde_json::from_str(REPLAY).expect("what the repository holds is JSON");
    let fields = contract["properties"].as_object_mut().expect("a replay has fields");
    fields.remove("progress");
    let new = FIELDS.map(|name| {
        (
            name.to_owned(),
            if name == "from" {
                fields[name].clone()
            } else {
                nullable(fields[name].clone())
            },
        )
    });
    let new = request(&["from"], &Value::Object(new.into_iter().collect()));
    let shown = object(&contract["properties"]);
    [("NewReplay".to_owned(), new), ("Replay".to_owned(), shown)]
}

fn route_request() -> Value {
    request(
        &["payload"],
        &json!({
            "account_id": nullable(json!({ "type": "string", "pattern": ACCOUNT })),
            "event": nullable(json!(events())),
            "payload": { "description": "The event's payload, as it stands in Kafka.", "type": "object" }
        }),
    )
}

/// null stands for what is not given, where something need not be given.
fn optional(name: &str, field: &Value) -> Value {
    if NEEDED.contains(&name) || name == "id" {
        return field.clone();
    }
    nullable(field.clone())
}

fn nullable(schema: Value) -> Value {
    let nothing = json!({ "type": "null" });
    let variants = ["oneOf", "anyOf"].into_iter().filter_map(|of| schema[of].as_array());
    let is_nullable = variants.flatten().any(|variant| *variant == nothing)
        || schema["type"]
            .as_array()
            .is_some_and(|types| types.contains(&nothing["type"]));
    if is_nullable {
        return schema;
    }
    json!({ "anyOf": [schema, nothing] })
}

/// A patch changes parts of objects: nothing in them is needed. A secret that was rotated out is taken back as it was
/// read.
fn partial(mut schema: Value) -> Value {
    let Some(mut variants) = schema["oneOf"].as_array().cloned() else {
        return schema;
    };
    for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
        variant.remove("required");
        if let Some(fields) = variant
            .get_mut("properties")
            .filter(|fields| fields.get("secret").is_some())
        {
            fields["previous"] = kept();
        }
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("oneOf");
        fields.insert("anyOf".to_owned(), Value::Array(variants));
    }
    schema
}

fn kept() -> Value {
    json!({ "description": "Set by postrider; sent back, it changes nothing." })
}

fn event_type_entry() -> Value {
    object(&json!({
        "event": events(),
        "description": { "type": "string" },
        "samples": {
            "type": "array",
            "items": object(&json!({ "name": { "type": "string" }, "payload": { "type": "object" } }))
        }
    }))
}

fn status_entry() -> Value {
    object(&json!({ "status": { "type": "integer" }, "meaning": { "type": "string" } }))
}

fn list(items: &impl Serialize) -> Value {
    object(&json!({
        "items": { "type": "array", "items": items },
        "next_cursor": { "description": "The `cursor` of the next page; null on the last.", "type": ["string", "null"] }
    }))
}

/// A list, and how to go on from it when more is published.
fn logs() -> Value {
    let mut logs = list(&reference("Outcome"));
    let more = [
        (
            "after",
            json!({ "description": "As `after`, it brings what comes into the index from now on.", "type": "string" }),
        ),
        (
            "has_more",
            json!({ "description": "Whether there is more already.", "type": "boolean" }),
        ),
        ("indexed", reference("Indexed")),
    ];
    for (name, schema) in more {
        logs["properties"][name] = schema;
        logs["required"]
            .as_array_mut()
            .into_iter()
            .for_each(|names| names.push(json!(name)));
    }
    logs
}

fn delivery() -> Value {
    let attempts = json!({ "description": "In their order.", "type": "array", "items": reference("Outcome") });
    let mut waits_for = object(&json!({
        "attempt": { "type": "integer", "minimum": 1 },
        "due_at": { "type": "string", "format": "date-time" }
    }));
    waits_for["description"] = json!("The attempt that comes next; null when the last one ended it.");
    let waits_for = nullable(waits_for);
    let replay = object(&json!({
        "replay": { "description": "The replay's id.", "type": "string" },
        "attempts": attempts,
        "waits_for": waits_for
    }));
    let body = object(&json!({
        "body": { "description": "What every request carried; null when it cannot be read.", "type": ["string", "null"] },
        "missing": { "description": "Why there is none.", "type": ["string", "null"] }
    }));
    object(&json!({
        "delivery_id": { "type": "string" },
        "attempts": attempts,
        "waits_for": waits_for,
        "replays": { "description": "The same delivery, asked for again.", "type": "array", "items": replay },
        "request": body,
        "indexed": reference("Indexed")
    }))
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// An object that has all of these.
fn object(properties: &Value) -> Value {
    let names: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

/// An object that may have these and nothing else.
fn request(required: &[&str], properties: &Value) -> Value {
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}
