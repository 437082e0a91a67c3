//! From what a person sent to a webhook, or to the fields that cannot be taken.

use postrider_types::secret::MASK;
use postrider_types::{Fault, Secret, Webhook, WebhookId};
use serde_json::{Map, Value, json};
use url::Url;

use crate::document::{SECRETS, exposed};
use crate::sign;

/// The fields a person may set.
const FIELDS: [&str; 14] = [
    "account_id",
    "url",
    "description",
    "events",
    "filter",
    "enabled",
    "auth",
    "header",
    "retry",
    "signing",
    "tls",
    "timeout_ms",
    "max_in_flight",
    "rate_limit_per_second",
];
/// The fields that postrider sets: taken back as they were read, so that a document can be sent as it came.
const KEPT: [&str; 8] = [
    "id",
    "status",
    "disabled_reason",
    "created_at",
    "updated_at",
    "version",
    "origin",
    "first_connection",
];

/// A secret that was made and is shown once.
pub type Generated = Option<Secret>;

/// Reads a new webhook. Its id is `id` unless the document names one.
///
/// # Errors
/// The fields that cannot be taken.
pub fn new(id: &WebhookId, mut document: Value) -> Result<(Webhook, Generated), Vec<Fault>> {
    let fields = object(&mut document)?;
    let mut faults = unknown(fields, false);
    fields.retain(|name, value| FIELDS.contains(&&**name) && !value.is_null() || name == "id");
    fields.entry("id").or_insert_with(|| json!(id));
    for (required, example) in [
        ("url", "https://merchant.example/hooks"),
        ("events", "[\"order_shipped\"]"),
    ] {
        if !fields.contains_key(required) {
            faults.push(Fault::new(required, format!("is missing; give one like {example}")));
        }
    }
    let generated = generate(fields, &mut faults);
    faults.extend(masks(&document));
    finish(document, faults).map(|webhook| (webhook, generated))
}

/// Lays a merge patch (RFC 7396) over a webhook. A masked secret keeps what there was; another scheme, host or port
/// drops credentials that are not sent again with it.
///
/// # Errors
/// The fields that cannot be taken.
pub fn patched(webhook: &Webhook, mut patch: Value) -> Result<(Webhook, Generated), Vec<Fault>> {
    let fields = object(&mut patch)?;
    let mut faults = unknown(fields, true);
    let account = fields.get("account_id");
    if account.is_some_and(|account| *account != json!(webhook.account_id)) {
        faults.push(Fault::new(
            "account_id",
            "cannot be changed; add the webhook to the other account",
        ));
    }
    fields.retain(|name, _| FIELDS.contains(&&**name));
    let generated = generate(fields, &mut faults);
    let moved = fields
        .get("url")
        .and_then(Value::as_str)
        .is_some_and(|url| !same_origin(url, &webhook.url));
    let mut document = exposed(webhook);
    if moved {
        drop_credentials(&mut document, fields);
    }
    keep_masked(&mut patch, &document);
    merge(&mut document, patch);
    faults.extend(masks(&document));
    finish(document, faults).map(|webhook| (webhook, generated))
}

fn object(document: &mut Value) -> Result<&mut Map<String, Value>, Vec<Fault>> {
    const SHAPE: &str = "must be a JSON object";
    document.as_object_mut().ok_or_else(|| vec![Fault::new("", SHAPE)])
}

fn unknown(fields: &Map<String, Value>, of_patch: bool) -> Vec<Fault> {
    let known = |name: &str| FIELDS.contains(&name) || KEPT.contains(&name) && (of_patch || name == "id");
    let strange = fields.keys().filter(|name| !known(name));
    strange
        .map(|name| {
            let shown: String = name.escape_debug().take(64).collect();
            let kept = if KEPT.contains(&&**name) {
                "is set by postrider"
            } else {
                "is no field of a webhook"
            };
            Fault::new(shown, kept)
        })
        .collect()
}

/// `{"signing": {"generate": true}}` makes a secret.
fn generate(fields: &mut Map<String, Value>, faults: &mut Vec<Fault>) -> Generated {
    let signing = fields.get_mut("signing")?.as_object_mut()?;
    match signing.remove("generate")? {
        Value::Bool(true) if signing.is_empty() => {}
        Value::Bool(true) => {
            faults.push(Fault::new(
                "signing",
                "asks for a new secret and gives one; do one of the two",
            ));
            return None;
        }
        Value::Bool(false) => return None,
        _ => {
            faults.push(Fault::new("signing.generate", "must be true or false"));
            return None;
        }
    }
    let secret = sign::new_secret();
    signing.insert("secret".to_owned(), json!(secret.expose()));
    Some(secret)
}

/// Whether two URLs name one scheme, host and port. What cannot be read is another.
pub(crate) fn same_origin(a: &str, b: &str) -> bool {
    let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
    origin(a).is_some() && origin(a) == origin(b)
}

fn drop_credentials(document: &mut Value, sent: &Map<String, Value>) {
    let sent_again = |name: &str, secret: &str| {
        let given = sent.get(name).and_then(|field| field.get(secret)?.as_str());
        given.is_some_and(|given| given != MASK)
    };
    for (name, secret) in [("auth", "password"), ("header", "value"), ("tls", "key")] {
        if !sent_again(name, secret) {
            document[name] = Value::Null;
        }
    }
}

/// Takes masks out of a patch, and the credentials that stood behind them and are no more.
fn keep_masked(patch: &mut Value, document: &Value) {
    for pointer in SECRETS {
        if patch.pointer(pointer).and_then(Value::as_str) != Some(MASK) {
            continue;
        }
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
        if let Some(object) = patch.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(name);
        }
        let top = &pointer[1..].split('/').next().unwrap_or_default();
        if document[*top].is_null()
            && let Some(fields) = patch.as_object_mut()
        {
            fields.remove(*top);
        }
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().expect("it was just made one");
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            // A filter is one value: conditions are replaced, never mixed.
            let inner = fields.entry(name.clone()).or_insert(Value::Null);
            if name == "filter" {
                *inner = value;
            } else {
                merge(inner, value);
            }
        }
    }
}

fn masks(document: &Value) -> Vec<Fault> {
    let masked = SECRETS
        .iter()
        .filter(|pointer| document.pointer(pointer).and_then(Value::as_str) == Some(MASK));
    masked
        .map(|pointer| {
            let reason = "is the mask, and there is no secret behind it to keep; send the secret itself";
            Fault::new(pointer[1..].replace('/', "."), reason)
        })
        .collect()
}

/// Reads the fields one by one, so that each that cannot be taken is named.
fn finish(document: Value, mut faults: Vec<Fault>) -> Result<Webhook, Vec<Fault>> {
    let sample = json!({ "id": "x", "url": "x", "events": ["order_shipped"] });
    let fields = document.as_object().into_iter().flatten();
    for (name, value) in fields {
        let mut alone = sample.clone();
        alone[name] = value.clone();
        if let Err(error) = serde_path(alone) {
            faults.push(Fault::new(error.0, error.1));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    serde_json::from_value(document).map_err(|error| vec![Fault::new("", plain(&error))])
}

fn serde_path(document: Value) -> Result<(), (String, String)> {
    let read: Result<Webhook, _> = serde_path_to_error::deserialize(document);
    read.map(drop)
        .map_err(|error| (error.path().to_string(), plain(error.inner())))
}

/// serde's words without the value, which may be a secret.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let expected = text.find("expected").map(|at| &text[at..]);
    let known = text.starts_with("unknown field") || text.starts_with("missing field");
    match expected {
        _ if known || text.starts_with("a webhook id") || text.starts_with("an account") => text,
        Some(expected) => format!("cannot be taken; {expected}"),
        None => "cannot be taken".to_owned(),
    }
}

#[cfg(test)]
mod tests;
